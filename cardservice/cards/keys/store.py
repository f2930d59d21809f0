# SPDX-License-Identifier: EUPL-1.2
"""Which generation of keys each card's application has, and which generations were closed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.encoding.store import card_badge
from cardservice.cards.keys.rules import CARD
from cardservice.cards.rules import NUMBER_BYTES, CardState, first_bytes
from cardservice.cards.store import card, credential
from cardservice.database import STATE, RowNumber

# What a card last proved, or was given. No instant: when somebody held a card somewhere is nobody's business here.
card_generation = sa.Table(
    "card_generation",
    STATE,
    sa.Column("credential_id", sa.ForeignKey("credential.id"), primary_key=True, autoincrement=False),
    sa.Column("generation", sa.SmallInteger, nullable=False),
)
key_closing = sa.Table(
    "key_closing",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("use", sa.String(20), nullable=False),
    sa.Column("generation", sa.SmallInteger, nullable=False),
    sa.Column("closed_ms", sa.BigInteger, nullable=False),
    # How many cards were shut out by it.
    sa.Column("cards_left", sa.Integer, nullable=False),
    # The request of four eyes that it rests on.
    sa.Column("approval", sa.BigInteger),
    sa.UniqueConstraint("use", "generation"),
)
# A card in one of these opens nothing, whatever its keys are.
_ENDED = tuple(
    state.value
    for state in (CardState.REVOKED, CardState.EXPIRED, CardState.RETURNED, CardState.ERASED, CardState.DESTROYED)
)
_AT_ONCE = 500


def known(connection: Connection) -> dict[bytes, int]:
    """Return what every credential last proved."""
    rows = connection.execute(sa.select(credential.c.key, card_generation.c.generation).join(card_generation))
    return {bytes(row.key): row.generation for row in rows}


def note(connection: Connection, seen: Mapping[bytes, int]) -> None:
    """Keep what cards have proved; credentials that nobody knows are left out."""
    keys = list(seen)
    for start in range(0, len(keys), _AT_ONCE):
        part = keys[start : start + _AT_ONCE]
        rows = connection.execute(sa.select(credential.c.id, credential.c.key).where(credential.c.key.in_(part))).all()
        numbers = {row.id: seen[bytes(row.key)] for row in rows}
        if not numbers:
            continue
        connection.execute(sa.delete(card_generation).where(card_generation.c.credential_id.in_(numbers)))
        values = [{"credential_id": number, "generation": generation} for number, generation in numbers.items()]
        connection.execute(sa.insert(card_generation), values)


def counts(connection: Connection, uses: Iterable[str]) -> dict[str, dict[int | None, int]]:
    """Return, by use and generation, how many applications of cards in use there are; None: not seen yet.

    Of the card level (`CARD`): how many cards and blanks there are whose key is of a generation.
    """
    found: dict[str, dict[int | None, int]] = {}
    for use in uses:
        has, of, which = _having(use)
        rows = connection.execute(sa.select(has, sa.func.count()).select_from(of).where(which).group_by(has))
        found[use] = {row[0]: row[1] for row in rows}
    return found


def cards_of(connection: Connection, use: str, generation: int, limit: int) -> list[str]:
    """Return the references of cards that would be shut out: of this generation, or nobody knows of which."""
    has, of, which = _having(use)
    query = sa.select(card.c.reference).select_from(of).where(which)
    query = query.where(sa.or_(has == generation, has.is_(None))).order_by(card.c.reference).limit(limit)
    return list(connection.execute(query).scalars())


def close(  # noqa: PLR0913, PLR0917  # one row
    connection: Connection, use: str, generation: int, at_ms: int, cards_left: int, approval: int | None
) -> bool:
    """Write down that a generation is closed; False: it was already."""
    same = sa.and_(key_closing.c.use == use, key_closing.c.generation == generation)
    if connection.execute(sa.select(key_closing.c.id).where(same)).first() is not None:
        return False
    values = {"use": use, "generation": generation, "closed_ms": at_ms, "cards_left": cards_left, "approval": approval}
    connection.execute(sa.insert(key_closing).values(values))
    return True


def closings(connection: Connection) -> Sequence[tuple[str, int, int]]:
    """Return (use, generation, when) of every generation that was closed."""
    columns = key_closing.c.use, key_closing.c.generation, key_closing.c.closed_ms
    return [(row.use, row.generation, row.closed_ms) for row in connection.execute(sa.select(*columns))]


def _having(use: str) -> tuple[sa.ColumnElement[Any], sa.Join, sa.ColumnElement[bool]]:
    """Return the generation that something has, where that stands, and which of them count."""
    if use == CARD:
        # Until a used blank is finished it may have the one before, without which nobody could finish or erase it.
        has = sa.func.coalesce(card_badge.c.former_generation, card_badge.c.generation)
        return has, card_badge.join(card, card.c.id == card_badge.c.card_id), card.c.state != CardState.DESTROYED.value
    return card_generation.c.generation, _applications(), _living(use)


def _applications() -> sa.Join:
    return credential.join(card, card.c.id == credential.c.card_id).outerjoin(
        card_generation, card_generation.c.credential_id == credential.c.id
    )


def _living(use: str) -> sa.ColumnElement[bool]:
    # The number of this use alone: a PIV credential has no keys of ours.
    first = first_bytes(use)[0]
    own = sa.and_(credential.c.key >= bytes((first,)), credential.c.key < bytes((first + 1,)))
    # A number of another system is longer, and has none either.
    own = sa.and_(own, sa.func.length(credential.c.key) == 1 + NUMBER_BYTES)
    return sa.and_(own, ~credential.c.retired, card.c.state.not_in(_ENDED))
