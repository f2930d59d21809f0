# SPDX-License-Identifier: EUPL-1.2
"""A write that a caller repeats is made once: the answer is stored in the same transaction as what it changed.

(draft-ietf-httpapi-idempotency-key-header.) Money has the same promise in the ledger's own store.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.clock import Clock
from cardservice.database import STATE, insert_or, write
from cardservice.errors import Conflict

# A caller that does not come back within two days has its own records to look into.
KEEP_MS: Final = 48 * 3_600_000
MAX_ANSWER: Final = 64 * 1024
FORGET_AT_ONCE: Final = 500

api_answer = sa.Table(
    "api_answer",
    STATE,
    sa.Column("caller", sa.String(200), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    # SHA-256 of the operation and everything that was asked.
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("made_ms", sa.BigInteger, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: whose, under which key, and what it asks for."""

    caller: str
    key: str
    operation: str
    content: Any

    @property
    def digest(self) -> bytes:
        """SHA-256 of what is asked for; the same content is the same however its parts were ordered."""
        text = json.dumps([self.operation, self.content], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()


class KeyReused(Conflict):
    """One key for two different requests."""

    code = "key_reused"


class Once:
    """Makes each change once. Blocks: not in the loop."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def run(self, asked: Asked, make: Callable[[Connection], Mapping[str, Any]]) -> dict[str, Any]:
        """Return what this request was answered; `make` answers it the first time, in the same transaction.

        Raises:
            KeyReused: the same key came before with other content.
            DatabaseUnavailable: nothing was changed.
            ValueError: an answer is longer than is kept.
        """
        with write(self._engine) as connection:
            if not self._begin(connection, asked):
                return _told_again(connection, asked)
            answer = dict(make(connection))
            text = json.dumps(answer)
            if len(text) > MAX_ANSWER:
                raise ValueError(f"an answer of {len(text)} characters; at most {MAX_ANSWER} are kept")
            connection.execute(sa.update(api_answer).where(_named(asked)).values(answer=text))
            self._forget(connection)
            return answer

    def _begin(self, connection: Connection, asked: Asked) -> bool:
        """Take the key; False if it was taken before. Who comes second at the same moment waits here for the first."""
        row = {"caller": asked.caller, "key": asked.key, "digest": asked.digest, "answer": ""}
        new = insert_or(connection, api_answer).values(**row, made_ms=self._clock.now_ms()).on_conflict_do_nothing()
        return connection.execute(new.returning(api_answer.c.key)).first() is not None

    def _forget(self, connection: Connection) -> None:
        """Delete a few of the old ones, more than come in: a pile goes by and by, and no write waits for it."""
        old = (
            sa.select(api_answer.c.caller, api_answer.c.key)
            .where(api_answer.c.made_ms < self._clock.now_ms() - KEEP_MS)
            .limit(FORGET_AT_ONCE)
        )
        keys = [tuple(one) for one in connection.execute(old)]
        if keys:
            connection.execute(sa.delete(api_answer).where(sa.tuple_(api_answer.c.caller, api_answer.c.key).in_(keys)))


def _named(asked: Asked) -> sa.ColumnElement[bool]:
    return sa.and_(api_answer.c.caller == asked.caller, api_answer.c.key == asked.key)


def _told_again(connection: Connection, asked: Asked) -> dict[str, Any]:
    before = connection.execute(sa.select(api_answer).where(_named(asked))).one()
    if bytes(before.digest) != asked.digest:
        raise KeyReused("this Idempotency-Key came before with another content; make a new key for a new request")
    found: dict[str, Any] = json.loads(before.answer)
    return found
