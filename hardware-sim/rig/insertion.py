# SPDX-License-Identifier: EUPL-1.2
"""One stay of a card in a reader: power, APDUs, and the moment it is pulled out.

A card is used by one thread at a time, even when it is pulled out of a reader in the middle of a slow APDU and
put into the next reader at once: the second reader waits until the card has noticed that its power was cut.
"""

import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rig.errors import (
    CardError,
    CardFaultError,
    CardNotPoweredError,
    CardRemovedError,
    RequestError,
)

MAX_APDU = 4 + 3 + 65535 + 2
"""Longest command APDU in bytes: header, extended Lc, data, extended Le (ISO 7816-4, 5.1)."""
MAX_RESPONSE = 65536 + 2
"""Longest response APDU in bytes: data and status word (ISO 7816-4, 5.1)."""
MAX_ATR = 33
"""Longest answer to reset in bytes: TS and 32 more (ISO 7816-3, 8.2)."""

_log = logging.getLogger("rig")


class Card(Protocol):
    """What the rig expects of a virtual card.

    Any exception of a class named `CardPulled` means: the card has just been pulled out.
    """

    def power_on(self, interface: str) -> bytes:
        """Start the card over "contact" or "contactless" and return its answer to reset (1 to 33 bytes)."""

    def power_off(self) -> None:
        """Take the power away; everything volatile is lost."""

    def transmit(self, apdu: bytes) -> bytes:
        """Answer one command (ISO 7816-4 APDU, or a native frame of the card family)."""


@dataclass
class Seat:
    """A card together with who is talking to it; guarded by the bank's condition."""

    card: Card
    user: "Insertion | None" = None
    waiting: int = 0
    powered: bool = False

    def cut_power(self) -> None:
        """Switch the card off if it is on; a card that objects is ignored, it has no power any more."""
        if not self.powered:
            return
        self.powered = False
        try:
            self.card.power_off()
        except Exception as error:  # noqa: BLE001 - a broken virtual card must not stop the rig
            _log.warning("card failed while its power was cut: %s", _place_of(error))


class Insertion:
    """One stay of a card in a reader.

    `answered` counts the commands whose answers left the card.

    Args:
        change: the bank's condition, which guards all state here.
        seat: the card.
        reader: name of the reader, for messages.
        interface: "contact" or "contactless".
        take_out: called with this insertion, the condition held, when the card leaves by itself.
    """

    def __init__(
        self,
        change: threading.Condition,
        seat: Seat,
        *,
        reader: str,
        interface: str,
        take_out: Callable[["Insertion"], None],
    ) -> None:
        self._change = change
        self._seat = seat
        self._reader = reader
        self._interface = interface
        self._take_out = take_out
        self.answered = 0
        self._removed = False
        self._apdus_left: int | None = None
        self._pull_executes = True

    def power_on(self) -> bytes:
        """Start the card (anew if it was on) and return its ATR, 1 to 33 bytes.

        Raises:
            CardRemovedError: the card is gone.
            CardFaultError: the card broke or gave no valid ATR.
        """

        def start(card: Card) -> bytes:
            self._seat.cut_power()
            atr = card.power_on(self._interface)
            self._seat.powered = True
            if not _is_bytes(atr, 1, MAX_ATR):
                raise CardFaultError(f"the card in {self._reader!r} gave no ATR of 1 to {MAX_ATR} bytes")
            return bytes(atr)

        return self._use(start)

    def power_off(self) -> None:
        """Switch the card off; a card that is off or gone stays so."""

        def stop(_card: Card) -> bytes:
            self._seat.cut_power()
            return b""

        try:
            self._use(stop)
        except CardRemovedError:
            return

    def transmit(self, apdu: bytes) -> bytes:
        """Exchange one command (1 to 65,544 bytes) for its response (0 to 65,538 bytes).

        Raises:
            RequestError: the command is empty or too long.
            CardNotPoweredError: `power_on` comes first.
            CardRemovedError: the card left before its answer arrived.
            CardFaultError: the card broke.
        """
        if not 1 <= len(apdu) <= MAX_APDU:
            raise RequestError(f"a command has 1 to {MAX_APDU} bytes, this one has {len(apdu)}")

        def exchange(card: Card) -> bytes:
            if not self._seat.powered:
                raise CardNotPoweredError(f"the card in {self._reader!r} has no power; power_on comes first")
            pulled_now = self._count_apdu()
            if pulled_now and not self._pull_executes:
                raise CardRemovedError(f"the card was pulled out of {self._reader!r} before it read the command")
            answer = card.transmit(apdu)
            if pulled_now:
                raise CardRemovedError(f"the card was pulled out of {self._reader!r} before its answer arrived")
            if not _is_bytes(answer, 0, MAX_RESPONSE):
                raise CardFaultError(f"the card in {self._reader!r} gave no answer of 0 to {MAX_RESPONSE} bytes")
            return bytes(answer)

        answer = self._use(exchange)
        with self._change:
            self.answered += 1
        return answer

    def pull_after(self, n_apdus: int, *, executed: bool) -> None:
        """Let the card vanish in the n-th APDU from now; the caller holds the condition."""
        self._apdus_left = n_apdus
        self._pull_executes = executed

    def remove(self) -> None:
        """Mark the card as gone and cut its power; the caller holds the condition."""
        self._removed = True
        if self._seat.user is None:
            self._seat.cut_power()

    def _count_apdu(self) -> bool:
        with self._change:
            if self._apdus_left is None:
                return False
            self._apdus_left -= 1
            return self._apdus_left == 0

    def _use(self, action: Callable[[Card], bytes]) -> bytes:
        self._sit_down()
        problem: Exception | None = None
        answer = b""
        try:
            answer = action(self._seat.card)
        except Exception as error:  # noqa: BLE001 - whatever a virtual card raises becomes one of our errors
            problem = error
        finally:
            removed = self._stand_up(problem)
        if problem is not None:
            raise self._error_for(problem) from problem
        if removed:
            raise CardRemovedError(f"the card was pulled out of {self._reader!r} before its answer arrived")
        return answer

    def _sit_down(self) -> None:
        with self._change:
            self._seat.waiting += 1
            try:
                while self._seat.user is not None:
                    self._change.wait()
            finally:
                self._seat.waiting -= 1
            if self._removed:
                raise CardRemovedError(f"the card is no longer in {self._reader!r}")
            self._seat.user = self

    def _stand_up(self, problem: Exception | None) -> bool:
        with self._change:
            self._seat.user = None
            if self._removed:
                self._seat.cut_power()
            elif problem is not None and not isinstance(problem, CardNotPoweredError):
                self._take_out(self)
            if self._seat.waiting:
                self._change.notify_all()
            return self._removed

    def _error_for(self, problem: Exception) -> CardError:
        if isinstance(problem, CardError):
            return problem
        if any(kind.__name__ == "CardPulled" for kind in type(problem).__mro__):
            return CardRemovedError(f"the card pulled itself out of {self._reader!r}")
        place = _place_of(problem)
        _log.error("the card in %r broke and was taken out: %s", self._reader, place)
        return CardFaultError(f"the card in {self._reader!r} broke and was taken out: {place}")


def _is_bytes(value: object, shortest: int, longest: int) -> bool:
    return isinstance(value, bytes | bytearray) and shortest <= len(value) <= longest


def _place_of(error: BaseException) -> str:
    """Where an exception came from, without its message, which may hold what a card keeps secret."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
