# SPDX-License-Identifier: EUPL-1.2
"""Following Active Directory without a server: what answers mean that a well-behaved server seldom gives."""

import base64
import uuid
from collections.abc import Generator
from typing import Any

import pytest
from contracts.directory_source import RecordingSink

from cardservice.people.rules import DirectoryPerson
from integrations.ldap import LdapSettings, ber
from integrations.ldap.delivery import Delivery
from integrations.ldap.dirsync import Position, read_position
from integrations.ldap.dirsync_changes import ask_changes
from integrations.ldap.dirsync_controls import (
    DIRSYNC_OID,
    MAX_POSITION_BYTES,
    dirsync_request,
    read_dirsync,
)
from integrations.ldap.dirsync_copy import DirectoryCopy
from integrations.ldap.dirsync_dialogue import Answer
from integrations.ldap.dirsync_listing import Listing, Place
from integrations.ldap.dirsync_primary import PrimaryGroups
from integrations.ldap.dirsync_server import ask_controller
from integrations.ldap.errors import AnswerBroken, LdapTrouble, MalformedBer, PositionRefused, SearchRefused
from integrations.ldap.mapping_attributes import ACTIVE_DIRECTORY
from integrations.ldap.messages import Entry
from integrations.ldap.polling_pages import PAGED_RESULTS_OID
from integrations.ldap.refresh import EntryReader

SETTINGS = LdapSettings(
    ("ldaps://dc",),
    "doors@x",
    lambda: "x",
    "ou=people,dc=x",
    "ou=groups,dc=x",
    people_filter=ACTIVE_DIRECTORY.people_filter,
    groups_filter=ACTIVE_DIRECTORY.groups_filter,
    mapping=ACTIVE_DIRECTORY.mapping,
    max_entries=50,
)
URL = "ldaps://dc"
PLACE = Place("dc=x", "(objectClass=group)")
GUIDS = [bytes([number]) * 16 for number in range(10)]


def id_of(number: int) -> str:
    return str(uuid.UUID(bytes_le=GUIDS[number]))


def person(number: int, **values: bytes) -> Entry:
    attributes = {"objectclass": [b"user"], "objectguid": [GUIDS[number]], "useraccountcontrol": [b"512"]}
    return Entry(1, f"CN={number},OU=people,DC=x", {**attributes, **{name: [value] for name, value in values.items()}})


def group(number: int, *members: str, part: tuple[int, int | None] | None = None) -> Entry:
    attributes = {"objectclass": [b"group"], "objectguid": [GUIDS[number]], "cn": [b"g"]}
    attributes["member"] = [f"CN={member},OU=people,DC=x".encode() for member in members]
    return Entry(1, "CN=g,OU=groups,DC=x", attributes, ranges={"member": part} if part else {})


def page(*entries: Entry, after: bytes = b"", code: int = 0) -> Answer:
    value = ber.encode(ber.SEQUENCE, ber.encode_integer(0) + ber.encode(ber.OCTET_STRING, after))
    return Answer(list(entries), code, {PAGED_RESULTS_OID: value})


def polled(*entries: Entry, position: bytes = b"p", more: int = 0, code: int = 0) -> Answer:
    numbers = ber.encode_integer(more) + ber.encode_integer(0)
    value = ber.encode(ber.SEQUENCE, numbers + ber.encode(ber.OCTET_STRING, position))
    return Answer(list(entries), code, {DIRSYNC_OID: value} if code == 0 else {})


def play(script: Generator[Any, Answer, Any], *answers: Answer) -> Any:
    """Give the answers in turn and return what the script returns; it must ask exactly as often."""
    questions = 1
    try:
        next(script)
        for answer in answers:
            script.send(answer)
            questions += 1
    except StopIteration as end:
        assert questions == len(answers)
        return end.value
    raise AssertionError("the script asks more")


def test_the_controls_are_what_active_directory_reads() -> None:
    """Both flags, the highest as a number of four octets; 1 MiB at most; the position as it came."""
    assert dirsync_request(b"\x01\x02") == bytes.fromhex("300f 0204 80000001 0203 100000 0402 0102")
    assert read_dirsync(bytes.fromhex("300a 0201 01 0201 00 0402 0a0b")) == (True, b"\x0a\x0b")


@pytest.mark.parametrize("value", [b"", b"\x30\x00", b"\x30\x03\x02\x01\x00", b"\x04\x00"])
def test_an_answer_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedBer):
        read_dirsync(value)


def test_a_position_of_any_length_is_not_kept() -> None:
    long = b"x" * (MAX_POSITION_BYTES + 1)
    value = ber.encode(ber.SEQUENCE, ber.encode_integer(0) + ber.encode_integer(0) + ber.encode(ber.OCTET_STRING, long))
    with pytest.raises(MalformedBer, match="a position of"):
        read_dirsync(value)


def test_a_stored_position_is_only_good_where_and_how_it_was_stored() -> None:
    position = Position("dc-one", 4711, b"\x00cookie")
    text = position.text("f1")
    assert read_position(text, "f1") == position
    others = ["rubbish", "f1|rubbish", "f1|dc|x|AAAA", "f1|dc|1|***", "f1|dc|1|", f"f1|dc|{'9' * 20}|AAAA"]
    assert [read_position(other, "f1") for other in [None, *others]] == [None] * 7
    assert read_position(text, "f2") is None
    assert base64.b64decode(text.rpartition("|")[2]) == b"\x00cookie"


def test_pages_are_asked_for_until_there_is_no_position() -> None:
    found: list[Entry] = []
    answers = [page(person(1), after=b"2"), page(after=b"3"), page(person(2))]
    play(Listing(SETTINGS, URL).pages(PLACE, found.extend), *answers)
    assert [entry.dn[:4] for entry in found] == ["CN=1", "CN=2"]


@pytest.mark.parametrize(
    ("code", "words"),
    [(4, "the list is not whole"), (11, "the list is not whole"), (3, "its time limit"), (50, "read")],
)
def test_a_page_that_is_not_whole_is_refused(code: int, words: str) -> None:
    with pytest.raises(SearchRefused, match=words):
        play(Listing(SETTINGS, URL).page(PLACE, b""), page(person(1), code=code))


@pytest.mark.parametrize(
    ("answer", "words"), [(page(after=b"2"), "one empty page"), (page(person(1), after=b"2"), "more than 50 entries")]
)
def test_a_list_without_end_is_refused(answer: Answer, words: str) -> None:
    """Empty pages for ever, or the same one again and again."""
    with pytest.raises(AnswerBroken, match=words):
        play(Listing(SETTINGS, URL).pages(PLACE, lambda _: None), *[answer] * 1002)


def test_members_that_come_in_parts_are_put_together() -> None:
    script = Listing(SETTINGS, URL, range_values=2).page(PLACE, b"")
    parts = [group(1, "c", "d", part=(2, 3)), group(1, "e", part=(4, None))]
    entries, _ = play(script, page(group(1, "a", "b", part=(0, 1))), Answer(parts[:1]), Answer(parts[1:]))
    assert [value[3:4] for value in entries[0].attributes["member"]] == [b"a", b"b", b"c", b"d", b"e"]
    assert entries[0].ranges == {}


def test_the_server_may_choose_smaller_parts_than_were_asked_for() -> None:
    script = Listing(SETTINGS, URL, range_values=100).page(PLACE, b"")
    question = next(script)
    assert b"member;range=0-99" in question.request
    question = script.send(page(group(1, "a", "b", part=(0, 1))))
    assert b"member;range=2-101" in question.request


def test_a_group_that_vanishes_between_two_parts_is_left_out() -> None:
    script = Listing(SETTINGS, URL).page(PLACE, b"")
    entries, _ = play(script, page(group(1, "a", part=(0, 0)), person(2)), Answer(code=32))
    assert [entry.dn for entry in entries] == ["CN=2,OU=people,DC=x"]


@pytest.mark.parametrize(
    "second",
    [group(1, "c", part=(3, None)), group(1, part=(2, 1)), group(1, "c", part=(2, 9)), group(1, "c", part=(0, None))],
)
def test_parts_that_do_not_fit_are_refused(second: Entry) -> None:
    script = Listing(SETTINGS, URL).page(PLACE, b"")
    with pytest.raises(AnswerBroken, match="parts that do not fit"):
        play(script, page(group(1, "a", "b", part=(0, 1))), Answer([second]))


def test_a_part_that_is_refused_ends_the_reading() -> None:
    with pytest.raises(SearchRefused, match="busy"):
        play(Listing(SETTINGS, URL).page(PLACE, b""), page(group(1, "a", part=(0, 0))), Answer(code=51))


def test_a_poll_goes_on_while_more_waits_and_the_last_word_counts() -> None:
    dead, alive = person(1, isdeleted=b"TRUE"), person(1, name=b"x")
    script = ask_changes(SETTINGS, URL, b"", b"p0")
    changes, position = play(script, polled(alive, person(2), position=b"p1", more=1), polled(dead, position=b"p2"))
    assert (changes.deleted, set(changes.changed), position) == ({id_of(1)}, {id_of(2)}, b"p2")
    revived, _ = play(ask_changes(SETTINGS, URL, b"", b"p0"), polled(dead, alive))
    assert (revived.deleted, set(revived.changed)) == (set(), {id_of(1)})


@pytest.mark.parametrize("code", [1, 2, 12, 53, 80])
def test_a_position_that_is_refused_means_reading_everything(code: int) -> None:
    with pytest.raises(PositionRefused, match="cannot continue"):
        play(ask_changes(SETTINGS, URL, b"", b"p"), polled(code=code))


@pytest.mark.parametrize(
    ("code", "words"), [(50, "Replicating Directory Changes"), (51, "busy"), (52, "not available")]
)
def test_other_refusals_are_no_reason_to_read_everything(code: int, words: str) -> None:
    with pytest.raises(SearchRefused, match=words) as caught:
        play(ask_changes(SETTINGS, URL, b"", b"p"), polled(code=code))
    assert not isinstance(caught.value, PositionRefused)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        polled(position=b""),
        polled(position=b"p", more=1),
        polled(Entry(1, "CN=x", {})),
        polled(Entry(1, "CN=x", {"objectguid": [b"short"]})),
    ],
)
def test_a_poll_that_breaks_the_protocol_is_refused(answer: Answer) -> None:
    """No position, no progress, an entry that says not which it is."""
    with pytest.raises(AnswerBroken):
        play(ask_changes(SETTINGS, URL, b"", b"p"), answer)


def root(**values: bytes) -> Answer:
    given = {
        "supportedcontrol": DIRSYNC_OID.encode(),
        "namingcontexts": b"DC=x",
        "highestcommittedusn": b"7",
        "dsservicename": b"CN=NTDS,DC=x",
        **values,
    }
    return Answer([Entry(1, "", {name: [value] for name, value in given.items()})])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (root(supportedcontrol=b"1.2.3"), "offers no DirSync"),
        (root(namingcontexts=b"DC=other"), "does not hold dc=x"),
        (Answer(), "does not say what it is"),
        (Answer(code=1), "internal error"),
    ],
)
def test_a_server_that_cannot_be_followed_is_named_in_one_sentence(answer: Answer, words: str) -> None:
    with pytest.raises(LdapTrouble, match=words):
        play(ask_controller(SETTINGS, URL), answer, Answer(), Answer())


@pytest.mark.parametrize(
    ("deleted", "sees"),
    [
        (Answer([Entry(1, "CN=Deleted Objects,DC=x", {"objectclass": [b"container"]})]), True),
        (Answer([Entry(1, "CN=Deleted Objects,DC=x", {})]), False),
        (Answer(), False),
        (Answer(code=32), False),
        (Answer(code=50), False),
    ],
)
def test_who_cannot_look_into_deleted_objects_sees_no_deletions(deleted: Answer, sees: bool) -> None:
    controller = play(ask_controller(SETTINGS, URL), root(), Answer(), deleted)
    assert (controller.sees_deletions, controller.context, controller.usn) == (sees, "DC=x", 7)


def copy_of(*numbers: int) -> tuple[RecordingSink, DirectoryCopy]:
    people = [DirectoryPerson(id_of(n), f"cn={n},ou=people,dc=x", str(n), enabled=True) for n in numbers]
    sink = RecordingSink(entries={one.stable_id: one for one in people})
    return sink, DirectoryCopy(SETTINGS, URL, Delivery(sink, cookie="c"), EntryReader(SETTINGS))


def test_nobody_is_removed_before_everything_was_read() -> None:
    sink, copy = copy_of(1, 2, 3)
    script = copy.read_everything(Listing(SETTINGS, URL), following=False)
    next(script)
    script.send(page(person(1), after=b"2"))
    with pytest.raises(SearchRefused):
        script.send(page(code=4))
    copy.delivery.flush()
    assert len(sink.entries) == 3
    assert not any(change.removed or change.complete for change in sink.changes)
    assert play(copy.read_everything(Listing(SETTINGS, URL), following=False), page(person(1))) == 2
    assert set(sink.entries) == {id_of(1)}


def test_a_server_that_shows_nobody_is_not_believed() -> None:
    sink, copy = copy_of(1)
    with pytest.raises(AnswerBroken, match="nobody at all"):
        play(copy.read_everything(Listing(SETTINGS, URL), following=False), page())
    assert len(sink.entries) == 1


def test_more_entries_than_a_city_has_are_refused() -> None:
    _, copy = copy_of()
    many = [Entry(1, "CN=x,OU=people,DC=x", {"objectguid": [bytes([n]) * 16]}) for n in range(51)]
    with pytest.raises(AnswerBroken, match="more than 50"):
        play(copy.read_everything(Listing(SETTINGS, URL), following=False), page(*many))


def test_what_was_shown_since_a_comparison_began_is_left_alone() -> None:
    """Neither an older state, nor a name that was given up meanwhile, comes back with what was listed before."""
    sink, copy = copy_of(1, 2)
    copy.primary.loaded = True
    script = copy.read_everything(Listing(SETTINGS, URL), following=True)
    next(script)
    script.send(page(person(2), group(5, "1", "2"), after=b"2"))
    copy.take(person(2, useraccountcontrol=b"514"))
    copy.remove({id_of(1)})
    with pytest.raises(StopIteration):
        script.send(page(person(2), person(3)))
    assert not sink.entries[id_of(2)].enabled
    assert id_of(1) not in sink.entries
    assert sink.members("g") == {"cn=2,ou=people,dc=x"}


def test_an_older_state_never_replaces_a_newer_one() -> None:
    sink, copy = copy_of(1)
    copy.take(person(1, useraccountcontrol=b"514", usnchanged=b"100"))
    copy.take(person(1, useraccountcontrol=b"512", usnchanged=b"99"))
    copy.delivery.flush()
    assert not sink.entries[id_of(1)].enabled


def test_primary_groups_follow_the_person() -> None:
    groups = PrimaryGroups()
    assert groups.note("anna", b"users")
    assert not groups.note("anna", b"users")
    groups.note("bert", b"users")
    assert groups.members(b"users") == {"anna", "bert"}
    groups.note("anna", b"staff")
    groups.forget(["bert", "nobody"])
    assert (groups.members(b"users"), groups.members(b"staff"), groups.members(None)) == (set(), {"anna"}, set())
