# SPDX-License-Identifier: EUPL-1.2
"""What of the access model some rights hold, read in the same transaction as what is shown or changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access import store
from cardservice.people.store import organisation
from cardservice.web.problems import ApiProblem
from cardservice.web.reach import Reach


@dataclass(frozen=True, slots=True)
class Target:
    """What a grant or block is about: a point in its zone, a zone, or (neither) a whole use."""

    point: str | None = None
    organisation: str | None = None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A person that a grant or block names: their organisation and department."""

    organisation: str
    unit: str | None


class Territory:
    """Tells what one of `reaches` holds."""

    def __init__(self, connection: Connection, reaches: Sequence[Reach]) -> None:
        self._connection, self._reaches = connection, tuple(reaches)
        codes = {row.id: row.code for row in connection.execute(sa.select(store.zone.c.id, store.zone.c.code))}
        named = sa.select(store.zone.c.code, store.zone.c.parent_id, organisation.c.code.label("organisation"))
        rows = connection.execute(named.join(organisation, store.zone.c.organisation_id == organisation.c.id))
        self._zones = {row.code: (codes.get(row.parent_id), row.organisation) for row in rows}

    @property
    def everything(self) -> bool:
        """Whether every point is held, whatever it is."""
        return any(reach.all_points for reach in self._reaches)

    def holds_zone(self, code: str) -> bool:
        """Tell whether a zone is held: with everything inside it."""
        known = self._zones.get(code)
        return known is not None and self.holds_rule(Target(organisation=known[1], zone=code), None)

    def holds_point(self, code: str, owner: str, zone: str) -> bool:
        """Tell whether a point is held: its code, the code of its organisation, its zone."""
        return self.holds_rule(Target(code, owner, zone), None)

    def holds_rule(self, target: Target, holder: Holder | None) -> bool:
        """Tell whether one right holds both what a grant or block is about and the person, if it names one."""
        return any(
            self._holds_target(reach, target)
            and (holder is None or reach.holds_person(holder.organisation, holder.unit))
            for reach in self._reaches
        )

    def _holds_target(self, reach: Reach, target: Target) -> bool:
        if reach.all_points:
            return True
        if target.zone is None or target.organisation is None or (target.point is None and reach.points is not None):
            return False
        return reach.holds_point(target.point or "", target.organisation, self._around(target.zone))

    def _around(self, zone: str | None) -> frozenset[str]:
        found: set[str] = set()
        while zone is not None and zone not in found:
            found.add(zone)
            zone = self._zones.get(zone, (None, ""))[0]
        return frozenset(found)

    def organisation_of(self, zone: str) -> str | None:
        """Return the code of a zone's organisation, None if there is no such zone."""
        return self._zones[zone][1] if zone in self._zones else None

    def points(self) -> dict[str, Any]:
        """Return every point's row: code, zone, organisation (codes) and agent, by code."""
        columns = (store.point.c.code, store.point.c.agent, store.zone.c.code.label("zone"))
        chosen = sa.select(*columns, organisation.c.code.label("organisation"))
        chosen = chosen.join(store.zone, store.point.c.zone_id == store.zone.c.id)
        chosen = chosen.join(organisation, store.point.c.organisation_id == organisation.c.id)
        return {row.code: row for row in self._connection.execute(chosen)}


def require(*, held: bool, what: str) -> None:
    """Refuse what is not held.

    Raises:
        ApiProblem: 403.
    """
    if not held:
        raise ApiProblem(403, "foreign_point", f"{what} is not among what you may change")
