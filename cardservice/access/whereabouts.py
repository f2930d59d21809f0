# SPDX-License-Identifier: EUPL-1.2
"""Where each point lies: its organisation and the zones around it; for rights that are bound to some of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.access import store
from cardservice.database import read
from cardservice.people.store import organisation
from cardservice.web.reach import Reach

# Of so many different rights it is kept which points they hold: a tap over REST must not go through all points.
MAX_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Codes of a point's organisation and of the zones around it, its own included."""

    organisation: str
    zones: frozenset[str]


class PointMap:
    """Every point's place, kept in memory; `refresh` after a change of the access model, from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known = _Known({}, {})

    def refresh(self) -> None:
        """Read all places anew.

        Raises:
            DatabaseUnavailable: the places known so far stay.
        """
        with read(self._engine) as connection:
            zones = {row.id: row for row in connection.execute(sa.select(store.zone))}
            points = connection.execute(
                sa.select(store.point.c.code, store.point.c.zone_id, organisation.c.code.label("organisation")).join(
                    organisation, store.point.c.organisation_id == organisation.c.id
                )
            )
            places = {
                row.code: Whereabouts(row.organisation, frozenset(_codes_around(zones, row.zone_id))) for row in points
            }
        self._known = _Known(places, {})

    def within(self, reaches: tuple[Reach, ...]) -> frozenset[str] | None:
        """Return the codes of the points that lie within one of `reaches`, None for every point."""
        if any(reach.all_points for reach in reaches):
            return None
        known = self._known
        found = known.within.get(reaches)
        if found is None:
            found = frozenset(
                code
                for code, at in known.places.items()
                if any(reach.holds_point(code, at.organisation, at.zones) for reach in reaches)
            )
            if len(known.within) < MAX_KEPT:
                known.within[reaches] = found
        return found


class _Known(NamedTuple):
    """Where the points lie, and what was worked out from that: both go at once."""

    places: dict[str, Whereabouts]
    within: dict[tuple[Reach, ...], frozenset[str]]


def _codes_around(zones: Mapping[int, sa.Row[Any]], zone_id: int | None) -> list[str]:
    found: list[str] = []
    while zone_id is not None and len(found) < store.MAX_ZONE_DEPTH:
        zone = zones[zone_id]
        found.append(zone.code)
        zone_id = zone.parent_id
    return found
