# SPDX-License-Identifier: EUPL-1.2
"""Servers that break the protocol: every one ends in a sentence for the status page, and nobody is removed."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contracts.directory_source import RecordingSink, following

from cardservice.people.rules import DirectoryPerson
from integrations.ldap import LdapSettings, LdapSource, ber, check
from integrations.ldap.connection import open_channel
from integrations.ldap.errors import ServerUnreachable, SettingsRefused

ANNA = DirectoryPerson("00000000-0000-0000-0000-000000000001", "uid=anna,ou=people,dc=x", "Anna", enabled=True)


def trouble_of(settings: LdapSettings, words: str) -> RecordingSink:
    sink = RecordingSink(entries={ANNA.stable_id: ANNA})
    with following(LdapSource(settings), sink):
        sink.wait_for(lambda: any(not s.connected and words in (s.trouble or "") for s in sink.states))
    assert sink.entries == {ANNA.stable_id: ANNA}
    assert sink.proofs == []
    assert "do-not-show" not in repr(sink.states)
    return sink


def done(message_id: int, code: int) -> bytes:
    result = ber.encode_integer(code, ber.ENUMERATED) + b"\x04\x00\x04\x00"
    return ber.encode(ber.SEQUENCE, ber.encode_integer(message_id) + ber.encode(0x65, result))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "must begin"),
        (b"\x30\x84\x7f\xff\xff\xff", "at most"),
        (b"\x30\x80\x00\x00", "a length of 0 octets"),
        (b"\x30\x0c\x02\x01\x7f\x65\x07\x0a\x01\x00\x04\x00\x04\x00", "not asked"),
        (b"\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00", "ends the connection (LDAP result 52)"),
    ],
)
def test_bytes_that_break_the_protocol(
    scripted: Any, scripted_settings: LdapSettings, answer: bytes, words: str
) -> None:
    scripted.answer = lambda _message_id, connection: connection.sendall(answer)
    trouble_of(scripted_settings, words)


def test_a_connection_that_ends_in_the_middle_of_a_message(scripted: Any, scripted_settings: LdapSettings) -> None:
    def cut(_message_id: int, connection: socket.socket) -> None:
        connection.sendall(b"\x30\x82\x10\x00\x02")
        connection.shutdown(socket.SHUT_RDWR)

    scripted.answer = cut
    trouble_of(scripted_settings, "closed the connection")


def test_a_server_that_says_nothing_during_the_refresh(scripted: Any, scripted_settings: LdapSettings) -> None:
    trouble_of(scripted_settings, "has not answered for 0.3 s")
    assert scripted.searches >= 1


def test_a_server_that_needs_a_full_refresh_gets_one(scripted: Any, scripted_settings: LdapSettings) -> None:
    """4096 with a cookie: asked again without; 4096 without a cookie: a trouble like any other."""
    sink = RecordingSink(
        entries={ANNA.stable_id: ANNA},
        stored_cookie=f"{scripted_settings.fingerprint()}|csn=20261121101112.000001Z#000000#000#000000",
    )
    scripted.answer = lambda message_id, connection: connection.sendall(done(message_id, 4096))
    with following(LdapSource(scripted_settings), sink):
        sink.wait_for(lambda: any(state.connected and state.remark for state in sink.states))
        sink.wait_for(lambda: any(not state.connected for state in sink.states))
    assert "Everything was read again" in ([state.remark for state in sink.states if state.connected][1] or "")
    assert sink.entries == {ANNA.stable_id: ANNA}


def test_a_search_that_ends_with_success_is_a_loss(scripted: Any, scripted_settings: LdapSettings) -> None:
    scripted.answer = lambda message_id, connection: connection.sendall(done(message_id, 0))
    trouble_of(scripted_settings, "should never end")


@pytest.mark.parametrize(
    "answer", [b"\x30\x03\x02\x01\x01", b"garbage!", b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00"]
)
def test_a_bind_answered_wrongly(scripted: Any, scripted_settings: LdapSettings, answer: bytes) -> None:
    scripted.bind_answer = answer
    trouble_of(scripted_settings, scripted.url)


def test_without_tls_only_literal_loopback_is_allowed(scripted: Any, scripted_settings: LdapSettings) -> None:
    settings = LdapSettings(
        servers=(scripted.url.replace("127.0.0.1", "localhost"),),
        bind_dn=scripted_settings.bind_dn,
        password=scripted_settings.password,
        people_base=scripted_settings.people_base,
        groups_base=scripted_settings.groups_base,
        plain_on_loopback=True,
    )
    with pytest.raises(SettingsRefused, match="tests on this machine only"):
        open_channel(settings, settings.ordered_servers()[0])
    assert scripted.connections == 0


def test_refused_connections_leave_no_descriptor_behind(scripted_settings: LdapSettings) -> None:
    """At a port that is taken and not listened at, so that no other server comes to stand there meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        settings = replace(scripted_settings, servers=(f"ldap://127.0.0.1:{held.getsockname()[1]}",))
        server = settings.ordered_servers()[0]
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            with pytest.raises(ServerUnreachable, match="connection refused"):
                open_channel(settings, server)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_password_that_cannot_be_read_is_reported_without_its_text(
    scripted: Any, scripted_settings: LdapSettings
) -> None:
    def read() -> str:
        raise PermissionError("/secret/place holds geheim")

    settings = LdapSettings(
        servers=(scripted.url,),
        bind_dn="cn=doors",
        password=read,
        people_base="dc=x",
        groups_base="dc=x",
        plain_on_loopback=True,
    )
    sink = trouble_of(settings, "cannot be read (PermissionError)")
    assert "geheim" not in repr(sink.states)


def test_settings_that_cannot_work_are_a_state_and_no_exception() -> None:
    settings = LdapSettings(("http://x",), "cn=doors", lambda: "x", "dc=x", "dc=x")
    trouble_of(settings, "is no directory server")
    assert [finding.severity for finding in check(settings)] == ["error"]


def test_a_sink_that_fails_is_survived(scripted: Any, scripted_settings: LdapSettings) -> None:
    class BrokenSink(RecordingSink):
        def cookie(self) -> str | None:
            raise RuntimeError("the database is away")

    sink = BrokenSink()
    with following(LdapSource(scripted_settings), sink):
        sink.wait_for(lambda: any("inside the service (RuntimeError)" in (s.trouble or "") for s in sink.states))


def test_a_certificate_authority_file_that_is_missing(tmp_path: Path, scripted: Any) -> None:
    settings = LdapSettings((scripted.url,), "cn=doors", lambda: "x", "dc=x", "dc=x", ca_file=tmp_path / "none.pem")
    trouble_of(settings, "cannot be read")
