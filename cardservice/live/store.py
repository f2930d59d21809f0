# SPDX-License-Identifier: EUPL-1.2
"""Zones and which points lie in them, as far as watching needs it."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access.store import MAX_ZONE_DEPTH, point, zone
from cardservice.live.rules import Place


class Places(NamedTuple):
    """Every zone, outer ones first, and point -> codes of the zones around it."""

    zones: tuple[Place, ...]
    around: Mapping[str, frozenset[str]]


def places(connection: Connection) -> Places:
    """Return where everything lies."""
    zones = {row.id: row for row in connection.execute(sa.select(zone).order_by(zone.c.name, zone.c.code))}
    around = {
        row.code: frozenset(zones[one].code for one in _up(zones, row.zone_id))
        for row in connection.execute(sa.select(point.c.code, point.c.zone_id))
    }
    return Places(tuple(_in_order(zones)), around)


def _up(zones: Mapping[int, sa.Row[Any]], zone_id: int | None) -> Iterator[int]:
    for _ in range(MAX_ZONE_DEPTH):
        if zone_id is None:
            return
        yield zone_id
        zone_id = zones[zone_id].parent_id


def _in_order(zones: Mapping[int, sa.Row[Any]]) -> Iterator[Place]:
    """Yield each zone with those inside it after it."""
    inside: dict[int | None, list[int]] = {}
    for number, row in zones.items():
        inside.setdefault(row.parent_id, []).append(number)
    waiting = [(number, 0) for number in reversed(inside.get(None, []))]
    while waiting:
        number, depth = waiting.pop()
        yield Place(zones[number].code, zones[number].name, depth)
        if depth < MAX_ZONE_DEPTH:
            waiting += [(one, depth + 1) for one in reversed(inside.get(number, []))]
