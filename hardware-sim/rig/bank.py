# SPDX-License-Identifier: EUPL-1.2
"""Who is where: the readers, the deck of cards, and every change between them.

The bank is thread-safe. It serves readers inside the process (`wait`, `power_on`, `transmit`, `power_off`) and
tells observers about every insertion and removal, which is how `rig.vpcd` carries cards to pcscd.
"""

import collections
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rig.errors import (
    BankClosedError,
    CardElsewhereError,
    CardRemovedError,
    ReadersFileError,
    ReaderUnavailableError,
    RequestError,
    SlotEmptyError,
    SlotOccupiedError,
    UnknownCardError,
    UnknownReaderError,
)
from rig.insertion import Card, Insertion, Seat

State = Literal["present", "empty", "unavailable"]
Observer = Callable[[str, Insertion | None], None]
INTERFACES = ("contactless", "contact")
MAX_PULL_AFTER = 1_000_000
MAX_STAYS = 64


@dataclass(frozen=True)
class ReaderSpec:
    """One slot that takes a card: its full name and how it reaches the card ("contactless" or "contact").

    Raises:
        ReadersFileError: the interface is neither of the two.
    """

    name: str
    interface: str = "contactless"

    def __post_init__(self) -> None:
        if self.interface not in INTERFACES:
            raise ReadersFileError(
                f"reader {self.name!r}: interface is {self.interface!r}, allowed is {' or '.join(INTERFACES)}"
            )


@dataclass(frozen=True)
class SlotState:
    """What a look at a reader shows; `events` counts changes, so a swap between two looks is noticed."""

    state: State
    events: int


@dataclass(frozen=True)
class Stay:
    """One stay of a card in a reader, past or present: how many commands it has answered there."""

    card_id: str
    answered: int


class _Slot:
    """The bank's own record of one reader."""

    def __init__(self, spec: ReaderSpec) -> None:
        self.spec = spec
        self.available = True
        self.card_id: str | None = None
        self.insertion: Insertion | None = None
        self.events = 0
        self.stays: collections.deque[tuple[str, Insertion]] = collections.deque(maxlen=MAX_STAYS)

    def look(self) -> SlotState:
        if not self.available:
            return SlotState("unavailable", self.events)
        return SlotState("empty" if self.card_id is None else "present", self.events)


class Bank:
    """The state of readers and cards.

    Args:
        readers: the slots, each name once.
        cards: the deck, by the name used in `insert`.

    Raises:
        ReadersFileError: two readers have the same name.
    """

    def __init__(self, readers: Sequence[ReaderSpec], cards: Mapping[str, Card]) -> None:
        self._change = threading.Condition()
        self._slots: dict[str, _Slot] = {}
        for spec in readers:
            if spec.name in self._slots:
                raise ReadersFileError(f"two readers are named {spec.name!r}")
            self._slots[spec.name] = _Slot(spec)
        self._seats = {card_id: Seat(card) for card_id, card in cards.items()}
        self._observers: list[Observer] = []
        self._closed = False

    def insert(self, card_id: str, reader: str, *, pull_after: int | None = None, executed: bool = True) -> None:
        """Put a card into an empty reader; with `pull_after` it is planned at once that it vanishes again.

        Raises:
            RequestError: `pull_after` is out of bounds, see there.
            UnknownCardError: the deck has no such card.
            UnknownReaderError: there is no such reader.
            ReaderUnavailableError: the reader is unplugged.
            CardElsewhereError: the card is in a reader already.
            SlotOccupiedError: another card is in this reader.
        """
        if pull_after is not None:
            _check_pull(pull_after)
        with self._change:
            slot = self._available_slot(reader)
            self._require_free(card_id)
            if slot.card_id is not None:
                raise SlotOccupiedError(f"{reader!r} holds card {slot.card_id!r}; eject or swap it")
            self._put(slot, card_id)
            if pull_after is not None and slot.insertion is not None:
                slot.insertion.pull_after(pull_after, executed=executed)

    def eject(self, reader: str) -> str:
        """Take the card out of a reader, an unplugged one too, and return its name.

        Raises:
            UnknownReaderError: there is no such reader.
            SlotEmptyError: no card is in it.
        """
        with self._change:
            slot = self._slot(reader)
            if slot.card_id is None:
                raise SlotEmptyError(f"no card is in {reader!r}")
            card_id = slot.card_id
            self._take(slot)
            return card_id

    def swap(self, card_id: str, reader: str) -> str:
        """Replace the card in a reader by another one in one step and return the name of the old one.

        Raises:
            UnknownCardError: the deck has no such card.
            UnknownReaderError: there is no such reader.
            ReaderUnavailableError: the reader is unplugged.
            CardElsewhereError: the new card is in a reader already.
            SlotEmptyError: no card is in this reader.
        """
        with self._change:
            slot = self._available_slot(reader)
            self._require_free(card_id)
            if slot.card_id is None:
                raise SlotEmptyError(f"no card is in {reader!r}; insert one instead")
            old = slot.card_id
            self._take(slot)
            self._put(slot, card_id)
            return old

    def pull_after(self, reader: str, n_apdus: int, *, executed: bool = True) -> None:
        """Let the card now in a reader vanish in the middle of the n-th APDU from now.

        Args:
            reader: where the card is.
            n_apdus: 1 is the next APDU.
            executed: whether the card still carries the command out and only its answer is lost.

        Raises:
            RequestError: `n_apdus` is not 1 to 1,000,000.
            UnknownReaderError: there is no such reader.
            ReaderUnavailableError: the reader is unplugged.
            SlotEmptyError: no card is in it.
        """
        _check_pull(n_apdus)
        with self._change:
            slot = self._available_slot(reader)
            if slot.insertion is None:
                raise SlotEmptyError(f"no card is in {reader!r}")
            slot.insertion.pull_after(n_apdus, executed=executed)

    def remove_reader(self, name: str) -> None:
        """Unplug a reader; a card in it stays in it without power.

        Raises:
            UnknownReaderError: there is no such reader.
            ReaderUnavailableError: it is unplugged already.
        """
        with self._change:
            slot = self._available_slot(name)
            slot.available = False
            self._withdraw(slot)

    def restore_reader(self, name: str) -> None:
        """Plug a reader in again, with the card that is in it.

        Raises:
            UnknownReaderError: there is no such reader.
            RequestError: it is plugged in already.
        """
        with self._change:
            slot = self._slot(name)
            if slot.available:
                raise RequestError(f"{name!r} is not unplugged")
            slot.available = True
            self._announce(slot)

    def state(self) -> dict[str, SlotState]:
        """Every reader as it is now."""
        with self._change:
            return {name: slot.look() for name, slot in self._slots.items()}

    def cards_in(self) -> dict[str, str]:
        """Which card is in which reader, unplugged ones included."""
        with self._change:
            return {name: slot.card_id for name, slot in self._slots.items() if slot.card_id is not None}

    def stays(self, reader: str) -> list[Stay]:
        """The last stays in a reader, at most 64, the newest at the end; a card plugged in again stays anew.

        Raises:
            UnknownReaderError: there is no such reader.
        """
        with self._change:
            return [Stay(card_id, insertion.answered) for card_id, insertion in self._slot(reader).stays]

    @property
    def card_ids(self) -> list[str]:
        """The names of the deck, sorted."""
        return sorted(self._seats)

    def wait(self, known: Mapping[str, str | int], timeout_s: float) -> dict[str, SlotState]:
        """Block until a reader differs from what the caller knows, in the manner of SCardGetStatusChange.

        Args:
            known: per reader a state ("present", "empty", "unavailable") or the event counter last seen.
            timeout_s: seconds to wait at most; 0 only looks.

        Returns:
            The readers that differ, as they are now; empty when the time is over.

        Raises:
            UnknownReaderError: a name is not among the readers.
            BankClosedError: the rig is being stopped.
        """
        deadline = time.monotonic() + timeout_s
        with self._change:
            while True:
                if self._closed:
                    raise BankClosedError("the rig is being stopped")
                looks = {name: self._slot(name).look() for name in known}
                changed = {name: look for name, look in looks.items() if _differs(known[name], look)}
                left_s = deadline - time.monotonic()
                if changed or left_s <= 0:
                    return changed
                self._change.wait(left_s)

    def power_on(self, reader: str) -> bytes:
        """Start the card in a reader and return its ATR; raises as `transmit`."""
        return self._present(reader).power_on()

    def transmit(self, reader: str, apdu: bytes) -> bytes:
        """Exchange one command for its response with the card in a reader.

        Raises:
            UnknownReaderError: there is no such reader.
            ReaderUnavailableError: the reader is unplugged.
            CardRemovedError: no card, or it left before its answer arrived.
            CardNotPoweredError: `power_on` comes first; also after a swap.
            CardFaultError: the virtual card broke.
            RequestError: the command is empty or too long.
        """
        return self._present(reader).transmit(apdu)

    def power_off(self, reader: str) -> None:
        """Switch the card in a reader off; raises as `transmit`."""
        self._present(reader).power_off()

    def observe(self, observer: Observer) -> None:
        """Tell `observer(reader, insertion or None)` about every change, starting with the cards already in.

        It is called with the bank locked and must neither block nor call the bank.
        """
        with self._change:
            self._observers.append(observer)
            for name, slot in self._slots.items():
                if slot.insertion is not None:
                    observer(name, slot.insertion)

    def close(self) -> None:
        """Wake everybody who waits; the cards lose their power."""
        with self._change:
            self._closed = True
            for slot in self._slots.values():
                if slot.insertion is not None:
                    self._withdraw(slot)
            self._change.notify_all()

    def _slot(self, reader: str) -> _Slot:
        slot = self._slots.get(reader)
        if slot is None:
            raise UnknownReaderError(f"no reader is named {reader!r}; there are {', '.join(map(repr, self._slots))}")
        return slot

    def _available_slot(self, reader: str) -> _Slot:
        slot = self._slot(reader)
        if not slot.available:
            raise ReaderUnavailableError(f"{reader!r} is unplugged")
        return slot

    def _present(self, reader: str) -> Insertion:
        with self._change:
            insertion = self._available_slot(reader).insertion
        if insertion is None:
            raise CardRemovedError(f"no card is in {reader!r}")
        return insertion

    def _require_free(self, card_id: str) -> None:
        if card_id not in self._seats:
            raise UnknownCardError(f"the deck has no card {card_id!r}")
        for name, slot in self._slots.items():
            if slot.card_id == card_id:
                raise CardElsewhereError(f"card {card_id!r} is in {name!r} already")

    def _put(self, slot: _Slot, card_id: str) -> None:
        slot.card_id = card_id
        self._announce(slot)

    def _take(self, slot: _Slot) -> None:
        slot.card_id = None
        if slot.insertion is not None:
            self._withdraw(slot)

    def _announce(self, slot: _Slot) -> None:
        if slot.card_id is not None:
            slot.insertion = Insertion(
                self._change,
                self._seats[slot.card_id],
                reader=slot.spec.name,
                interface=slot.spec.interface,
                take_out=lambda insertion: self._card_left(slot, insertion),
            )
            slot.stays.append((slot.card_id, slot.insertion))
        self._changed(slot)

    def _withdraw(self, slot: _Slot) -> None:
        if slot.insertion is not None:
            slot.insertion.remove()
            slot.insertion = None
        self._changed(slot)

    def _card_left(self, slot: _Slot, insertion: Insertion) -> None:
        if slot.insertion is insertion:
            self._take(slot)

    def _changed(self, slot: _Slot) -> None:
        slot.events += 1
        for observer in self._observers:
            observer(slot.spec.name, slot.insertion)
        self._change.notify_all()


def _check_pull(n_apdus: int) -> None:
    if not 1 <= n_apdus <= MAX_PULL_AFTER:
        raise RequestError(f"n_apdus is {n_apdus}, allowed is 1 to {MAX_PULL_AFTER}")


def _differs(known: str | int, look: SlotState) -> bool:
    return known != look.state if isinstance(known, str) else known != look.events
