# SPDX-License-Identifier: EUPL-1.2
"""People at the doors: they hold cards to readers, take them away, and are let in when nothing stands against it."""

from dataclasses import dataclass

from simulation.hardware import Held
from simulation.loop import Process
from simulation.parts import Parts
from simulation.town import PEOPLE, POINTS, Point

from cardsim.card import VirtualCard

# In which an entitled holder with the card at the reader is let in.
PROMPT_S = 3.0
# A tap before this one has ended by then, with all its budgets.
APART_US = 9_000_000


@dataclass(frozen=True, slots=True)
class Expected:
    """A tap that nothing stands against so far: with what it began."""

    place: Point
    card: str
    at_us: int
    process: Process
    centre_starts: int
    connection: int


class Visitors:
    """All who hold cards to readers."""

    def __init__(self, parts: Parts, cards: dict[str, VirtualCard]) -> None:
        self._parts = parts
        self._cards = cards
        self._in_hand: set[str] = set()
        self._last_us: dict[str, int] = {}
        self.checked = 0

    def tap(self, point: str, card: str, for_s: float) -> None:
        """Somebody holds `card` to the reader of `point` for a while, unless another card is there."""
        parts, place = self._parts, POINTS[point]
        readers = parts.agents[place.agent].readers
        if place.reader in readers.held or card in self._in_hand:
            return
        now_us = parts.loop.now_us
        expected = self._expect(place, card) if for_s > PROMPT_S else None
        held = Held(self._cards[card], now_us + int(for_s * 1_000_000))
        parts.trace.note(place.agent, f"card {card} at {point} for {for_s:.3f}")
        self._in_hand.add(card)
        self._last_us[point] = now_us
        readers.insert(place.reader, held)
        parts.loop.call_later(for_s, self._take_away, place, card, held)
        if expected is not None:
            parts.loop.call_later(PROMPT_S, self._check, expected)

    def rush(self, point: str, count: int) -> None:
        """Many come one after the other and do not wait for the answer."""
        if count > 0:
            self.tap(point, PEOPLE[count % len(PEOPLE)], 0.2)
            self._parts.loop.call_later(0.5, self.rush, point, count - 1)

    def all_go(self) -> None:
        """Everybody takes their cards away."""
        for program in self._parts.agents.values():
            for point in program.points:
                if point.reader in program.readers.held:
                    program.readers.remove(point.reader)
        self._in_hand.clear()

    def answered_at(self, point: str) -> str | None:
        """Return the card that answered last at a point."""
        place = POINTS[point]
        return self._parts.agents[place.agent].readers.answered.get(place.reader)

    def _take_away(self, place: Point, card: str, held: Held) -> None:
        readers = self._parts.agents[place.agent].readers
        if readers.held.get(place.reader) is held:
            self._in_hand.discard(card)
            self._parts.trace.note(place.agent, f"card {card} leaves {place.code}")
            readers.remove(place.reader)

    def _expect(self, place: Point, card: str) -> Expected | None:
        """Return what is expected of a tap, None if something may stand against it already."""
        parts, now_us = self._parts, self._parts.loop.now_us
        program = parts.agents[place.agent]
        if program.process is None or not parts.is_connected(place.agent):
            return None
        if now_us - self._last_us.get(place.code, -APART_US) < APART_US:
            return None
        number, welcomed_us = parts.witness.welcomed[place.agent]
        if now_us - max(welcomed_us, program.started_us) < 1_000_000 or self._is_faulty(place, now_us):
            return None
        return Expected(place, card, now_us, program.process, parts.centre.starts, number)

    def _is_faulty(self, place: Point, at_us: int) -> bool:
        """Tell whether link, disk, reader or door did not work properly at any time since `at_us`."""
        parts, link = self._parts, self._parts.network.link(place.agent)
        readers = parts.agents[place.agent].readers
        if place.reader in readers.unplugged or place.code in readers.stuck or readers.touched_us > at_us - 6_000_000:
            return True
        stalls = max(parts.machines[name].disk_stalls_until_us for name in (place.agent, "centre"))
        return link.cut or max(link.slow_until_us, link.whole_since_us, stalls) > at_us - 1_000_000

    def _check(self, expected: Expected) -> None:
        """An entitled holder was let in, if nothing stood against it to the end."""
        parts, place, now_us = self._parts, expected.place, self._parts.loop.now_us
        program = parts.agents[place.agent]
        same = (
            program.process is expected.process
            and expected.process.alive
            and not program.is_stopping
            and parts.centre.running is not None
            and parts.centre.starts == expected.centre_starts
            and parts.is_connected(place.agent)
            and parts.witness.welcomed[place.agent][0] == expected.connection
        )
        if not same or self._is_faulty(place, expected.at_us):
            return
        heard = parts.oracle.hears(expected.at_us - 1_000_000, now_us)
        if not heard or not parts.oracle.must_pass(expected.card, place, expected.at_us, now_us):
            return
        self.checked += 1
        if parts.witness.pulses.get(place.code, -1) < expected.at_us:
            parts.trace.violated(f"{expected.card} stood at {place.code} for {PROMPT_S} s and was not let in")
