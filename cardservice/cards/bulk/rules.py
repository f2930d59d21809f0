# SPDX-License-Identifier: EUPL-1.2
"""Lists of people who are to get cards, as spreadsheets write them. Pure; every byte is a stranger's.

One line for each card: who (personnel number or login), what for (profile), and from which day. UTF-8 or Latin-1, with
or without a byte order mark; comma, semicolon or tabulator between the columns, whichever the first line has most.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from cardservice.cards.life.rules import PROFILES, TEMPORARY

MAX_BYTES: Final = 1024 * 1024
MAX_LINES: Final = 5_000
MAX_FIELD: Final = 200
MAX_FAULTS: Final = 100
_COLUMNS: Final = ("person", "profile", "valid_from")
_GERMAN: Final[Mapping[str, str]] = {"personalnummer": "person", "profil": "profile", "gültig ab": "valid_from"}
_SEPARATORS: Final = ";,\t"
# What can be wrong with a line; the pages say it in each language (`wording.py`).
AS_BEFORE: Final = "the same as line %(first)s"
NOT_AS_WIDE: Final = "another number of columns than the first line"
UNPRINTABLE: Final = "up to %(most)s characters that can be printed"
NO_PERSON: Final = "a personnel number or a login is missing"
NO_PROFILE: Final = "allowed are %(allowed)s"
NO_DAY: Final = "a day: 2027-09-01 or 01.09.2027"
UNKNOWN: Final = "nobody within your reach is called so"
SEVERAL: Final = "several people are called so"
ONESELF: Final = "nobody gives a card to themselves"
SAME_PERSON: Final = "the same person as line %(first)s"
_CITY: Final = ZoneInfo("Europe/Berlin")


class ListRefused(Exception):
    """The file is no list at all; says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A card for somebody: the line it stands in, and who is meant by personnel number or login."""

    line: int
    person: str
    profile: str
    from_ms: int | None


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong in one line, and in which column; `message` is the `template` with its `facts`."""

    line: int
    column: str
    message: str
    template: str = field(default="", compare=False)
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)


def fault(line: int, column: str, template: str, **facts: object) -> Fault:
    """Return what is wrong, by one of the templates above and what it names."""
    said = {name: str(value) for name, value in facts.items()}
    return Fault(line, column, template % said, template, said)


def read_list(content: bytes) -> tuple[list[Wanted], list[Fault]]:
    """Return the cards a file asks for, and what is wrong in it: at most `MAX_FAULTS`, and each line in one of both.

    Raises:
        ListRefused: it is too large, no text, or its first line does not name the columns.
    """
    if len(content) > MAX_BYTES:
        raise ListRefused(f"the file has {len(content)} bytes; at most {MAX_BYTES} are read")
    rows = rows_of(text_of(content))
    number, head = next(rows, (0, ()))
    columns = [_GERMAN.get(name.strip().casefold(), name.strip().casefold()) for name in head]
    if sorted(columns) not in (sorted(_COLUMNS), sorted(_COLUMNS[:2])):
        raise ListRefused(
            f"line {max(number, 1)} has to name the columns {', '.join(_COLUMNS)}; valid_from may be missing"
        )
    found: list[Wanted] = []
    faults: list[Fault] = []
    seen: dict[tuple[str, str], int] = {}
    for line, row in rows:
        if len(found) + len(faults) >= MAX_LINES:
            raise ListRefused(f"the file has more than {MAX_LINES} lines")
        one = _line(line, dict(zip(columns, row, strict=False)) if len(row) == len(columns) else None)
        if isinstance(one, Wanted):
            first = seen.setdefault((one.person.casefold(), one.profile), line)
            if first == line:
                found.append(one)
                continue
            one = fault(line, "person", AS_BEFORE, first=first)
        faults.append(one)
    return found, faults[:MAX_FAULTS]


def text_of(content: bytes) -> str:
    """Return the text of a list: UTF-8, else Latin-1. Raises ListRefused."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\x00" in text:
        raise ListRefused("the file is no text: it has bytes of zero")
    return text


def rows_of(text: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the lines that say something, with their numbers. Raises ListRefused."""
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    # A quoted field may not go on for the rest of the file: each is bounded.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begun = 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield begun, row
            begun = reader.line_num + 1
    except csv.Error as error:
        raise ListRefused(f"line {begun}: quotation marks that do not fit ({error})") from None


def _line(line: int, row: Mapping[str, str] | None) -> Wanted | Fault:
    if row is None:
        return fault(line, "", NOT_AS_WIDE)
    fields = {name: text.strip() for name, text in row.items()}
    for name, text in fields.items():
        if len(text) > MAX_FIELD or not text.isprintable():
            return fault(line, name, UNPRINTABLE, most=MAX_FIELD)
    if not fields["person"]:
        return fault(line, "person", NO_PERSON)
    if fields["profile"] not in PROFILES or fields["profile"] == TEMPORARY:
        return fault(line, "profile", NO_PROFILE, allowed=", ".join(sorted(PROFILES.keys() - {TEMPORARY})))
    try:
        from_ms = day_ms(fields.get("valid_from", ""))
    except ValueError:
        return fault(line, "valid_from", NO_DAY)
    return Wanted(line, fields["person"], fields["profile"], from_ms)


def day_ms(text: str) -> int | None:
    """Return when a day begins in the city; none: from now on. Raises ValueError."""
    if not text:
        return None
    german = text.split(".")
    day = date.fromisoformat(text) if len(german) != 3 else date(int(german[2]), int(german[1]), int(german[0]))
    if not 2000 <= day.year <= 2200:
        raise ValueError("out of bounds")
    return int(datetime.combine(day, time(0), _CITY).astimezone(UTC).timestamp() * 1_000)
