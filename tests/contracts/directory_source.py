# SPDX-License-Identifier: EUPL-1.2
"""What every directory source must do, whatever server stands behind it.

A test module subclasses `DirectorySourceContract` and provides two fixtures: `directory` (a `RunningDirectory` that
holds the people and groups of `first_entries`) and `make_source` (builds the source under test from a `SourceWish`).
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ldap3

from cardservice.people.ports import DirectoryChange, DirectorySource, Proof, SourceState
from cardservice.people.rules import DirectoryEntry, DirectoryGroup, DirectoryPerson
from integrations.ldap import LdapSettings
from integrations.ldap.settings import Timing

LIMIT_S = 15.0
LOCKED_FOR_GOOD = "000001010000Z"

Values = Mapping[str, str | Sequence[str]]


class RunningDirectory(Protocol):
    """A server with a suffix, people below ou=people and groups below ou=groups."""

    suffix: str
    bind_dn: str
    password: str
    ca_file: Path

    @property
    def url(self) -> str:
        """The ldaps URL; its host is 127.0.0.1, which the certificate names."""
        ...

    def admin(self) -> AbstractContextManager[ldap3.Connection]:
        """Return a connection that may write; failed operations raise."""
        ...

    def pause(self) -> None:
        """Make the server stand still while its sockets stay open."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...


@dataclass(frozen=True, slots=True)
class SourceWish:
    """How a source shall be built."""

    servers: tuple[str, ...]
    suffix: str
    bind_dn: str
    password: str
    ca_file: Path


MakeSource = Callable[[SourceWish], DirectorySource]


def wish_for(directory: RunningDirectory, **changes: Any) -> SourceWish:
    """Return the wish that fits `directory`, with changes by name."""
    values: dict[str, Any] = {
        "servers": (directory.url,),
        "suffix": directory.suffix,
        "bind_dn": directory.bind_dn,
        "password": directory.password,
        "ca_file": directory.ca_file,
    }
    return SourceWish(**{**values, **changes})


def settings_for(wish: SourceWish, **changes: Any) -> LdapSettings:
    """Return how the service is told to read such a directory, with changes by name."""
    values: dict[str, Any] = {
        "servers": wish.servers,
        "bind_dn": wish.bind_dn,
        "password": lambda: wish.password,
        "people_base": f"ou=people,{wish.suffix}",
        "groups_base": f"ou=groups,{wish.suffix}",
        "ca_file": wish.ca_file,
        "timing": Timing(beat_s=0.05, dead_s=1.0),
    }
    return LdapSettings(**{**values, **changes})


def first_entries(suffix: str) -> list[tuple[str, Values]]:
    """Three people, a group, and a group that holds the first."""

    def person(uid: str, name: str) -> tuple[str, Values]:
        values = {"objectClass": "inetOrgPerson", "uid": uid, "cn": name, "sn": name.rpartition(" ")[2]}
        return f"uid={uid},ou=people,{suffix}", {**values, "mail": f"{uid}@stadt.example", "employeeNumber": f"P-{uid}"}

    def group(cn: str, *members: str) -> tuple[str, Values]:
        return f"cn={cn},ou=groups,{suffix}", {"objectClass": "groupOfNames", "cn": cn, "member": list(members)}

    return [
        person("anna", "Anna Arndt"),
        person("bert", "Bert Berg"),
        person("cora", "Cora Conrad"),
        group("inner", f"uid=anna,ou=people,{suffix}", f"uid=bert,ou=people,{suffix}"),
        group("outer", f"cn=inner,ou=groups,{suffix}"),
    ]


@dataclass
class RecordingSink:
    """A copy in memory that applies changes as a real one does and lets a test wait for what it expects."""

    entries: dict[str, DirectoryEntry] = field(default_factory=dict)
    stored_cookie: str | None = None
    changes: list[DirectoryChange] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    states: list[SourceState] = field(default_factory=list)
    seen_at_s: dict[str, float] = field(default_factory=dict)
    asked: bool = False

    def __post_init__(self) -> None:
        self._news = threading.Condition()

    def known_dns(self) -> Mapping[str, str]:
        return {stable_id: entry.dn for stable_id, entry in self.entries.items()}

    def cookie(self) -> str | None:
        return self.stored_cookie

    def apply(self, change: DirectoryChange) -> None:
        now_s = time.perf_counter()
        with self._news:
            self.changes.append(change)
            for stable_id in change.removed:
                self.entries.pop(stable_id, None)
            for entry in change.upserts:
                self.entries[entry.stable_id] = entry
                self.seen_at_s[entry.stable_id] = now_s
            self.stored_cookie = change.cookie or self.stored_cookie
            self._news.notify_all()

    def proved(self, proof: Proof) -> None:
        with self._news:
            self.proofs.append(proof)
            self._news.notify_all()

    def state(self, state: SourceState) -> None:
        with self._news:
            self.states.append(state)
            self._news.notify_all()

    def reading_asked(self) -> bool:
        asked, self.asked = self.asked, False
        return asked

    def wait_for(self, what: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
        """Return the first truthy `what()`; fail after `limit_s`."""
        with self._news:
            found = self._news.wait_for(what, limit_s)
        assert found, f"not within {limit_s} s; last state {self.states[-1:]}"
        return found

    def person(self, uid: str) -> DirectoryPerson | None:
        return next((e for e in self.entries.values() if isinstance(e, DirectoryPerson) and e.login == uid), None)

    def group(self, name: str) -> DirectoryGroup | None:
        return next((e for e in self.entries.values() if isinstance(e, DirectoryGroup) and e.name == name), None)

    def members(self, name: str) -> frozenset[str]:
        group = self.group(name)
        return group.member_dns if group else frozenset()

    def wait_current(self) -> None:
        """Wait for a proof that was asked for after this call: what was written before it is in the copy."""
        asked_ns = time.monotonic_ns()
        self.wait_for(lambda: self.proofs and self.proofs[-1].sent_at_monotonic_ns >= asked_ns)


@contextlib.contextmanager
def following(source: DirectorySource, sink: RecordingSink) -> Iterator[threading.Event]:
    """Run `source` in a thread; on leaving, it must end by itself within 0.3 s (and a busy machine's slack)."""
    stop = threading.Event()
    thread = threading.Thread(target=source.run, args=(sink, stop), daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        asked_s = time.monotonic()
        stop.set()
        thread.join(LIMIT_S)
        took_s = time.monotonic() - asked_s
        assert not thread.is_alive(), "the source did not stop"
        assert took_s < 1.0, f"the source took {took_s:.2f} s to stop"


def replace(connection: ldap3.Connection, dn: str, **values: str | list[str]) -> None:
    """Replace attribute values; an empty list removes the attribute."""
    changes = {
        kind: [(ldap3.MODIFY_REPLACE, [value] if isinstance(value, str) else value)] for kind, value in values.items()
    }
    connection.modify(dn, changes)


class DirectorySourceContract:
    """The promises, as tests; see the module docstring for the fixtures.

    The methods say how this kind of server writes people; a test class for another kind replaces them.
    """

    @staticmethod
    def rdn(uid: str) -> str:
        """Return the last part of a person's name."""
        return f"uid={uid}"

    def person_dn(self, uid: str, suffix: str) -> str:
        """Return where a person is."""
        return f"{self.rdn(uid)},ou=people,{suffix}"

    @staticmethod
    def add_person(admin: ldap3.Connection, dn: str, uid: str, name: str) -> None:
        """Make a person who may enter."""
        admin.add(dn, "inetOrgPerson", {"uid": uid, "cn": name, "sn": name.rpartition(" ")[2]})

    @staticmethod
    def disable(admin: ldap3.Connection, dn: str) -> None:
        """Disable a person."""
        replace(admin, dn, pwdAccountLockedTime=LOCKED_FOR_GOOD)

    @staticmethod
    def enable(admin: ldap3.Connection, dn: str) -> None:
        """Enable a person."""
        replace(admin, dn, pwdAccountLockedTime=[])

    @staticmethod
    def misnamed_url(url: str) -> str:
        """Return the same machine by another name than the one it was certified for."""
        return url.replace("127.0.0.1", "127.1")

    def test_first_refresh_brings_everybody_and_ends_complete(
        self, directory: RunningDirectory, make_source: MakeSource
    ) -> None:
        sink = RecordingSink()
        with following(make_source(wish_for(directory)), sink):
            sink.wait_for(lambda: sink.proofs)
        anna = sink.person("anna")
        assert anna is not None
        assert anna.name == "Anna Arndt"
        assert anna.mail == "anna@stadt.example"
        assert anna.personnel_number == "P-anna"
        assert anna.dn == self.person_dn("anna", directory.suffix)
        assert anna.enabled
        assert anna.locked_until_ms is None
        assert len(sink.entries) == 5
        assert [change.complete for change in sink.changes].count(True) == 1
        assert sink.stored_cookie
        assert any(state.connected for state in sink.states)

    def test_nested_groups_are_visible_as_entries(self, directory: RunningDirectory, make_source: MakeSource) -> None:
        sink = RecordingSink()
        with following(make_source(wish_for(directory)), sink):
            sink.wait_for(lambda: sink.proofs)
        inner = sink.group("inner")
        assert inner is not None
        assert sink.members("outer") == {inner.dn}
        assert inner.member_dns == {self.person_dn(uid, directory.suffix) for uid in ("anna", "bert")}

    def test_disable_and_enable_arrive(self, directory: RunningDirectory, make_source: MakeSource) -> None:
        sink = RecordingSink()
        dn = self.person_dn("bert", directory.suffix)
        with following(make_source(wish_for(directory)), sink), directory.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            self.disable(admin, dn)
            sink.wait_for(lambda: not sink.person("bert").enabled)
            self.enable(admin, dn)
            sink.wait_for(lambda: sink.person("bert").enabled)

    def test_a_changed_attribute_arrives(self, directory: RunningDirectory, make_source: MakeSource) -> None:
        sink = RecordingSink()
        with following(make_source(wish_for(directory)), sink), directory.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            replace(admin, self.person_dn("cora", directory.suffix), displayName="Cora Neu", mail="neu@stadt.example")
            sink.wait_for(lambda: sink.person("cora").name == "Cora Neu")
            assert sink.person("cora").mail == "neu@stadt.example"

    def test_added_and_deleted_people_arrive(self, directory: RunningDirectory, make_source: MakeSource) -> None:
        sink = RecordingSink()
        dn = self.person_dn("dora", directory.suffix)
        with following(make_source(wish_for(directory)), sink), directory.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            self.add_person(admin, dn, "dora", "Dora D")
            sink.wait_for(lambda: sink.person("dora"))
            admin.delete(dn)
            sink.wait_for(lambda: sink.person("dora") is None)
        assert len(sink.entries) == 5

    def test_group_members_come_and_go(self, directory: RunningDirectory, make_source: MakeSource) -> None:
        sink = RecordingSink()
        cora = self.person_dn("cora", directory.suffix)
        inner = f"cn=inner,ou=groups,{directory.suffix}"
        with following(make_source(wish_for(directory)), sink), directory.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            admin.modify(inner, {"member": [(ldap3.MODIFY_ADD, [cora])]})
            sink.wait_for(lambda: cora in sink.members("inner"))
            admin.modify(inner, {"member": [(ldap3.MODIFY_DELETE, [cora])]})
            sink.wait_for(lambda: cora not in sink.members("inner"))

    def test_a_renamed_person_keeps_the_id_and_the_groups(
        self, directory: RunningDirectory, make_source: MakeSource
    ) -> None:
        sink = RecordingSink()
        new_dn = self.person_dn("änne", directory.suffix)
        with following(make_source(wish_for(directory)), sink), directory.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            stable_id = sink.person("anna").stable_id
            admin.modify_dn(self.person_dn("anna", directory.suffix), self.rdn("änne"))
            sink.wait_for(lambda: sink.entries[stable_id].dn == new_dn)
            # A server without referential integrity leaves this to the administrator; with it, it changes nothing.
            replace(admin, f"cn=inner,ou=groups,{directory.suffix}", member=[new_dn])
            sink.wait_for(lambda: sink.members("inner") == {new_dn})

    def test_a_recreated_name_is_a_new_person(self, directory: RunningDirectory, make_source: MakeSource) -> None:
        sink = RecordingSink()
        dn = self.person_dn("cora", directory.suffix)
        with following(make_source(wish_for(directory)), sink), directory.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            old_id = sink.person("cora").stable_id
            admin.delete(dn)
            self.add_person(admin, dn, "cora", "Cora Zwei")
            sink.wait_for(lambda: sink.person("cora") and sink.person("cora").stable_id != old_id)
            sink.wait_current()
        assert old_id not in sink.entries

    def test_an_entry_that_leaves_the_base_is_removed(
        self, directory: RunningDirectory, make_source: MakeSource
    ) -> None:
        sink = RecordingSink()
        with following(make_source(wish_for(directory)), sink), directory.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            stable_id = sink.person("cora").stable_id
            dn = self.person_dn("cora", directory.suffix)
            admin.modify_dn(dn, self.rdn("cora"), new_superior=f"ou=groups,{directory.suffix}")
            sink.wait_for(lambda: stable_id not in sink.entries)

    def test_what_was_missed_arrives_after_a_restart_of_the_source(
        self, directory: RunningDirectory, make_source: MakeSource
    ) -> None:
        """With the cookie, adds, changes and deletions of the meantime arrive, without reading everything again."""
        sink = RecordingSink()
        dora = self.person_dn("dora", directory.suffix)
        with following(make_source(wish_for(directory)), sink):
            sink.wait_for(lambda: sink.proofs)
        with directory.admin() as admin:
            admin.delete(self.person_dn("cora", directory.suffix))
            self.add_person(admin, dora, "dora", "Dora D")
            self.disable(admin, self.person_dn("bert", directory.suffix))
        before = len(sink.changes)
        with following(make_source(wish_for(directory)), sink):
            sink.wait_current()
        assert sink.person("cora") is None
        assert sink.person("dora") is not None
        assert not sink.person("bert").enabled
        assert not any(entry for change in sink.changes[before:] for entry in change.upserts if entry.name == "outer")

    def test_without_changes_a_restart_of_the_source_reads_nothing_again(
        self, directory: RunningDirectory, make_source: MakeSource
    ) -> None:
        sink = RecordingSink()
        with following(make_source(wish_for(directory)), sink):
            sink.wait_for(lambda: sink.proofs)
        before = len(sink.changes)
        with following(make_source(wish_for(directory)), sink):
            sink.wait_current()
        assert [change.upserts for change in sink.changes[before:] if change.upserts] == []
        assert sink.states[-1].trouble is None

    def test_a_cookie_of_no_meaning_leads_to_a_full_refresh(
        self, directory: RunningDirectory, make_source: MakeSource
    ) -> None:
        sink = RecordingSink()
        with following(make_source(wish_for(directory)), sink):
            sink.wait_for(lambda: sink.proofs)
        prefix, _, _ = (sink.stored_cookie or "").partition("|")
        ghost = DirectoryPerson("00000000-0000-0000-0000-000000000001", "uid=ghost", "Ghost", enabled=True)
        for cookie in ("rubbish", f"{prefix}|rubbish"):
            sink.entries[ghost.stable_id] = ghost
            sink.stored_cookie = cookie
            with following(make_source(wish_for(directory)), sink):
                sink.wait_current()
            assert ghost.stable_id not in sink.entries
            assert len(sink.entries) == 5

    def test_a_wrong_password_is_reported_and_removes_nobody(
        self, directory: RunningDirectory, make_source: MakeSource
    ) -> None:
        self._expect_trouble(make_source(wish_for(directory, password="not-the-one")), "password is wrong")

    def test_a_foreign_authority_is_refused(
        self, directory: RunningDirectory, make_source: MakeSource, foreign_ca_file: Path
    ) -> None:
        self._expect_trouble(make_source(wish_for(directory, ca_file=foreign_ca_file)), "certificate was refused")

    def test_a_wrong_name_is_refused(self, directory: RunningDirectory, make_source: MakeSource) -> None:
        url = self.misnamed_url(directory.url)
        self._expect_trouble(make_source(wish_for(directory, servers=(url,))), "certificate was refused")

    def _expect_trouble(self, source: DirectorySource, words: str) -> None:
        person = DirectoryPerson("00000000-0000-0000-0000-000000000001", "uid=a", "A", enabled=True)
        sink = RecordingSink(entries={person.stable_id: person})
        with following(source, sink):
            state = sink.wait_for(lambda: sink.states and sink.states[-1])
        assert not state.connected
        assert words in state.trouble
        assert "not-the-one" not in repr(sink.states)
        assert sink.changes == []
        assert sink.proofs == []

    def test_the_proof_keeps_coming_and_stops_with_the_server(
        self, directory: RunningDirectory, make_source: MakeSource
    ) -> None:
        """A hung server is noticed, proves nothing meanwhile, and is followed again when it comes back."""
        sink = RecordingSink()
        with following(make_source(wish_for(directory)), sink):
            sink.wait_for(lambda: len(sink.proofs) >= 5)
            directory.pause()
            paused_ns = time.monotonic_ns()
            try:
                state = sink.wait_for(lambda: not sink.states[-1].connected and sink.states[-1])
                proved_meanwhile = [proof for proof in sink.proofs if proof.sent_at_monotonic_ns > paused_ns]
            finally:
                directory.resume()
            assert state.trouble
            assert proved_meanwhile == []
            sink.wait_current()
            assert sink.states[-1].connected
        assert len(sink.entries) == 5
