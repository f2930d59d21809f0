# SPDX-License-Identifier: EUPL-1.2
"""Two real OpenLDAP servers, one the replica of the other: hung, killed, lagging, wrongly certified."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.directory_source import LOCKED_FOR_GOOD, RecordingSink, following
from contracts.directory_source import replace as write
from support.slapd import SUFFIX, CertificateWish, Slapd, SlapdOptions, group, person

from integrations.ldap import LdapSettings, LdapSource
from integrations.ldap.settings import Timing
from rig.slapd_replica import Replica

pytestmark = pytest.mark.slapd

PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
ANNA, BERT = f"uid=anna,{PEOPLE}", f"uid=bert,{PEOPLE}"
ENTRIES = [*(person(name) for name in ("anna", "bert")), group("inner", [ANNA, BERT])]
REPLACED_WITHIN_S = 1.5


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """Provider and replica, with the same certificate."""

    provider: Slapd
    replica: Replica

    def settings(self, timing: Timing | None = None) -> LdapSettings:
        return LdapSettings(
            servers=(self.provider.url, self.replica.url),
            bind_dn=self.provider.bind_dn,
            password=lambda: self.provider.password,
            people_base=PEOPLE,
            groups_base=GROUPS,
            ca_file=self.provider.ca_file,
            timing=timing or Timing(),
        )

    def at(self, url: str) -> Slapd | Replica:
        return self.provider if url == self.provider.url else self.replica

    def wait_replicated(self) -> None:
        """Follow the replica alone until it has what the provider has."""
        sink = RecordingSink()
        alone = LdapSettings(
            servers=(self.replica.url,),
            bind_dn=self.provider.bind_dn,
            password=lambda: self.provider.password,
            people_base=PEOPLE,
            groups_base=GROUPS,
            ca_file=self.provider.ca_file,
            timing=Timing(refused_wait_s=0.1),
        )
        with following(LdapSource(alone), sink):
            sink.wait_for(lambda: len(sink.entries) == len(ENTRIES))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    provider = Slapd(tmp_path / "provider", ENTRIES).start()
    replica = Replica(tmp_path / "replica", provider)
    try:
        replica.start()
        both = Pair(provider, replica)
        both.wait_replicated()
        yield both
    finally:
        provider.stop()
        replica.stop()


def test_a_hung_server_is_replaced_by_its_replica_within_a_second_and_a_half(pair: Pair) -> None:
    """With the settings' own timing; nothing is read anew, because the replica takes the cookie."""
    sink = RecordingSink()
    with following(LdapSource(pair.settings()), sink):
        sink.wait_for(lambda: sink.proofs)
        hung = pair.at(sink.proofs[-1].server)
        before = len(sink.changes)
        hung.pause()
        paused_s = time.monotonic()
        sink.wait_for(lambda: sink.proofs[-1].server != hung.url)
        took_s = time.monotonic() - paused_s
        hung.resume()
        sink.wait_current()
    assert took_s < REPLACED_WITHIN_S
    assert not any(change.complete or change.upserts for change in sink.changes[before:])


def test_a_killed_server_is_replaced_by_its_replica(pair: Pair) -> None:
    """What was written to it before is in force, what is written to the replica's provider later arrives again."""
    sink = RecordingSink()
    with following(LdapSource(pair.settings()), sink):
        with pair.provider.admin() as admin:
            write(admin, BERT, pwdAccountLockedTime=LOCKED_FOR_GOOD)
        sink.wait_current()
        assert not sink.person("bert").enabled
        pair.provider.kill()
        sink.wait_for(lambda: sink.proofs[-1].server == pair.replica.url)
        assert not sink.person("bert").enabled
        pair.provider.start()
        with pair.provider.admin() as admin:
            write(admin, BERT, pwdAccountLockedTime=[])
        sink.wait_for(lambda: sink.person("bert").enabled)
        assert sink.proofs[-1].server == pair.replica.url


@pytest.mark.parametrize("mode", ["syncrepl", "polling"])
def test_a_replica_that_lags_is_not_believed_too_early(pair: Pair, mode: str) -> None:
    """It does not know of the disabling yet: believing it would open the door again."""
    sink = RecordingSink()
    timing = Timing(beat_s=0.05, list_s=600.0, behind_grace_s=60.0)
    with following(LdapSource(dataclasses.replace(pair.settings(timing), mode=mode)), sink):
        sink.wait_for(lambda: sink.proofs)
        pair.replica.stop()
        position = sink.stored_cookie
        with pair.provider.admin() as admin:
            write(admin, BERT, pwdAccountLockedTime=LOCKED_FOR_GOOD)
        sink.wait_for(lambda: not sink.person("bert").enabled and sink.stored_cookie != position)
        pair.provider.kill()
        pair.replica.start()
        sink.wait_for(lambda: any("older than this copy" in (state.trouble or "") for state in sink.states))
        assert not sink.person("bert").enabled
        assert sink.proofs[-1].server == pair.provider.url
        pair.provider.start()
        sink.wait_current()
        assert not sink.person("bert").enabled


def test_one_wrong_certificate_leaves_the_other_server(tmp_path: Path) -> None:
    """The right one is followed at once, whichever comes first; the wrong one is reported and never believed."""
    right = Slapd(tmp_path / "right", ENTRIES).start()
    wrong = Slapd(tmp_path / "wrong", ENTRIES, SlapdOptions(certificate=CertificateWish(ip="127.0.0.2"))).start()
    authorities = tmp_path / "both.pem"
    authorities.write_bytes(right.ca_file.read_bytes() + wrong.ca_file.read_bytes())
    sink = RecordingSink()
    settings = dataclasses.replace(Pair(wrong, right).settings(), ca_file=authorities)
    try:
        started_s = time.monotonic()
        with following(LdapSource(settings), sink):
            sink.wait_for(lambda: sink.proofs)
            assert time.monotonic() - started_s < REPLACED_WITHIN_S
            right.kill()
            right.start()
            sink.wait_current()
    finally:
        right.stop()
        wrong.stop()
    assert {proof.server for proof in sink.proofs} == {right.url}
    assert any("certificate was refused" in (state.trouble or "") for state in sink.states)


def test_another_server_polled_is_read_whole_whatever_its_stamps_say(tmp_path: Path) -> None:
    """A server that was filled by hand shows the same ids and stamps and may yet hold something else."""
    stamps = {"entryCSN": "20260101000000.000000Z#000000#000#000000", "modifyTimestamp": "20260101000000Z"}
    first = Slapd(tmp_path / "first", [person("anna", None, **stamps), *ENTRIES[1:]]).start()
    backup = first.backup()
    text = backup.read_text()
    backup.write_text(text.replace("mail: anna@stadt.example", "mail: other@stadt.example"))
    second = Slapd(tmp_path / "second", ENTRIES, SlapdOptions(tls_from=tmp_path / "first" / "tls"))
    second.restore(backup)
    second.start()
    sink = RecordingSink()
    settings = dataclasses.replace(Pair(first, second).settings(Timing(list_s=600.0)), mode="polling")
    try:
        with following(LdapSource(settings), sink):
            sink.wait_for(lambda: sink.proofs)
            assert sink.person("anna").mail == "anna@stadt.example"
            first.kill()
            sink.wait_for(lambda: sink.proofs[-1].server == second.url)
    finally:
        first.stop()
        second.stop()
    assert sink.person("anna").mail == "other@stadt.example"
