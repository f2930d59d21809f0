# SPDX-License-Identifier: EUPL-1.2
"""What the phases of a refresh do to the copy: nobody vanishes before the server said that it named everybody."""

import uuid
from dataclasses import replace

import pytest
from contracts.directory_source import RecordingSink

from cardservice.people.rules import DirectoryPerson
from integrations.ldap import LdapSettings, LdapTrouble
from integrations.ldap.controls import SYNC_DONE_OID, SYNC_INFO_OID, SYNC_STATE_OID, EntryState
from integrations.ldap.delivery import Delivery
from integrations.ldap.errors import AnswerBroken, PositionRefused, SearchRefused, ServerBehind
from integrations.ldap.messages import Done, Entry, Intermediate
from integrations.ldap.refresh import EntryReader, SyncSearch

SETTINGS = LdapSettings(("ldaps://x",), "cn=doors", lambda: "x", "ou=people,dc=x", "ou=groups,dc=x")
IDS = [uuid.UUID(int=number) for number in range(10)]
PRESENT_DONE = bytes.fromhex("a203040163")
DELETE_DONE = bytes.fromhex("a103040163")


def known_person(number: int) -> DirectoryPerson:
    return DirectoryPerson(str(IDS[number]), f"uid={number},ou=people,dc=x", str(number), enabled=True)


class Played:
    """A search over a copy that holds the people 0, 1 and 2."""

    def __init__(self, *, complete: bool, most: int = 100, resumes: bool = False) -> None:
        self.sink = RecordingSink(entries={str(IDS[number]): known_person(number) for number in range(3)})
        self.delivery = Delivery(self.sink, cookie=None)
        reader = EntryReader(replace(SETTINGS, max_entries=most))
        self.search = SyncSearch(
            reader, self.delivery, "ldaps://x", complete=complete, fingerprint="f", resumes=resumes
        )

    def shows(self, number: int, state: EntryState = EntryState.ADD, base: str = "ou=people,dc=x") -> None:
        values = {"objectclass": [b"inetOrgPerson"], "uid": [str(number).encode()]}
        control = bytes.fromhex(f"30150a01{state:02x}0410") + IDS[number].bytes
        entry = Entry(1, f"uid={number},{base}", values, {SYNC_STATE_OID: control})
        self.search.take_entry(entry, 1.0)

    def tells(self, value: bytes) -> bool:
        return self.search.take_info(Intermediate(1, SYNC_INFO_OID, value), 1.0)

    def ends(self, control: str, code: int = 0) -> None:
        self.search.take_done(Done(1, code, {SYNC_DONE_OID: bytes.fromhex(control)} if control else {}))

    @property
    def numbers(self) -> list[int]:
        return sorted(uuid.UUID(stable_id).int for stable_id in self.sink.entries)


def id_set(*numbers: int, deleted: bool) -> bytes:
    ids = b"".join(b"\x04\x10" + IDS[number].bytes for number in numbers)
    content = (b"\x01\x01\xff" if deleted else b"") + b"\x31" + bytes([len(ids)]) + ids
    return b"\xa3" + bytes([len(content)]) + content


def test_a_full_read_removes_whom_it_did_not_name_and_only_at_its_end() -> None:
    """OpenLDAP ends a full read with the delete phase's mark although nothing was deleted by name."""
    played = Played(complete=True)
    played.shows(1)
    played.shows(5)
    played.delivery.flush()
    assert played.numbers == [0, 1, 2, 5]
    assert played.tells(DELETE_DONE)
    assert played.numbers == [1, 5]
    last = played.sink.changes[-1]
    assert (last.complete, last.cookie, last.removed) == (True, "f|c", {str(IDS[0]), str(IDS[2])})
    assert [change.cookie for change in played.sink.changes[:-1]] == [None]


def test_a_present_phase_removes_whom_it_did_not_name() -> None:
    played = Played(complete=False)
    assert not played.tells(id_set(0, 1, deleted=False))
    played.shows(6)
    assert played.numbers == [0, 1, 2]
    assert played.tells(PRESENT_DONE)
    assert played.numbers == [0, 1, 6]
    assert played.sink.changes[-1].complete


@pytest.mark.parametrize("ends", [(PRESENT_DONE,), (bytes.fromhex("a206040163010100"), DELETE_DONE)])
def test_who_comes_back_to_a_server_that_forgot_what_changed_reads_everything(ends: tuple[bytes, ...]) -> None:
    """It may have been restored: an entry that is older again would be called unchanged, and vouched for."""
    played = Played(complete=False, resumes=True)
    assert not played.tells(id_set(0, 1, deleted=False))
    played.shows(6)
    *before, last = ends
    assert not any(played.tells(end) for end in before)
    with pytest.raises(PositionRefused, match="no longer knows what was changed"):
        played.tells(last)
    assert played.numbers == [0, 1, 2]
    assert played.delivery.cookie is None


def test_who_comes_back_to_a_server_that_remembers_does_not() -> None:
    played = Played(complete=False, resumes=True)
    played.shows(6)
    assert played.tells(DELETE_DONE)
    assert played.numbers == [0, 1, 2, 6]


def test_a_delete_phase_removes_whom_it_names_and_nobody_else() -> None:
    played = Played(complete=False)
    played.tells(id_set(1, 9, deleted=True))
    played.delivery.settle(1.0, idle=False, following=False)
    assert played.numbers == [0, 2]
    assert played.tells(DELETE_DONE)
    assert played.numbers == [0, 2]
    assert not any(change.complete for change in played.sink.changes)
    assert played.sink.stored_cookie == "f|c"


def test_a_present_phase_followed_by_a_delete_phase() -> None:
    played = Played(complete=False)
    played.tells(id_set(0, 1, deleted=False))
    assert not played.tells(bytes.fromhex("a206040163010100".replace(" ", "")))
    assert played.numbers == [0, 1, 2]
    played.tells(id_set(1, deleted=True))
    assert played.tells(DELETE_DONE)
    assert played.numbers == [0]


def test_a_refresh_only_search_ends_with_its_result() -> None:
    played = Played(complete=False)
    played.shows(0, EntryState.PRESENT)
    played.ends("3003040163")
    assert played.numbers == [0]
    quiet = Played(complete=False)
    quiet.ends("30030101ff")
    assert quiet.numbers == [0, 1, 2]
    assert quiet.sink.changes == []


def test_naming_nobody_is_not_believed() -> None:
    """389-ds ends a refresh like this when nothing is new; read literally, everybody would be gone."""
    played = Played(complete=False)
    with pytest.raises(PositionRefused, match="names none of 3"):
        played.ends("3003040163")
    assert played.numbers == [0, 1, 2]
    blind = Played(complete=True)
    with pytest.raises(AnswerBroken, match="lost its rights"):
        blind.tells(DELETE_DONE)
    assert blind.numbers == [0, 1, 2]


def test_an_end_without_a_position_is_not_believed() -> None:
    """OpenLDAP answers a cookie it does not understand like this: everything shown, nothing removed, no cookie."""
    played = Played(complete=False)
    played.shows(5)
    with pytest.raises(PositionRefused, match="did not understand"):
        played.tells(bytes.fromhex("a100"))
    beat = Played(complete=False)
    beat.shows(5)
    with pytest.raises(PositionRefused, match="did not understand"):
        beat.ends("30030101ff")
    with pytest.raises(AnswerBroken, match="no position"):
        Played(complete=True).tells(bytes.fromhex("a100"))


def test_an_end_without_a_position_after_nothing_means_that_nothing_is_new() -> None:
    played = Played(complete=False)
    assert played.tells(bytes.fromhex("a100"))
    assert (played.numbers, played.sink.changes) == ([0, 1, 2], [])


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (4, SearchRefused, "size limit"),
        (53, ServerBehind, "older than this copy"),
        (4096, PositionRefused, "cannot continue"),
        (32, SearchRefused, "may not see it"),
        (77, SearchRefused, "LDAP result 77"),
    ],
)
def test_any_other_result_is_a_failure_and_removes_nobody(code: int, kind: type[LdapTrouble], words: str) -> None:
    played = Played(complete=True)
    played.shows(0)
    with pytest.raises(kind, match=words):
        played.ends("", code)
    assert played.numbers == [0, 1, 2]


def test_success_without_the_end_of_the_refresh_is_a_failure() -> None:
    played = Played(complete=True)
    with pytest.raises(AnswerBroken, match="no sync done control"):
        played.ends("")


def test_an_entry_without_state_is_refused() -> None:
    with pytest.raises(AnswerBroken, match="no sync state control"):
        Played(complete=True).search.take_entry(Entry(1, "uid=1", {}), 1.0)


def test_an_entry_outside_its_base_is_removed() -> None:
    played = Played(complete=False)
    played.shows(1, EntryState.MODIFY, base="ou=retired,dc=x")
    played.delivery.flush()
    assert played.numbers == [0, 2]


def test_too_many_entries_are_refused() -> None:
    played = Played(complete=True, most=2)
    played.shows(0)
    played.shows(1)
    with pytest.raises(AnswerBroken, match="more than 2 entries"):
        played.shows(2)


def test_cookies_between_the_entries_of_a_refresh_are_not_stored() -> None:
    played = Played(complete=False)
    played.tells(bytes.fromhex("800163"))
    played.shows(5)
    played.delivery.flush(with_cookie=True)
    assert played.sink.stored_cookie is None
