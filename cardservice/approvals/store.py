# SPDX-License-Identifier: EUPL-1.2
"""The table of requests that need a second person, in the state store."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.approvals.rules import Answer, Content, Request, State, Who, canonical
from cardservice.database import STATE, RowNumber, row_id

# How many are read at once.
AT_ONCE: Final = 200

approval = sa.Table(
    "approval",
    STATE,
    sa.Column("id", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(40), nullable=False),
    # Canonical JSON: the approval is bound to exactly this.
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("reason", sa.String(200), nullable=False),
    sa.Column("asked_by_id", sa.ForeignKey("person.id"), nullable=False, index=True),
    # A login has whatever length the directory allows.
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("asked_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_ms", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("answered_by_id", sa.ForeignKey("person.id")),
    sa.Column("answered_by", sa.Text),
    sa.Column("answered_ms", sa.BigInteger),
    sa.Column("answer_reason", sa.String(200)),
    # A number is never given twice, so that a link means one request for ever.
    sqlite_autoincrement=True,
)
_NEWEST: Final = sa.select(approval).order_by(approval.c.id.desc())


def add(connection: Connection, request: Request) -> int:
    """Store a new request; return its number."""
    values = {
        "kind": request.kind,
        "content": canonical(request.content),
        "reason": request.reason,
        "asked_by_id": request.asked_by.person,
        "asked_by": request.asked_by.login,
        "asked_ms": request.asked_ms,
        "expires_ms": request.expires_ms,
        "state": request.state.value,
    }
    return row_id(connection.execute(sa.insert(approval).values(values)))


def one(connection: Connection, number: int) -> Request | None:
    """Return a request by its number."""
    row = connection.execute(sa.select(approval).where(approval.c.id == number)).first()
    return None if row is None else _request(row)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Requests of these kinds or of this person (a row number); `state` at an instant, None: whatever it is."""

    kinds: Collection[str]
    person: int
    state: State | None
    now_ms: int


def newest(connection: Connection, wanted: Wanted, *, before: int) -> Sequence[Request]:
    """Return some requests, the newest first, below a number; none at the end."""
    seen = sa.or_(approval.c.kind.in_(sorted(wanted.kinds)), approval.c.asked_by_id == wanted.person)
    chosen = _NEWEST.where(seen, approval.c.id < before)
    if wanted.state is not None:
        chosen = chosen.where(_is(wanted.state, wanted.now_ms))
    return [_request(row) for row in connection.execute(chosen.limit(AT_ONCE))]


def count_open(connection: Connection, person: int, now_ms: int) -> int:
    """Return how many requests of a person wait for an answer."""
    mine = sa.select(sa.func.count()).where(approval.c.asked_by_id == person, _is(State.OPEN, now_ms))
    return int(connection.execute(mine).scalar_one())


def answer(connection: Connection, number: int, state: State, given: Answer) -> bool:
    """Give an open request its one answer; False if it has one already or is over."""
    open_now = (approval.c.id == number, _is(State.OPEN, given.at_ms))
    values = {
        "state": state.value,
        "answered_by_id": given.by.person,
        "answered_by": given.by.login,
        "answered_ms": given.at_ms,
        "answer_reason": given.reason,
    }
    # What came back: whoever comes second at the same moment waits here, and then changes nothing.
    done = sa.update(approval).where(*open_now).values(values).returning(approval.c.id)
    return connection.execute(done).first() is not None


def _is(state: State, now_ms: int) -> sa.ColumnElement[bool]:
    if state is State.EXPIRED:
        return sa.and_(approval.c.state == State.OPEN.value, approval.c.expires_ms <= now_ms)
    stored = approval.c.state == state.value
    return sa.and_(stored, approval.c.expires_ms > now_ms) if state is State.OPEN else stored


def _request(row: sa.Row[Any]) -> Request:
    content: Content = json.loads(row.content)
    given = None
    if row.answered_ms is not None:
        given = Answer(Who(row.answered_by_id, row.answered_by), row.answered_ms, row.answer_reason)
    return Request(
        number=row.id,
        kind=row.kind,
        content=content,
        reason=row.reason,
        asked_by=Who(row.asked_by_id, row.asked_by),
        asked_ms=row.asked_ms,
        expires_ms=row.expires_ms,
        state=State(row.state),
        answer=given,
    )
