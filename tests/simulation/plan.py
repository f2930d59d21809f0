# SPDX-License-Identifier: EUPL-1.2
"""What will happen in a world, drawn before it begins: taps, faults aimed at taps, faults out of the blue, people."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulation.chance import Dice
from simulation.town import AGENTS, GROUPS, PEOPLE, POINTS, Point

DAY_S = 86_400.0
# Steps that agent and centre take for one tap, and some for what comes behind it.
AGENT_STEPS, CENTRE_STEPS = 130, 110
KINDS = ("agent", "centre", "network", "directory", "people", "disk", "hardware")


@dataclass(frozen=True, slots=True)
class Planned:
    """At `at_s` the world does `what` with `values`."""

    at_s: float
    what: str
    values: dict[str, Any] = field(default_factory=dict)


class Planner:
    """Draws the plan of one world. Each world has a mix of its own: some have few crashes, some a bad network."""

    def __init__(self, seed: int, days: float, *, eventful: bool = False) -> None:
        self._dice = Dice(seed, "plan")
        self._days = days
        self.agents = AGENTS[: self._dice.choice((2, 2, 2, 3))]
        self._points = [point for point in POINTS.values() if point.agent in self.agents]
        shares = (2.0,) if eventful else (0.0, 0.4, 1.0, 1.0, 2.0)
        self._mix = {kind: self._dice.choice(shares) for kind in KINDS}
        # How many entries an outbox holds; the smallest one is full after a rush while the centre is away.
        self.capacity = self._dice.choice((100, 1_000))
        self._plan: list[Planned] = []

    def draw(self) -> list[Planned]:
        """Return everything that will happen, in order of time."""
        for day in range(max(1, round(self._days))):
            for agent in self.agents:
                self._day_of(agent, day * DAY_S)
        self._out_of_the_blue()
        end_s = self._days * DAY_S
        return sorted((one for one in self._plan if one.at_s < end_s), key=lambda one: one.at_s)

    def _add(self, at_s: float, what: str, **values: Any) -> None:
        self._plan.append(Planned(at_s, what, values))

    # People at doors.

    def _day_of(self, agent: str, from_s: float) -> None:
        dice = self._dice
        points = [point for point in self._points if point.agent == agent]
        for _ in range(dice.randint(8, 14)):
            # Most between 6 and 20 o'clock; the world begins at 6.
            hours = dice.uniform(0, 14) if dice.happens(0.9) else dice.uniform(0, 24)
            self._tap(from_s + 3_600 * hours, dice.choice(points))
        if dice.happens(0.6):
            at_s = from_s + 3_600 * dice.uniform(0, 14)
            for _ in range(dice.randint(4, 9)):
                at_s += dice.uniform(0.0, 2.5)
                self._tap(at_s, dice.choice(points))

    def _tap(self, at_s: float, point: Point) -> None:
        dice = self._dice
        card = self._card_for(point)
        self._add(at_s, "tap", point=point.code, card=card, for_s=self._how_long())
        if dice.happens(0.06):
            self._add(at_s + dice.uniform(0.1, 1.2), "tap", point=point.code, card=card, for_s=self._how_long())
        if dice.happens(0.16):
            self._aim_at(at_s, point, card)

    def _card_for(self, point: Point) -> str:
        likely = GROUPS["technik"] if point.kind == "hoch" else PEOPLE
        weights = (8, 1.5, 0.3, 0.4)
        (kind,) = self._dice.choices(("likely", "anybody", "unknown", "locked"), weights)
        return self._dice.choice(likely if kind == "likely" else PEOPLE) if kind in {"likely", "anybody"} else kind

    def _how_long(self) -> float:
        (kind,) = self._dice.choices(("stays", "short", "long"), (80, 16, 4))
        bounds = {"stays": (3.3, 5.0), "short": (0.03, 0.6), "long": (10.0, 60.0)}[kind]
        return self._dice.uniform(*bounds)

    # Faults that hit a tap.

    def _aim_at(self, at_s: float, point: Point, card: str) -> None:
        dice, mix = self._dice, self._mix
        weights = {
            "agent dies": mix["agent"],
            "centre dies": mix["centre"],
            "cut": mix["network"],
            "reset": mix["network"],
            "slow": mix["network"] / 2,
            "silent": mix["directory"] * 1.5,
            "person": mix["people"] * 1.5,
            "card": mix["people"],
            "lock": mix["people"] / 2,
            "stall": mix["disk"],
            "unplug": mix["hardware"] / 2,
            "jam": mix["hardware"] / 2,
        }
        if any(weights.values()):
            (kind,) = dice.choices(tuple(weights), tuple(weights.values()))
            getattr(self, "_aim_" + kind.replace(" ", "_"))(at_s, point, card)

    def _aim_agent_dies(self, at_s: float, point: Point, _: str) -> None:
        steps, down_s = self._dice.randint(0, AGENT_STEPS), self._dice.long_tailed(0.5, 60)
        silently = self._dice.happens(0.3)
        self._add(at_s, "fuse agent", agent=point.agent, steps=steps, down_s=down_s, silently=silently)

    def _aim_centre_dies(self, at_s: float, point: Point, _: str) -> None:
        steps, down_s = self._dice.randint(0, CENTRE_STEPS), self._dice.long_tailed(0.3, 60)
        self._add(at_s, "fuse centre", steps=steps, down_s=down_s, silently=self._dice.happens(0.3))

    def _aim_cut(self, at_s: float, point: Point, _: str) -> None:
        soon_s, for_s = at_s + self._dice.uniform(0, 0.4), self._dice.long_tailed(0.1, 120)
        self._add(soon_s, "cut", agent=point.agent, for_s=for_s, ways=self._ways())

    def _aim_reset(self, at_s: float, point: Point, _: str) -> None:
        self._add(at_s + self._dice.uniform(0, 0.4), "reset", agent=point.agent, silently=self._dice.happens(0.4))

    def _aim_slow(self, at_s: float, point: Point, _: str) -> None:
        self._add(at_s, "slow", agent=point.agent, for_s=self._dice.long_tailed(1, 60))

    def _aim_silent(self, at_s: float, point: Point, _: str) -> None:
        before_s = self._dice.long_tailed(0.1, 200)
        after_s = self._dice.uniform(-0.1, 2) * self._dice.long_tailed(1, 100)
        self._add(at_s - before_s, "silent", for_s=before_s + after_s)

    def _aim_person(self, at_s: float, _: Point, card: str) -> None:
        self._person(card if card in PEOPLE else "p0", at_s + self._dice.uniform(-4, 0.3))

    def _aim_card(self, at_s: float, _: Point, card: str) -> None:
        self._card(card if card in PEOPLE else "p1", at_s + self._dice.uniform(-4, 0.3))

    def _aim_lock(self, at_s: float, point: Point, _: str) -> None:
        at_s += self._dice.uniform(-2, 0.3)
        self._add(at_s, "lock agent", agent=point.agent)
        self._add(at_s + self._dice.long_tailed(3, 300), "unlock agent", agent=point.agent)

    def _aim_stall(self, at_s: float, point: Point, _: str) -> None:
        machine = self._dice.choice((point.agent, "centre"))
        self._add(at_s, "stall", machine=machine, for_s=self._dice.long_tailed(0.1, 6))

    def _aim_unplug(self, at_s: float, point: Point, _: str) -> None:
        soon_s, for_s = at_s + self._dice.uniform(0, 0.3), self._dice.long_tailed(0.05, 20)
        self._add(soon_s, "unplug", agent=point.agent, reader=point.reader, for_s=for_s)

    def _aim_jam(self, at_s: float, point: Point, _: str) -> None:
        self._add(at_s, "jam", agent=point.agent, point=point.code, for_s=self._dice.long_tailed(1, 60))

    # Faults that hit anything.

    def _out_of_the_blue(self) -> None:
        for agent in self.agents:
            self._blue_agent(agent)
        self._blue_centre()
        self._blue_people()
        dice, mix = self._dice, self._mix
        for at_s in self._times(0.4 * mix["directory"]):
            self._add(at_s, "silent", for_s=dice.long_tailed(30, 1.3 * DAY_S))
        for at_s in self._times(0.5 * mix["hardware"]):
            point = dice.choice(self._points)
            self._add(at_s, "unplug", agent=point.agent, reader=point.reader, for_s=dice.long_tailed(0.2, 3_600))
        for at_s in self._times(0.02 * mix["network"]):
            point = dice.choice(self._points)
            self._add(at_s, "cut", agent=point.agent, for_s=300, ways=("up", "down"))
            self._add(at_s + 30, "rush", point=point.code, count=dice.randint(110, 160))

    def _blue_agent(self, agent: str) -> None:
        dice, mix = self._dice, self._mix
        for at_s in self._times(0.6 * mix["agent"]):
            what = dice.choice(("kill agent", "kill agent", "stop agent"))
            self._add(at_s, what, agent=agent, down_s=dice.long_tailed(1, 7_200), silently=dice.happens(0.4))
        for at_s in self._times(0.3 * mix["hardware"]):
            reach_ms = dice.choice((5_000, 600_000, 86_400_000))
            self._add(at_s, "set clock", agent=agent, offset_ms=dice.randint(-reach_ms, reach_ms))
        for at_s in self._times(0.6 * mix["network"]):
            self._add(at_s, "cut", agent=agent, for_s=dice.long_tailed(2, 15_000), ways=self._ways())
        for at_s in self._times(0.15 * mix["people"]):
            self._add(at_s, "lock agent", agent=agent)
            self._add(at_s + dice.long_tailed(1, 1_200), "unlock agent", agent=agent)

    def _blue_centre(self) -> None:
        dice, mix = self._dice, self._mix
        for at_s in self._times(0.6 * mix["centre"]):
            what = dice.choice(("kill centre", "kill centre", "stop centre"))
            self._add(at_s, what, down_s=dice.long_tailed(0.5, 7_200), silently=dice.happens(0.3))
        for number, at_s in enumerate(self._times(0.25 * mix["disk"])):
            self._add(max(0.0, at_s - dice.long_tailed(600, 1.5 * DAY_S)), "back up", number=number)
            self._add(at_s, "restore", number=number, down_s=dice.long_tailed(1, 600))

    def _blue_people(self) -> None:
        for at_s in self._times(1.2 * self._mix["people"]):
            self._person(self._dice.choice(PEOPLE), at_s)
        for at_s in self._times(0.7 * self._mix["people"]):
            self._card(self._dice.choice(PEOPLE), at_s)

    def _ways(self) -> tuple[str, ...]:
        return self._dice.choice((("up", "down"), ("up", "down"), ("up",), ("down",)))

    def _times(self, per_day: float) -> Iterator[float]:
        for _ in range(round(per_day * self._days + self._dice.random())):
            yield self._dice.uniform(0, self._days * DAY_S)

    def _person(self, login: str, at_s: float) -> None:
        dice = self._dice
        back_s = at_s + dice.long_tailed(3, 30_000)
        match dice.choice(("disabled", "disabled", "removed", "replaced", "renamed", "moved")):
            case "disabled":
                self._add(at_s, "disable", login=login)
                self._add(back_s, "enable", login=login)
            case "removed":
                self._add(at_s, "remove", login=login)
                self._add(back_s, "add", login=login)
            case "replaced":
                self._add(at_s, "replace", login=login)
                self._add(back_s, "add", login=login)
            case "renamed":
                self._add(at_s, "rename", login=login)
            case _:
                group = dice.choice(tuple(GROUPS))
                self._add(at_s, "member", login=login, group=group)
                self._add(back_s, "member", login=login, group=group)

    def _card(self, card: str, at_s: float) -> None:
        self._add(at_s, "lock card", card=card)
        self._add(at_s + self._dice.long_tailed(3, 20_000), "unlock card", card=card)
