# SPDX-License-Identifier: EUPL-1.2
"""PINs over the counter: a colleague hands out a new one, which is seen once; holders choose their own.

Everything blocks. No PIN is kept, repeated or logged: it goes from here into the one answer that shows it.
"""

import secrets
from typing import Final

from cardservice.cards.pin.rules import fault_of
from cardservice.cards.pin.service import Holder, Pins, PinView
from cardservice.errors import Conflict
from cardservice.people.register import PeopleRegister, PersonView
from cardservice.web.reach import Reach

# Ten to the power of six, and three tries in five minutes.
DIGITS: Final = 6


class OwnPin(Conflict):
    """Nobody hands a PIN to themselves."""

    code = "own_pin"


class PinOffice:
    """The PINs and the people whose they are."""

    def __init__(self, pins: Pins, people: PeopleRegister) -> None:
        self._pins = pins
        self._people = people

    def view(self, person: int, reaches: tuple[Reach, ...]) -> tuple[PersonView, PinView]:
        """Return what may be known of somebody's PIN.

        Raises:
            NotFound: nobody within reach has this number.
        """
        return self._people.one(person, reaches), self._pins.view(person)

    def hand_out(self, person: int, reaches: tuple[Reach, ...], by: int | None) -> tuple[PersonView, str]:
        """Give somebody a new PIN by chance, in place of any before; return it, once.

        Asked again, another one is made: what was not seen or not understood is worth nothing any more.

        Raises:
            NotFound: nobody within reach has this number.
            OwnPin: it is one's own; one chooses that oneself, on the page of one's own card.
            Conflict: they need no PIN any more.
        """
        found = self._people.one(person, reaches)
        if by == person:
            raise OwnPin("nobody hands a PIN to themselves: choose your own at My card")
        made = _by_chance()
        self._pins.set(person, made)
        return found, made

    def unlock(self, person: int, reaches: tuple[Reach, ...]) -> None:
        """Forget wrong tries with every card of somebody. Raises NotFound."""
        self._people.one(person, reaches)
        self._pins.unlock(Holder(person))

    def take_away(self, person: int, reaches: tuple[Reach, ...]) -> bool:
        """Take somebody's PIN away; tell whether there was one. Raises NotFound."""
        self._people.one(person, reaches)
        return self._pins.reset(person)

    def choose(self, person: int, pin: str, again: str) -> None:
        """Set one's own PIN.

        Raises:
            Conflict: the two are not the same, it may not be a PIN, it is the one they have, or they need none.
        """
        if not secrets.compare_digest(pin.encode(), again.encode()):
            raise Conflict("the two PINs are not the same")
        self._pins.set(person, pin)

    def own(self, person: int) -> PinView:
        """Return what may be known of one's own PIN."""
        return self._pins.view(person)


def _by_chance() -> str:
    """Return a PIN that may be one: nine of ten thousand have to be drawn again."""
    while True:
        made = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
        if fault_of(made) is None:
            return made
