# SPDX-License-Identifier: EUPL-1.2
"""One session with a PKCS#11 token: opened when it is needed, opened again when the token went away and is back."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import pkcs11
from pkcs11 import exceptions as p11

from cardservice.cards.ports import TokenTrouble

Answer = TypeVar("Answer")

# The session, the login or the objects of it are gone: a new session may help.
_GONE: Final = (
    p11.SessionHandleInvalid,
    p11.SessionClosed,
    p11.UserNotLoggedIn,
    p11.ObjectHandleInvalid,
    p11.KeyHandleInvalid,
    p11.DeviceRemoved,
    p11.DeviceError,
    p11.TokenNotPresent,
    p11.GeneralError,
    p11.FunctionFailed,
    p11.OperationNotInitialized,
)
_NEEDS_ANOTHER_LOOK: Final = (*_GONE, p11.NoSuchToken, p11.SlotIDInvalid)
_PIN_REFUSED: Final = (p11.PinIncorrect, p11.PinInvalid, p11.PinLenRange)


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Which token. `pin` is asked for at each login, so that it stands nowhere meanwhile."""

    module: Path
    label: str
    pin: Callable[[], str] = field(repr=False)


class Token:
    """The token and its one session, which many threads may use: one at a time."""

    def __init__(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._lock = threading.RLock()
        self._session: pkcs11.Session | None = None
        self._epoch = 0
        self._discarded: deque[tuple[int, Any]] = deque()

    def __repr__(self) -> str:
        return f"Token({self._settings.label!r})"

    def run(self, operation: Callable[[pkcs11.Session, int], Answer]) -> Answer:
        """Return what `operation` makes of the session and its epoch: handles of another epoch are no longer good.

        It is run again, once, in a new session if the one there was has gone.

        Raises:
            TokenTrouble: the token is away, or refuses.
        """
        with self._lock:
            if self._session is not None:
                try:
                    self._destroy_discarded()
                    return operation(self._session, self._epoch)
                except _GONE:
                    self._close()
                except p11.PKCS11Error as error:
                    raise self._trouble(error) from None
            try:
                return operation(self._opened(), self._epoch)
            except p11.PKCS11Error as error:
                self._close()
                raise self._trouble(error) from None

    def discard(self, key: Any, epoch: int) -> None:
        """Have a key of a session destroyed before the next use; from any thread, without waiting."""
        self._discarded.append((epoch, key))

    def close(self) -> None:
        """End the session; the next use opens another."""
        with self._lock:
            self._close()

    def _destroy_discarded(self) -> None:
        while self._discarded:
            epoch, key = self._discarded.popleft()
            if epoch == self._epoch:
                # Of another session it is gone already.
                key.destroy()

    def _opened(self) -> pkcs11.Session:
        if not self._settings.module.exists():
            raise TokenTrouble(f"PKCS#11 module {self._settings.module} does not exist")
        try:
            library = pkcs11.lib(str(self._settings.module))
        except p11.PKCS11Error:
            # It is there and does not begin: what it needs is away.
            raise
        except (RuntimeError, OSError):
            raise TokenTrouble(f"PKCS#11 module {self._settings.module} cannot be loaded") from None
        try:
            self._session = self._logged_in(library)
        except _NEEDS_ANOTHER_LOOK:
            # A library sees what was plugged in or mounted meanwhile only when it begins anew.
            library.reinitialize()
            self._session = self._logged_in(library)
        self._epoch += 1
        return self._session

    def _logged_in(self, library: Any) -> pkcs11.Session:
        token = library.get_token(token_label=self._settings.label)
        try:
            return cast("pkcs11.Session", token.open(rw=True, user_pin=self._settings.pin()))
        except p11.UserAlreadyLoggedIn:
            # Another session of this process is: the login is the process's.
            return cast("pkcs11.Session", token.open(rw=True))

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except p11.PKCS11Error:
                # It went away with the token.
                return

    def _trouble(self, error: p11.PKCS11Error) -> TokenTrouble:
        label = self._settings.label
        if isinstance(error, _PIN_REFUSED):
            return TokenTrouble(f"token {label!r} refuses the PIN of keys.pin_file; a few more and it locks itself")
        if isinstance(error, p11.PinLocked):
            return TokenTrouble(f"the PIN of token {label!r} is locked; its security officer can unlock it")
        if isinstance(error, p11.NoSuchToken | p11.TokenNotPresent | p11.DeviceRemoved | p11.SlotIDInvalid):
            return TokenTrouble(f"there is no token {label!r} now")
        return TokenTrouble(f"token {label!r} does not answer as it should: {type(error).__name__}")
