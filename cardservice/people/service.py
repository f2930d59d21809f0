# SPDX-License-Identifier: EUPL-1.2
"""The directory copy: takes what a source learns, stores it, publishes it, and knows how old it is.

One object per directory, called from its source's thread. When `apply` returns, the change is on disk and the next tap
sees it.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.clock import UNKNOWN_AGE_MS, Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, DatabaseUnavailable
from cardservice.people import store
from cardservice.people.ports import DirectoryChange, Proof, SourceState
from cardservice.people.rules import DirectoryEntry, DirectoryGroup, DirectoryPerson, Memberships, RemovalGuard

_KEEP_PROOF_MS: Final = 5_000
# A copy older than this is worth a sentence, whatever the points accept.
_ALARM_MS: Final = 60_000
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DirectoryStatus:
    """What operations and metrics show: counts, age of the last proof, where it came from, and any trouble.

    `connected` says that a proof has come over the connection that stands, `since_ms` since when that, or the trouble,
    lasts.
    """

    directory: str
    people: int
    groups: int
    age_ms: int
    server: str
    mode: str
    connected: bool
    since_ms: int
    trouble: str | None
    remark: str | None
    held_removals: int
    held_since_ms: int | None

    def troubles(self, now_ms: int) -> list[str]:
        """Return what is wrong, one sentence each: which directory, since when, and what follows."""
        name, age_s = f"directory {self.directory}", self.age_ms // 1_000
        since = _instant(self.since_ms)
        found = []
        if self.age_ms >= UNKNOWN_AGE_MS:
            found.append(f"{name}: never read completely, not since {since}: {self.trouble or 'still reading'}")
        elif not self.connected:
            found.append(
                f"{name}: not followed since {since}, taps are decided from the copy, which was proved current "
                f"{age_s} s ago: {self.trouble or 'connecting'}"
            )
        elif self.trouble:
            found.append(f"{name}: since {since}: {self.trouble}")
        if self.connected and _ALARM_MS < self.age_ms < UNKNOWN_AGE_MS:
            found.append(f"{name}: not proved current since {_instant(now_ms - self.age_ms)}")
        if self.held_removals:
            found.append(
                f"{name}: since {_instant(self.held_since_ms or now_ms)} it no longer names {self.held_removals} "
                "people; too many to believe, they are kept until somebody looks"
            )
        return found


@dataclass(slots=True)
class _Step:
    """What one change does, worked out before anything is stored."""

    new_people: list[DirectoryPerson] = field(default_factory=list)
    known_people: dict[int, DirectoryPerson] = field(default_factory=dict)
    gone_people: list[str] = field(default_factory=list)
    new_groups: list[DirectoryGroup] = field(default_factory=list)
    known_groups: dict[int, DirectoryGroup] = field(default_factory=dict)
    gone_groups: list[str] = field(default_factory=list)
    affected_dns: set[str] = field(default_factory=set)
    held: int | None = None


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")


class DirectoryCopy:
    """The durable copy of one directory; a `DirectorySink`.

    `publish` is called after each stored change and must bring the snapshot up to date before it returns.
    """

    def __init__(
        self, engine: Engine, name: str, *, organisation: tuple[str, str], clock: Clock, publish: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._name = name
        self._clock = clock
        self._publish = publish
        self._guard = RemovalGuard()
        self._lock = threading.Lock()
        self._loaded = False
        self._hold: tuple[int, int | None] = (0, None)
        self._kept_proof_ms = 0
        self._proof_trouble: tuple[int, str] | None = None
        self._proved_monotonic_ns: int | None = None
        with write(engine) as connection:
            self._organisation = store.ensure_organisation(connection, *organisation)
            strangers = store.other_directories(connection, name)
        if strangers:
            # Nobody would tell us any more when one of them leaves, and our proofs would vouch for them.
            raise Conflict(
                f"directory.name is {name!r}, but people of {', '.join(strangers)} are stored as present: "
                "set the name back; renaming a directory is not supported yet"
            )
        self._load()
        age_ms = self.age_ms()
        since_ms = clock.now_ms() - (age_ms if age_ms < UNKNOWN_AGE_MS else 0)
        self._told = self._state = SourceState(connected=False, server="", mode="", since_ms=since_ms)

    def _load(self) -> None:
        """Read the copy from the database: at the start, and after a change that could not be stored."""
        if self._loaded:
            return
        with read(self._engine) as connection:
            self._people = store.load_people(connection, self._name)
            self._groups = store.load_groups(connection, self._name)
            copy = store.load_copy(connection, self._name)
        self._by_dn = {known.entry.dn: stable_id for stable_id, known in self._people.items() if known.present}
        self._logins = {known.row: known.entry.login for known in self._people.values() if known.present}
        self._memberships = Memberships(known.entry for known in self._groups.values() if known.present)
        self._cookie = None if copy is None else copy.cookie
        self._proof_source = ("", "") if copy is None else (copy.server or "", copy.mode or "")
        if self._proved_monotonic_ns is None and copy is not None and copy.verified_at_ms is not None:
            age_ms = self._clock.now_ms() - copy.verified_at_ms
            # A clock that was set back says nothing about the age: then the copy counts as never proved.
            if age_ms >= 0:
                self._proved_monotonic_ns = self._clock.monotonic_ns() - age_ms * 1_000_000
        self._count()
        self._loaded = True

    def _count(self) -> None:
        """Count who is present, for readers in other threads: they must not walk what this one is changing."""
        self._present_people = sum(1 for known in self._people.values() if known.present)
        self._present_groups = sum(1 for known in self._groups.values() if known.present)

    def known_dns(self) -> Mapping[str, str]:
        """Return stable id -> normalised DN of every entry in the copy.

        Raises:
            DatabaseUnavailable: the last change failed, and what was stored before cannot be read either.
        """
        with self._lock:
            self._load()
            people = {stable_id: known.entry.dn for stable_id, known in self._people.items() if known.present}
            groups = {stable_id: known.entry.dn for stable_id, known in self._groups.items() if known.present}
        return people | groups

    def login_of(self, row: int) -> str | None:
        """Return the login of the person with this row number, None if they have none, left or were never here.

        From memory, as it was last stored, and from any thread: a tap waits for nothing here.
        """
        return self._logins.get(row)

    def cookie(self) -> str | None:
        """Return the cookie the copy was last stored with, None for an empty copy."""
        return self._cookie

    def age_ms(self) -> int:
        """Return how long ago the copy was last proved to equal the server, measured monotonically."""
        proved = self._proved_monotonic_ns
        return UNKNOWN_AGE_MS if proved is None else (self._clock.monotonic_ns() - proved) // 1_000_000

    def status(self) -> DirectoryStatus:
        """Return what operations and metrics show."""
        state, proof_trouble = self._state, self._proof_trouble
        held, held_since_ms = self._hold
        if state.trouble is None and proof_trouble is not None:
            since_ms, trouble = proof_trouble
            state = replace(state, since_ms=since_ms, trouble=trouble)
        return DirectoryStatus(
            directory=self._name,
            people=self._present_people,
            groups=self._present_groups,
            age_ms=self.age_ms(),
            server=state.server or self._proof_source[0],
            mode=state.mode or self._proof_source[1],
            connected=state.connected,
            since_ms=state.since_ms,
            trouble=state.trouble,
            remark=state.remark,
            held_removals=held,
            held_since_ms=held_since_ms,
        )

    def source(self) -> str:
        """Return what a decision records of where its people came from: server, mode and cookie."""
        server, mode = self._proof_source
        return f"{server} {mode} {self._cookie or ''}".strip()

    def state(self, state: SourceState) -> None:
        """Note that the source connected, or why it is not connected.

        A trouble ends with the next proof and not before: a server that lets us sign in and then breaks off every time
        is one trouble with one beginning.
        """
        before, self._told = self._state, state
        if before.connected:
            self._state = state
        else:
            trouble = state.trouble or before.trouble
            self._state = replace(state, connected=False, since_ms=before.since_ms, trouble=trouble)

    def proved(self, proof: Proof) -> None:
        """Note that the copy was current when `proof` was asked for; it is stored every five seconds.

        A server that names none of the people we know proves nothing about them.
        """
        if self._hold[0] >= self._present_people > 0:
            return
        if self._told.connected and not self._state.connected:
            self._state = self._told
        with self._lock:
            self._proved_monotonic_ns = max(self._proved_monotonic_ns or 0, proof.sent_at_monotonic_ns)
            self._proof_source = (proof.server, proof.mode)
            due = proof.sent_at_ms - self._kept_proof_ms >= _KEEP_PROOF_MS or proof.sent_at_ms < self._kept_proof_ms
        if due:
            self._kept_proof_ms = proof.sent_at_ms
            self._keep_proof(proof)

    def _keep_proof(self, proof: Proof) -> None:
        """Store the proof for the next start. Failing to is no reason to stop following the directory."""
        values = {"verified_at_ms": proof.sent_at_ms, "server": proof.server, "mode": proof.mode}
        try:
            with write(self._engine) as connection:
                store.store_copy(connection, self._name, **values)
        except DatabaseUnavailable as error:
            if self._proof_trouble is None:
                _log.error("directory.proof_not_stored", error=str(error))
                self._proof_trouble = self._clock.now_ms(), str(error)
        else:
            self._proof_trouble = None

    def apply(self, change: DirectoryChange) -> None:
        """Store `change` durably and publish it.

        Raises:
            DatabaseUnavailable: nothing was stored; the copy is as it was.
        """
        with self._lock:
            self._load()
            # What a failure leaves half done in memory is read anew before it is used again: the database may be
            # away for longer than this call.
            self._loaded = False
            step = self._store(change)
            self._loaded = True
            self._count()
            if step.held is not None:
                self._hold = (step.held, (self._hold[1] or self._clock.now_ms()) if step.held else None)
        self._publish()

    def _store(self, change: DirectoryChange) -> _Step:
        step = _Step()
        self._take_removals(change, step)
        # The last state of an entry counts. Old names are given up before new ones are taken: in one change two people
        # may swap names, or one take the name another has just left.
        entries = {entry.stable_id: entry for entry in change.upserts}.values()
        for entry in entries:
            self._give_up_old_name(entry, step)
        for entry in entries:
            self._take_entry(entry, step)
        if change.complete:
            # Everything was read anew: what may have gone wrong before is put right now.
            step.affected_dns |= self._by_dn.keys()
        with write(self._engine) as connection:
            touched = self._store_people(connection, step)
            self._store_groups(connection, step)
            touched |= self._store_memberships(connection, step, touched)
            changes.append(connection, "person", sorted(touched))
            if change.cookie is not None:
                store.store_copy(connection, self._name, cookie=change.cookie)
        # Only now: what was not stored is nobody's login.
        self._logins.update({self._people[entry.stable_id].row: entry.login for entry in step.new_people})
        self._logins.update({row: entry.login for row, entry in step.known_people.items()})
        for stable_id in step.gone_people:
            self._logins.pop(self._people[stable_id].row, None)
        if change.cookie is not None:
            self._cookie = change.cookie
        return step

    def _take_removals(self, change: DirectoryChange, step: _Step) -> None:
        removed = [stable_id for stable_id in change.removed if self._is_present(stable_id)]
        people = [stable_id for stable_id in removed if stable_id in self._people]
        total = self._present_people
        if change.complete:
            step.held = 0
        everybody = 1 < total == len(people)
        if everybody or not self._guard.allows(len(people), total):
            # Nobody believes that a city lost so many at once: keep them, say so, wait for a person to look.
            step.held = len(people)
            _log.error("directory.removals_held", people=len(people), of=total)
            people = []
        step.gone_people = people
        step.gone_groups = [stable_id for stable_id in removed if stable_id in self._groups]
        for stable_id in step.gone_people:
            self._forget_dn(self._people[stable_id].entry.dn, stable_id, step)
        for stable_id in step.gone_groups:
            step.affected_dns |= self._memberships.remove(stable_id)

    def _is_present(self, stable_id: str) -> bool:
        known = self._people.get(stable_id) or self._groups.get(stable_id)
        return known is not None and known.present

    def _take_entry(self, entry: DirectoryEntry, step: _Step) -> None:
        """Note what `entry` changes; a full read names everybody, and most of them are as they were."""
        if isinstance(entry, DirectoryGroup):
            self._take_group(entry, step)
            return
        known = self._people.get(entry.stable_id)
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

    def _take_group(self, group: DirectoryGroup, step: _Step) -> None:
        known = self._groups.get(group.stable_id)
        if known is not None and known.present and self._memberships.current(group.stable_id) == group:
            return
        step.affected_dns |= self._memberships.replace(group)
        if known is None:
            step.new_groups.append(group)
        else:
            step.known_groups[known.row] = group

    def _give_up_old_name(self, entry: DirectoryEntry, step: _Step) -> None:
        known = self._people.get(entry.stable_id)
        if known is not None and known.present and known.entry.dn != entry.dn:
            self._forget_dn(known.entry.dn, entry.stable_id, step)

    def _forget_dn(self, dn: str, owner: str, step: _Step) -> None:
        """A name without its owner must not lend its memberships to whoever gets the name next."""
        if self._by_dn.get(dn) == owner:
            del self._by_dn[dn]
            self._forget_members(dn, step)

    def _forget_members(self, dn: str, step: _Step) -> None:
        for group in self._memberships.forget_member(dn):
            step.known_groups[self._groups[group.stable_id].row] = group

    def _store_people(self, connection: Connection, step: _Step) -> set[int]:
        rows = store.insert_people(connection, self._name, self._organisation, step.new_people)
        for entry in step.new_people:
            self._people[entry.stable_id] = store.KnownPerson(rows[entry.stable_id], entry, frozenset(), present=True)
        store.update_people(connection, step.known_people)
        for row, entry in step.known_people.items():
            groups = self._people[entry.stable_id].groups
            self._people[entry.stable_id] = store.KnownPerson(row, entry, groups, present=True)
        gone = [self._people[stable_id] for stable_id in step.gone_people]
        store.mark_gone(connection, store.person, [known.row for known in gone])
        for known in gone:
            self._people[known.entry.stable_id] = store.KnownPerson(known.row, known.entry, known.groups, present=False)
        return {*rows.values(), *step.known_people, *(known.row for known in gone)}

    def _store_groups(self, connection: Connection, step: _Step) -> None:
        rows = store.insert_groups(connection, self._name, step.new_groups)
        for entry in step.new_groups:
            self._groups[entry.stable_id] = store.KnownGroup(rows[entry.stable_id], entry, present=True)
        store.update_groups(connection, step.known_groups)
        for row, entry in step.known_groups.items():
            self._groups[entry.stable_id] = store.KnownGroup(row, entry, present=True)
        gone = [self._groups[stable_id] for stable_id in step.gone_groups]
        store.mark_gone(connection, store.directory_group, [known.row for known in gone])
        for known in gone:
            self._groups[known.entry.stable_id] = store.KnownGroup(known.row, known.entry, present=False)

    def _store_memberships(self, connection: Connection, step: _Step, touched: set[int]) -> set[int]:
        """Store the effective groups of everyone the change may have moved; return the rows that did change."""
        moved: dict[int, frozenset[int]] = {}
        for dn in step.affected_dns:
            stable_id = self._by_dn.get(dn)
            if stable_id is None:
                continue
            known = self._people[stable_id]
            groups = frozenset(self._groups[group_id].row for group_id in self._memberships.of(dn))
            if groups != known.groups:
                moved[known.row] = groups
                self._people[stable_id] = store.KnownPerson(known.row, known.entry, groups, known.present)
        store.store_effective_groups(connection, moved)
        return set(moved) - touched
