# SPDX-License-Identifier: EUPL-1.2
"""Grants and blocks by their numbers, and who and what each is about."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access.model.territory import Holder, Target
from cardservice.access.rules import Use
from cardservice.access.setup_parts import RuleSetup
from cardservice.access.store import access_rule, point, schedule, zone
from cardservice.people.store import directory_group, organisation, person

_POINTS_ZONE: Final = zone.alias("points_zone")
_POINTS_OWNER: Final = organisation.alias("points_owner")
_ZONES_OWNER: Final = organisation.alias("zones_owner")
_HOLDERS_OWNER: Final = organisation.alias("holders_owner")
_RULES: Final = (
    sa.select(
        *(access_rule.c.id, access_rule.c.effect, access_rule.c.use),
        *(access_rule.c.valid_from_ms, access_rule.c.valid_until_ms),
        *(directory_group.c.name.label("group"), directory_group.c.directory.label("group_directory")),
        *(directory_group.c.stable_id.label("group_id"), person.c.login, person.c.directory, person.c.stable_id),
        *(person.c.id.label("person"), person.c.department, _HOLDERS_OWNER.c.code.label("holders_organisation")),
        *(point.c.code.label("point"), _POINTS_ZONE.c.code.label("points_zone")),
        *(_POINTS_OWNER.c.code.label("points_organisation"), zone.c.code.label("zone")),
        *(_ZONES_OWNER.c.code.label("zones_organisation"), schedule.c.code.label("schedule")),
    )
    .select_from(access_rule)
    .join(directory_group, access_rule.c.group_id == directory_group.c.id, isouter=True)
    .join(person, access_rule.c.person_id == person.c.id, isouter=True)
    .join(_HOLDERS_OWNER, person.c.organisation_id == _HOLDERS_OWNER.c.id, isouter=True)
    .join(point, access_rule.c.point_id == point.c.id, isouter=True)
    .join(_POINTS_ZONE, point.c.zone_id == _POINTS_ZONE.c.id, isouter=True)
    .join(_POINTS_OWNER, point.c.organisation_id == _POINTS_OWNER.c.id, isouter=True)
    .join(zone, access_rule.c.zone_id == zone.c.id, isouter=True)
    .join(_ZONES_OWNER, zone.c.organisation_id == _ZONES_OWNER.c.id, isouter=True)
    .join(schedule, access_rule.c.schedule_id == schedule.c.id, isouter=True)
)


@dataclass(frozen=True, slots=True)
class RulesWanted:
    """What a list of grants and blocks is about; None: whatever it is."""

    effect: str | None = None
    group: str | None = None
    login: str | None = None
    point: str | None = None
    zone: str | None = None
    use: Use | None = None
    schedule: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A grant or block with its number; `person` is the number of whom it names."""

    number: int
    rule: RuleSetup
    person: int | None
    target: Target
    holder: Holder | None


def rules(connection: Connection, wanted: RulesWanted, after: int, limit: int) -> list[StoredRule]:
    """Return grants and blocks in the order of their numbers."""
    columns = {
        access_rule.c.effect: wanted.effect,
        directory_group.c.name: wanted.group,
        person.c.login: wanted.login,
        point.c.code: wanted.point,
        zone.c.code: wanted.zone,
        access_rule.c.use: None if wanted.use is None else wanted.use.value,
        schedule.c.code: wanted.schedule,
    }
    fits = [column == value for column, value in columns.items() if value is not None]
    chosen = _RULES.where(access_rule.c.id > after, *fits).order_by(access_rule.c.id).limit(limit)
    return [_stored(row) for row in connection.execute(chosen)]


def rule_numbered(connection: Connection, number: int) -> StoredRule | None:
    """Return one grant or block, None if there is none of this number."""
    row = connection.execute(_RULES.where(access_rule.c.id == number)).first()
    return None if row is None else _stored(row)


def remove_rule(connection: Connection, number: int) -> None:
    """Delete one grant or block."""
    connection.execute(sa.delete(access_rule).where(access_rule.c.id == number))


def organisation_number(connection: Connection, code: str | None) -> int | None:
    """Return the row number of an organisation; without a code of the first there is, None if there is none."""
    chosen = sa.select(sa.func.min(organisation.c.id))
    if code is not None:
        chosen = chosen.where(organisation.c.code == code)
    return connection.execute(chosen).scalar()


def _stored(row: Any) -> StoredRule:
    by_group = row.group_id is not None
    known_as = (row.group_directory, row.group_id) if by_group else (row.directory, row.stable_id)
    rule = RuleSetup(
        group=row.group,
        # Whoever has no login any more is still meant; `subject_id` says who.
        login=None if by_group else row.login or "",
        subject_id=":".join(known_as),
        point=row.point,
        zone=row.zone,
        use=None if row.use is None else Use(row.use),
        schedule=row.schedule,
        effect="block" if row.effect == "block" else "grant",
        valid_from_ms=row.valid_from_ms,
        valid_until_ms=row.valid_until_ms,
    )
    if row.point is not None:
        target = Target(row.point, row.points_organisation, row.points_zone)
    else:
        target = Target(None, row.zones_organisation, row.zone)
    holder = None if by_group else Holder(row.holders_organisation, row.department)
    return StoredRule(row.id, rule, row.person, target, holder)
