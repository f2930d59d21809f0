# SPDX-License-Identifier: EUPL-1.2
"""Lists of old numbers: every way to write one, every fault with its line and column, and nothing breaks the reader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.cards.bulk.rules import ListRefused
from cardservice.cards.old import rules, wording
from cardservice.cards.old.rules import COLUMNS, read_old
from cardservice.cards.rules import desfire_credential, is_old, is_old_number, old_credential

NOW_MS = 1_795_392_000_000
HEAD = ";".join(COLUMNS)
# The same four bytes in each way; a Wiegand-26 line carries three of them.
UID = "04a2b3c4"
WAYS = {
    "hex": "04:A2:B3:C4",
    "hex_reversed": "C4B3A204",
    "decimal": str(0x04A2B3C4),
    "decimal_reversed": str(0xC4B3A204),
    "wiegand_34": f"{0x04A2}:{0xB3C4}",
}


def listed(*lines: str, head: str = HEAD) -> bytes:
    return "\n".join((head, *lines)).encode()


def only(line: str):
    return read_old(listed(line), NOW_MS)


@pytest.mark.parametrize("written", WAYS)
def test_one_number_is_one_however_it_is_written(written):
    (found,), faults = only(f"weber;{WAYS[written]};{written};rathaus;2199-12-31")
    assert faults == []
    assert found.number.hex().endswith(UID)
    assert is_old_number(found.number)
    assert (found.person, found.building) == ("weber", "rathaus")


def test_a_wiegand_26_line_and_a_long_decimal_are_numbers_of_their_own():
    lines = ("a;162:46020;wiegand_26;r;2199-12-31", "b;1234567890123;decimal/7;r;31.12.2199")
    found, faults = read_old(listed(*lines), NOW_MS)
    assert faults == []
    assert len({one.number for one in found}) == 2


def test_german_heads_and_separators_are_understood():
    head = "Personalnummer,Nummer,Schreibweise,Gebäude,gültig bis"
    (found,), faults = read_old(listed("4711,04A2B3C4,hex,rathaus,30.09.2199", head=head), NOW_MS)
    assert (found.person, faults) == ("4711", [])


@pytest.mark.parametrize(
    ("line", "column"),
    [
        (";04A2B3C4;hex;r;2199-12-31", "person"),
        ("a;04A2B3;hex;r;2199-12-31", "number"),
        ("a;00000000;hex;r;2199-12-31", "number"),
        ("a;99999999999;decimal;r;2199-12-31", "number"),
        ("a;300:1;wiegand_26;r;2199-12-31", "number"),
        ("a;04A2B3C4;base64;r;2199-12-31", "written"),
        ("a;04A2B3C4;decimal/5;r;2199-12-31", "written"),
        ("a;04A2B3C4;hex;r;", "until"),
        ("a;04A2B3C4;hex;r;morgen", "until"),
        ("a;04A2B3C4;hex;r;2001-01-01", "until"),
        ("a;04A2B3C4;hex;r", ""),
        ("a\x07;04A2B3C4;hex;r;2199-12-31", "person"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_column(line, column):
    """Without the day it ends there is no old number at all."""
    found, (fault,) = only(line)
    assert found == []
    assert (fault.line, fault.column) == (2, column)


def test_a_number_stands_once_for_a_building():
    """In another building it may stand again."""
    lines = [f"a;04A2B3C4;hex;{where};2199-12-31" for where in ("r", "b", "r")]
    found, (fault,) = read_old(listed(*lines), NOW_MS)
    assert [one.building for one in found] == ["r", "b"]
    assert (fault.line, fault.message) == (4, "the same number in the same building as line 2")


@pytest.mark.parametrize("content", [b"", b"\x00", b"person;number\n", listed("x", head="a;b;c;d;e")])
def test_what_is_no_list_is_refused_whole(content):
    with pytest.raises(ListRefused):
        read_old(content, NOW_MS)


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(content):
    """A list, its faults, or a refusal."""
    for sent in (content, listed() + b"\n" + content):
        try:
            found, faults = read_old(sent, NOW_MS)
        except ListRefused:
            continue
        assert all(one.until_ms > NOW_MS for one in found)
        assert all(one.line >= 2 for one in faults)


def test_an_old_number_is_known_by_where_it_counts():
    """The same number of two buildings, and as a number without one, are three credentials of one use."""
    number = b"\x00OLD\x04" + bytes(3) + bytes.fromhex(UID)
    keys = {old_credential("door", number, 1), old_credential("door", number, 2), desfire_credential("door", number)}
    assert len(keys) == 3
    assert [is_old(key) for key in sorted(keys, key=len)] == [False, True, True]


def test_the_page_has_words_for_every_fault():
    texts = {value for name, value in vars(rules).items() if name.isupper() and isinstance(value, str)}
    theirs = {rules.NO_NUMBER, rules.NO_END, rules.IS_OVER, rules.NO_BUILDING, rules.TWICE, rules.KNOWN}
    assert theirs == set(wording.FAULTS)
    assert theirs < texts
    assert set(wording.COLUMNS) == {*COLUMNS, ""}
