# SPDX-License-Identifier: EUPL-1.2
"""What may differ between makers of PIV cards, as a port; the standard's own answers are here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cardsim.apdu import CommandApdu
from cardsim.piv_keys import CURVES, RSA_ALGORITHMS, KeyUse, standard_use
from cardsim.piv_objects import CERTIFICATES, capacity_of
from cardsim.piv_reference import is_padded_pin

if TYPE_CHECKING:
    from cardsim.piv import PivApplet

Handler = Callable[[CommandApdu], bytes]


@dataclass(frozen=True)
class CardRules:
    """The choices of one make of card.

    ``is_pin`` judges a PIN before it is compared, ``capacity_of`` gives the bytes of an object or None where there is
    no such object, ``use_of`` what the key of a slot may do. ``forgets_on_select`` is for cards that begin anew with
    every SELECT, ``deletes_empty`` for those where an object without content is one that is not there,
    ``unasked_length`` for those that send so many bytes to whoever gave no Le.
    """

    name: str
    is_pin: Callable[[bytes], bool] = is_padded_pin
    capacity_of: Callable[[bytes], int | None] = capacity_of
    use_of: Callable[[int], KeyUse] = standard_use
    generated_algorithms: frozenset[int] = frozenset(
        {*RSA_ALGORITHMS.values(), *(identifier for identifier, _ in CURVES.values())}
    )
    generated_slots: frozenset[int] = frozenset(CERTIFICATES)
    chained: frozenset[int] = frozenset({0x87, 0xDB, 0x47})
    forgets_on_select: bool = False
    deletes_empty: bool = False
    unasked_length: int = 0


class PivVariant(Protocol):
    """A make of card."""

    @property
    def rules(self) -> CardRules:
        """Its choices."""

    def instructions(self, applet: "PivApplet") -> Mapping[int, Handler]:
        """Instructions the standard does not have, or that it answers in another way."""

    def application(self, aid: bytes) -> Mapping[int, Handler] | None:
        """Another application of the card by its AID: its instructions; SELECT (A4) answers its own selection."""


class StandardCard:
    """SP 800-73-4 and nothing else."""

    rules = CardRules("piv")

    def instructions(self, applet: "PivApplet") -> Mapping[int, Handler]:
        """None."""
        del applet
        return {}

    def application(self, aid: bytes) -> Mapping[int, Handler] | None:
        """None."""
        del aid
        return None
