# SPDX-License-Identifier: EUPL-1.2
"""One card in the place of another without an empty moment, at many readers at once."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from faults.readers_city import PLACES, Place, ReaderCity
from faults.readers_feed import Seen
from support.waiting import let_run

# Before the first card was seen, in its conversation, after its decision.
MOMENTS = ("at once", "in mid conversation", "after the decision")


@dataclass(frozen=True)
class Swap:
    """`first` makes way for `second` at one reader."""

    place: Place
    first: str
    second: str
    when: str

    @classmethod
    def at(cls, place: Place, when: str, *, to_good: bool) -> Self:
        """From the stranger's card to the holder's, or the other way round."""
        slow = when == "in mid conversation"
        holder, stranger = (place.slow, place.slow_bad) if slow else (place.good, place.bad)
        return cls(place, stranger, place.good, when) if to_good else cls(place, holder, place.bad, when)

    @property
    def opens(self) -> bool:
        """Whether the second card has the right."""
        return self.second == self.place.good

    def second_is_right(self, seen: Seen) -> bool:
        """Whether this is the second card, decided for what it is."""
        wanted = ("acted", "granted", True) if self.opens else ("shown", self.place.refusal, False)
        return (seen.outcome, seen.reason, seen.released) == wanted

    def first_is_right(self, seen: Seen) -> bool:
        """Whether this is the first card, decided for what it is or broken off."""
        if self.when == "in mid conversation":
            return (seen.outcome, bool(seen.permit), seen.released) == ("card_gone", False, False)
        wanted = ("shown", self.place.refusal, False) if self.opens else ("acted", "granted", True)
        return (seen.outcome, seen.reason, seen.released) == wanted


def swap_all(city: ReaderCity, swaps: Sequence[Swap]) -> None:
    """Carry all of them out at once and see that both cards are decided for what they are."""
    began = city.feed.now()
    for swap in swaps:
        city.control.insert(swap.first, swap.place.reader)
        if swap.when == "at once":
            city.control.swap(swap.second, swap.place.reader)
    talking = [swap for swap in swaps if swap.when == "in mid conversation"]
    city.under_way([swap.place for swap in talking])
    for swap in talking:
        city.control.swap(swap.second, swap.place.reader)
    after = {swap: began if swap.when == "at once" else _first_over(city, swap, began) for swap in swaps}
    for swap in swaps:
        point = swap.place.point
        seen = city.feed.outcome(point, after[swap])
        assert swap.second_is_right(seen), (swap, seen)
        if swap.opens:
            city.feed.locked_again(point, after[swap])
        city.control.eject(swap.place.reader)
        assert len(city.feed.since(began, kind="event", point=point)) == 1 + (swap.when != "at once"), swap


def _first_over(city: ReaderCity, swap: Swap, began: int) -> int:
    """The first card's tap is over; return where the feed is then."""
    seen = city.feed.outcome(swap.place.point, began)
    assert swap.first_is_right(seen), (swap, seen)
    over = seen.position + 1
    if swap.when == "after the decision":
        if seen.released:
            over = city.feed.locked_again(swap.place.point, began)
        city.control.swap(swap.second, swap.place.reader)
    return over


def swap_whenever(city: ReaderCity, dice: random.Random, commands: int) -> int:
    """Swap cards everywhere at moments chosen by chance; return how many doors the first ones had opened.

    `commands` are those of a whole conversation.
    """
    began = city.feed.now()
    slow = ("whenever", "in mid conversation")
    swaps = [Swap.at(place, dice.choice(slow), to_good=dice.random() < 0.5) for place in PLACES]
    for swap in swaps:
        city.control.insert(swap.first, swap.place.reader)
    for swap in dice.sample(swaps, len(swaps)):
        let_run(dice, 0.12)
        city.control.swap(swap.second, swap.place.reader)
    return sum(_last_is_right(city, swap, began, commands) for swap in swaps)


def _last_is_right(city: ReaderCity, swap: Swap, began: int, commands: int) -> int:
    """Follow the taps at one reader to the last card's; return how often its predecessor had opened the door."""
    place, opened = swap.place, 0
    while not swap.second_is_right(seen := city.feed.outcome(place.point, began)):
        # The first card's tap: before the swap, or broken off by it.
        if seen.permit:
            assert not swap.opens, swap
            assert dict(city.control.stays(place.reader)[-2:])[swap.first] == commands, swap
        assert seen.outcome in {"acted", "shown", "card_gone"}, (swap, seen)
        opened += seen.released
        began = seen.position + 1
    assert opened <= 1, swap
    if swap.opens:
        assert city.control.stays(place.reader)[-1] == (swap.second, commands)
    city.control.eject(place.reader)
    return opened


def every_swap(dice: random.Random) -> list[Swap]:
    """Each moment in both directions, dealt to the readers by chance."""
    kinds = itertools.cycle(itertools.product(MOMENTS, (True, False)))
    places = dice.sample(PLACES, len(PLACES))
    return [Swap.at(place, when, to_good=to_good) for place, (when, to_good) in zip(places, kinds, strict=False)]
