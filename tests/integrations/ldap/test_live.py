# SPDX-License-Identifier: EUPL-1.2
"""One person read from the directory itself: on a kept connection, in little time, and never a wrong "nobody"."""

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ldap3
import pytest
from contracts.directory_source import LOCKED_FOR_GOOD
from contracts.directory_source import replace as write
from support.slapd import SUFFIX, Slapd, group, person

from cardservice.people.rules import DirectoryPerson
from integrations.ldap import LdapSettings, ber
from integrations.ldap.errors import LdapTrouble, ServerSilent
from integrations.ldap.live import LiveReader
from integrations.ldap.settings import Timing

PEOPLE = f"ou=people,{SUFFIX}"
ANNA = f"uid=anna,{PEOPLE}"
LIMIT_S = 2.0


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    server = Slapd(tmp_path / "slapd", [person("anna"), person("bert"), group("inner", [ANNA])]).start()
    yield server
    server.stop()


@pytest.fixture
def reader(slapd: Slapd) -> Iterator[LiveReader]:
    reader = LiveReader(settings_for(slapd))
    yield reader
    reader.close()


def settings_for(*servers: Slapd) -> LdapSettings:
    return LdapSettings(
        servers=tuple(server.url for server in servers),
        bind_dn=servers[0].bind_dn,
        password=lambda: servers[0].password,
        people_base=PEOPLE,
        groups_base=f"ou=groups,{SUFFIX}",
        ca_file=servers[0].ca_file,
        timing=Timing(connect_s=0.5, answer_s=1),
    )


def id_of(slapd: Slapd, dn: str) -> str:
    with slapd.admin() as admin:
        admin.search(dn, "(objectClass=*)", ldap3.BASE, attributes=["entryUUID"])
        return str(admin.response[0]["raw_attributes"]["entryUUID"][0], "ascii")


@pytest.mark.slapd
class TestOnOpenLdap:
    """Against a real slapd."""

    def test_it_shows_what_was_written_a_moment_ago(self, slapd: Slapd, reader: LiveReader) -> None:
        anna = id_of(slapd, ANNA)
        with slapd.admin() as admin:
            for locked in (True, False, True):
                write(admin, ANNA, pwdAccountLockedTime=LOCKED_FOR_GOOD if locked else [])
                found = reader.read(anna, LIMIT_S)
                assert isinstance(found, DirectoryPerson)
                assert (found.login, found.enabled) == ("anna", not locked)

    def test_who_is_gone_or_made_anew_under_the_same_name_is_nobody(self, slapd: Slapd, reader: LiveReader) -> None:
        anna = id_of(slapd, ANNA)
        with slapd.admin() as admin:
            admin.delete(ANNA)
            assert reader.read(anna, LIMIT_S) is None
            dn, attributes = person("anna")
            admin.add(dn, attributes=attributes)
        assert reader.read(anna, LIMIT_S) is None
        assert reader.read(str(uuid.uuid4()), LIMIT_S) is None

    def test_a_group_is_no_person(self, slapd: Slapd, reader: LiveReader) -> None:
        assert reader.read(id_of(slapd, f"cn=inner,ou=groups,{SUFFIX}"), LIMIT_S) is None

    def test_a_server_that_was_restarted_is_asked_again_at_once(self, slapd: Slapd, reader: LiveReader) -> None:
        anna = id_of(slapd, ANNA)
        assert reader.read(anna, LIMIT_S) is not None
        slapd.stop()
        slapd.start()
        assert reader.read(anna, LIMIT_S) is not None

    def test_a_hung_server_costs_the_limit_and_no_more(self, slapd: Slapd, reader: LiveReader) -> None:
        anna = id_of(slapd, ANNA)
        assert reader.read(anna, LIMIT_S) is not None
        slapd.pause()
        try:
            for _ in range(2):
                began_s = time.monotonic()
                with pytest.raises(ServerSilent):
                    reader.read(anna, 0.2)
                assert time.monotonic() - began_s < 1.0
        finally:
            slapd.resume()
        deadline_s = time.monotonic() + 10
        found = None
        while found is None and time.monotonic() < deadline_s:
            try:
                found = reader.read(anna, LIMIT_S)
            except LdapTrouble:
                continue
        assert found is not None

    def test_a_server_that_is_down_is_passed_over(self, slapd: Slapd, tmp_path: Path) -> None:
        other = Slapd(tmp_path / "other", [person("anna")]).start()
        other.stop()
        settings = settings_for(slapd)
        reader = LiveReader(
            LdapSettings(
                servers=(other.url, slapd.url),
                bind_dn=settings.bind_dn,
                password=settings.password,
                people_base=settings.people_base,
                groups_base=settings.groups_base,
                ca_file=settings.ca_file,
                timing=settings.timing,
            )
        )
        try:
            assert reader.read(id_of(slapd, ANNA), LIMIT_S) is not None
        finally:
            reader.close()

    def test_many_at_once_are_answered_in_turn(self, slapd: Slapd, reader: LiveReader) -> None:
        anna, answers = id_of(slapd, ANNA), []
        threads = [threading.Thread(target=lambda: answers.append(reader.read(anna, 10.0))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [found is not None for found in answers] == [True] * 16


def test_a_server_that_breaks_off_or_refuses_is_not_nobody(scripted: Any, scripted_settings: LdapSettings) -> None:
    """Silence, the end of the connection and every result but success are errors."""
    reader = LiveReader(scripted_settings)
    answers = [
        lambda _id, _connection: None,
        lambda _id, connection: connection.close(),
        lambda message_id, connection: connection.sendall(
            ber.encode(ber.SEQUENCE, ber.encode_integer(message_id) + bytes.fromhex("65070a013204000400"))
        ),
    ]
    for answer in answers:
        scripted.answer = answer
        with pytest.raises(LdapTrouble):
            reader.read(str(uuid.uuid4()), 0.3)
    reader.close()
