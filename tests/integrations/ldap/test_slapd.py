# SPDX-License-Identifier: EUPL-1.2
"""What only a real OpenLDAP server shows: crashes, limits, its silent changes, its certificates."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ldap3
import pytest
import structlog
from contracts.directory_source import LOCKED_FOR_GOOD, RecordingSink, following
from contracts.directory_source import replace as write
from support.slapd import (
    SUFFIX,
    CertificateWish,
    Slapd,
    SlapdOptions,
    group,
    person,
)

from integrations.ldap import LdapSettings, LdapSource, check
from integrations.ldap.settings import Timing

pytestmark = pytest.mark.slapd

PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"


def uid(name: str) -> str:
    return f"uid={name},{PEOPLE}"


ENTRIES = [
    *(person(name) for name in ("anna", "bert", "cora")),
    group("inner", [uid("anna"), uid("bert")]),
    group("outer", [f"cn=inner,{GROUPS}"]),
]


def settings_for(*servers: Slapd, timing: Timing | None = None) -> LdapSettings:
    return LdapSettings(
        servers=tuple(server.url for server in servers),
        bind_dn=servers[0].bind_dn,
        password=lambda: servers[0].password,
        people_base=PEOPLE,
        groups_base=GROUPS,
        ca_file=servers[0].ca_file,
        timing=timing or Timing(beat_s=0.05, dead_s=0.5, answer_s=1),
    )


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    server = Slapd(tmp_path / "slapd", ENTRIES).start()
    yield server
    server.stop()


def test_a_killed_server_is_noticed_at_once_and_followed_again(slapd: Slapd) -> None:
    """The session log is lost with the process: who was deleted meanwhile is found by the present phase."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink):
        sink.wait_for(lambda: sink.proofs)
        with slapd.admin() as admin:
            for number in range(120):  # beyond the checkpoint, so that the server keeps its position
                write(admin, uid("anna"), description=str(number))
        sink.wait_current()
        killed_s = time.monotonic()
        slapd.kill()
        sink.wait_for(lambda: not sink.states[-1].connected)
        assert time.monotonic() - killed_s < 1.0
        slapd.start()
        with slapd.admin() as admin:
            admin.delete(uid("cora"))
        sink.wait_current()
    assert sink.person("cora") is None
    assert len(sink.entries) == 4


def test_a_deletion_while_the_source_was_away_is_found_after_a_restart(slapd: Slapd) -> None:
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink):
        sink.wait_for(lambda: sink.proofs)
    with slapd.admin() as admin:
        admin.delete(uid("cora"))
        write(admin, uid("bert"), displayName="Bert Neu")
    slapd.stop()
    slapd.start()
    before = len(sink.changes)
    with following(LdapSource(settings_for(slapd)), sink):
        sink.wait_current()
    assert sink.person("cora") is None
    assert sink.person("bert").name == "Bert Neu"
    assert any(change.complete for change in sink.changes[before:])


def test_a_server_restored_from_a_backup_is_believed_and_reported(slapd: Slapd, tmp_path: Path) -> None:
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink):
        sink.wait_for(lambda: sink.proofs)
        with slapd.admin() as admin:
            admin.add(uid("dora"), "inetOrgPerson", {"cn": "Dora", "sn": "D"})
        sink.wait_for(lambda: sink.person("dora"))
        slapd.stop()
        for file in (slapd.directory / "db").iterdir():
            file.unlink()
        slapd.load([*slapd.base_entries(), *ENTRIES])
        # The backup is older than the position of the copy: its newest change must not be newer by accident.
        sink.stored_cookie = (sink.stored_cookie or "").replace("csn=20", "csn=21")
        slapd.start()
        sink.wait_for(lambda: any(s.connected and "older than this copy" in (s.remark or "") for s in sink.states))
        sink.wait_for(lambda: sink.person("dora") is None)
        sink.wait_current()
    assert len(sink.entries) == 5


def test_a_server_restored_and_written_to_is_read_whole_before_it_is_believed(slapd: Slapd) -> None:
    """Its position looks newer than ours; who was disabled in the backup is disabled at the first proof."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink):
        with slapd.admin() as admin:
            write(admin, uid("bert"), pwdAccountLockedTime=LOCKED_FOR_GOOD)
        backup = slapd.backup()
        with slapd.admin() as admin:
            write(admin, uid("bert"), pwdAccountLockedTime=[])
        sink.wait_current()
        assert sink.person("bert").enabled
        slapd.stop()
        slapd.restore(backup)
        slapd.start(maintenance=True)
        with slapd.admin() as admin:
            write(admin, uid("anna"), description="x")
        slapd.stop()
        slapd.start()
        sink.wait_current()
        assert not sink.person("bert").enabled
    assert "no longer knows what was changed" in (sink.states[-1].remark or "")


def test_a_hung_server_is_left_for_the_next_one(slapd: Slapd, tmp_path: Path) -> None:
    other = Slapd(tmp_path / "other", ENTRIES, SlapdOptions(tls_from=slapd.directory / "tls")).start()
    sink = RecordingSink()
    try:
        with following(LdapSource(settings_for(slapd, other)), sink):
            sink.wait_for(lambda: sink.proofs)
            slapd.pause()
            paused_s = time.monotonic()
            sink.wait_for(lambda: sink.proofs[-1].server == other.url)
            took_s = time.monotonic() - paused_s
    finally:
        other.stop()
    assert 0.3 < took_s < 10.0
    assert [state.server for state in sink.states if state.connected][:2] == [slapd.url, other.url]
    assert any("has not answered for 0.5 s" in (state.trouble or "") for state in sink.states)


def test_a_size_limit_is_a_failure_and_removes_nobody(tmp_path: Path) -> None:
    crowd = [person(f"p{number}") for number in range(600)]
    server = Slapd(tmp_path / "slapd", [*crowd, *ENTRIES], SlapdOptions(unlimited=False)).start()
    sink = RecordingSink()
    ghost = "00000000-0000-0000-0000-000000000001"
    try:
        settings = settings_for(server)
        with following(LdapSource(settings), sink):
            sink.wait_for(lambda: any("size limit" in (state.trouble or "") for state in sink.states))
        assert sink.proofs == []
        assert ghost not in {stable_id for change in sink.changes for stable_id in change.removed}
        assert not any(change.complete for change in sink.changes)
        assert [f.severity for f in check(settings)][-1] == "error"
        assert "size limit" in check(settings)[-1].text
    finally:
        server.stop()


def test_a_burst_of_changes_arrives_whole(slapd: Slapd) -> None:
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink), slapd.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        for number in range(2000):
            write(admin, uid(("anna", "bert", "cora")[number % 3]), displayName=f"Name {number}")
        written_s = time.monotonic()
        sink.wait_for(lambda: sink.person("bert").name == "Name 1999")
        assert time.monotonic() - written_s < 1.0
        sink.wait_current()
    assert [sink.person(name).name for name in ("anna", "bert", "cora")] == ["Name 1998", "Name 1999", "Name 1997"]


def test_a_rename_takes_the_groups_along(slapd: Slapd) -> None:
    """Overlay refint writes the new name into the groups and tells nobody: they are read at once."""
    sink = RecordingSink()
    with following(LdapSource(settings_for(slapd)), sink), slapd.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        admin.modify_dn(uid("anna"), "uid=anna (2)*")
        sink.wait_for(lambda: f"uid=anna (2)*,{PEOPLE}" in sink.members("inner"))
        admin.modify_dn(f"cn=inner,{GROUPS}", "cn=core")
        sink.wait_for(lambda: f"cn=core,{GROUPS}" in sink.members("outer"))


def test_silent_changes_are_found_by_the_comparison(slapd: Slapd) -> None:
    """Overlay refint takes a deleted person out of the groups without an event."""
    sink = RecordingSink()
    timing = Timing(beat_s=0.05, reconcile_s=600, settle_s=0.2)
    with following(LdapSource(settings_for(slapd, timing=timing)), sink), slapd.admin() as admin:
        sink.wait_for(lambda: sink.proofs)
        admin.delete(uid("bert"))
        sink.wait_for(lambda: sink.person("bert") is None)
        assert uid("bert") in sink.members("inner")
        sink.wait_for(lambda: uid("bert") not in sink.members("inner"))
    assert sink.members("inner") == {uid("anna")}


def test_a_disable_in_the_middle_of_a_full_refresh_does_not_wait(tmp_path: Path) -> None:
    """It reaches the sink in a change of its own, long before the refresh is complete."""
    crowd = [person(f"p{number}") for number in range(3000)]
    server = Slapd(tmp_path / "slapd", [*ENTRIES, *crowd]).start()
    sink = RecordingSink()
    try:
        with following(LdapSource(settings_for(server)), sink):
            sink.wait_for(lambda: sink.proofs)
        with server.admin() as admin:
            write(admin, uid("anna"), pwdAccountLockedTime=LOCKED_FOR_GOOD)
        stable_id = sink.person("anna").stable_id
        sink.stored_cookie = None
        before = len(sink.changes)
        with following(LdapSource(settings_for(server)), sink):
            sink.wait_current()
    finally:
        server.stop()
    changes = sink.changes[before:]
    carrier = next(i for i, c in enumerate(changes) if any(e.stable_id == stable_id for e in c.upserts))
    complete = next(i for i, change in enumerate(changes) if change.complete)
    assert changes[carrier].upserts[-1].stable_id == stable_id
    assert carrier < complete


def test_start_tls_is_used_and_required(slapd: Slapd) -> None:
    sink = RecordingSink()
    settings = replace(settings_for(slapd), servers=(slapd.plain_url,))
    with following(LdapSource(settings), sink):
        sink.wait_for(lambda: sink.proofs)
    assert sink.proofs[0].server == slapd.plain_url
    wrong = replace(settings, servers=(slapd.plain_url.replace("127.0.0.1", "localhost"),))
    assert "certificate was refused" in check(wrong)[0].text


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (CertificateWish(valid_days=-1), "expired"),
        (CertificateWish(ip="127.0.0.2"), "IP address mismatch"),
        (CertificateWish(ip=None, dns="127.0.0.1"), "IP address mismatch"),
    ],
)
def test_certificates_that_do_not_fit_are_refused(tmp_path: Path, wish: CertificateWish, words: str) -> None:
    server = Slapd(tmp_path / "slapd", ENTRIES, SlapdOptions(certificate=wish)).start()
    try:
        finding = check(settings_for(server))[0]
    finally:
        server.stop()
    assert finding.severity == "error"
    assert words in finding.text


def test_a_certificate_with_a_dns_name_is_accepted(tmp_path: Path) -> None:
    server = Slapd(tmp_path / "slapd", ENTRIES, SlapdOptions(certificate=CertificateWish(ip=None, dns="localhost")))
    server.start()
    try:
        settings = settings_for(server)
        settings = replace(settings, servers=(server.url.replace("127.0.0.1", "localhost"),))
        assert check(settings)[0].severity == "ok"
    finally:
        server.stop()


def test_the_check_says_what_it_found(slapd: Slapd) -> None:
    texts = {finding.text: finding.severity for finding in check(settings_for(slapd))}
    assert texts == {
        f"{slapd.url}: connected, certificate checked, signed in.": "ok",
        f"{slapd.url}: would be followed in mode syncrepl (content synchronisation, RFC 4533).": "ok",
        f"{slapd.url}: 3 people (0 disabled) and 2 groups.": "ok",
        f"{slapd.url}: of 3 people show: cn 3, uid 3, mail 3; nobody shows displayName, employeeNumber, "
        "departmentNumber, pwdAccountLockedTime, shadowExpire, jpegPhoto.": "ok",
    }


def test_the_check_notices_what_the_account_may_not_read(tmp_path: Path) -> None:
    rule = "access to attrs=member,entryCSN by * none"
    server = Slapd(tmp_path / "slapd", ENTRIES, SlapdOptions(first_rule=rule)).start()
    try:
        warnings = [f.text for f in check(settings_for(server)) if f.severity == "warning"]
    finally:
        server.stop()
    assert any("2 groups show no member" in text for text in warnings)
    assert any("5 entries show no entryCSN" in text for text in warnings)


def test_doubtful_values_are_remarked_and_logged_without_personal_data(slapd: Slapd) -> None:
    sink = RecordingSink()
    with slapd.admin() as admin:
        admin.modify(uid("anna"), {"objectClass": [(ldap3.MODIFY_ADD, ["shadowAccount"])]})
        write(admin, uid("anna"), shadowExpire="0")
    with structlog.testing.capture_logs() as logs, following(LdapSource(settings_for(slapd)), sink):
        sink.wait_for(lambda: any("1 values cannot be read (shadowexpire)" in (s.remark or "") for s in sink.states))
    assert not sink.person("anna").enabled
    assert {"directory.connected", "directory.refreshed", "directory.unreadable"} <= {log["event"] for log in logs}
    assert "anna" not in repr(logs)
    assert slapd.password not in repr(logs)


def test_other_settings_read_everything_again(slapd: Slapd) -> None:
    """A cookie only says what changed; under another filter it would leave people in the copy for ever."""
    sink = RecordingSink()
    settings = settings_for(slapd)
    with following(LdapSource(settings), sink):
        sink.wait_for(lambda: sink.proofs)
    narrow = replace(settings, people_filter="(&(objectClass=inetOrgPerson)(!(uid=bert)))")
    with following(LdapSource(narrow), sink):
        sink.wait_current()
    assert sink.person("bert") is None
    assert len(sink.entries) == 4


def test_the_comparison_after_a_crash_removes_nobody(slapd: Slapd) -> None:
    """After kill -9 the server's own position is older than its newest entries; they are there nevertheless."""
    sink = RecordingSink()
    timing = Timing(beat_s=0.05, reconcile_s=0.2)
    with structlog.testing.capture_logs() as logs, following(LdapSource(settings_for(slapd, timing=timing)), sink):
        sink.wait_for(lambda: sink.proofs)
        with slapd.admin() as admin:
            write(admin, f"cn=inner,{GROUPS}", description="x")
        slapd.kill()
        slapd.start()
        sink.wait_current()
        before = len(logs)
        for _ in range(20):
            sink.wait_current()
            if any(log["event"] == "directory.reconciled" for log in logs[before:]):
                break
            sink.wait_for(lambda: len(logs) > before)
    assert any(log["event"] == "directory.reconciled" for log in logs[before:])
    assert len(sink.entries) == 5


def test_stop_is_heard_while_the_server_hangs(slapd: Slapd) -> None:
    """`following` measures how long the source takes to end; connecting to a hung server takes seconds."""
    sink = RecordingSink()
    source = LdapSource(settings_for(slapd, timing=Timing(answer_s=5)))
    slapd.pause()
    with following(source, sink) as stop:
        assert not stop.wait(0.2)
    assert sink.proofs == []
