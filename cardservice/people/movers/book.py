# SPDX-License-Identifier: EUPL-1.2
"""The windows of one directory, in memory: works out what a step does to them, and stores it.

What a transaction that failed leaves half done here is to be thrown away with the census it belongs to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.engine import Connection

from cardservice.people.movers import store
from cardservice.people.movers.rules import MAX_WINDOWS, Departments, MoverRule, Window, still_in, windows_after
from cardservice.people.rules import Memberships
from cardservice.people.store import KnownGroup, KnownPerson

_NONE: Final[frozenset[str]] = frozenset()
_MAX_SAME: Final = 100_000


@dataclass(slots=True)
class Told:
    """What became of windows in one transaction: how many began and are over, how many found no room.

    `ended` are the numbers of those that somebody ended.
    """

    opened: int = 0
    over: int = 0
    unkept: int = 0
    ended: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Held:
    """Somebody's windows, and in which of the groups they count by them."""

    windows: Mapping[str, Window]
    counting: frozenset[str] = _NONE


_NOTHING: Final = _Held({})


class WindowBook:
    """The windows of `directory` by `rule`, None for none; everything by stable id.

    `people`, `groups` and `memberships` are the census's own: they are read here, and who stays in a group is told to
    `memberships`.
    """

    def __init__(
        self,
        directory: str,
        rule: MoverRule | None,
        people: Mapping[str, KnownPerson],
        groups: Mapping[str, KnownGroup],
        memberships: Memberships,
    ) -> None:
        self._directory, self._rule = directory, rule
        self._people, self._groups, self._memberships = people, groups, memberships
        self._held: dict[str, _Held] = {}
        # Group -> who has a window in it.
        self._holders: dict[str, set[str]] = {}
        self._departments: dict[str, frozenset[str]] = {}
        self._same: dict[frozenset[str], frozenset[str]] = {}
        # As it was stored before this transaction, of whom it may have changed.
        self._stored: dict[str, _Held] = {}
        self._over: set[tuple[str, str]] = set()
        self._unchecked = False
        self._told = Told()
        self.size = 0

    def load(self, connection: Connection, owners: Mapping[str, str]) -> None:
        """Read what is stored; `owners` says whose a DN is."""
        rows = store.load(connection, self._directory)
        person_at = {known.row: stable_id for stable_id, known in self._people.items()} if rows else {}
        group_at = {known.row: stable_id for stable_id, known in self._groups.items()} if rows else {}
        windows: dict[str, dict[str, Window]] = {}
        counting: dict[str, set[str]] = {}
        for row in rows:
            person, group = person_at[row.person_id], group_at[row.group_id]
            windows.setdefault(person, {})[group] = Window(row.left_ms, row.until_ms)
            if row.counts:
                counting.setdefault(person, set()).add(group)
        for person, theirs in windows.items():
            self._hold(person, _Held(theirs, frozenset(counting.get(person, ()))))
            dn = self._people[person].entry.dn
            if owners.get(dn) == person:
                self._memberships.stay(dn, self._held[person].counting)
        self._unchecked = bool(rows)
        self._load_departments(owners)

    def _load_departments(self, owners: Mapping[str, str]) -> None:
        found: dict[str, set[str]] = {}
        for stable_id in self._groups:
            group = self._memberships.current(stable_id)
            if group is not None and self._is_department(stable_id):
                for dn in group.member_dns & owners.keys():
                    found.setdefault(owners[dn], set()).add(stable_id)
        self._departments = {person: self._one(frozenset(groups)) for person, groups in found.items()}

    @property
    def counting(self) -> int:
        """How many windows count now."""
        return sum(len(held.counting) for held in self._held.values())

    def take_due(self, connection: Connection, now_ms: int) -> set[str]:
        """Return who has a window that is over or that somebody ended; after reading, everybody who has one."""
        if not self._held:
            return set()
        if rows := store.due(connection, self._directory, now_ms):
            person_at = {self._people[one].row: one for one in self._held}
            group_at = {self._groups[one].row: one for one in self._holders}
            self._over |= {(person_at[row.person_id], group_at[row.group_id]) for row in rows}
            self._told.ended += [row.id for row in rows if row.ended_by is not None]
        unchecked, self._unchecked = self._unchecked, False
        return set(self._held) if unchecked else {person for person, _ in self._over}

    def without_department(self, groups: Iterable[str]) -> set[str]:
        """Return who has a window in one of these groups that is no department group now."""
        gone = {one for one in groups if one in self._holders and not self._is_department(one)}
        return {person for one in gone for person in self._holders[one]}

    def settle(self, person: str, dn: str | None, now_ms: int) -> None:
        """Bring up to date who is where: `person`, whose name is `dn`, None for a name that is somebody else's."""
        now = _NONE if dn is None else self._departments_of(dn)
        before, held = self._departments.get(person, _NONE), self._held.get(person, _NOTHING)
        if not held.windows and before == now:
            return
        windows = {one: window for one, window in held.windows.items() if (person, one) not in self._over}
        existing = {one for one in windows.keys() | before if self._is_department(one)}
        overlap_ms = 0 if self._rule is None else self._rule.overlap_ms
        after = windows_after(windows, Departments(before, now), existing, overlap_ms, now_ms)
        self._change(person, self._with_room(held, after), now, now_ms)
        if dn is not None:
            self._memberships.stay(dn, self._held.get(person, _NOTHING).counting)

    def forget(self, person: str) -> None:
        """Whoever is gone has no windows."""
        self._change(person, {}, _NONE, 0)

    def store(self, connection: Connection) -> None:
        """Store what changed."""
        added: dict[store.Pair, dict[str, Any]] = {}
        changed: dict[store.Pair, dict[str, Any]] = {}
        removed: list[store.Pair] = []
        for person, before in self._stored.items():
            held = self._held.get(person, _NOTHING)
            for group in before.windows.keys() | held.windows.keys():
                pair = self._people[person].row, self._groups[group].row
                old, new = _values(before, group), _values(held, group)
                if old and (not new or new["left_ms"] != old["left_ms"]):
                    removed.append(pair)
                    old = {}
                if new and not old:
                    added[pair] = new
                elif new != old:
                    changed[pair] = {name: new[name] for name in ("until_ms", "counts")}
        store.remove(connection, removed)
        store.change(connection, changed)
        store.add(connection, self._directory, added)
        self._told.opened += len(added)
        self._told.over += len(removed)
        self._stored, self._over = {}, set()

    def take_told(self) -> Told:
        """Return what became of windows since this was last asked."""
        told, self._told = self._told, Told()
        return told

    def _is_department(self, group: str) -> bool:
        current = self._memberships.current(group)
        return current is not None and self._rule is not None and self._rule.covers(current.dn)

    def _departments_of(self, dn: str) -> frozenset[str]:
        if self._rule is None:
            return _NONE
        return self._one(frozenset(one for one in self._memberships.naming(dn) if self._is_department(one)))

    def _one(self, groups: frozenset[str]) -> frozenset[str]:
        """Return the one object for equal sets: a city's people are in few departments."""
        if len(self._same) > _MAX_SAME:
            self._same.clear()
        return self._same.setdefault(groups, groups)

    def _with_room(self, held: _Held, after: dict[str, Window]) -> dict[str, Window]:
        """Leave out what began now where the directory has too many windows already."""
        if self.size - len(held.windows) + len(after) <= MAX_WINDOWS:
            return after
        self._told.unkept += len(after.keys() - held.windows.keys())
        return {one: window for one, window in after.items() if one in held.windows}

    def _change(self, person: str, windows: dict[str, Window], departments: frozenset[str], now_ms: int) -> None:
        self._stored.setdefault(person, self._held.get(person, _NOTHING))
        self._hold(person, _Held(windows, still_in(departments, windows, now_ms)))
        if departments:
            self._departments[person] = departments
        else:
            self._departments.pop(person, None)

    def _hold(self, person: str, held: _Held) -> None:
        before = self._held.pop(person, _NOTHING)
        self.size += len(held.windows) - len(before.windows)
        for group in before.windows.keys() - held.windows.keys():
            self._holders[group].discard(person)
            if not self._holders[group]:
                del self._holders[group]
        for group in held.windows:
            self._holders.setdefault(group, set()).add(person)
        if held.windows:
            self._held[person] = held


def _values(held: _Held, group: str) -> dict[str, Any]:
    """Return what is stored of a window, nothing for none."""
    window = held.windows.get(group)
    if window is None:
        return {}
    return {"left_ms": window.left_ms, "until_ms": window.until_ms, "counts": group in held.counting}
