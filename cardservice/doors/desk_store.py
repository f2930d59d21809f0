# SPDX-License-Identifier: EUPL-1.2
"""Zones as the desk's pages need them: what is called how, and what lies in what."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access.store import MAX_ZONE_DEPTH, zone


class Zone(NamedTuple):
    """A zone; `path` are the codes from the outermost one to this, its own included."""

    code: str
    name: str
    path: tuple[str, ...]


def zones(connection: Connection) -> dict[str, Zone]:
    """Return every zone by its code."""
    rows = {row.id: row for row in connection.execute(sa.select(zone))}
    return {row.code: Zone(row.code, row.name, _path(rows, row.id)) for row in rows.values()}


def _path(rows: Mapping[int, sa.Row[Any]], number: int | None) -> tuple[str, ...]:
    path: list[str] = []
    while number is not None and len(path) < MAX_ZONE_DEPTH:
        path.append(rows[number].code)
        number = rows[number].parent_id
    return tuple(reversed(path))
