# SPDX-License-Identifier: EUPL-1.2
"""Lists of cards to be issued, as spreadsheets and strangers write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.cards.bulk import rules
from cardservice.cards.bulk.rules import Fault, ListRefused, Wanted, read_list

# 2027-09-01 in the city.
SEPTEMBER_MS = 1_819_749_600_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_is_read_however_a_spreadsheet_wrote_it(encoding, separator, end):
    """Encodings, separators, ends of lines, German names and days, quotation marks, empty lines."""
    lines = (
        ["Personalnummer", "Profil", "gültig ab"],
        ['"müller"', "trainee", "01.09.2027"],
        [],
        ["17", "visitor", ""],
    )
    content = end.join(separator.join(line) for line in lines).encode(encoding)
    assert read_list(content) == (
        [Wanted(2, "müller", "trainee", SEPTEMBER_MS), Wanted(4, "17", "visitor", None)],
        [],
    )


def test_each_fault_is_told_with_its_line_and_column():
    """Beside the good lines, which stay."""
    content = b"""person,profile,valid_from
anna,trainee,2027-09-01
,trainee,
bert,king,
carla,employee,soon
dora,employee
anna,trainee,
emil,temporary,
fritz,employee,1800-01-01
"""
    found, faults = read_list(content)
    assert [one.person for one in found] == ["anna"]
    assert [(fault.line, fault.column) for fault in faults] == [
        (3, "person"),
        (4, "profile"),
        (5, "valid_from"),
        (6, ""),
        (7, "person"),
        (8, "profile"),
        (9, "valid_from"),
    ]
    assert faults[4] == Fault(7, "person", "the same as line 2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has to name the columns"),
        (b"a,b\n1,2\n", "has to name the columns"),
        (b"person,person,profile\n", "has to name the columns"),
        (b"person,profile\n\x00,x\n", "bytes of zero"),
        (b'person,profile\n"anna,trainee\n', "quotation marks"),
        (b"x" * (rules.MAX_BYTES + 1), "at most"),
        (b"person,profile\n" + b"x,y\n" * (rules.MAX_LINES + 1), "more than"),
    ],
)
def test_what_is_no_list_is_refused_as_a_whole(content, message):
    """In one sentence that says why."""
    with pytest.raises(ListRefused, match=message):
        read_list(content)


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b"person;profile;valid_from\n" + tail))
def test_any_bytes_are_a_list_or_are_refused(content):
    """Nothing else comes of them, and no line is both good and wrong."""
    try:
        found, faults = read_list(content)
    except ListRefused:
        return
    assert {one.line for one in found}.isdisjoint(fault.line for fault in faults)
    assert all(one.person and one.person.isprintable() for one in found)
