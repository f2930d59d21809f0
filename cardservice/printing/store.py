# SPDX-License-Identifier: EUPL-1.2
"""The record of releases: written before the spooler is asked, so that nothing begun is forgotten or done twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import RECORD, insert_or
from cardservice.pseudonyms import PSEUDONYM_LENGTH

ReleaseState = Literal["asked", "released", "gone", "failed"]
MAX_UNSETTLED: Final = 500
_MAX_EVENT_LENGTH: Final = 74

# One row per document. A spooler's numbers begin anew one day; number and instant of arrival together do not.
# `failed` waits on and may be asked for again; `released` and `gone` are the end of it.
print_release = sa.Table(
    "print_release",
    RECORD,
    sa.Column("queue", sa.String(127), primary_key=True),
    sa.Column("job", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("made_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    # The tap that asked last.
    sa.Column("event", sa.String(_MAX_EVENT_LENGTH), nullable=False),
    sa.Column("printer", sa.String(127), nullable=False),
    sa.Column("pseudonym", sa.String(PSEUDONYM_LENGTH), nullable=False, index=True),
    sa.Column("state", sa.String(10), nullable=False, index=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False, index=True),
    info={"use": "printer"},
)


@dataclass(frozen=True, slots=True)
class Key:
    """Which document of which queue."""

    queue: str
    job: int
    made_ms: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One tap's wish."""

    event: str
    printer: str
    pseudonym: str
    at_ms: int


def claim(connection: Connection, keys: Sequence[Key], asked: Asked) -> list[Key]:
    """Write down that these are to be released; return those nobody else has asked for or had released."""
    columns = print_release.c
    claimed = []
    for key in keys:
        values = {
            "event": asked.event,
            "printer": asked.printer,
            "pseudonym": asked.pseudonym,
            "state": "asked",
            "at_ms": asked.at_ms,
        }
        statement = insert_or(connection, print_release).values(
            queue=key.queue, job=key.job, made_ms=key.made_ms, **values
        )
        again = statement.on_conflict_do_update(
            index_elements=[columns.queue, columns.job, columns.made_ms],
            set_=values,
            where=columns.state == "failed",
        ).returning(columns.job)
        if connection.execute(again).first() is not None:
            claimed.append(key)
    return claimed


def settle(connection: Connection, ends: Sequence[tuple[Key, ReleaseState]]) -> None:
    """Write down how it ended for those whose end was not written yet."""
    columns = print_release.c
    for key, state in ends:
        connection.execute(
            sa.update(print_release)
            .where(columns.queue == key.queue, columns.job == key.job, columns.made_ms == key.made_ms)
            .where(columns.state == "asked")
            .values(state=state)
        )


def unsettled(connection: Connection, queue: str) -> list[tuple[Key, str]]:
    """Return what was asked for and whose end nobody knows, each with its printer; oldest first, bounded."""
    columns = print_release.c
    query = (
        sa.select(columns.job, columns.made_ms, columns.printer)
        .where(columns.queue == queue, columns.state == "asked")
        .order_by(columns.at_ms, columns.job)
        .limit(MAX_UNSETTLED)
    )
    return [(Key(queue, row.job, row.made_ms), row.printer) for row in connection.execute(query)]


def forget(connection: Connection, before_ms: int) -> int:
    """Delete what was settled and asked for before `before_ms`; return how many rows."""
    columns = print_release.c
    old = sa.delete(print_release).where(columns.at_ms < before_ms, columns.state != "asked")
    return connection.execute(old).rowcount
