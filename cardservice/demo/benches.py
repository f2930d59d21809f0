# SPDX-License-Identifier: EUPL-1.2
"""The readers of one agent of the demonstration: in a pcscd of their own, or inside this process."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast

from cardservice.demo.processes import Child, DemoError
from cardservice.demo.virtual_readers import VirtualReaders
from cardsim.deck import load_deck
from rig.bank import Bank
from rig.control import RigClient
from rig.errors import RigError
from rig.insertion import Card
from rig.readers import Device

# Starts a child program: its name, and its arguments after the interpreter.
StartChild = Callable[..., Child]
NOT_WANTED: Final = "not wanted"


class Hand(Protocol):
    """The hand that holds cards to readers: the rig's control socket, or the bank in this process."""

    def insert(self, card_id: str, reader: str, /) -> object:
        """Hold a card to a reader."""
        ...

    def eject(self, reader: str, /) -> object:
        """Take away whatever card is there."""
        ...


class Bench:
    """The readers of the agent `agent`, each able to take any card of the deck.

    `pcsc_socket` is the pcscd's, None for readers in this process; `why_not` says why there is no pcscd.
    """

    def __init__(self, agent: str, devices: Sequence[Device]) -> None:
        self.agent = agent
        self.readers = [reader for device in devices for reader in device.readers]
        self.pcsc_socket: str | None = None
        self.mode = "in-process"
        self.why_not = ""
        self._devices = devices
        self._client: RigClient | None = None
        self._bank: Bank | None = None
        self._hand: Hand | None = None

    def start_pcscd(self, start_child: StartChild, folder: Path, deck_file: Path) -> None:
        """Plug the cards into a pcscd of our own.

        Raises:
            DemoError: there can be none here, in one sentence.
        """
        devices_file = deck_file.with_name(f"{self.agent}.readers.json")
        devices_file.write_text(json.dumps([{"name": one.name, "slots": list(one.slots)} for one in self._devices]))
        said: Mapping[str, Any] = start_child(
            f"rig-{self.agent}",
            *("-m", "rig", "--run-dir", str(folder / self.agent), "--deck", str(deck_file)),
            *("--loader", "cardsim.deck:load_deck", "--readers", str(devices_file)),
        ).ready()
        self.pcsc_socket, self.mode = said["pcsc_socket"], said["mode"]
        self._hand = self._client = RigClient(said["control"])

    def stay_in_process(self, deck_file: Path, why_not: str) -> None:
        """Keep the readers inside this process."""
        self.why_not = why_not
        self._bank = Bank(self.readers, cast("Mapping[str, Card]", load_deck(deck_file)))
        self._hand = self._bank

    def driver(self) -> VirtualReaders:
        """Return the driver of readers inside this process."""
        if self._bank is None:
            raise AssertionError("these readers are a pcscd's")
        return VirtualReaders(self._bank)

    def insert(self, card_id: str, reader: str) -> None:
        """Hold a card to a reader.

        Raises:
            RigError: the card is elsewhere, the reader is taken, or there is no such card.
        """
        if self._hand is None:
            raise DemoError("the readers have not been started")
        self._hand.insert(card_id, reader)

    def eject(self, reader: str) -> None:
        """Take the card away again, if one is there."""
        if self._hand is None:
            return
        try:
            self._hand.eject(reader)
        except RigError:
            return

    def close(self) -> None:
        """Give back what is held here; the pcscd is its own program."""
        if self._client is not None:
            self._client.close()
