# SPDX-License-Identifier: EUPL-1.2
"""What the service needs of whoever keeps its keys: the masters of the cards, behind which a PKCS#11 token fits."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Protocol

from cardservice.chip.keys import CardKey, MasterKey, WritableKey
from cardservice.errors import KeyStoreError

# Every application on a card has these three; the card itself has one more.
STANDARD = "standard"


class TokenTrouble(KeyStoreError):
    """The token that keeps the masters is away, locked, or lacks a key; it may come back."""


class KeyRefused(KeyStoreError):
    """A key that everybody knows, that could be taken out of where it lies, or that is there already."""


class KeyName(NamedTuple):
    """Which master: of which use, for what, of which protection class, of which generation (1..255)."""

    use: str
    purpose: str
    generation: int
    protection: str = STANDARD

    def __str__(self) -> str:
        known = "" if self.protection == STANDARD else f" ({self.protection})"
        return f"{self.purpose} key of {self.use}{known}, generation {self.generation}"


class Masters(Protocol):
    """Whoever keeps masters. Every method may raise TokenTrouble; names that are not there: KeyStoreError."""

    @property
    def may_wait(self) -> bool:
        """Whether an operation can take longer than the event loop may stand still."""
        ...

    def names(self) -> Collection[KeyName]:
        """Return which masters are there."""
        ...

    def shared_key(self, name: KeyName) -> CardKey:
        """Return a key that is the same on every card of its use (locate)."""
        ...

    def master(self, name: KeyName) -> MasterKey:
        """Return a master from which the keys of single cards are derived."""
        ...

    def writable(self, name: KeyName, diversification_input: bytes | None) -> WritableKey:
        """Return the key of one card, to be written to it; `diversification_input` None: a shared key."""
        ...


class TokenKeys(Protocol):
    """A token that keeps the masters from which cards' keys are derived; shared keys are none of those."""

    def names(self) -> Collection[KeyName]:
        """Return which masters are there."""
        ...

    def master(self, name: KeyName) -> MasterKey:
        """Return a master."""
        ...

    def writable(self, name: KeyName, diversification_input: bytes) -> WritableKey:
        """Return the key of one card, to be written to it."""
        ...

    def make(self, names: Collection[KeyName]) -> None:
        """Generate masters inside the token; those that are there already stay."""
        ...

    def put(self, name: KeyName, key: bytes) -> None:
        """Bring a master into the token, which nobody can read from then on."""
        ...

    def remove(self, names: Collection[KeyName]) -> None:
        """Destroy masters; those that are not there are gone already."""
        ...


class Ring(Protocol):
    """The keys of one use that a tap needs (`chip.locate.UseKeys`)."""

    @property
    def locate(self) -> Sequence[CardKey]:
        """The locate keys, newest first: one, or two while a rotation is under way."""
        ...

    def proof(self, generation: int) -> MasterKey | None:
        """Return the proof master of a generation, None if it is unknown or closed."""
        ...


class KeyStore(Protocol):
    """The keys of the service: what taps, issuing and the service itself need. It hands out use, never masters."""

    @property
    def system_id(self) -> bytes:
        """The installation's constant in every diversification, 1 to 16 bytes."""
        ...

    @property
    def may_wait(self) -> bool:
        """Whether an operation can take longer than the event loop may stand still: then a thread does it."""
        ...

    def ring(self, use: str) -> Ring:
        """Return the keys of one use. Raises KeyStoreError where there are none."""
        ...

    def secret(self, purpose: str) -> bytes:
        """Return the service's own 32-byte secret for `purpose`."""
        ...

    def newest(self, use: str) -> int:
        """Return the generation that new cards get. Raises KeyStoreError where there is none."""
        ...

    def application_key(self, name: KeyName, number: bytes) -> WritableKey:
        """Return one card's key of an application: `number` is its number of that use, 12 bytes."""
        ...

    def picc_key(self, generation: int, badge_number: bytes) -> WritableKey:
        """Return the card level's key of the card with this badge number, 12 bytes."""
        ...


class CertificatesOfCards(Protocol):
    """What happens to a card's certificates when its state changes, in the transaction that changes it.

    `connection` is that transaction's, `card` the card's row, `reason` why the card changes. What is revoked is revoked
    for good.
    """

    def revoke(self, connection: Any, card: Any, reason: str | None) -> None:
        """The card ended."""
        ...

    def hold(self, connection: Any, card: Any, reason: str | None) -> None:
        """The card is suspended; not every reason puts certificates on hold."""
        ...

    def release(self, connection: Any, card: Any, reason: str | None) -> None:
        """The card is active again."""
        ...
