# SPDX-License-Identifier: EUPL-1.2
"""A journal with published secrets, and short ways to write to it."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import sqlalchemy as sa
from service.fake_clock import MONDAY_MS
from sqlalchemy.engine import Connection, Engine

from cardservice.database import write
from cardservice.journal.rules import Place, Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.journal.store import journal_entry

LIMIT_S = 20.0


def secret(stream: str, purpose: str) -> bytes:
    """Return 32 bytes that everybody can compute."""
    return f"{stream} {purpose}".encode().ljust(32, b".")[:32]


def begin(engine: Engine) -> Journal:
    """Start a writer's journal, as the service does at its start."""
    journal = Journal(secret)
    # A wall clock that counts from now on: epochs are small numbers then.
    journal.begin_epoch(engine, 0)
    return journal


def entry(
    number: int = 0,
    *,
    stream: str = "door",
    person: int | None = None,
    personal: Mapping[str, Scalar] | None = None,
) -> Entry:
    return Entry(stream, MONDAY_MS + number, {"number": number}, person, personal)


def append(engine: Engine, journal: Journal, *entries: Entry) -> list[Place]:
    """Append in one transaction."""
    with write(engine) as connection:
        return [journal.append(connection, one) for one in entries]


def appending(journal: Journal, one: Entry) -> Callable[[Connection], Place]:
    """Return the unit of work that appends one entry."""
    return lambda connection: journal.append(connection, one)


def numbers(engine: Engine) -> list[int]:
    """Return the sequence numbers that stand in the store, in order."""
    with engine.connect() as connection:
        return list(
            connection.execute(sa.select(journal_entry.c.sequence).order_by(journal_entry.c.sequence)).scalars()
        )


def results(futures: list["Future[Any]"]) -> list[Any]:
    """Wait for each and return what it says: a result or its error."""
    return [future.exception(LIMIT_S) or future.result(LIMIT_S) for future in futures]
