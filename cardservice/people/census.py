# SPDX-License-Identifier: EUPL-1.2
"""Everybody and every group of one directory, in memory: works out what a change does, and stores it.

What a transaction that failed leaves half done here is to be thrown away: the stored copy is read anew.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from sqlalchemy.engine import Connection

from cardservice.courtesy import give_way
from cardservice.people import store
from cardservice.people.holds.rules import Loss, Told, Weighed
from cardservice.people.movers.book import WindowBook
from cardservice.people.movers.rules import MoverRule
from cardservice.people.ports import DirectoryChange
from cardservice.people.rules import DirectoryEntry, DirectoryGroup, DirectoryPerson, Memberships


@dataclass(frozen=True, slots=True)
class Followed:
    """A directory as it is followed: what it is called here, and for how long movers count where they were."""

    name: str
    movers: MoverRule | None = None


@dataclass(slots=True)
class Step:
    """What one change does, worked out before anything is stored.

    `affected_dns` and `looked_at` (stable ids) are those whose effective groups may be other ones afterwards.
    """

    new_people: list[DirectoryPerson] = field(default_factory=list)
    known_people: dict[int, DirectoryPerson] = field(default_factory=dict)
    gone_people: list[str] = field(default_factory=list)
    new_groups: list[DirectoryGroup] = field(default_factory=list)
    known_groups: dict[int, DirectoryGroup] = field(default_factory=dict)
    gone_groups: list[str] = field(default_factory=list)
    affected_dns: set[str] = field(default_factory=set)
    looked_at: set[str] = field(default_factory=set)


class Census:
    """The people and groups of a directory as they are stored; new people belong to `organisation` (a row number)."""

    def __init__(self, connection: Connection, followed: Followed, organisation: int) -> None:
        self._directory = followed.name
        self._organisation = organisation
        self.people = store.load_people(connection, followed.name)
        self.groups = store.load_groups(connection, followed.name)
        self._by_dn = {known.entry.dn: stable_id for stable_id, known in self.people.items() if known.present}
        self._memberships = Memberships(known.entry for known in self.groups.values() if known.present)
        self.windows = WindowBook(followed.name, followed.movers, self.people, self.groups, self._memberships)
        self.windows.load(connection, self._by_dn)

    def known_dns(self) -> Mapping[str, str]:
        """Return stable id -> normalised DN of every entry that is present."""
        people = {stable_id: known.entry.dn for stable_id, known in self.people.items() if known.present}
        groups = {stable_id: known.entry.dn for stable_id, known in self.groups.items() if known.present}
        return people | groups

    def counts(self) -> tuple[int, int]:
        """Return how many people and how many groups are present."""
        people = sum(1 for known in self.people.values() if known.present)
        return people, sum(1 for known in self.groups.values() if known.present)

    def logins(self) -> dict[int, str | None]:
        """Return row number -> login of everybody present."""
        return {known.row: known.entry.login for known in self.people.values() if known.present}

    def told(self, change: DirectoryChange, total: int) -> Told:
        """Return what a change says of people who are present."""
        named = {entry.stable_id: entry for entry in change.upserts if isinstance(entry, DirectoryPerson)}
        shut = {
            stable_id
            for stable_id, entry in named.items()
            if not entry.enabled and self._is_present(stable_id) and self.people[stable_id].entry.enabled
        }
        removed = {
            stable_id for stable_id in change.removed if stable_id in self.people and self._is_present(stable_id)
        }
        return Told(removed, shut, named.keys(), change.complete, total)

    def plan(self, change: DirectoryChange, weighed: Weighed) -> Step:
        """Work out what of a change is to be stored."""
        step = Step(gone_people=sorted(weighed.gone))
        step.gone_groups = [one for one in change.removed if one in self.groups and self._is_present(one)]
        self._take_gone(step)
        # The last state of an entry counts. Old names are given up before new ones are taken: in one change two people
        # may swap names, or one take the name another has just left.
        entries = [_kept_enabled(one, weighed) for one in {one.stable_id: one for one in change.upserts}.values()]
        self._give_up_old_names(entries, step)
        for entry in entries:
            give_way()
            self._take_entry(entry, step)
        if change.complete:
            # Everything was read anew: what may have gone wrong before is put right now.
            step.affected_dns |= self._by_dn.keys()
        return step

    def plan_losses(self, losses: Mapping[str, Loss]) -> Step:
        """Work out what the loss of these people does."""
        step = Step(gone_people=[one for one, loss in losses.items() if loss is Loss.LOST])
        for stable_id, loss in losses.items():
            if loss is Loss.DISABLED:
                known = self.people[stable_id]
                step.known_people[known.row] = replace(known.entry, enabled=False)
        self._take_gone(step)
        return step

    def plan_ends(self, connection: Connection, now_ms: int) -> Step:
        """Work out whose windows are over by now; after the copy was read, what became of any of them."""
        return Step(looked_at=self.windows.take_due(connection, now_ms))

    def store(self, connection: Connection, step: Step, now_ms: int) -> set[int]:
        """Store a step; return the row numbers of everybody who is no longer what they were."""
        touched = self._store_people(connection, step)
        self._store_groups(connection, step)
        return touched | self._store_memberships(connection, step, now_ms)

    def rows(self, stable_ids: Iterable[str]) -> list[int]:
        """Return the row numbers of known people."""
        return [self.people[stable_id].row for stable_id in stable_ids]

    def _take_gone(self, step: Step) -> None:
        self._forget_dns({stable_id: self.people[stable_id].entry.dn for stable_id in step.gone_people}, step)
        for stable_id in step.gone_groups:
            step.affected_dns |= self._memberships.remove(stable_id)

    def _is_present(self, stable_id: str) -> bool:
        known = self.people.get(stable_id) or self.groups.get(stable_id)
        return known is not None and known.present

    def _take_entry(self, entry: DirectoryEntry, step: Step) -> None:
        """Note what `entry` changes; a full read names everybody, and most of them are as they were."""
        if isinstance(entry, DirectoryGroup):
            self._take_group(entry, step)
            return
        known = self.people.get(entry.stable_id)
        if (
            known is not None
            and known.present
            and known.entry == entry
            and self._by_dn.get(entry.dn) == entry.stable_id
        ):
            return
        if known is None:
            step.new_people.append(entry)
        else:
            step.known_people[known.row] = entry
        if self._by_dn.get(entry.dn, entry.stable_id) != entry.stable_id:
            # Whoever had the name before gives it up in a later change; nothing of theirs is handed on.
            self._forget_members({entry.dn}, step)
        self._by_dn[entry.dn] = entry.stable_id
        step.affected_dns.add(entry.dn)

    def _take_group(self, group: DirectoryGroup, step: Step) -> None:
        known = self.groups.get(group.stable_id)
        if known is not None and known.present and self._memberships.current(group.stable_id) == group:
            return
        step.affected_dns |= self._memberships.replace(group)
        if known is None:
            step.new_groups.append(group)
        else:
            step.known_groups[known.row] = group

    def _give_up_old_names(self, entries: Iterable[DirectoryEntry], step: Step) -> None:
        old_names = {}
        for entry in entries:
            known = self.people.get(entry.stable_id)
            if known is not None and known.present and known.entry.dn != entry.dn:
                old_names[entry.stable_id] = known.entry.dn
        self._forget_dns(old_names, step)

    def _forget_dns(self, dns: Mapping[str, str], step: Step) -> None:
        """Names without their owners (stable id -> DN) must not lend their memberships to whoever gets them next."""
        theirs = {dn for owner, dn in dns.items() if self._by_dn.get(dn) == owner}
        for dn in theirs:
            del self._by_dn[dn]
        self._forget_members(theirs, step)

    def _forget_members(self, dns: AbstractSet[str], step: Step) -> None:
        for group in self._memberships.forget_members(dns):
            step.known_groups[self.groups[group.stable_id].row] = group

    def _store_people(self, connection: Connection, step: Step) -> set[int]:
        rows = store.insert_people(connection, self._directory, self._organisation, step.new_people)
        for entry in step.new_people:
            self.people[entry.stable_id] = store.KnownPerson(rows[entry.stable_id], entry, frozenset(), present=True)
        store.update_people(connection, step.known_people)
        for row, entry in step.known_people.items():
            groups = self.people[entry.stable_id].groups
            self.people[entry.stable_id] = store.KnownPerson(row, entry, groups, present=True)
        gone = [self.people[stable_id] for stable_id in step.gone_people]
        store.mark_gone(connection, store.person, [known.row for known in gone])
        for known in gone:
            self.people[known.entry.stable_id] = store.KnownPerson(known.row, known.entry, known.groups, present=False)
        return {*rows.values(), *step.known_people, *(known.row for known in gone)}

    def _store_groups(self, connection: Connection, step: Step) -> None:
        rows = store.insert_groups(connection, self._directory, step.new_groups)
        for entry in step.new_groups:
            self.groups[entry.stable_id] = store.KnownGroup(rows[entry.stable_id], entry, present=True)
        store.update_groups(connection, step.known_groups)
        for row, entry in step.known_groups.items():
            self.groups[entry.stable_id] = store.KnownGroup(row, entry, present=True)
        gone = [self.groups[stable_id] for stable_id in step.gone_groups]
        store.mark_gone(connection, store.directory_group, [known.row for known in gone])
        for known in gone:
            self.groups[known.entry.stable_id] = store.KnownGroup(known.row, known.entry, present=False)

    def _store_memberships(self, connection: Connection, step: Step, now_ms: int) -> set[int]:
        """Store the effective groups of everyone the change may have moved; return the rows that did change."""
        for stable_id in {*step.gone_people, *step.looked_at}:
            if not self.people[stable_id].present:
                self.windows.forget(stable_id)
        moved: dict[int, frozenset[int]] = {}
        for stable_id in self._perhaps_moved(step):
            give_way()
            known = self.people[stable_id]
            groups = self._effective_groups(stable_id, known.entry.dn, now_ms)
            if groups != known.groups:
                moved[known.row] = groups
                self.people[stable_id] = store.KnownPerson(known.row, known.entry, groups, known.present)
        self.windows.store(connection)
        store.store_effective_groups(connection, moved)
        return set(moved)

    def _perhaps_moved(self, step: Step) -> set[str]:
        """Return everyone present whose effective groups or windows may be other ones."""
        changed_groups = [*step.gone_groups, *(group.stable_id for group in step.known_groups.values())]
        found = {self._by_dn[dn] for dn in step.affected_dns if dn in self._by_dn}
        found |= step.looked_at | self.windows.without_department(changed_groups)
        return {stable_id for stable_id in found if self.people[stable_id].present}

    def _effective_groups(self, stable_id: str, dn: str, now_ms: int) -> frozenset[int]:
        owned = self._by_dn.get(dn) == stable_id
        self.windows.settle(stable_id, dn if owned else None, now_ms)
        return frozenset(self.groups[group].row for group in self._memberships.of(dn)) if owned else frozenset()


def _kept_enabled(entry: DirectoryEntry, weighed: Weighed) -> DirectoryEntry:
    """Return the entry; enabled, if that it is disabled is not believed."""
    if isinstance(entry, DirectoryPerson) and not entry.enabled and weighed.held.get(entry.stable_id) is Loss.DISABLED:
        return replace(entry, enabled=True)
    return entry
