# SPDX-License-Identifier: EUPL-1.2
"""Lists in pages are whole, or a failure that removes nobody; and which mode a root DSE leads to."""

import socket
from dataclasses import replace
from typing import Any

import pytest
from contracts.directory_source import RecordingSink, following

from cardservice.people.rules import DirectoryPerson
from integrations.ldap import LdapSettings, LdapSource, ber, check
from integrations.ldap.errors import MalformedBer
from integrations.ldap.polling_pages import PAGED_RESULTS_OID, page_request, read_page_cookie

ANNA_ID = "00000000-0000-0000-0000-000000000001"
ANNA = DirectoryPerson(ANNA_ID, "uid=anna,ou=people,dc=x", "Anna", enabled=True)


def message(message_id: int, operation: bytes, controls: bytes = b"") -> bytes:
    tail = ber.encode(0xA0, controls) if controls else b""
    return ber.encode(ber.SEQUENCE, ber.encode_integer(message_id) + operation + tail)


def page_control(cookie: bytes) -> bytes:
    oid = ber.encode(ber.OCTET_STRING, PAGED_RESULTS_OID.encode())
    return ber.encode(ber.SEQUENCE, oid + ber.encode(ber.OCTET_STRING, page_request(0, cookie)))


def done(message_id: int, code: int = 0, controls: bytes = b"") -> bytes:
    result = ber.encode_integer(code, ber.ENUMERATED) + b"\x04\x00\x04\x00"
    return message(message_id, ber.encode(0x65, result), controls)


def shown(message_id: int, attributes: dict[str, str]) -> bytes:
    def attribute(name: str, value: str) -> bytes:
        values = ber.encode(ber.SET, ber.encode(ber.OCTET_STRING, value.encode()))
        return ber.encode(ber.SEQUENCE, ber.encode(ber.OCTET_STRING, name.encode()) + values)

    listed = b"".join(attribute(name, value) for name, value in attributes.items())
    dn = ber.encode(ber.OCTET_STRING, b"uid=bert,ou=people,dc=x")
    return message(message_id, ber.encode(0x64, dn + ber.encode(ber.SEQUENCE, listed)))


BERT = {"entryUUID": "00000000-0000-0000-0000-000000000002", "objectClass": "inetOrgPerson"}


@pytest.fixture
def polled(scripted_settings: LdapSettings) -> LdapSettings:
    return replace(scripted_settings, mode="polling")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda i: shown(i, BERT) + done(i, 4, page_control(b"more")), "size limit"),
        (lambda i: shown(i, BERT) + done(i, 3), "time limit"),
        (lambda i: shown(i, BERT) + done(i, 11), "administrative limit"),
        (lambda i: done(i, 12), "does not offer lists in pages"),
        (lambda i: done(i, 53), "not willing to go on with its list"),
        (lambda i: shown(i, BERT) + done(i), "does not say whether its list is whole"),
        (lambda i: done(i, 0, page_control(b"")), "names none of 1 known people"),
        (lambda i: done(i, 0, page_control(b"more")), "one empty page after another"),
        (lambda i: shown(i, {"objectClass": "inetOrgPerson"}) + done(i), "without entryuuid"),
        (lambda i: shown(i + 1, BERT), "not asked"),
    ],
)
def test_a_list_that_is_not_whole_is_a_failure_and_removes_nobody(
    scripted: Any, polled: LdapSettings, answer: Any, words: str
) -> None:
    scripted.answer = lambda message_id, connection: connection.sendall(answer(message_id))
    sink = RecordingSink(entries={ANNA.stable_id: ANNA})
    with following(LdapSource(polled), sink):
        sink.wait_for(lambda: any(not s.connected and words in (s.trouble or "") for s in sink.states))
    assert ANNA.stable_id in sink.entries
    assert sink.proofs == []
    assert not any(change.complete or change.removed for change in sink.changes)


def test_a_group_shown_in_parts_is_a_failure(scripted: Any, polled: LdapSettings) -> None:
    """Active Directory sends 1,500 members and no more, and says so in the attribute's name only."""

    def answer(message_id: int, connection: socket.socket) -> None:
        listed = {"entryUUID": BERT["entryUUID"], "objectClass": "groupOfNames", "member;range=0-1": "uid=a,dc=x"}
        connection.sendall(shown(message_id, listed) + done(message_id, 0, page_control(b"")))

    scripted.answer = answer
    sink = RecordingSink()
    with following(LdapSource(polled), sink):
        sink.wait_for(lambda: any("in parts" in (state.trouble or "") for state in sink.states))
    assert sink.entries == {}


def test_a_server_that_stands_still_within_a_list_is_noticed(scripted: Any, polled: LdapSettings) -> None:
    scripted.answer = lambda message_id, connection: connection.sendall(shown(message_id, BERT))
    sink = RecordingSink()
    with following(LdapSource(polled), sink):
        sink.wait_for(lambda: any("has not answered for 0.3 s" in (state.trouble or "") for state in sink.states))
    assert sink.proofs == []


def test_after_one_list_a_server_that_hangs_in_the_next_is_noticed_as_fast_as_in_a_poll(
    scripted: Any, polled: LdapSettings
) -> None:
    """The first list may take its time; it shows how fast this server is."""

    def answer(message_id: int, connection: socket.socket) -> None:
        if scripted.searches == 1:
            connection.sendall(shown(message_id, BERT) + done(message_id, 0, page_control(b"")))

    scripted.answer = answer
    timing = replace(polled.timing, list_s=0.05, dead_s=0.3, refresh_dead_s=600.0)
    sink = RecordingSink()
    with following(LdapSource(replace(polled, timing=timing)), sink):
        sink.wait_for(lambda: any("has not answered for" in (state.trouble or "") for state in sink.states))
    assert len(sink.proofs) == 1


@pytest.mark.parametrize("value", [b"", b"\x30\x00", b"\x30\x03\x02\x01\x00", page_request(0, b"x" * 65_537)])
def test_hostile_page_controls_are_refused(value: bytes) -> None:
    with pytest.raises(MalformedBer):
        read_page_cookie(value)


@pytest.mark.parametrize(
    ("offer", "mode"),
    [
        ({}, "polling"),
        ({"supportedControl": "1.2.3"}, "polling"),
        ({"supportedControl": "1.3.6.1.4.1.4203.1.9.1.1"}, "syncrepl"),
        ({"supportedControl": "1.3.6.1.4.1.4203.1.9.1.1", "vendorName": "389 Project"}, "content-sync"),
        ({"vendorName": "389 Project"}, "polling"),
        ({"supportedCapabilities": "1.2.840.113556.1.4.800"}, "dirsync"),
    ],
)
def test_the_root_dse_decides_on_the_mode(
    scripted: Any, scripted_settings: LdapSettings, offer: dict[str, str], mode: str
) -> None:
    """Every connection asks anew, and what follows is reported under the mode's name."""

    def answer(message_id: int, connection: socket.socket) -> None:
        root = shown(message_id, offer) if offer else b""
        connection.sendall(root + done(message_id, 0))

    scripted.answer = answer
    sink = RecordingSink()
    with following(LdapSource(replace(scripted_settings, mode="auto")), sink):
        state = sink.wait_for(lambda: next((state for state in sink.states if state.connected), None))
    assert state.mode == mode


def test_a_mode_that_does_not_exist_is_refused_before_anything_is_tried(
    scripted: Any, scripted_settings: LdapSettings
) -> None:
    settings = replace(scripted_settings, mode="telepathy")
    sink = RecordingSink()
    with following(LdapSource(settings), sink):
        sink.wait_for(lambda: sink.states)
    assert sink.states[0].trouble == "'telepathy' is no mode; there are auto, syncrepl, content-sync, dirsync, polling."
    assert [finding.severity for finding in check(settings)] == ["error"]
    assert scripted.connections == 0


def test_a_server_that_can_be_replaced_is_given_up_sooner(scripted_settings: LdapSettings) -> None:
    timing = replace(scripted_settings.timing, dead_s=2.0)
    alone = replace(scripted_settings, timing=timing)
    two = replace(alone, servers=("ldaps://a", "ldaps://b"))
    hasty = replace(two, timing=replace(timing, dead_s=0.3))
    assert [settings.as_followed().timing.dead_s for settings in (alone, two, hasty)] == [2.0, 0.7, 0.3]
    assert two.as_followed().fingerprint() == two.fingerprint()
