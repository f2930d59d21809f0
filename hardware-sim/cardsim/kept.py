# SPDX-License-Identifier: EUPL-1.2
"""A card that outlives its process: its DESFire is written to a file before each answer that changed it."""

import os
from pathlib import Path

from cardsim.card import VirtualCard
from cardsim.desfire_memory import CardMemory, StateError
from cardsim.interfaces import Interface

MAX_FILE_BYTES = 4 * 1024 * 1024


class KeptCard:
    """A virtual card with a file; what the file holds already replaces the DESFire the card was made with.

    The PIV side is not kept. One process at a time may hold a card.

    Args:
        card: with a DESFire.
        path: read if it exists; a new one appears with mode 0600 when the card is first put into a reader.

    Raises:
        StateError: if the card has no DESFire, or the file is none.
    """

    def __init__(self, card: VirtualCard, path: Path) -> None:
        if card.desfire is None:
            raise StateError("only the memory of a DESFire is kept")
        self.card = card
        self._path = path
        self._desfire = card.desfire
        self._written = b""
        self._restore()

    @property
    def card_id(self) -> str:
        """Name of the card inside a deck."""
        return self.card.card_id

    @property
    def label(self) -> str:
        """Text a person would read on the card."""
        return self.card.label

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card as the file has it now: another process may have had it in between."""
        self._restore()
        atr = self.card.power_on(interface)
        self._save()
        return atr

    def power_off(self) -> None:
        """Take the power away."""
        self.card.power_off()

    def transmit(self, apdu: bytes) -> bytes:
        """Answer, after what changed is in the file."""
        try:
            return self.card.transmit(apdu)
        finally:
            self._save()

    def _restore(self) -> None:
        try:
            with self._path.open("rb") as stream:
                saved = stream.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StateError(f"{self._path.name}: cannot be read: {error.strerror}") from error
        if len(saved) > MAX_FILE_BYTES:
            raise StateError(f"{self._path.name}: a saved card has at most {MAX_FILE_BYTES} bytes")
        if saved != self._written:
            weakness = self._desfire.memory.weakness
            self._desfire.memory = CardMemory.from_bytes(saved)
            self._desfire.memory.weakness = weakness
            self._desfire.reset()
            self._written = saved

    def _save(self) -> None:
        now = self._desfire.memory.to_bytes()
        if now == self._written:
            return
        beside = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(now)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(self._path)
        self._written = now
