# SPDX-License-Identifier: EUPL-1.2
"""Mode `polling` against real OpenLDAP without syncprov: what a poll brings, and what only a list proves."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from contracts.directory_source import LOCKED_FOR_GOOD, RecordingSink, following
from contracts.directory_source import replace as write
from support.slapd import SUFFIX, Slapd, SlapdOptions, group, person

from integrations.ldap import LdapSettings, LdapSource, check
from integrations.ldap.settings import Timing

pytestmark = pytest.mark.slapd

PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
SELDOM = Timing(beat_s=0.05, list_s=600.0)
OFTEN = Timing(beat_s=0.05, list_s=0.1)


def uid(name: str) -> str:
    return f"uid={name},{PEOPLE}"


ENTRIES = [
    *(person(name) for name in ("anna", "bert", "cora")),
    group("inner", [uid("anna"), uid("bert")]),
    group("outer", [f"cn=inner,{GROUPS}"]),
]


class WithoutOverlay(Slapd):
    """The module is loaded, so the root DSE offers synchronisation, but this database has no overlay."""

    left_out: tuple[str, ...] = ("overlay syncprov", "syncprov-")

    def _config_text(self) -> str:
        lines = super()._config_text().splitlines()
        return "".join(f"{line}\n" for line in lines if not line.startswith(self.left_out))


class WithoutSyncprov(WithoutOverlay):
    """Nothing of syncprov."""

    left_out = ("overlay syncprov", "syncprov-", "moduleload syncprov")


def settings_for(server: Slapd, timing: Timing = OFTEN, mode: str = "auto") -> LdapSettings:
    return LdapSettings(
        servers=(server.url,),
        bind_dn=server.bind_dn,
        password=lambda: server.password,
        people_base=PEOPLE,
        groups_base=GROUPS,
        ca_file=server.ca_file,
        timing=timing,
        mode=mode,
    )


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    server = WithoutSyncprov(tmp_path / "slapd", ENTRIES).start()
    yield server
    server.stop()


def test_a_poll_brings_changes_and_proves_nothing(slapd: Slapd) -> None:
    """Somebody who was deleted may still be in the copy: until the next list, nobody says that it is current."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd, SELDOM)), sink), slapd.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        admin.delete(uid("cora"))
        write(admin, uid("bert"), pwdAccountLockedTime=LOCKED_FOR_GOOD)
        sink.wait_for(lambda: not sink.person("bert").enabled)
        admin.add(uid("dora"), "inetOrgPerson", {"cn": "Dora", "sn": "D"})
        sink.wait_for(lambda: sink.person("dora"))
        assert sink.person("cora") is not None
        assert len(sink.proofs) == 1
        sink.asked = True
        sink.wait_for(lambda: sink.person("cora") is None)
        sink.wait_for(lambda: len(sink.proofs) == 2)
    assert [change.complete for change in sink.changes].count(True) == 2


def test_a_list_finds_what_the_server_changes_without_a_stamp(slapd: Slapd) -> None:
    """Overlay refint takes a deleted person out of the groups and stamps nothing; nothing else is read again."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink), slapd.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        admin.delete(uid("bert"))
        sink.wait_for(lambda: sink.members("inner") == {uid("anna")})
        sink.wait_current()
        sink.wait_current()
        before = len(sink.changes)
        sink.wait_current()
        sink.wait_current()
    assert len(sink.changes) == before, "lists that find nothing new are not told again"
    assert sink.person("bert") is None


def test_a_recreated_name_gets_the_groups_that_the_server_still_shows(slapd: Slapd) -> None:
    """The copy takes the old name out of the groups; a later list says what is in force."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink), slapd.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        shown = sum(1 for change in sink.changes for entry in change.upserts if entry.name == "outer")
        admin.modify_dn(uid("cora"), "uid=carla")
        sink.wait_for(
            lambda: sum(1 for change in sink.changes for entry in change.upserts if entry.name == "outer") > shown
        )
    assert sink.person("carla") is not None


def test_many_pages_are_one_list(tmp_path: Path) -> None:
    """More people than a page holds, and than slapd gives out at once."""
    server = WithoutSyncprov(tmp_path / "slapd", [*(person(f"p{number}") for number in range(1200)), *ENTRIES])
    server.start()
    sink = RecordingSink()
    try:
        with following(LdapSource(settings_for(server)), sink):
            sink.wait_for(lambda: len(sink.proofs) >= 2)
            with server.admin() as admin:
                admin.delete(uid("p1199"))
            sink.wait_for(lambda: len(sink.entries) == 1204)
    finally:
        server.stop()
    assert {len(change.removed) for change in sink.changes} == {0, 1}


@pytest.mark.parametrize(
    "rule", ["access to attrs=entryCSN by * none", "access to attrs=entryCSN,modifyTimestamp by * none"]
)
def test_servers_that_hide_their_stamps_are_followed_all_the_same(tmp_path: Path, rule: str) -> None:
    """By modifyTimestamp, or by lists alone."""
    server = WithoutSyncprov(tmp_path / "slapd", ENTRIES, SlapdOptions(first_rule=rule)).start()
    sink = RecordingSink()
    try:
        with following(LdapSource(settings_for(server)), sink), server.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            write(admin, uid("bert"), pwdAccountLockedTime=LOCKED_FOR_GOOD)
            sink.wait_for(lambda: not sink.person("bert").enabled)
            admin.delete(uid("cora"))
            sink.wait_for(lambda: sink.person("cora") is None)
        texts = "\n".join(str(finding) for finding in check(settings_for(server)))
    finally:
        server.stop()
    assert ("do not show when they were changed" in texts) == ("modifyTimestamp" in rule)
    assert bool(sink.stored_cookie) == ("modifyTimestamp" not in rule)


def test_changes_within_one_second_are_not_missed(tmp_path: Path) -> None:
    """ModifyTimestamp counts whole seconds: what is written after a poll in its second has no newer stamp."""
    rule = "access to attrs=entryCSN by * none"
    server = WithoutSyncprov(tmp_path / "slapd", ENTRIES, SlapdOptions(first_rule=rule)).start()
    sink = RecordingSink()
    try:
        with following(LdapSource(settings_for(server, SELDOM)), sink), server.admin() as admin:
            sink.wait_for(lambda: sink.proofs)
            for number in range(20):
                write(admin, uid("anna"), displayName=f"Anna {number}")
                sink.wait_for(lambda number=number: sink.person("anna").name == f"Anna {number}")
        assert len(sink.proofs) == 1
    finally:
        server.stop()


@pytest.mark.parametrize("kind", [WithoutSyncprov, WithoutOverlay])
def test_openldap_without_syncprov_is_polled_by_itself(tmp_path: Path, kind: type[Slapd]) -> None:
    """Also where the root DSE offers synchronisation and the database refuses it."""
    server = kind(tmp_path / "slapd", ENTRIES).start()
    sink = RecordingSink()
    try:
        with following(LdapSource(settings_for(server)), sink):
            sink.wait_for(lambda: sink.proofs)
        findings = "\n".join(str(finding) for finding in check(settings_for(server)))
    finally:
        server.stop()
    assert sink.proofs[0].mode == sink.states[-1].mode == "polling"
    assert sink.states[-1].connected
    assert sink.states[-1].trouble is None
    assert ("so it is polled" in (sink.states[-1].remark or "")) == (kind is WithoutOverlay)
    assert "mode polling" in findings
    assert ("offers no content synchronisation here" in findings) == (kind is WithoutOverlay)
    assert "deletions are noticed every 0.1 s only" in findings


def test_a_named_mode_is_kept_and_its_trouble_reported(tmp_path: Path) -> None:
    server = WithoutOverlay(tmp_path / "slapd", ENTRIES).start()
    sink = RecordingSink()
    try:
        with following(LdapSource(settings_for(server, mode="syncrepl")), sink):
            sink.wait_for(lambda: any("offer content synchronisation" in (s.trouble or "") for s in sink.states))
    finally:
        server.stop()
    assert sink.proofs == []


def test_a_server_restored_from_a_backup_is_read_whole_and_that_is_said(slapd: Slapd) -> None:
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink):
        sink.wait_for(lambda: sink.proofs)
        backup = slapd.backup()
        with slapd.admin() as admin:
            write(admin, uid("bert"), displayName="Bert Neu")
            admin.add(uid("dora"), "inetOrgPerson", {"cn": "Dora", "sn": "D"})
        sink.wait_for(lambda: sink.person("dora") and sink.person("bert").name == "Bert Neu")
        sink.wait_current()
        slapd.stop()
        slapd.restore(backup)
        slapd.start()
        sink.wait_for(lambda: sink.person("dora") is None)
        sink.wait_current()
    assert sink.person("bert").name == "Bert"
    assert any("Everything was read again" in (state.remark or "") for state in sink.states)


def test_a_disable_in_a_long_list_does_not_wait_for_its_end(tmp_path: Path) -> None:
    server = WithoutSyncprov(tmp_path / "slapd", [*ENTRIES, *(person(f"p{number}") for number in range(1500))]).start()
    sink = RecordingSink()
    try:
        with following(LdapSource(settings_for(server, SELDOM)), sink):
            sink.wait_for(lambda: sink.proofs)
        with server.admin() as admin:
            write(admin, uid("anna"), pwdAccountLockedTime=LOCKED_FOR_GOOD)
        before = len(sink.changes)
        with following(LdapSource(settings_for(server, SELDOM)), sink):
            sink.wait_current()
    finally:
        server.stop()
    carrier = next(change for change in sink.changes[before:] if change.upserts)
    assert carrier.upserts[-1].stable_id == sink.person("anna").stable_id
    assert not carrier.complete


def test_stop_is_heard_while_the_root_dse_is_awaited(slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server hangs between sign-in and its first answer; `following` measures how long stopping takes."""
    import integrations.ldap.source as source_module

    signed_in = threading.Event()
    choose = source_module.choose

    def hang_first(*arguments: object) -> object:
        slapd.pause()
        signed_in.set()
        return choose(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(source_module, "choose", hang_first)
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd, replace(OFTEN, dead_s=30.0))), sink):
        assert signed_in.wait(15)
    assert sink.proofs == []


def test_entries_whose_stamps_may_hide_a_change_are_told_again(slapd: Slapd) -> None:
    """The position holds a digest of the newest entries: only if it fits, a restart of the source is silent."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd, SELDOM)), sink):
        sink.wait_for(lambda: sink.proofs)
    cookie = sink.stored_cookie or ""
    before = len(sink.changes)
    with following(LdapSource(settings_for(slapd, SELDOM)), sink):
        sink.wait_current()
    assert not any(change.upserts for change in sink.changes[before:])
    sink.stored_cookie = cookie.rpartition(",")[0] + ",000000000000"
    with following(LdapSource(settings_for(slapd, SELDOM)), sink):
        sink.wait_current()
    assert {entry.name for change in sink.changes[before:] for entry in change.upserts} >= {"Anna", "inner", "outer"}
