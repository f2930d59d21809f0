# SPDX-License-Identifier: EUPL-1.2
"""Tables of the agents: who they are (state), what they handed over (record)."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import RECORD, STATE, RowNumber

agent = sa.Table(
    "agent",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("code", sa.String(40), nullable=False, unique=True),
    # Ed25519, hexadecimal; made on the agent, only the public half ever leaves it.
    sa.Column("public_key", sa.String(64), nullable=False),
    sa.Column("locked", sa.Boolean, nullable=False),
    sa.Column("enrolled_ms", sa.BigInteger, nullable=False),
)

# One row per event, so that a repeated upload changes nothing and a changed one is noticed. No point, no person.
# `refused` says why an event was not taken; it is kept so that its repetition raises no second alarm.
agent_event = sa.Table(
    "agent_event",
    RECORD,
    sa.Column("agent", sa.String(40), primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("received_ms", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.String(20)),
    # Whether the same id came with other content; that is told once.
    sa.Column("alarmed", sa.Boolean, nullable=False, server_default=sa.false()),
)

# Events that an agent was told are stored and that are not here: `asked` for again, or `lost` for good.
event_gap = sa.Table(
    "event_gap",
    RECORD,
    sa.Column("agent", sa.String(40), primary_key=True),
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("found_ms", sa.BigInteger, nullable=False),
)


def find_agent(connection: Connection, code: str) -> sa.Row[Any] | None:
    """Return the agent called `code`, None if it was never enrolled."""
    return connection.execute(sa.select(agent).where(agent.c.code == code)).first()
