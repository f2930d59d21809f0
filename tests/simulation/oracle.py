# SPDX-License-Identifier: EUPL-1.2
"""What is right: who may pass where, worked out from the world itself, without any of the product's code."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from simulation.directory import BEAT_US, Directory, Told
from simulation.machine import START_MS
from simulation.town import PEOPLE, RIGHTS, Point, is_evening

# How long news of the directory and of the change log may take, and a decision to be written and sent.
PROPAGATION_US = 300_000
# A locked agent is cut off by then.
LOCKING_US = 500_000
# News and decision while the centre's disk stands still: a decision waits that long to be written.
STALLED_US = 2_600_000


@dataclass(frozen=True, slots=True)
class Version:
    """Who was there, not disabled, and in which groups, from `from_us` on."""

    from_us: int
    usable: frozenset[str]
    groups: Mapping[str, frozenset[str]]


class Oracle:
    """The history of the directory and of the cards; instants are microseconds of the world."""

    def __init__(self, directory: Directory, told: Sequence[Told]) -> None:
        self._directory = directory
        self._told = told
        self._people: list[Version] = []
        self._locked: list[tuple[int, frozenset[str]]] = [(0, frozenset({"locked"}))]
        self._locked_agents: dict[str, int] = {}
        self.people_changed()

    def people_changed(self) -> None:
        """The directory is different from now on."""
        directory = self._directory
        usable = frozenset(login for login in PEOPLE if directory.is_there(login) and directory.enabled[login])
        groups = {name: _everyone(name, directory.members) for name in directory.members}
        self._people.append(Version(directory.loop.now_us, usable, groups))

    def card_changed(self, card: str, *, locked: bool) -> None:
        """A card was locked, or is good again."""
        before = self._locked[-1][1]
        after = before | {card} if locked else before - {card}
        self._locked.append((self._directory.loop.now_us, after))

    def agent_locked(self, agent: str, *, locked: bool) -> None:
        """An agent is no longer trusted, or trusted again."""
        self._locked_agents.pop(agent, None)
        if locked:
            self._locked_agents[agent] = self._directory.loop.now_us

    def is_locked(self, card: str) -> bool:
        """Whether a card is locked now."""
        return card in self._locked[-1][1]

    def told_until(self, at_us: int) -> int:
        """Return the last instant up to `at_us` at which the centre heard of everything that changed."""
        latest = 0
        for told in self._told:
            if told.from_us <= at_us:
                latest = max(latest, at_us if told.until_us is None else min(told.until_us, at_us))
        return latest

    def hears(self, from_us: int, until_us: int) -> bool:
        """Tell whether the centre heard of everything all the time."""
        return any(
            told.from_us <= from_us and (told.until_us is None or told.until_us >= until_us) for told in self._told
        )

    def objection(self, card: str, point: Point, sent_us: int, *, stalled: bool) -> str | None:
        """Return why a permit sent at `sent_us` was wrong, None if anything the centre could know allows it."""
        if sent_us - self._locked_agents.get(point.agent, sent_us) > LOCKING_US:
            return "its agent was locked"
        told_us = self.told_until(sent_us)
        setup, late_us = point.setup, STALLED_US if stalled else PROPAGATION_US
        if sent_us - told_us > setup.freshness_ms * 1_000 + late_us + BEAT_US and setup.stale_policy != "permit":
            return f"the directory was last heard {(sent_us - told_us) // 1_000_000} s before"
        times = {is_evening(START_MS + at_us // 1_000) for at_us in (sent_us - late_us, sent_us)}
        if all(card in locked for locked in self._locks(sent_us - late_us, sent_us)):
            return "the card was locked"
        versions = self._versions(told_us - late_us, sent_us)
        if not any(_may(version, card, point, evening=evening) for version in versions for evening in times):
            return "the holder had no right"
        return None

    def must_pass(self, card: str, point: Point, from_us: int, until_us: int) -> bool:
        """Tell whether the holder of `card` had every right all the time, with time for the news before."""
        low_us = from_us - STALLED_US
        times = {is_evening(START_MS + at_us // 1_000) for at_us in (low_us, until_us)}
        if any(card in locked for locked in self._locks(low_us, until_us)):
            return False
        versions = self._versions(low_us, until_us)
        return all(_may(version, card, point, evening=evening) for version in versions for evening in times)

    def _versions(self, from_us: int, until_us: int) -> Iterator[Version]:
        starts = [version.from_us for version in self._people]
        first = max(0, bisect_right(starts, from_us) - 1)
        yield from self._people[first : max(first + 1, bisect_right(starts, until_us))]

    def _locks(self, from_us: int, until_us: int) -> Iterator[frozenset[str]]:
        starts = [at_us for at_us, _ in self._locked]
        first = max(0, bisect_right(starts, from_us) - 1)
        for _, locked in self._locked[first : max(first + 1, bisect_right(starts, until_us))]:
            yield locked


def _everyone(name: str, members: Mapping[str, set[str]]) -> frozenset[str]:
    """Return the people of a group, those of the groups in it too."""
    found: set[str] = set()
    for member in members[name]:
        found |= _everyone(member[1:], members) if member.startswith("@") else {member}
    return frozenset(found)


def _may(version: Version, card: str, point: Point, *, evening: bool) -> bool:
    """Tell whether the person `card` belongs to may pass: cards are called like their holders."""
    if card not in version.usable:
        return False
    granted = False
    for right in RIGHTS:
        named = card == right.login if right.login else card in version.groups[right.group or ""]
        if right.point == point.code and named and (evening or not right.evening):
            if right.block:
                return False
            granted = True
    return granted
