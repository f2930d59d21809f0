# SPDX-License-Identifier: EUPL-1.2
"""Readers of a real pcscd, through pyscard's low-level calls. The only file that imports pyscard.

Every PC/SC error is translated here, once: to `CardGone` if the card is no longer the one that was connected, to
`ReaderFault` for everything else, with the PC/SC error in the message.

Whatever happens to pcscd, `wait` comes back: a context that broke is made anew, with growing pauses. One context serves
`wait`; each connection has its own, because libpcsclite lets only one call at a time into a context.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from smartcard import scard

from readers.ports import (
    CardArrived,
    CardGone,
    CardRemoved,
    DriverDown,
    DriverUp,
    ReaderAppeared,
    ReaderError,
    ReaderEvent,
    ReaderFault,
    ReaderFaulted,
    ReaderState,
    ReaderVanished,
)

# libpcsclite reports added and removed readers as a change of this one.
PNP: Final = "\\\\?PnP?\\Notification"
# PCSCLITE_MAX_READERS_CONTEXTS: as many states one SCardGetStatusChange takes, as many readers there can be.
MAX_STATES: Final = 16
# Also the longest time in which a missed notification is made good by listing the readers again.
MAX_WAIT_MS: Final = 1_000
RETRY_MIN_S: Final = 0.1
RETRY_MAX_S: Final = 2.0
RESTART_SETTLES_S: Final = 2.0
# Readers may come back under new names for ever.
MAX_HELD: Final = 64
# ISO/IEC 7816-3
MAX_ATR_BYTES: Final = 33
# MAX_READERNAME of libpcsclite without its end, and as much as the wire takes.
MAX_NAME: Final = 127
SAME_NAME: Final = "more than one reader has this name; give each its own"
NOT_ASCII: Final = "its name is not plain ASCII, so that it cannot be addressed; rename it"

_PROTOCOLS: Final = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_GONE: Final = frozenset(
    {
        scard.SCARD_W_REMOVED_CARD,
        scard.SCARD_W_RESET_CARD,
        scard.SCARD_W_UNPOWERED_CARD,
        scard.SCARD_E_NO_SMARTCARD,
        # What pcscd makes of a command that got no answer: nearly always a card that left the field.
        scard.SCARD_E_NOT_TRANSACTED,
    }
)


@dataclass(slots=True)
class _Watched:
    """One reader as last reported; `state` is what SCardGetStatusChange is told that we know."""

    state: int = scard.SCARD_STATE_UNAWARE
    atr: bytes | None = None
    # A card that lay here when the reader or pcscd went, and how long a pcscd that is back may take to see it again.
    held: bytes | None = None
    held_until_s: float = 0.0

    @property
    def present(self) -> bool:
        return self.atr is not None


class PcscDriver:
    """All readers of one pcscd; `socket` is its socket if it is not the system's.

    libpcsclite remembers the socket for the whole process, so a process can serve only one pcscd.
    """

    def __init__(self, socket: Path | None = None) -> None:
        if socket is not None:
            os.environ["PCSCLITE_CSOCK_NAME"] = str(socket)
        self._context: int | None = None
        self._watched: dict[str, _Watched] = {}
        # Name -> why the reader must not be used.
        self._faulty: dict[str, str] = {}
        # The cards that lay in readers which are gone now, oldest first: their return is no arrival.
        self._held: dict[str, bytes] = {}
        self._retry_s = RETRY_MIN_S
        self._is_up: bool | None = None
        self._waiting = threading.Lock()
        self._closing = threading.Event()

    @property
    def kind(self) -> Literal["pcsc", "in_process"]:
        """What the readers are, for the health message."""
        return "pcsc"

    def readers(self) -> Sequence[ReaderState]:
        """Return the readers as `wait` last reported them."""
        usable = [ReaderState(name, watched.present) for name, watched in tuple(self._watched.items())]
        faulty = [ReaderState(name, present=False, fault=why) for name, why in tuple(self._faulty.items())]
        return usable + faulty

    def wait(self, timeout_s: float) -> Sequence[ReaderEvent]:
        """Return what happened, in order, or nothing after `timeout_s` seconds."""
        with self._waiting:
            if self._closing.is_set():
                return ()
            try:
                return self._come_up() or self._follow(min(MAX_WAIT_MS, int(timeout_s * 1_000)))
            except ReaderFault as fault:
                return self._go_down(str(fault), timeout_s)

    def connect(self, reader: str, *, exclusive: bool) -> "PcscConnection":
        """Power up the card in `reader`; a shared connection holds a transaction until it is disconnected.

        Raises:
            CardGone: there is no card any more.
            ReaderFault: no such reader, in use by another program, or the card does not answer.
        """
        if (why := self._faulty.get(reader)) is not None:
            raise ReaderFault(f"{reader}: {why}")
        context = _establish()
        try:
            return _open(context, reader, exclusive=exclusive)
        except BaseException:
            scard.SCardReleaseContext(context)
            raise

    def close(self) -> None:
        """Let a running `wait` return soon and free everything."""
        self._closing.set()
        context = self._context
        if context is not None:
            scard.SCardCancel(context)
        # If the cancellation came a moment too early, `wait` still ends by its own timeout.
        with self._waiting:
            self._drop_context()

    def _come_up(self) -> list[ReaderEvent]:
        """Make the context if there is none, and take the readers that came and went."""
        events: list[ReaderEvent] = []
        if self._context is None:
            self._context = _establish()
        names = _list_readers(self._context)
        self._retry_s = RETRY_MIN_S
        if not self._is_up:
            self._is_up = True
            events.append(DriverUp())
        return events + self._compare(names)

    def _compare(self, names: Sequence[str]) -> list[ReaderEvent]:
        counted = Counter(names)
        faulty = {name: SAME_NAME for name, count in counted.items() if count > 1 and name.isascii()}
        # One that pyscard can list and never name again would take all the others with it.
        faulty |= {_in_ascii(name): NOT_ASCII for name in counted if not name.isascii()}
        single = {name for name in counted if name.isascii() and name not in faulty}
        vanished = [name for name in self._watched if name not in single]
        self._hold(vanished)
        events: list[ReaderEvent] = [ReaderVanished(name) for name in vanished]
        events += [ReaderFaulted(name, faulty[name]) for name in sorted(faulty.keys() - self._faulty.keys())]
        events += [ReaderAppeared(name) for name in names if name in single and name not in self._watched]
        self._faulty = faulty
        self._watched = {name: self._watched.get(name) or self._new(name) for name in names if name in single}
        return events

    def _new(self, name: str) -> _Watched:
        return _Watched(held=self._held.pop(name, None), held_until_s=time.monotonic() + RESTART_SETTLES_S)

    def _hold(self, names: Iterable[str]) -> None:
        """Remember the cards in readers that go, also those that were not yet seen again since the last time."""
        for name in names:
            watched = self._watched[name]
            held = watched.held if time.monotonic() < watched.held_until_s else None
            if (atr := watched.atr or held) is not None:
                self._held[name] = atr
        while len(self._held) > MAX_HELD:
            del self._held[next(iter(self._held))]

    def _follow(self, timeout_ms: int) -> list[ReaderEvent]:
        known = [(name, watched.state) for name, watched in self._watched.items()]
        if len(known) < MAX_STATES:
            known.append((PNP, scard.SCARD_STATE_UNAWARE))
        result, states = scard.SCardGetStatusChange(self._context, timeout_ms, known)
        if result in {scard.SCARD_E_TIMEOUT, scard.SCARD_E_CANCELLED, scard.SCARD_E_UNKNOWN_READER}:
            return []
        _must_succeed(result, "waiting for cards")
        events: list[ReaderEvent] = []
        for name, state, atr in states:
            watched = self._watched.get(name)
            if watched is not None and not state & scard.SCARD_STATE_UNKNOWN:
                events += self._update(name, watched, state, _octets(atr))
        return events

    def _update(self, name: str, watched: _Watched, state: int, atr: bytes) -> list[ReaderEvent]:
        """Take a reader's new state; the upper 16 bits count insertions and removals, so a quick swap shows as well."""
        first_look = watched.state == scard.SCARD_STATE_UNAWARE
        counted = state >> 16 != watched.state >> 16
        now = atr[:MAX_ATR_BYTES] if state & scard.SCARD_STATE_PRESENT else None
        before, watched.atr = watched.atr, now
        watched.state = state & ~scard.SCARD_STATE_CHANGED
        events: list[ReaderEvent] = []
        if before is not None and (counted or now is None):
            events.append(CardRemoved(name))
        if now is not None and (counted or before is None):
            found = first_look or (now == watched.held and time.monotonic() < watched.held_until_s)
            events.append(CardArrived(name, now, found=found))
            watched.held = None
        return events

    def _go_down(self, reason: str, timeout_s: float) -> list[ReaderEvent]:
        self._drop_context()
        self._hold(self._watched)
        self._watched = {}
        self._faulty = {}
        if self._is_up is not False:
            self._is_up = False
            return [DriverDown(reason)]
        self._closing.wait(min(self._retry_s, timeout_s))
        self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)
        return []

    def _drop_context(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            scard.SCardReleaseContext(context)


class PcscConnection:
    """One card, connected; `shared` connections hold a transaction."""

    def __init__(self, context: int, card: int, protocol: int, *, shared: bool, atr: bytes) -> None:
        self._context = context
        self._card = card
        self._pci = scard.SCARD_PCI_T0 if protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1
        self._shared = shared
        self._atr = atr
        # Resetting a card that is gone would make pcscd miss the next one, if that comes before its next look.
        self._gone = False
        self._ended = False

    @property
    def atr(self) -> bytes:
        """The answer to reset (ISO 7816-3, at most 33 bytes)."""
        return self._atr

    def transmit(self, apdu: bytes) -> bytes:
        """Send one command APDU and return the response APDU, status word included.

        Raises:
            CardGone: the card is no longer there, or was reset.
            ReaderFault: the reader or its driver failed.
        """
        if self._ended:
            raise CardGone("the connection has ended")
        try:
            return self._exchange(apdu)
        except CardGone:
            self._gone = True
            raise

    def _exchange(self, apdu: bytes) -> bytes:
        result, response = scard.SCardTransmit(self._card, self._pci, list(apdu))
        _must_succeed(result, "transmitting")
        # Pulled out in mid-command, pcscd reports success with nothing in it.
        if len(response) < 2:
            raise CardGone("the card was removed during a command")
        return _octets(response)

    def disconnect(self, *, reset: bool) -> None:
        """End the connection; `reset` makes the card forget everything it was shown. Never raises."""
        if self._ended:
            return
        self._ended = True
        disposition = scard.SCARD_RESET_CARD if reset and not self._gone else scard.SCARD_LEAVE_CARD
        # The results do not matter: whatever is already gone needs no ending.
        if self._shared:
            scard.SCardEndTransaction(self._card, disposition)
        scard.SCardDisconnect(self._card, disposition)
        scard.SCardReleaseContext(self._context)


def _establish() -> int:
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    _must_succeed(result, "reaching pcscd")
    return int(context)


def _list_readers(context: int) -> list[str]:
    try:
        result, names = scard.SCardListReaders(context, [])
    except (UnicodeError, SystemError) as error:
        raise ReaderFault("listing the readers: a reader's name is no text; rename or unplug it") from error
    if result == scard.SCARD_E_NO_READERS_AVAILABLE:
        return []
    _must_succeed(result, "listing the readers")
    return [str(name) for name in names]


def _in_ascii(name: str) -> str:
    """Return a name as logs and the wire can show it."""
    return name.encode("ascii", "backslashreplace").decode("ascii")[:MAX_NAME]


def _open(context: int, reader: str, *, exclusive: bool) -> PcscConnection:
    share = scard.SCARD_SHARE_EXCLUSIVE if exclusive else scard.SCARD_SHARE_SHARED
    result, card, protocol = scard.SCardConnect(context, reader, share, _PROTOCOLS)
    _must_succeed(result, f"connecting to the card in {reader}")
    try:
        if not exclusive:
            _must_succeed(scard.SCardBeginTransaction(card), f"reserving the card in {reader}")
        result, _, _, _, atr = scard.SCardStatus(card)
        _must_succeed(result, f"asking the card in {reader} for its answer to reset")
    except ReaderError:
        scard.SCardDisconnect(card, scard.SCARD_LEAVE_CARD)
        raise
    return PcscConnection(context, card, protocol, shared=not exclusive, atr=_octets(atr))


def _must_succeed(result: int, doing: str) -> None:
    if result == scard.SCARD_S_SUCCESS:
        return
    message = f"{doing}: {scard.SCardGetErrorMessage(result)} (0x{result & 0xFFFFFFFF:08X})"
    raise CardGone(message) if result in _GONE else ReaderFault(message)


def _octets(values: Sequence[int]) -> bytes:
    """Pyscard may give bytes as signed numbers."""
    return bytes(value & 0xFF for value in values)
