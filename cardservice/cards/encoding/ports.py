# SPDX-License-Identifier: EUPL-1.2
"""What encoding needs of the way to the card: somebody who transmits, and nothing else."""

from collections.abc import Callable, Sequence
from typing import Protocol

from cardservice.cards.encoding.rules import EncoderName
from cardservice.cards.ports import KeyName
from cardservice.chip.keys import WritableKey
from cardservice.chip.locate import UseKeys


class CardInReader(Protocol):
    """A card from when it is laid on a reader until it leaves. Used from one thread at a time, never the event loop.

    Every `begin` powers the card up anew.
    """

    def begin(self) -> None:
        """Let the next exchange be the first of a new activation of the card."""
        ...

    def exchange(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        """Transmit in order; return the answers, fewer if the card, its reader or its agent went away."""
        ...

    def release(self) -> None:
        """Power the card off; it may be taken away."""
        ...


class CardOnEncoder(CardInReader, Protocol):
    """A card on an encoder."""

    @property
    def encoder(self) -> EncoderName:
        """Where it lies."""
        ...


class EncodingKeys(Protocol):
    """What encoding needs of the key store (`cards.ports.KeyStore`); it hands out use, never masters."""

    @property
    def system_id(self) -> bytes:
        """The installation's constant in every diversification."""
        ...

    def ring(self, use: str) -> UseKeys:
        """Return the keys of one use that a tap needs. Raises KeyStoreError where there are none."""
        ...

    def newest(self, use: str) -> int:
        """Return the generation that new cards get. Raises KeyStoreError where there is none."""
        ...

    def secret(self, purpose: str) -> bytes:
        """Return the service's own 32-byte secret for `purpose`."""
        ...

    def application_key(self, name: KeyName, number: bytes) -> WritableKey:
        """Return one card's key of an application."""
        ...

    def picc_key(self, generation: int, badge_number: bytes) -> WritableKey:
        """Return the card level's key of the card with this badge number."""
        ...


class EncoderSeen(Protocol):
    """An encoder as its agent says it is; `visit` is the card that lies there, None: nothing does."""

    @property
    def encoder(self) -> EncoderName:
        """Which one."""
        ...

    @property
    def usable(self) -> bool:
        """Whether its reader can be used."""
        ...

    @property
    def visit(self) -> CardOnEncoder | None:
        """What lies there."""
        ...


class Encoders(Protocol):
    """The encoders of the agents that are connected. Used from the event loop."""

    changed: Callable[[], None]

    @property
    def now(self) -> Sequence[EncoderSeen]:
        """Every encoder, by agent and reader."""
        ...
