# SPDX-License-Identifier: EUPL-1.2
"""Tables of webhooks, in the state store: who is told, what waits to be sent, and how far the sources were read."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.store import card
from cardservice.database import STATE, RowNumber, insert_or

# After so many attempts an event steps back behind the others.
_REFUSED_OFTEN: Final = 3

webhook = sa.Table(
    "webhook",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("name", sa.String(40), nullable=False, unique=True),
    sa.Column("url", sa.Text, nullable=False),
    # Event types, a JSON list.
    sa.Column("events", sa.Text, nullable=False),
    # Sealed under a key of the key store; the one before signs too until `old_until_ms`.
    sa.Column("secret", sa.LargeBinary(100), nullable=False),
    sa.Column("old_secret", sa.LargeBinary(100)),
    sa.Column("old_until_ms", sa.BigInteger),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("disabled_ms", sa.BigInteger),
    sa.Column("disabled_why", sa.String(200)),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    # Before this nothing is sent to it; how often in a row it failed, when it last took something, what was wrong.
    sa.Column("due_ms", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("delivered_ms", sa.BigInteger),
    sa.Column("trouble", sa.String(200)),
    # How many events were given up, one by one, while others were taken.
    sa.Column("lost", sa.Integer, nullable=False),
)

webhook_delivery = sa.Table(
    "webhook_delivery",
    STATE,
    sa.Column("id", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("webhook_id", sa.ForeignKey("webhook.id", ondelete="CASCADE"), nullable=False),
    sa.Column("message", sa.String(120), nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("made_ms", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("webhook_id", "message"),
    sqlite_autoincrement=True,
)

# How far each source was read; none: nobody was told yet, and what was before is not told.
webhook_cursor = sa.Table(
    "webhook_cursor",
    STATE,
    sa.Column("source", sa.String(20), primary_key=True),
    sa.Column("position", sa.String(64), nullable=False),
)

# What was told that lasts, so that its end is told too, whoever was restarted meanwhile.
webhook_condition = sa.Table(
    "webhook_condition",
    STATE,
    sa.Column("kind", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(80), primary_key=True),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
)


def all_webhooks(connection: Connection) -> Sequence[sa.Row[Any]]:
    """Return every webhook by name, with how many events wait for it."""
    waiting = sa.select(sa.func.count()).where(webhook_delivery.c.webhook_id == webhook.c.id).scalar_subquery()
    return connection.execute(sa.select(webhook, waiting.label("waiting")).order_by(webhook.c.name)).all()


def find(connection: Connection, name: str) -> sa.Row[Any] | None:
    """Return the webhook of this name."""
    return connection.execute(sa.select(webhook).where(webhook.c.name == name)).first()


def change(connection: Connection, number: int, **values: Any) -> None:
    """Store columns of one webhook."""
    connection.execute(sa.update(webhook).where(webhook.c.id == number).values(**values))


def remove(connection: Connection, number: int) -> None:
    """Delete a webhook and what waits for it."""
    connection.execute(sa.delete(webhook_delivery).where(webhook_delivery.c.webhook_id == number))
    connection.execute(sa.delete(webhook).where(webhook.c.id == number))


def queue(connection: Connection, number: int, message: str, body: str, now_ms: int) -> None:
    """Have an event sent to one webhook, once."""
    row = {"webhook_id": number, "message": message, "body": body, "made_ms": now_ms, "attempts": 0, "due_ms": now_ms}
    connection.execute(insert_or(connection, webhook_delivery).values(**row).on_conflict_do_nothing())


def due_webhooks(connection: Connection, now_ms: int) -> list[int]:
    """Return the webhooks that may be sent something now and that something waits for, by row number."""
    something = sa.exists().where(webhook_delivery.c.webhook_id == webhook.c.id, webhook_delivery.c.due_ms <= now_ms)
    chosen = sa.select(webhook.c.id).where(webhook.c.enabled, webhook.c.due_ms <= now_ms, something)
    return list(connection.execute(chosen.order_by(webhook.c.due_ms, webhook.c.id)).scalars())


def next_delivery(connection: Connection, number: int, now_ms: int) -> sa.Row[Any] | None:
    """Return the event that is to be sent to a webhook next, with the webhook.

    The oldest, but what it goes on refusing comes after everything else.
    """
    columns = (webhook_delivery.c[name] for name in ("message", "body", "made_ms", "attempts"))
    chosen: sa.Select[Any] = (
        sa.select(webhook_delivery.c.id.label("delivery"), *columns, webhook)
        .join(webhook, webhook_delivery.c.webhook_id == webhook.c.id)
        .where(webhook.c.id == number, webhook.c.enabled)
        .where(webhook.c.due_ms <= now_ms, webhook_delivery.c.due_ms <= now_ms)
    )
    refused = sa.case((webhook_delivery.c.attempts >= _REFUSED_OFTEN, 1), else_=0)
    return connection.execute(chosen.order_by(refused, webhook_delivery.c.id).limit(1)).first()


def drop(connection: Connection, delivery: int) -> None:
    """Forget an event that was delivered or given up."""
    connection.execute(sa.delete(webhook_delivery).where(webhook_delivery.c.id == delivery))


def postpone(connection: Connection, delivery: int, attempts: int, due_ms: int) -> None:
    """Store that an attempt failed and when the next one is due."""
    row = sa.update(webhook_delivery).where(webhook_delivery.c.id == delivery)
    connection.execute(row.values(attempts=attempts, due_ms=due_ms))


def try_all_again(connection: Connection, number: int, now_ms: int) -> None:
    """Begin anew with everything that waits for a webhook."""
    row = sa.update(webhook_delivery).where(webhook_delivery.c.webhook_id == number)
    connection.execute(row.values(attempts=0, due_ms=now_ms))


def cursors(connection: Connection) -> dict[str, str]:
    """Return source -> how far it was read."""
    return {row.source: row.position for row in connection.execute(sa.select(webhook_cursor))}


def move_cursor(connection: Connection, source: str, position: str) -> None:
    """Store how far a source was read."""
    row = insert_or(connection, webhook_cursor).values(source=source, position=position)
    connection.execute(row.on_conflict_do_update(index_elements=["source"], set_={"position": position}))


def forget_sources(connection: Connection) -> None:
    """Forget how far the sources were read, and what lasts: nobody is told any more."""
    connection.execute(sa.delete(webhook_cursor))
    connection.execute(sa.delete(webhook_condition))


def told_conditions(connection: Connection) -> dict[tuple[str, str], int]:
    """Return what was told that lasts: kind and subject -> since when."""
    rows = connection.execute(sa.select(webhook_condition))
    return {(row.kind, row.subject): row.since_ms for row in rows}


def begin_condition(connection: Connection, kind: str, subject: str, since_ms: int) -> None:
    """Note that something lasts."""
    connection.execute(sa.insert(webhook_condition).values(kind=kind, subject=subject, since_ms=since_ms))


def end_condition(connection: Connection, kind: str, subject: str) -> None:
    """Note that it is over."""
    table = webhook_condition.c
    connection.execute(sa.delete(webhook_condition).where(table.kind == kind, table.subject == subject))


def card_states(connection: Connection, rows: Iterable[int]) -> dict[int, sa.Row[Any]]:
    """Return reference and state of cards, by row number."""
    wanted: sa.Select[Any] = sa.select(card.c.id, card.c.reference, card.c.state, card.c.suspended_until_ms)
    return {row.id: row for row in connection.execute(wanted.where(card.c.id.in_(list(rows))))}
