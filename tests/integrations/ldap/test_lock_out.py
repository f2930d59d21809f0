# SPDX-License-Identifier: EUPL-1.2
"""A lock-out after wrong passwords, on each kind of server: made by wrong passwords, read with the end that it has."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ldap3
import pytest
from contracts.directory_source import RecordingSink, first_entries, following
from contracts.directory_source import replace as write
from support.ds389 import Ds389
from support.samba import SUFFIX as DOMAIN
from support.samba import Samba, Tree, shared_domain, template_of_the_run
from support.samba import settings_for as settings_for_samba
from support.slapd import SUFFIX, Entry, Slapd, person

from cardservice.people.rules import NO_KNOWN_END_MS
from integrations.ldap import LdapSettings, LdapSource
from integrations.ldap.asking import Patience
from integrations.ldap.check import check
from integrations.ldap.connection import open_channel
from integrations.ldap.domain_policy import UNREADABLE, with_domain_policy
from integrations.ldap.live import LiveReader
from integrations.ldap.mapping_attributes import DS389, OPENLDAP, Preset
from integrations.ldap.modes import MODES
from integrations.ldap.settings import Timing

ANNA = f"uid=anna,ou=people,{SUFFIX}"
PASSWORD = "Sommerregen-4711"  # only ever valid on a temporary server
POLICY = f"cn=policy,{SUFFIX}"
LOCK_OUT_MS = 600_000
# Servers write the second in which a lock begins; and the test's clock is read a little later.
SLACK_MS = 5_000


def guess(url: str, dn: str, tries: int = 3) -> None:
    """Try wrong passwords, as anybody can."""
    for _ in range(tries):
        assert not fits(url, dn, "wrong")


def fits(url: str, dn: str, password: str) -> bool:
    """Tell whether the server lets somebody in."""
    connection = ldap3.Connection(ldap3.Server(url), dn, password)
    fitting = bool(connection.bind())
    connection.unbind()
    return fitting


def locked_until(sink: RecordingSink) -> int:
    """Wait for Anna's lock-out; return its end."""
    return int(sink.wait_for(lambda: (anna := sink.person("anna")) is not None and anna.locked_until_ms))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def settings_for(server: Slapd | Ds389, preset: Preset, lock_out_ms: int | None = None) -> LdapSettings:
    return LdapSettings(
        servers=(server.url,),
        bind_dn=server.bind_dn,
        password=lambda: server.password,
        people_base=f"ou=people,{server.suffix}",
        groups_base=f"ou=groups,{server.suffix}",
        ca_file=server.ca_file,
        people_filter=preset.people_filter,
        groups_filter=preset.groups_filter,
        mapping=replace(preset.mapping, lock_out_ms=lock_out_ms),
        timing=Timing(beat_s=0.05, dead_s=1.0),
    )


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    policy = {"pwdAttribute": "userPassword", "pwdLockout": "TRUE", "pwdMaxFailure": "3", "pwdLockoutDuration": "600"}
    entries: list[Entry] = [
        (POLICY, {"objectClass": ["device", "pwdPolicy"], "cn": "policy", **policy}),
        person("anna", userPassword=PASSWORD),
    ]
    server = Slapd(tmp_path / "slapd", entries).start()
    with server.admin() as admin:
        write(admin, ANNA, pwdPolicySubentry=POLICY)
    yield server
    server.stop()


@pytest.mark.slapd
@pytest.mark.parametrize("lock_out_ms", [None, LOCK_OUT_MS])
def test_openldap_tells_of_a_lock_and_the_settings_when_it_ends(slapd: Slapd, lock_out_ms: int | None) -> None:
    """Pushed, like every change; an administrator who lifts it is heard as well."""
    sink = RecordingSink()
    settings = settings_for(slapd, OPENLDAP, lock_out_ms)
    with following(LdapSource(settings), sink):
        sink.wait_for(lambda: sink.proofs)
        began_ms = now_ms()
        guess(slapd.plain_url, ANNA)
        assert not fits(slapd.plain_url, ANNA, PASSWORD)
        until_ms = locked_until(sink)
        if lock_out_ms is None:
            assert until_ms == NO_KNOWN_END_MS
        else:
            assert abs(until_ms - began_ms - lock_out_ms) < SLACK_MS
        anna = sink.person("anna")
        assert anna is not None
        assert anna.enabled
        with slapd.admin() as admin:
            write(admin, ANNA, pwdAccountLockedTime=[])
        sink.wait_for(lambda: (one := sink.person("anna")) is not None and one.locked_until_ms is None)


@pytest.fixture
def ds389() -> Iterator[Ds389]:
    server = Ds389()
    try:
        server.start().prepare()
        server.fill(first_entries(server.suffix))
        with server.admin() as admin:
            rules = {"passwordLockout": "on", "passwordMaxFailure": "3", "passwordLockoutDuration": "600"}
            write(admin, "cn=config", **rules)
            write(admin, ANNA, userPassword=PASSWORD)
        yield server
    finally:
        server.close()


@pytest.mark.ds389
@pytest.mark.parametrize("unlocks", [True, False])
def test_389_says_when_a_lock_ends(ds389: Ds389, unlocks: bool) -> None:
    """Or that an administrator must end it; both are read from the entry."""
    with ds389.admin() as admin:
        write(admin, "cn=config", passwordUnlock="on" if unlocks else "off")
    sink = RecordingSink()
    with following(LdapSource(settings_for(ds389, DS389)), sink):
        sink.wait_for(lambda: sink.proofs)
        began_ms = now_ms()
        guess(ds389.plain_url, ANNA, tries=4)
        assert not fits(ds389.plain_url, ANNA, PASSWORD)
        until_ms = locked_until(sink)
        if unlocks:
            assert abs(until_ms - began_ms - LOCK_OUT_MS) < SLACK_MS
        else:
            assert until_ms == NO_KNOWN_END_MS
        with ds389.admin() as admin:
            write(admin, ANNA, accountUnlockTime=[], passwordRetryCount=[])
        sink.wait_for(lambda: (one := sink.person("anna")) is not None and one.locked_until_ms is None)


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    base = tmp_path_factory.getbasetemp()
    with shared_domain(template_of_the_run(base), base / "dc-lock-out") as server:
        yield server


@pytest.fixture
def tree(domain: Samba) -> Iterator[Tree]:
    branch = Tree(domain, "locks")
    branch.plant()
    with domain.admin() as admin:
        write(
            admin, DOMAIN, lockoutThreshold="3", lockOutObservationWindow="-6000000000", lockoutDuration="-6000000000"
        )
        write(admin, branch.person_dn("anna"), unicodePwd=f'"{PASSWORD}"'.encode("utf-16-le"))
    yield branch
    branch.fell()


@pytest.mark.samba
@pytest.mark.parametrize("mode", ["dirsync", "polling"])
def test_active_directory_says_when_a_lock_began_and_the_domain_how_long_it_lasts(tree: Tree, mode: str) -> None:
    """Whatever the settings say; whoever asks the domain controller itself is told the same."""
    settings = settings_for_samba(tree)
    settings = replace(settings, mapping=replace(settings.mapping, lock_out_ms=1))
    sink = RecordingSink()
    with following(LdapSource(settings, MODES[mode]), sink):
        sink.wait_for(lambda: sink.proofs)
        began_ms = now_ms()
        guess(tree.url, tree.person_dn("anna"))
        until_ms = locked_until(sink)
    assert abs(until_ms - began_ms - LOCK_OUT_MS) < SLACK_MS
    anna = sink.person("anna")
    assert anna is not None
    assert anna.enabled
    reader = LiveReader(settings)
    try:
        assert reader.read(anna.stable_id, 5.0) == anna
    finally:
        reader.close()


@pytest.mark.samba
@pytest.mark.parametrize("duration", ["0", str(-(2**63))])
def test_a_domain_whose_locks_only_an_administrator_ends_knows_no_end(tree: Tree, duration: str) -> None:
    """The settings do not make one up."""
    with tree.admin() as admin:
        write(admin, DOMAIN, lockoutDuration=duration)
    settings = settings_for_samba(tree)
    settings = replace(settings, mapping=replace(settings.mapping, lock_out_ms=1))
    sink = RecordingSink()
    with following(LdapSource(settings), sink):
        sink.wait_for(lambda: sink.proofs)
        guess(tree.url, tree.person_dn("anna"))
        assert locked_until(sink) == NO_KNOWN_END_MS


@pytest.mark.slapd
def test_where_the_domain_does_not_say_how_long_the_settings_do(slapd: Slapd) -> None:
    """And where they do not either, the check of the directory says what is missing."""
    like_ad = replace(OPENLDAP, mapping=replace(OPENLDAP.mapping, lockout_time="lockouttime"))
    for lock_out_ms, missing in ((None, 1), (LOCK_OUT_MS, 0)):
        settings = settings_for(slapd, like_ad, lock_out_ms)
        channel = open_channel(settings, settings.ordered_servers()[0])
        try:
            assert with_domain_policy(settings, channel, Patience(5.0)) is None
            assert with_domain_policy(settings_for(slapd, OPENLDAP), channel, Patience(5.0)) is not None
        finally:
            channel.close()
        sentences = [str(finding) for finding in check(settings)]
        assert sum(UNREADABLE in sentence for sentence in sentences) == missing, sentences
