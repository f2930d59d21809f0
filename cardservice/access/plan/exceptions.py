# SPDX-License-Identifier: EUPL-1.2
"""Which points may demand less than their zones, until when, and what that is in effect."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.access import store
from cardservice.access.rules import Level
from cardservice.database import read


@dataclass(frozen=True, slots=True)
class PointException:
    """One point with an exception.

    `demands` is the least that its class ever demands, `instead_of` what the zones around it demand, `zone` which of
    them demands that; where the class is strong enough the exception is needless.
    """

    point: str
    name: str
    until_ms: int
    ended: bool
    reason: str
    zone: str | None
    demands: Level
    instead_of: Level

    @property
    def needless(self) -> bool:
        """Whether the point demands no less than its zones."""
        return self.demands >= self.instead_of


def point_exceptions(engine: Engine, now_ms: int) -> list[PointException]:
    """Return every exception, the one that ends first at the head: those that ended stand before those that last.

    Raises:
        DatabaseUnavailable: the state store cannot be read.
    """
    wanted = sa.select(store.point, store.level_exception).join(store.level_exception)
    found = []
    with read(engine) as connection:
        for row in connection.execute(wanted.order_by(store.level_exception.c.until_ms, store.point.c.code)):
            zones = store.zones_around(connection, row.zone_id)
            strictest = max(zones, key=lambda zone: zone.level or 0)
            found.append(
                PointException(
                    point=row.code,
                    name=row.name,
                    until_ms=row.until_ms,
                    ended=row.until_ms <= now_ms,
                    reason=row.reason,
                    zone=strictest.name if strictest.level else None,
                    demands=Level(store.least_level(connection, row.point_class_id)),
                    instead_of=Level(strictest.level or 0),
                )
            )
    return found
