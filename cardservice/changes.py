# SPDX-License-Identifier: EUPL-1.2
"""The change log: whatever the snapshot is compiled from leaves a row here, in the same transaction.

Every process tails it in order. On PostgreSQL a sequence is not commit order, so appending takes a transaction-scoped
advisory lock: revisions become visible in the order of their numbers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import STATE, RowNumber

# "outsider": a person is kept here who is in no directory, besides "person".
ChangeKind = Literal["person", "card", "access", "agent", "caller", "outsider"]
CHANNEL: Final = "cardservice_changes"
_ADVISORY_LOCK: Final = 7_237_110

changes = sa.Table(
    "changes",
    STATE,
    sa.Column("revision", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("row", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the log: table row `row` of `kind` is no longer what it was."""

    revision: int
    kind: ChangeKind
    row: int


def append(connection: Connection, kind: ChangeKind, rows: Iterable[int]) -> None:
    """Log that `rows` of `kind` changed; part of the caller's transaction."""
    entries = [{"kind": kind, "row": row} for row in rows]
    if not entries:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))
    connection.execute(sa.insert(changes), entries)


def since(connection: Connection, revision: int, limit: int = 5_000) -> Sequence[Change]:
    """Return the changes after `revision` in order, at most `limit`."""
    rows = connection.execute(
        sa.select(changes).where(changes.c.revision > revision).order_by(changes.c.revision).limit(limit)
    )
    return [Change(row.revision, row.kind, row.row) for row in rows]


def latest(connection: Connection) -> int:
    """Return the newest revision, 0 for an empty log."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(changes.c.revision), 0))).scalar_one())
