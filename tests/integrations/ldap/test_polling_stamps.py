# SPDX-License-Identifier: EUPL-1.2
"""The stamps a polled server puts on its entries, and the position they make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.people.rules import DirectoryGroup, DirectoryPerson
from integrations.ldap.delivery import read_csn
from integrations.ldap.polling_stamps import (
    CSN,
    KINDS,
    TIME,
    USN,
    Position,
    StampKind,
    entries_digest,
    read_position,
    server_digest,
)

NEW_YEAR_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
SERVER = server_digest("ldaps://a")
ANNA = DirectoryPerson("1", "uid=anna", "Anna", enabled=True)
BERT = DirectoryPerson("2", "uid=bert", "Bert", enabled=True)


@pytest.mark.parametrize(
    ("kind", "value", "stamp"),
    [
        (CSN, b"20260101000001.000002Z#000000#00a#000000", NEW_YEAR_US + 1_000_002),
        (CSN, b"20260101000001Z", None),
        (CSN, b"20269901000001.000002Z#000000#000#000000", None),
        (TIME, b"20260101000001Z", NEW_YEAR_US + 1_000_000),
        (TIME, b"20260101000001.5Z", NEW_YEAR_US + 1_500_000),
        (TIME, b"yesterday", None),
        (TIME, b"19690101000001Z", None),
        (USN, b"4711", 4711),
        (USN, b"-1", None),
        (USN, b"9" * 19, None),
    ],
)
def test_stamps_are_read_or_refused(kind: StampKind, value: bytes, stamp: int | None) -> None:
    assert kind.of({kind.attribute: [value]}) == stamp
    assert kind.of({kind.attribute: [value, value]}) is None
    assert kind.of({}) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (CSN, "(entrycsn>=20260101000001.000002Z#000000#000#000000)"),
        (TIME, "(modifytimestamp>=20260101000001Z)"),
        (USN, f"(usnchanged>={NEW_YEAR_US + 1_000_002})"),
    ],
)
def test_filters_ask_for_everything_from_a_stamp_on(kind: StampKind, text: str) -> None:
    assert kind.since(NEW_YEAR_US + 1_000_002) == text


def test_a_poll_begins_before_the_newest_stamp_until_the_servers_clock_has_left_it_behind() -> None:
    """Numbers are no clock: there a poll always begins earlier."""
    for kind in KINDS:
        assert kind.next_poll(NEW_YEAR_US, 2.0) == NEW_YEAR_US - kind.overlap < NEW_YEAR_US
    assert [kind.next_poll(NEW_YEAR_US, 2.1) - NEW_YEAR_US for kind in (CSN, TIME, USN)] == [1, 1_000_000, -50]


@pytest.mark.parametrize("kind", KINDS)
def test_a_poll_never_begins_before_the_beginning(kind: StampKind) -> None:
    """An empty directory has no newest stamp."""
    assert kind.since(-kind.overlap) == kind.since(0)


@given(st.sampled_from(KINDS), st.integers(0, 10**18 - 1))
def test_a_position_survives_being_stored_and_is_no_other_modes_cookie(kind: StampKind, newest: int) -> None:
    position = Position(kind, newest, SERVER, entries_digest([ANNA]))
    assert read_position(position.text()) == position
    assert not read_csn(position.text())
    assert kind.since(newest).isprintable()


@given(st.text(max_size=80))
def test_rubbish_is_no_position(text: str) -> None:
    assert read_position(text) is None
    assert read_position(f"poll,csn,{text}") is None


def test_the_digest_of_entries_depends_on_every_value_and_on_no_order() -> None:
    group = DirectoryGroup("3", "cn=g", "g", frozenset({"a", "b", "c"}))
    same = DirectoryGroup("3", "cn=g", "g", frozenset({"c", "b", "a"}))
    smaller = DirectoryGroup("3", "cn=g", "g", frozenset({"a", "b"}))
    disabled = DirectoryPerson("1", "uid=anna", "Anna", enabled=False)
    assert entries_digest([ANNA, BERT, group]) == entries_digest([same, BERT, ANNA])
    others = [[ANNA], [BERT], [disabled], [ANNA, BERT], [group], [smaller], []]
    assert len({entries_digest(entries) for entries in others}) == len(others)
