# SPDX-License-Identifier: EUPL-1.2
"""Mode `content-sync` against a real 389 Directory Server: what it leaves out, says twice, and does not say."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ldap3
import pytest
from contracts.directory_source import RecordingSink, following
from contracts.directory_source import replace as write
from support.ds389 import SUFFIX, Ds389

from cardservice.people.ports import DirectoryChange
from cardservice.people.rules import DirectoryPerson
from integrations.ldap import LdapSettings, LdapSource, check
from integrations.ldap.mapping_attributes import DS389, AttributeMapping
from integrations.ldap.settings import Timing

pytestmark = pytest.mark.ds389

PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
NAMES = ("anna", "bert", "cora")


def uid(name: str) -> str:
    return f"uid={name},{PEOPLE}"


def entries() -> list[tuple[str, dict[str, str | list[str]]]]:
    people: list[tuple[str, dict[str, str | list[str]]]] = [
        (uid(name), {"objectClass": "inetOrgPerson", "uid": name, "cn": name.title(), "sn": name}) for name in NAMES
    ]
    members = {"objectClass": "groupOfNames", "member": [uid("anna"), uid("bert")]}
    return [*people, (f"cn=inner,{GROUPS}", members)]


def settings_for(*servers: Ds389, ca_file: Path | None = None) -> LdapSettings:
    return LdapSettings(
        servers=tuple(server.url for server in servers),
        bind_dn=servers[0].bind_dn,
        password=lambda: servers[0].password,
        people_base=PEOPLE,
        groups_base=GROUPS,
        ca_file=ca_file or servers[0].ca_file,
        people_filter=DS389.people_filter,
        groups_filter=DS389.groups_filter,
        mapping=DS389.mapping,
        timing=Timing(beat_s=0.05, dead_s=1.0),
    )


@pytest.fixture(scope="module")
def running() -> Iterator[Ds389]:
    """One server for all tests here; each fills it anew."""
    server = Ds389()
    try:
        server.start().prepare()
        yield server
    finally:
        server.close()


@pytest.fixture
def server(running: Ds389) -> Ds389:
    running.fill(entries())
    return running


def test_who_was_disabled_while_the_source_was_away_is_disabled(server: Ds389) -> None:
    """The server leaves nsAccountLock out of what it tells from a cookie: whoever it names is read again."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(server)), sink):
        sink.wait_for(lambda: sink.proofs)
    with server.admin() as admin:
        write(admin, uid("bert"), nsAccountLock="true")
        write(admin, uid("anna"), displayName="Anna Neu")
    before = len(sink.changes)
    with following(LdapSource(settings_for(server)), sink):
        sink.wait_current()
    assert not sink.person("bert").enabled
    assert sink.person("anna").name == "Anna Neu"
    assert not any(change.complete for change in sink.changes[before:])
    assert sink.states[-1].remark is None


def test_a_position_is_stored_only_with_everything_before_it(server: Ds389) -> None:
    """What a refresh names is read afterwards: a service that ends between the two must be told again."""

    class NobodyStored(RecordingSink):
        def apply(self, change: DirectoryChange) -> None:
            if change.upserts:
                raise RuntimeError("the database is away")
            super().apply(change)

    sink = RecordingSink()
    with following(LdapSource(settings_for(server)), sink):
        sink.wait_for(lambda: sink.proofs)
    with server.admin() as admin:
        write(admin, uid("bert"), nsAccountLock="true")
    failing = NobodyStored(entries=dict(sink.entries), stored_cookie=sink.stored_cookie)
    with following(LdapSource(settings_for(server)), failing):
        failing.wait_for(lambda: any("RuntimeError" in (state.trouble or "") for state in failing.states))
    assert failing.stored_cookie == sink.stored_cookie
    with following(LdapSource(settings_for(server)), sink):
        sink.wait_current()
    assert not sink.person("bert").enabled


def test_a_deleted_member_of_a_group_stays_deleted(server: Ds389) -> None:
    """Referential integrity and memberOf change groups and people once more; nobody comes back by that."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(server)), sink), server.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        old_id = sink.person("bert").stable_id
        admin.modify_dn(uid("bert"), "uid=berta")
        sink.wait_for(lambda: uid("berta") in sink.members("inner"))
        sink.wait_current()
        admin.delete(uid("berta"))
        sink.wait_for(lambda: sink.members("inner") == {uid("anna")})
        sink.wait_current()
        sink.wait_current()
        assert old_id not in sink.entries
        admin.add(uid("bert"), ["inetOrgPerson", "inetUser"], {"cn": "Bert", "sn": "Zwei"})
        sink.wait_for(lambda: sink.person("bert"))
    assert sink.person("bert").stable_id != old_id


def test_the_id_is_the_servers_own(server: Ds389) -> None:
    """nsUniqueId, in the form of a UUID: the same that every other mode reads."""
    sink, polled = RecordingSink(), RecordingSink()
    with following(LdapSource(settings_for(server)), sink), server.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        admin.search(uid("anna"), "(objectClass=*)", ldap3.BASE, attributes=["nsUniqueId"])
        name = admin.response[0]["raw_attributes"]["nsUniqueId"][0].decode()
    assert sink.person("anna").stable_id == str(uuid.UUID(name.replace("-", "")))
    settings = replace(settings_for(server), mode="polling", timing=Timing(beat_s=0.05, list_s=0.1))
    with following(LdapSource(settings), polled):
        polled.wait_for(lambda: polled.proofs)
    assert polled.entries == sink.entries
    assert (sink.proofs[0].mode, polled.proofs[0].mode) == ("content-sync", "polling")


def test_it_is_polled_by_time_where_it_must(server: Ds389) -> None:
    sink = RecordingSink()
    settings = replace(settings_for(server), mode="polling", timing=Timing(beat_s=0.05, list_s=600.0))
    with following(LdapSource(settings), sink), server.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        write(admin, uid("bert"), nsAccountLock="true")
        sink.wait_for(lambda: not sink.person("bert").enabled)
    assert len(sink.proofs) == 1


def test_changes_of_others_neither_stop_the_proofs_nor_remove_anybody(server: Ds389) -> None:
    """They raise the server's number and tell us nothing; what looks like "nobody is left" is never sent for."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(server)), sink), server.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        before = len(sink.changes)
        for _ in range(2):
            admin.add(f"ou=other,{SUFFIX}", "organizationalUnit")
            admin.delete(f"ou=other,{SUFFIX}")
            sink.wait_current()
        write(admin, uid("bert"), nsAccountLock="true")
        sink.wait_for(lambda: not sink.person("bert").enabled)
        sink.wait_current()
    assert len(sink.entries) == 4
    assert not any(change.removed or change.complete for change in sink.changes[before:])
    assert sum(len(change.upserts) for change in sink.changes[before:]) == 1


def test_a_server_that_was_started_again_is_read_whole(server: Ds389) -> None:
    """It may have been restored from a backup; that is said, and who is disabled in the backup is disabled."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(server)), sink):
        with server.admin() as admin:
            write(admin, uid("bert"), nsAccountLock="true")
        sink.wait_for(lambda: sink.proofs)
        server.kill()
        backup = server.backup()
        server.start()
        with server.admin() as admin:
            write(admin, uid("bert"), nsAccountLock=[])
            admin.delete(uid("cora"))
        sink.wait_for(lambda: sink.person("bert").enabled and sink.person("cora") is None)
        sink.wait_current()
        server.kill()
        server.restore(backup)
        server.start()
        sink.wait_for(lambda: sink.person("cora") is not None)
        sink.wait_current()
        assert not sink.person("bert").enabled
    remarks = " ".join(state.remark or "" for state in sink.states)
    assert "was started again since. Everything was read again." in remarks


def test_another_server_never_sees_the_cookie(server: Ds389, tmp_path: Path) -> None:
    """A cookie belongs to one server (an older one crashed on a foreign one): the other one is read whole."""
    other = Ds389()
    authorities = tmp_path / "both.pem"
    authorities.write_bytes(server.ca_file.read_bytes() + other.ca_file.read_bytes())
    sink = RecordingSink()
    try:
        other.start().prepare()
        other.fill(entries())
        with following(LdapSource(settings_for(server, other, ca_file=authorities)), sink):
            sink.wait_for(lambda: sink.proofs)
            before = len(sink.changes)
            server.pause()
            sink.wait_for(lambda: sink.proofs[-1].server == other.url)
            server.resume()
    finally:
        other.close()
    assert any(change.complete for change in sink.changes[before:])
    assert any("Another server answers" in (state.remark or "") for state in sink.states)
    assert len(sink.entries) == 4


def test_without_the_preset_the_lock_and_the_id_are_read_all_the_same(server: Ds389) -> None:
    sink = RecordingSink()
    settings = replace(settings_for(server), mapping=AttributeMapping())
    with server.admin() as admin:
        write(admin, uid("bert"), nsAccountLock="true")
    with following(LdapSource(settings), sink):
        sink.wait_for(lambda: sink.proofs)
    assert not sink.person("bert").enabled
    assert sum(isinstance(entry, DirectoryPerson) and entry.enabled for entry in sink.entries.values()) == 2


def test_the_check_says_which_mode_and_what_is_missing(server: Ds389) -> None:
    """Without the right to read nsUniqueId nobody can be told from somebody else."""
    absent = "displayName, mail, employeeNumber, departmentNumber, nsAccountLock, accountUnlockTime, jpegPhoto"
    texts = [str(finding) for finding in check(settings_for(server))]
    assert texts == [
        f"ok: {server.url}: connected, certificate checked, signed in.",
        f"ok: {server.url}: would be followed in mode content-sync (content synchronisation of 389-ds).",
        f"ok: {server.url}: 3 people (0 disabled) and 1 groups.",
        f"ok: {server.url}: of 3 people show: cn 3, uid 3; nobody shows {absent}.",
    ]


def test_a_size_limit_is_a_failure_and_removes_nobody(server: Ds389) -> None:
    """Whoever left out the account's limit sees it in the state and in the check, and no smaller city."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(server)), sink):
        sink.wait_for(lambda: sink.proofs)
    before = len(sink.changes)
    sink.stored_cookie = None
    impatient = replace(settings_for(server), timing=Timing(beat_s=0.05, dead_s=1.0, refresh_dead_s=0.5))
    with server.admin() as admin:
        write(admin, server.bind_dn, nsSizeLimit="2")
        try:
            # The server stops within the search and says nothing of it, while it answers other questions.
            with following(LdapSource(impatient), sink):
                sink.wait_for(lambda: any("nsSizeLimit" in (state.trouble or "") for state in sink.states))
            findings = check(settings_for(server))
        finally:
            write(admin, server.bind_dn, nsSizeLimit=[])
    assert not any(change.removed or change.complete for change in sink.changes[before:])
    assert len(sink.entries) == 4
    assert findings[-1].severity == "error"
