# SPDX-License-Identifier: EUPL-1.2
"""The list of the record is read from its own index: on both databases, whatever else the journal holds."""

import re

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.audit import store
from cardservice.audit.rules import Filter, Stream
from cardservice.database import Databases, write
from cardservice.journal.store import AUDIT_INDEX, AUDITED, journal_entry

LINES = 3_000
STREAMS = ("door", "timeclock", "canteen", *Stream)
# The second step of paging, one stream alone, a time.
ASKED = {
    "newest": (Filter(), None),
    "further": (Filter(), (LINES // 2, 1, LINES // 2, "audit")),
    "one stream": (Filter(stream=Stream.SIGN_IN), None),
    "a time": (Filter(from_ms=LINES // 3, until_ms=LINES // 2), None),
}


@pytest.fixture
def filled(databases: Databases) -> Databases:
    """Six streams with lines in turn, as if each had happened a millisecond after the other."""
    rest = {"epoch": 1, "sealed": None, "sealed_digest": b"", "hash": b""}
    rows = [
        {
            "stream": str(STREAMS[at % len(STREAMS)]),
            "sequence": at,
            "at_ms": at,
            "payload": f'{{"kind":"k{at}"}}',
            **rest,
        }
        for at in range(LINES)
    ]
    with write(databases.record) as connection:
        connection.execute(sa.insert(journal_entry), rows)
        if connection.dialect.name == "postgresql":
            # As its own housekeeping does; nobody does it for SQLite.
            connection.execute(sa.text("ANALYZE"))
    return databases


def plan_of(connection: Connection, asked: str) -> str:
    """Return what the database says of how it answers, and check that it answers rightly."""
    wanted, below = ASKED[asked]
    seen: list[tuple[str, object]] = []

    def look(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        seen.append((statement, parameters))

    sa.event.listen(connection, "before_cursor_execute", look)
    found = store.newest(connection, wanted, below, 50)
    sa.event.remove(connection, "before_cursor_execute", look)
    fitting = [
        at
        for at in range(LINES)
        if STREAMS[at % len(STREAMS)] in (list(Stream) if wanted.stream is None else [wanted.stream])
        and (wanted.from_ms or 0) <= at < (wanted.until_ms or LINES)
        and (below is None or (at, 1, at, STREAMS[at % len(STREAMS)]) < below)
    ]
    assert [line.at_ms for line in found] == fitting[::-1][:50]
    statement, parameters = seen[-1]
    word = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    return "\n".join(" ".join(map(str, row)) for row in connection.exec_driver_sql(word + statement, parameters))


@pytest.mark.parametrize("asked", ASKED)
def test_the_list_does_not_read_the_whole_journal(filled: Databases, asked: str) -> None:
    """No scan of the table, no sorting: the newest lines come out of the index in the list's own order."""
    with filled.record.connect() as connection:
        plan = plan_of(connection, asked)
    assert AUDIT_INDEX in plan
    assert not re.search(r"Seq Scan|Sort|TEMP B-TREE|SCAN journal_entry(?! USING (COVERING )?INDEX)", plan)


def test_the_index_is_about_the_streams_of_the_list() -> None:
    """A stream more in one of the two would be left out of the list, or not found by the index."""
    for condition in AUDITED.values():
        assert set(re.findall(r"'(\w+)'", condition)) == set(Stream)
