# SPDX-License-Identifier: EUPL-1.2
"""Lists of old card numbers. Pure; every byte is a stranger's.

One line for each card: who (personnel number or login), the number and how it is written, in which building (a zone)
it counts, and to the end of which day. Separators and character sets as in lists of new cards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cardservice.cards.bulk.rules import (
    MAX_BYTES,
    MAX_FIELD,
    MAX_LINES,
    NO_DAY,
    NO_PERSON,
    NOT_AS_WIDE,
    UNPRINTABLE,
    Fault,
    ListRefused,
    day_ms,
    fault,
    rows_of,
    text_of,
)
from cardservice.cards.life.rules import shift_end_ms
from cardservice.cards.numbers.rules import NumberRefused, Written, read_number

COLUMNS: Final = ("person", "number", "written", "building", "until")
# How a number may be written; of a decimal one it may be said that it has seven bytes, not four.
WAYS: Final = (*map(str, Written), "decimal/7", "decimal_reversed/7")
_GERMAN: Final[Mapping[str, str]] = {
    "personalnummer": "person",
    "nummer": "number",
    "schreibweise": "written",
    "gebäude": "building",
    "gültig bis": "until",
}
# What can be wrong with a line, beside what can be wrong with a line of any list.
NO_WAY: Final = "allowed are %(allowed)s"
NO_NUMBER: Final = "no number that is written so: %(why)s"
NO_END: Final = "an old number needs the day it ends: 2027-09-30 or 30.09.2027"
IS_OVER: Final = "this day is over"
NO_BUILDING: Final = "there is no zone of this code"
TWICE: Final = "the same number in the same building as line %(first)s"
KNOWN: Final = "this number is known in this building already"


@dataclass(frozen=True, slots=True)
class OldLine:
    """One old card: `number` are the twelve bytes it is as a number of a use, `until_ms` is when its last day ends."""

    line: int
    person: str
    number: bytes
    building: str
    until_ms: int


def read_old(content: bytes, now_ms: int) -> tuple[list[OldLine], list[Fault]]:
    """Return the old cards of a file, and what is wrong in it; each line is in one of both.

    Raises:
        ListRefused: it is too large, no text, or its first line does not name the columns.
    """
    if len(content) > MAX_BYTES:
        raise ListRefused(f"the file has {len(content)} bytes; at most {MAX_BYTES} are read")
    rows = rows_of(text_of(content))
    number, head = next(rows, (0, ()))
    columns = [_GERMAN.get(name.strip().casefold(), name.strip().casefold()) for name in head]
    if sorted(columns) != sorted(COLUMNS):
        raise ListRefused(f"line {max(number, 1)} has to name the columns {', '.join(COLUMNS)}")
    found: list[OldLine] = []
    faults: list[Fault] = []
    seen: dict[tuple[bytes, str], int] = {}
    for line, row in rows:
        if len(found) + len(faults) >= MAX_LINES:
            raise ListRefused(f"the file has more than {MAX_LINES} lines")
        one = _line(line, dict(zip(columns, row, strict=True)) if len(row) == len(columns) else None, now_ms)
        if isinstance(one, OldLine):
            first = seen.setdefault((one.number, one.building), line)
            if first == line:
                found.append(one)
                continue
            one = fault(line, "number", TWICE, first=first)
        faults.append(one)
    return found, faults


def _line(line: int, row: Mapping[str, str] | None, now_ms: int) -> OldLine | Fault:
    if row is None:
        return fault(line, "", NOT_AS_WIDE)
    fields = {name: text.strip() for name, text in row.items()}
    for name, text in fields.items():
        if len(text) > MAX_FIELD or not text.isprintable():
            return fault(line, name, UNPRINTABLE, most=MAX_FIELD)
    if not fields["person"]:
        return fault(line, "person", NO_PERSON)
    number = _number(line, fields["number"], fields["written"])
    until_ms = _end_of(line, fields["until"], now_ms)
    if isinstance(number, Fault):
        return number
    if isinstance(until_ms, Fault):
        return until_ms
    return OldLine(line, fields["person"], number, fields["building"], until_ms)


def _number(line: int, text: str, written: str) -> bytes | Fault:
    way, _, length = written.partition("/")
    if way not in set(Written) or length not in {"", "4", "7"}:
        return fault(line, "written", NO_WAY, allowed=", ".join(WAYS))
    try:
        return read_number(text, Written(way), int(length or 4)).number()
    except NumberRefused as refused:
        return fault(line, "number", NO_NUMBER, why=refused)


def _end_of(line: int, text: str, now_ms: int) -> int | Fault:
    """Return when a day's last shift ends."""
    try:
        begins_ms = day_ms(text)
    except ValueError:
        return fault(line, "until", NO_DAY)
    if begins_ms is None:
        return fault(line, "until", NO_END)
    end_ms = shift_end_ms(begins_ms)
    return end_ms if end_ms > now_ms else fault(line, "until", IS_OVER)
