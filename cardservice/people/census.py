# SPDX-License-Identifier: EUPL-1.2
"""Everybody and every group of one directory, in memory: works out what a change does, and stores it.

What a transaction that failed leaves half done here is to be thrown away: the stored copy is read anew.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy.engine import Connection

from cardservice.people import store
from cardservice.people.holds.rules import Loss, Told, Weighed
from cardservice.people.ports import DirectoryChange
from cardservice.people.rules import DirectoryEntry, DirectoryGroup, DirectoryPerson, Memberships


@dataclass(slots=True)
class Step:
    """What one change does, worked out before anything is stored."""

    new_people: list[DirectoryPerson] = field(default_factory=list)
    known_people: dict[int, DirectoryPerson] = field(default_factory=dict)
    gone_people: list[str] = field(default_factory=list)
    new_groups: list[DirectoryGroup] = field(default_factory=list)
    known_groups: dict[int, DirectoryGroup] = field(default_factory=dict)
    gone_groups: list[str] = field(default_factory=list)
    affected_dns: set[str] = field(default_factory=set)


class Census:
    """The people and groups of `directory` as they are stored; new people belong to `organisation` (a row number)."""

    def __init__(self, connection: Connection, directory: str, organisation: int) -> None:
        self._directory = directory
        self._organisation = organisation
        self.people = store.load_people(connection, directory)
        self.groups = store.load_groups(connection, directory)
        self._by_dn = {known.entry.dn: stable_id for stable_id, known in self.people.items() if known.present}
        self._memberships = Memberships(known.entry for known in self.groups.values() if known.present)

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
        for entry in entries:
            self._give_up_old_name(entry, step)
        for entry in entries:
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

    def store(self, connection: Connection, step: Step) -> set[int]:
        """Store a step; return the row numbers of everybody who is no longer what they were."""
        touched = self._store_people(connection, step)
        self._store_groups(connection, step)
        return touched | self._store_memberships(connection, step)

    def rows(self, stable_ids: Iterable[str]) -> list[int]:
        """Return the row numbers of known people."""
        return [self.people[stable_id].row for stable_id in stable_ids]

    def _take_gone(self, step: Step) -> None:
        for stable_id in step.gone_people:
            self._forget_dn(self.people[stable_id].entry.dn, stable_id, step)
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
            self._forget_members(entry.dn, step)
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

    def _give_up_old_name(self, entry: DirectoryEntry, step: Step) -> None:
        known = self.people.get(entry.stable_id)
        if known is not None and known.present and known.entry.dn != entry.dn:
            self._forget_dn(known.entry.dn, entry.stable_id, step)

    def _forget_dn(self, dn: str, owner: str, step: Step) -> None:
        """A name without its owner must not lend its memberships to whoever gets the name next."""
        if self._by_dn.get(dn) == owner:
            del self._by_dn[dn]
            self._forget_members(dn, step)

    def _forget_members(self, dn: str, step: Step) -> None:
        for group in self._memberships.forget_member(dn):
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

    def _store_memberships(self, connection: Connection, step: Step) -> set[int]:
        """Store the effective groups of everyone the change may have moved; return the rows that did change."""
        moved: dict[int, frozenset[int]] = {}
        for dn in step.affected_dns:
            stable_id = self._by_dn.get(dn)
            if stable_id is None:
                continue
            known = self.people[stable_id]
            groups = frozenset(self.groups[group_id].row for group_id in self._memberships.of(dn))
            if groups != known.groups:
                moved[known.row] = groups
                self.people[stable_id] = store.KnownPerson(known.row, known.entry, groups, known.present)
        store.store_effective_groups(connection, moved)
        return set(moved)


def _kept_enabled(entry: DirectoryEntry, weighed: Weighed) -> DirectoryEntry:
    """Return the entry; enabled, if that it is disabled is not believed."""
    if isinstance(entry, DirectoryPerson) and not entry.enabled and weighed.held.get(entry.stable_id) is Loss.DISABLED:
        return replace(entry, enabled=True)
    return entry
