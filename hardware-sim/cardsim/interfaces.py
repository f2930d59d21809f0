# SPDX-License-Identifier: EUPL-1.2
"""What every virtual card offers to a reader, and the types shared by the applets."""

from collections.abc import Callable
from typing import Literal, Protocol

Interface = Literal["contact", "contactless"]

RandomBytes = Callable[[int], bytes]
"""A source of random bytes; published vectors replace it by their fixed values."""


class Card(Protocol):
    """A card as a reader sees it."""

    @property
    def card_id(self) -> str:
        """Name of the card inside a deck."""

    @property
    def label(self) -> str:
        """Text a person would read on the card."""

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card at one interface and return its ATR."""

    def power_off(self) -> None:
        """Take the power away; every session is lost."""

    def transmit(self, apdu: bytes) -> bytes:
        """Answer one command; the answer ends with SW1 SW2."""
