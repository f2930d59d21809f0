# SPDX-License-Identifier: EUPL-1.2
"""What a stored position of content synchronisation on 389-ds is worth, and how entries are asked for by their id."""

import uuid

import pytest
from contracts.directory_source import RecordingSink

from cardservice.people.rules import DirectoryPerson
from integrations.ldap.content_sync_search import (
    MAX_UNREAD,
    DsSearch,
    Position,
    Root,
    change_number,
    position_prefix,
    read_position,
    read_root,
    unique_id_filter,
    why_anew,
    with_own_attributes,
)
from integrations.ldap.controls import SYNC_INFO_OID, SYNC_STATE_OID, EntryState
from integrations.ldap.delivery import Delivery
from integrations.ldap.errors import AnswerBroken, PositionRefused
from integrations.ldap.mapping_attributes import DS389
from integrations.ldap.messages import Entry, Intermediate
from integrations.ldap.refresh import EntryReader
from integrations.ldap.settings import LdapSettings

HERE, THERE = "a" * 12, "b" * 12
COOKIE = "ds.example:389#cn=doors:dc=x:(objectClass=person)#42"
ROOT = Root(first=10, last=50, started="020261122")


def test_a_position_survives_being_stored() -> None:
    stored = read_position(f"{position_prefix(HERE, ROOT)}|{COOKIE}")
    assert stored == Position(HERE, ROOT.started, COOKIE)
    assert stored.number == 42


@pytest.mark.parametrize(
    "text",
    ["", "rubbish", COOKIE, f"389,{HERE},1|no number", f"389,{HERE},1|{COOKIE}x", f"poll,csn,1,{HERE},{HERE}"],
)
def test_other_cookies_are_no_position(text: str) -> None:
    assert read_position(text) is None


@pytest.mark.parametrize(
    ("server", "root", "words"),
    [
        (HERE, ROOT, None),
        (HERE, Root(43, 50, ROOT.started), None),
        (HERE, Root(44, 50, ROOT.started), "no longer knows"),
        (HERE, Root(10, 41, ROOT.started), "older than this copy"),
        (HERE, Root(10, 50, "020261123"), "started again"),
        (HERE, Root(10, 50, ""), "started again"),
        (THERE, ROOT, "Another server"),
    ],
)
def test_only_the_same_server_that_never_stopped_continues(server: str, root: Root, words: str | None) -> None:
    """Everything else is read anew: a foreign cookie is never sent."""
    reason = why_anew(Position(HERE, ROOT.started, COOKIE), server, root, "ldaps://ds")
    assert reason is None if words is None else words in (reason or "")


@pytest.mark.parametrize(
    ("attributes", "root"),
    [
        ({"lastchangenumber": [b"7"], "firstchangenumber": [b"2"], "dataversion": [b"0202"]}, Root(2, 7, "0202")),
        ({"lastchangenumber": [b"7"], "dataversion": [b"a|b"]}, Root(0, 7, "")),
        ({"lastchangenumber": [b"-7"]}, None),
        ({"lastchangenumber": [b"7" * 19]}, None),
        ({}, None),
    ],
)
def test_a_root_dse_is_read_strictly(attributes: dict[str, list[bytes]], root: Root | None) -> None:
    assert read_root(attributes) == root


def test_the_number_of_a_cookie_is_its_end() -> None:
    assert [change_number(text) for text in (COOKIE, "#1#2", "#1#x", "", None)] == [42, 2, -1, -1, -1]


def test_ids_are_asked_for_as_the_server_writes_them() -> None:
    assert (
        unique_id_filter(["38e41256-e67c-11f1-9469-b5050f96e960", "00000000-0000-0000-0000-000000000001"])
        == "(|(nsuniqueid=38e41256-e67c11f1-9469b505-0f96e960)(nsuniqueid=00000000-00000000-00000000-00000001))"
    )


def test_the_lock_is_added_once() -> None:
    settings = LdapSettings(("ldaps://a",), "cn=doors", lambda: "x", "dc=x", "dc=x", mapping=DS389.mapping)
    assert with_own_attributes(settings) == settings


class Played:
    """A search over a copy that holds the person 1."""

    def __init__(self, *, complete: bool) -> None:
        person = DirectoryPerson(str(uuid.UUID(int=1)), "uid=1,ou=people,dc=x", "1", enabled=False)
        self.sink = RecordingSink(entries={person.stable_id: person})
        self.delivery = Delivery(self.sink, cookie=None)
        settings = LdapSettings(
            ("ldaps://x",), "cn=doors", lambda: "x", "ou=people,dc=x", "ou=groups,dc=x", mapping=DS389.mapping
        )
        reader = EntryReader(settings)
        self.search = DsSearch(reader, self.delivery, "ldaps://x", complete=complete, fingerprint="f", resumes=True)

    def says(self, state: EntryState, number: int = 1, cookie: str = "") -> None:
        values = {"objectclass": [b"inetOrgPerson"], "uid": [b"1"]}
        tail = bytes([4, len(cookie)]) + cookie.encode() if cookie else b""
        value = bytes([0x0A, 1, state, 4, 16]) + uuid.UUID(int=number).bytes + tail
        entry = Entry(1, f"uid={number},ou=people,dc=x", values, {SYNC_STATE_OID: bytes([0x30, len(value)]) + value})
        self.search.take_entry(entry, 1.0)
        self.delivery.flush(with_cookie=True)

    def ends_refresh(self) -> bool:
        return self.search.take_info(Intermediate(1, SYNC_INFO_OID, bytes.fromhex("a10504036323 39")), 1.0)


def test_a_refresh_from_a_cookie_tells_whom_to_read_and_changes_nothing() -> None:
    """What it shows of a disabled person lacks the attribute that says so."""
    played = Played(complete=False)
    played.says(EntryState.ADD)
    played.says(EntryState.ADD, 2)
    assert played.search.unread == {str(uuid.UUID(int=number)) for number in (1, 2)}
    assert played.ends_refresh()
    assert not any(change.upserts or change.removed for change in played.sink.changes)
    assert not played.sink.entries[str(uuid.UUID(int=1))].enabled


def test_a_change_after_the_deletion_brings_nobody_back_but_an_addition_does() -> None:
    played = Played(complete=True)
    played.says(EntryState.ADD)
    assert played.ends_refresh()
    played.says(EntryState.DELETE, cookie="c#1")
    played.says(EntryState.MODIFY, cookie="c#2")
    assert played.sink.entries == {}
    assert played.sink.stored_cookie == "f|c#2"
    played.says(EntryState.ADD, cookie="c#3")
    played.says(EntryState.MODIFY, cookie="c#4")
    assert len(played.sink.entries) == 1


def test_whoever_is_deleted_needs_no_reading() -> None:
    played = Played(complete=False)
    played.says(EntryState.ADD)
    played.says(EntryState.DELETE)
    assert played.search.unread == set()
    assert played.sink.entries == {}


def test_after_very_many_changes_everything_is_read_instead() -> None:
    played = Played(complete=False)
    for number in range(MAX_UNREAD):
        played.says(EntryState.ADD, number)
    with pytest.raises(PositionRefused, match="more than 5000 entries"):
        played.says(EntryState.ADD, MAX_UNREAD)


def test_an_entry_that_does_not_say_what_happened_to_it_is_refused() -> None:
    with pytest.raises(AnswerBroken, match="without saying what happened"):
        Played(complete=True).search.take_entry(Entry(1, "uid=1", {}), 1.0)
