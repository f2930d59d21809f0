# SPDX-License-Identifier: EUPL-1.2
"""Who counts where after leaving a department group, from dated facts alone; and models that get one rule wrong each.

`docs/directory.md`, "Movers", is all the model follows. It keeps when each person was last seen to leave each group.
Where the page leaves something open, both answers are right: what somebody must be in, and what they may be in.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """What the directory names. Members are the ids of people and groups that a group itself names."""

    people: frozenset[str]
    able: frozenset[str]
    departments: frozenset[str]
    members: Mapping[str, frozenset[str]]

    def named(self) -> set[tuple[str, str]]:
        """Return who is a member of which department group."""
        return {(one, group) for group in self.departments for one in self.members[group] if one in self.people}


@dataclass
class Leave:
    """Somebody stopped being a member of a department group. `overlaps_ms` are the settings since, None for off."""

    at_ms: int
    overlaps_ms: set[int | None]
    # False: the page does not say whether this counts.
    sure: bool = True


class Model:
    """Dated facts and nothing else; told of everything at the moment at which the copy is."""

    def __init__(self) -> None:
        self.seen = Seen(frozenset(), frozenset(), frozenset(), {})
        self.left: dict[tuple[str, str], Leave] = {}
        self.overlap_ms: int | None = None

    def set_overlap(self, overlap_ms: int | None) -> None:
        self.overlap_ms = overlap_ms
        for leave in self.left.values():
            leave.overlaps_ms.add(overlap_ms)

    def see(self, seen: Seen, now_ms: int) -> None:
        """Compare what the directory names with what it named before."""
        before, after = self.seen.named(), seen.named()
        for member in before - after:
            self.left[member] = Leave(now_ms, {self.overlap_ms})
        for person, group in list(self.left):
            if (person, group) in after:
                del self.left[person, group]
            elif person not in seen.people or group not in seen.departments:
                # Nothing of it counts; whether it does once they are back the page does not say.
                self.left[person, group].sure = False
        self.seen = seen

    def end(self, person: str, group: str) -> None:
        """An administrator ends a window."""
        del self.left[person, group]

    def counts(self, person: str, now_ms: int, *, surely: bool) -> dict[str, int]:
        """Return the groups somebody left and still is in -> until when; `surely`: without what may be or not."""
        if self.overlap_ms is None or (surely and not self.is_able(person)):
            return {}
        found = {}
        for (one, group), leave in self.left.items():
            if one != person or group not in self.seen.departments or not self.is_elsewhere(person, group, now_ms):
                continue
            known = [days for days in leave.overlaps_ms if days is not None]
            if surely and (not leave.sure or None in leave.overlaps_ms):
                continue
            until_ms = self.until(leave.at_ms, min(known) if surely else max(known))
            if now_ms < until_ms:
                found[group] = until_ms
        return found

    def until(self, left_ms: int, overlap_ms: int) -> int:
        return left_ms + overlap_ms

    def is_able(self, person: str) -> bool:
        """Say whether somebody is refused anyway: what groups such people are in the page does not say."""
        return person in self.seen.able

    def is_elsewhere(self, person: str, group: str, now_ms: int) -> bool:
        """Say whether somebody is a member of a department group now, another one than that."""
        return any(one == person and other != group for one, other in self.seen.named())

    def groups(self, person: str, now_ms: int, *, surely: bool) -> set[str]:
        """Return every group somebody is in, groups in groups included."""
        inside = {group for group, members in self.seen.members.items() if person in members}
        inside |= set(self.counts(person, now_ms, surely=surely))
        while more := {group for group, members in self.seen.members.items() if members & inside} - inside:
            inside |= more
        return inside


class NobodyCounts(Model):
    def counts(self, person: str, now_ms: int, *, surely: bool) -> dict[str, int]:
        return {}


class WindowEndsLate(Model):
    def until(self, left_ms: int, overlap_ms: int) -> int:
        return left_ms + overlap_ms + 1


class WindowEndsEarly(Model):
    def until(self, left_ms: int, overlap_ms: int) -> int:
        return left_ms + overlap_ms - 1


class LeaversCount(Model):
    def is_elsewhere(self, person: str, group: str, now_ms: int) -> bool:
        return True


class AnyGroupIsElsewhere(Model):
    def is_elsewhere(self, person: str, group: str, now_ms: int) -> bool:
        return any(person in members for members in self.seen.members.values())


class NestedGroupsAreElsewhere(Model):
    def is_elsewhere(self, person: str, group: str, now_ms: int) -> bool:
        inside = {one for one, members in self.seen.members.items() if person in members}
        while more := {one for one, members in self.seen.members.items() if members & inside} - inside:
            inside |= more
        return bool(inside & self.seen.departments - {group})


class WindowsHoldEachOther(Model):
    def is_elsewhere(self, person: str, group: str, now_ms: int) -> bool:
        recent = {
            other
            for (one, other), leave in self.left.items()
            if one == person and now_ms - leave.at_ms < (self.overlap_ms or 0) and other in self.seen.departments
        }
        return super().is_elsewhere(person, group, now_ms) or bool(recent - {group})


class WindowBeginsWhenTheyJoin(Model):
    def see(self, seen: Seen, now_ms: int) -> None:
        joined = {person for person, _ in seen.named() - self.seen.named()}
        super().see(seen, now_ms)
        for (person, _), leave in self.left.items():
            leave.at_ms = now_ms if person in joined else leave.at_ms


class OneWindowEach(Model):
    def see(self, seen: Seen, now_ms: int) -> None:
        gone = {person for person, _ in self.seen.named() - seen.named()}
        earlier = [member for member in self.left if member[0] in gone]
        super().see(seen, now_ms)
        for member in earlier:
            if member in self.left and self.left[member].at_ms < now_ms:
                del self.left[member]


class LostOnceIsLost(Model):
    def see(self, seen: Seen, now_ms: int) -> None:
        super().see(seen, now_ms)
        for person, group in list(self.left):
            if not self.is_elsewhere(person, group, now_ms):
                del self.left[person, group]


class WindowOutlivesAReturn(Model):
    def see(self, seen: Seen, now_ms: int) -> None:
        earlier = dict(self.left)
        super().see(seen, now_ms)
        for member in earlier.keys() & self.left.keys():
            self.left[member].at_ms = min(earlier[member].at_ms, self.left[member].at_ms)
        self.returned = getattr(self, "returned", {}) | earlier
        for member, leave in self.returned.items():
            if member in self.left and self.left[member].at_ms == now_ms:
                self.left[member].at_ms = leave.at_ms


class NotWhatTheOldGroupIsIn(Model):
    def groups(self, person: str, now_ms: int, *, surely: bool) -> set[str]:
        inside = {group for group, members in self.seen.members.items() if person in members}
        while more := {group for group, members in self.seen.members.items() if members & inside} - inside:
            inside |= more
        return inside | set(self.counts(person, now_ms, surely=surely))


class MembersThroughGroupsLeave(Model):
    def see(self, seen: Seen, now_ms: int) -> None:
        through = {(one, group) for one in seen.people & self.seen.people for group in self._through(self.seen, one)}
        super().see(seen, now_ms)
        for one, group in through:
            if group not in self._through(seen, one) and group in seen.departments:
                self.left.setdefault((one, group), Leave(now_ms, {self.overlap_ms}))

    @staticmethod
    def _through(seen: Seen, person: str) -> set[str]:
        inside = {one for one, members in seen.members.items() if person in members}
        while more := {one for one, members in seen.members.items() if members & inside} - inside:
            inside |= more
        return inside & seen.departments


class DeletedGroupsCount(Model):
    def see(self, seen: Seen, now_ms: int) -> None:
        still = self.seen.departments & frozenset(seen.members)
        super().see(Seen(seen.people, seen.able, seen.departments | still, seen.members), now_ms)


class DisabledForGood(Model):
    """Whoever is disabled once has no window of before."""

    def see(self, seen: Seen, now_ms: int) -> None:
        super().see(seen, now_ms)
        for person, group in list(self.left):
            if person not in seen.able:
                del self.left[person, group]


class ForgottenAtARestart(Model):
    def set_overlap(self, overlap_ms: int | None) -> None:
        self.left.clear()
        super().set_overlap(overlap_ms)


class EndedWindowsCount(Model):
    def end(self, person: str, group: str) -> None:
        """Nothing ends but by itself."""


WRONG_MODELS = [
    one for one in list(globals().values()) if isinstance(one, type) and issubclass(one, Model) and one is not Model
]
