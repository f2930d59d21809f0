# SPDX-License-Identifier: EUPL-1.2
"""What is declared of retention: every table, every column that concerns somebody, every stream; and the clock."""

import importlib
import pkgutil
import re
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

import cardservice
from cardservice.access.rules import Use
from cardservice.canteen.rules import OPAQUE_LENGTH
from cardservice.database import RECORD, STATE
from cardservice.doors.openings import KEPT_REQUESTS_MS
from cardservice.keeping import DAY_MS, LIMITS
from cardservice.ledger.service import Ledger
from cardservice.retention import books
from cardservice.retention.leavers import _closed_name
from cardservice.retention.rules import (
    FIXED,
    GRACE_MS,
    MOST_AHEAD_MS,
    OTHER_STREAMS,
    STREAMS,
    TABLES,
    UNTIL,
    Moment,
    Standing,
    Witnesses,
    counted_from_ms,
    doubt,
    is_late,
    last_over_ms,
)
from cardservice.retention.store import steps
from cardservice.web.once import KEEP_MS
from cardservice.web.public import KEPT_WORDS

ROOT = Path(cardservice.__file__).parent
# Columns that are called so are about somebody, or say here why not.
_ABOUT_SOMEBODY = re.compile(
    r"(^|_)(by|person|login|mail|pseudonym|wallet|owner|caller|reason|identity|members|sponsor|sid|upn|event)(_|$)"
)
_ABOUT_NOBODY = {
    ("door_lockdown", "passing_group_id"): "a group",
    ("access_review_item", "owner_group_id"): "a group",
    ("canteen_payment", "caller"): "a till",
    ("webhook", "events"): "types of events",
}


def all_tables() -> dict[str, sa.Table]:
    for module in pkgutil.walk_packages(cardservice.__path__, "cardservice."):
        if "Table(" in (source_of(module.name) or ""):
            importlib.import_module(module.name)
    return {**STATE.tables, **RECORD.tables}


def source_of(module: str) -> str | None:
    path = ROOT.parent / (module.replace(".", "/") + ".py")
    return path.read_text("utf-8") if path.is_file() else None


def test_every_table_is_declared() -> None:
    """Whoever adds a table says in `retention/rules.py` what of it concerns people, and what ends that."""
    assert set(all_tables()) - set(TABLES) == set(), "not declared in cardservice/retention/rules.py"
    assert set(TABLES) - set(all_tables()) == set(), "there is no such table"


def test_every_declared_column_exists_and_ends_by_something_known() -> None:
    tables = all_tables()
    wrong = [
        (table, column, ends)
        for table, columns in TABLES.items()
        for column, ends in columns.items()
        if column not in tables[table].c or ends not in {*LIMITS, *UNTIL}
    ]
    assert wrong == []


def test_no_column_that_sounds_like_somebody_is_left_out() -> None:
    """Names, numbers and reasons of people: declared, or here with the reason why they are about nobody."""
    missing = [
        (table.name, column.name)
        for table in all_tables().values()
        for column in table.columns
        if _ABOUT_SOMEBODY.search(column.name)
        and column.name not in TABLES[table.name]
        and (table.name, column.name) not in _ABOUT_NOBODY
    ]
    assert missing == []


def test_every_limit_ends_something_and_is_explained() -> None:
    """Each limit of the settings, and each fixed one, has a step that carries it out, and words for everybody."""
    every = [*steps(["a"], [], lambda *_: 0), *books.steps(Ledger())]
    carried_out = {step.limit for step in every} | {"leavers"}
    assert carried_out == {*LIMITS, *FIXED} == set(KEPT_WORDS)
    assert {limit for limits in STREAMS.values() for limit in limits} <= set(LIMITS)
    assert set(OTHER_STREAMS) <= set(LIMITS)


def test_every_stream_of_the_journal_has_its_limit() -> None:
    """Each use, and each stream that the source names."""
    named = set()
    for file in ROOT.rglob("*.py"):
        named |= set(re.findall(r"^STREAM\w*: Final = \"(\w+)\"", file.read_text("utf-8"), re.MULTILINE))
    assert named
    assert {*named, *(use.value for use in Use), "system"} == set(STREAMS)


def test_what_is_fixed_is_what_others_promise() -> None:
    assert FIXED["answers"] * DAY_MS == KEEP_MS
    assert FIXED["door_requests"] * DAY_MS == KEPT_REQUESTS_MS


def test_a_closed_account_is_called_by_a_number_that_a_wallet_could_have() -> None:
    assert re.fullmatch(f"[0-9a-f]{{{OPAQUE_LENGTH}}}", _closed_name(17))
    assert _closed_name(17) != _closed_name(18)


HOUR = 3_600_000
BEGAN = Moment(1_000 * DAY_MS, 5 * HOUR)


@pytest.mark.parametrize(
    ("now", "witnesses", "believed"),
    [
        (Moment(BEGAN.wall_ms + 90 * DAY_MS, BEGAN.steady_ms + 90 * DAY_MS), Witnesses(BEGAN, None, None, False), True),
        (Moment(BEGAN.wall_ms + MOST_AHEAD_MS, BEGAN.steady_ms), Witnesses(BEGAN, None, None, False), True),
        (Moment(BEGAN.wall_ms + MOST_AHEAD_MS + 1, BEGAN.steady_ms), Witnesses(BEGAN, None, None, False), False),
        # A time server that jumps is no better than a clock that does.
        (Moment(BEGAN.wall_ms + 9 * DAY_MS, BEGAN.steady_ms), Witnesses(BEGAN, None, None, True), False),
        (Moment(BEGAN.wall_ms - 900 * DAY_MS, BEGAN.steady_ms), Witnesses(BEGAN, None, None, False), True),
        (BEGAN, Witnesses(None, None, None, False), True),
        (BEGAN, Witnesses(None, BEGAN.wall_ms - MOST_AHEAD_MS, None, False), True),
        (BEGAN, Witnesses(None, BEGAN.wall_ms - MOST_AHEAD_MS - 1, None, False), False),
        (BEGAN, Witnesses(None, BEGAN.wall_ms - 300 * DAY_MS, None, True), True),
        (BEGAN, Witnesses(None, BEGAN.wall_ms - 300 * DAY_MS, BEGAN.wall_ms - HOUR, False), True),
        (BEGAN, Witnesses(None, BEGAN.wall_ms - 300 * DAY_MS, BEGAN.wall_ms - 9 * DAY_MS, False), False),
    ],
)
def test_a_clock_is_believed_as_far_as_another_witness_goes(now: Moment, witnesses: Witnesses, believed: bool) -> None:
    assert (doubt(now, witnesses) is None) is believed


def test_what_is_overdue_for_a_day_is_late() -> None:
    standing = Standing("doors", 7, 7, None, oldest_ms=DAY_MS, ran_ms=None, erased=None)
    assert standing.ends_ms() == 8 * DAY_MS
    assert standing.overdue_ms(8 * DAY_MS) == 0
    assert not is_late(standing.overdue_ms(9 * DAY_MS))
    assert is_late(standing.overdue_ms(9 * DAY_MS + 1))
    assert GRACE_MS == DAY_MS
    assert Standing("doors", 7, 7, None, None, None, None).overdue_ms(10**15) == 0


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


@pytest.mark.parametrize("at", ["2026-01-01T00:00:00+01:00", "2026-07-15T12:00:00+02:00", "2026-12-31T23:59:59+01:00"])
def test_eight_years_count_from_the_end_of_the_year(at: str) -> None:
    """By German time, for the first and the last second of a year alike, over two leap days."""
    begins, ends = _at("2027-01-01T00:00:00+01:00"), _at("2035-01-01T00:00:00+01:00")
    days = LIMITS["canteen_books"].usual
    assert counted_from_ms("canteen_books", _at(at)) == begins
    standing = Standing("canteen_books", days, days, None, oldest_ms=_at(at), ran_ms=None, erased=None)
    assert standing.ends_ms() == ends
    assert last_over_ms("canteen_books", ends - days * DAY_MS) == begins - 1
    assert last_over_ms("canteen_books", ends - 1 - days * DAY_MS) < _at("2026-01-01T00:00:00+01:00")
    assert (counted_from_ms("doors", 5), last_over_ms("doors", 5)) == (5, 5)
