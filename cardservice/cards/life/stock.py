# SPDX-License-Identifier: EUPL-1.2
"""Blank cards: what was delivered is what was issued, found void, or is in stock; nothing else."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.rules import CardState
from cardservice.cards.store import card, card_delivery
from cardservice.database import row_id
from cardservice.errors import Conflict, NotFound
from cardservice.people.store import organisation

MAX_DELIVERED: Final = 100_000
MAX_DELIVERIES: Final = 1_000


class StockShort(Conflict):
    """There are not so many blank cards left of a delivery."""

    code = "stock_short"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery to an organisation, which is named by its code.

    `counted` is how many of its cards the register has: other than `issued`, something is wrong.
    """

    delivery: int
    organisation: str
    label: str
    delivered_ms: int
    delivered: int
    issued: int
    void: int
    counted: int

    @property
    def stock(self) -> int:
        """How many are left."""
        return self.delivered - self.issued - self.void

    @property
    def adds_up(self) -> bool:
        """Whether the count of the register is the same."""
        return self.issued == self.counted


def organisation_called(connection: Connection, code: str) -> int:
    """Return the row number of an organisation.

    Raises:
        NotFound: none has this code.
    """
    found = connection.execute(sa.select(organisation.c.id).where(organisation.c.code == code)).scalar()
    if found is None:
        raise NotFound(f"there is no organisation {code}")
    return int(found)


def add(connection: Connection, organisation_id: int, label: str, delivered: int, now_ms: int) -> int:
    """Store a delivery; return its number.

    Raises:
        Conflict: one is called so already, or there are too many or too few cards.
    """
    if not 1 <= delivered <= MAX_DELIVERED:
        raise Conflict(f"delivered: 1 to {MAX_DELIVERED}")
    known = sa.select(card_delivery.c.id).where(
        card_delivery.c.organisation_id == organisation_id, card_delivery.c.label == label
    )
    if connection.execute(known).first() is not None:
        raise Conflict(f"there is a delivery {label!r} already")
    values = {"organisation_id": organisation_id, "label": label, "delivered_ms": now_ms, "delivered": delivered}
    return row_id(connection.execute(sa.insert(card_delivery).values(**values)))


def take(connection: Connection, delivery: int, organisation_id: int) -> None:
    """Count one blank card of a delivery as issued.

    Raises:
        NotFound: the organisation has no such delivery.
        StockShort: none is left.
    """
    _count(connection, delivery, organisation_id, "issued", 1)


def void(connection: Connection, delivery: int, organisation_id: int, count: int) -> None:
    """Count blank cards of a delivery as void: damaged, or handed back to whoever delivered them.

    Raises:
        NotFound: the organisation has no such delivery.
        StockShort: fewer are left.
    """
    if count < 1:
        raise Conflict("count: 1 or more")
    _count(connection, delivery, organisation_id, "void", count)


def deliveries(connection: Connection) -> list[Delivery]:
    """Return the deliveries, the newest first, each counted anew."""
    ours = sa.and_(card.c.delivery_id == card_delivery.c.id, card.c.state != CardState.STOCK.value)
    counted = sa.select(sa.func.count()).select_from(card).where(ours).scalar_subquery()
    chosen = sa.select(card_delivery, organisation.c.code, counted.label("counted")).join(organisation)
    return [
        Delivery(row.id, row.code, row.label, row.delivered_ms, row.delivered, row.issued, row.void, row.counted)
        for row in connection.execute(chosen.order_by(card_delivery.c.id.desc()).limit(MAX_DELIVERIES))
    ]


def _count(connection: Connection, delivery: int, organisation_id: int, column: str, count: int) -> None:
    row, here = card_delivery.c, card_delivery.c.id == delivery
    here = sa.and_(here, row.organisation_id == organisation_id)
    left = row.issued + row.void + count <= row.delivered
    counted = sa.update(card_delivery).where(here, left).values({column: row[column] + count})
    if connection.execute(counted).rowcount == 1:
        return
    if connection.execute(sa.select(row.id).where(here)).first() is None:
        raise NotFound(f"there is no delivery {delivery} of this organisation")
    raise StockShort(f"delivery {delivery} has fewer than {count} blank cards left")
