# SPDX-License-Identifier: EUPL-1.2
"""Tables of the access model: zones, points and their classes, schedules, grants and blocks."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import STATE, RowNumber
from cardservice.errors import Conflict, NotFound

# Options of a point: what fits the wire.
MAX_OPTIONS: Final = 16
MAX_OPTION_TEXT: Final = 200
MAX_ZONE_DEPTH: Final = 32
_OPTION_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


def is_option(name: Any, value: Any) -> bool:
    """Tell whether a point may have such an option: a short name and a short text, a number, true or false."""
    if not isinstance(name, str) or not _OPTION_NAME.fullmatch(name):
        return False
    return len(value) <= MAX_OPTION_TEXT if isinstance(value, str) else isinstance(value, int) and abs(value) < 2**53


def are_options(options: Any) -> TypeGuard[dict[str, str | int | bool]]:
    """Tell whether `options` are the options of one point."""
    if not isinstance(options, Mapping) or len(options) > MAX_OPTIONS:
        return False
    return all(is_option(name, value) for name, value in options.items())


zone = sa.Table(
    "zone",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("organisation_id", sa.ForeignKey("organisation.id"), nullable=False),
    sa.Column("parent_id", sa.ForeignKey("zone.id")),
    sa.Column("code", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    # The least that every point inside demands, whatever its class says; none: what the class says.
    sa.Column("level", sa.Integer),
)

schedule = sa.Table(
    "schedule",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("code", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    # The German Land whose public holidays count as special days ("NW", "BY" ...); none: no special days.
    sa.Column("land", sa.String(2)),
)

schedule_interval = sa.Table(
    "schedule_interval",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("schedule_id", sa.ForeignKey("schedule.id"), nullable=False, index=True),
    # 0 Monday .. 6 Sunday, 7 special day.
    sa.Column("day", sa.Integer, nullable=False),
    # Local wall time of the point's zone, minutes since midnight, end exclusive and at most 1440.
    sa.Column("start_minute", sa.Integer, nullable=False),
    sa.Column("end_minute", sa.Integer, nullable=False),
    sa.CheckConstraint("day BETWEEN 0 AND 7", name="day"),
    sa.CheckConstraint("0 <= start_minute AND start_minute < end_minute AND end_minute <= 1440", name="minutes"),
)

# Days that are neither weekdays nor public holidays: half days, closing days.
special_day_group = sa.Table(
    "special_day_group",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("code", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
)

special_day = sa.Table(
    "special_day",
    STATE,
    sa.Column("group_id", sa.ForeignKey("special_day_group.id"), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
)

# The days of a group on which a schedule has these intervals instead of the weekday's; without any it is shut.
schedule_special = sa.Table(
    "schedule_special",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("schedule_id", sa.ForeignKey("schedule.id"), nullable=False),
    sa.Column("group_id", sa.ForeignKey("special_day_group.id"), nullable=False),
    sa.UniqueConstraint("schedule_id", "group_id"),
)

schedule_special_interval = sa.Table(
    "schedule_special_interval",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("special_id", sa.ForeignKey("schedule_special.id"), nullable=False, index=True),
    sa.Column("start_minute", sa.Integer, nullable=False),
    sa.Column("end_minute", sa.Integer, nullable=False),
    sa.CheckConstraint("0 <= start_minute AND start_minute < end_minute AND end_minute <= 1440", name="minutes"),
)

point_class = sa.Table(
    "point_class",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("code", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    # What a card may prove itself with, in the order it is tried: "desfire", "piv", separated by commas.
    sa.Column("methods", sa.String(40), nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("freshness_ms", sa.BigInteger, nullable=False),
    sa.Column("stale_policy", sa.String(10), nullable=False),
    sa.Column("journal_mode", sa.String(10), nullable=False),
    sa.Column("open_ms", sa.Integer, nullable=False),
    sa.Column("answer_budget_ms", sa.Integer, nullable=False),
    sa.Column("tap_budget_ms", sa.Integer, nullable=False),
    # How many different people must come, and how soon the second after the first.
    sa.Column("people", sa.Integer, nullable=False, server_default="1"),
    sa.Column("second_within_ms", sa.Integer, nullable=False, server_default="10000"),
    # "copy": the copy of the directory is enough; "live": the directory itself is asked about the person first.
    sa.Column("directory_check", sa.String(10), nullable=False, server_default="copy"),
    sa.CheckConstraint("stale_policy IN ('deny', 'permit')", name="stale_policy"),
    sa.CheckConstraint("journal_mode IN ('full', 'refusals', 'counts')", name="journal_mode"),
)

point_class_level = sa.Table(
    "point_class_level",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("point_class_id", sa.ForeignKey("point_class.id"), nullable=False, index=True),
    sa.Column("schedule_id", sa.ForeignKey("schedule.id"), nullable=False),
    sa.Column("level", sa.Integer, nullable=False),
    sa.Column("people", sa.Integer, nullable=False, server_default="1"),
)

point = sa.Table(
    "point",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("organisation_id", sa.ForeignKey("organisation.id"), nullable=False),
    sa.Column("code", sa.String(64), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("use", sa.String(20), nullable=False),
    sa.Column("zone_id", sa.ForeignKey("zone.id"), nullable=False),
    sa.Column("point_class_id", sa.ForeignKey("point_class.id"), nullable=False),
    sa.Column("time_zone", sa.String(64), nullable=False),
    # Which agent serves it with which of its readers ("*": every reader no other point names).
    sa.Column("agent", sa.String(40), index=True),
    sa.Column("reader", sa.String(127)),
    # What the point's place needs to know of it: a flat JSON object; the place's rules say what may stand here.
    sa.Column("options", sa.Text, nullable=False, server_default="{}"),
)

# Points that may demand less than their zone, and until when.
level_exception = sa.Table(
    "level_exception",
    STATE,
    sa.Column("point_id", sa.ForeignKey("point.id"), primary_key=True),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.String(200), nullable=False),
)

# Zones in which no door opens from outside but to one group, if any, the zones inside too; or single doors.
door_lockdown = sa.Table(
    "door_lockdown",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("zone_id", sa.ForeignKey("zone.id"), unique=True),
    sa.Column("point_id", sa.ForeignKey("point.id"), unique=True),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("reason", sa.String(200), nullable=False),
    # A group that is gone lets nobody pass; so no foreign key.
    sa.Column("passing_group_id", RowNumber),
    sa.CheckConstraint("(zone_id IS NULL) <> (point_id IS NULL)", name="one_place"),
)

access_rule = sa.Table(
    "access_rule",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("organisation_id", sa.ForeignKey("organisation.id"), nullable=False),
    # A grant permits, a block refuses and wins.
    sa.Column("effect", sa.String(10), nullable=False),
    sa.Column("group_id", sa.ForeignKey("directory_group.id"), index=True),
    sa.Column("person_id", sa.ForeignKey("person.id"), index=True),
    sa.Column("point_id", sa.ForeignKey("point.id")),
    sa.Column("zone_id", sa.ForeignKey("zone.id")),
    sa.Column("use", sa.String(20)),
    # None: at any time.
    sa.Column("schedule_id", sa.ForeignKey("schedule.id")),
    sa.Column("valid_from_ms", sa.BigInteger),
    sa.Column("valid_until_ms", sa.BigInteger),
    sa.CheckConstraint("effect IN ('grant', 'block')", name="effect"),
    sa.CheckConstraint("(group_id IS NULL) <> (person_id IS NULL)", name="one_subject"),
    sa.CheckConstraint(
        "(CASE WHEN point_id IS NULL THEN 0 ELSE 1 END) + (CASE WHEN zone_id IS NULL THEN 0 ELSE 1 END)"
        " + (CASE WHEN use IS NULL THEN 0 ELSE 1 END) = 1",
        name="one_target",
    ),
)


def number_of(connection: Connection, column: sa.Column[Any], name: str) -> int:
    """Return the row number of what is called `name` in a column; what a directory no longer shows is not.

    Raises:
        NotFound: nothing is called so.
        Conflict: more than one is called so.
    """
    table, kind = column.table, column.table.name.replace("_", " ")
    named = sa.select(table.c.id).where(column == name)
    if "present" in table.c:
        named = named.where(table.c.present)
    found = connection.execute(named.limit(2)).scalars().all()
    if not found:
        raise NotFound(f"there is no {kind} {name!r}")
    if len(found) > 1:
        raise Conflict(f"there is more than one {kind} {name!r}")
    return int(found[0])


def zone_names(connection: Connection, use: str) -> dict[str, str]:
    """Return point -> name of the zone it is in, for every point of `use`."""
    named = sa.select(point.c.code, zone.c.name).join(zone, point.c.zone_id == zone.c.id).where(point.c.use == use)
    return {row.code: row.name for row in connection.execute(named)}


def least_level(connection: Connection, point_class_id: int | None) -> int:
    """Return the lowest level that a class of points ever demands."""
    own = connection.execute(sa.select(point_class.c.level).where(point_class.c.id == point_class_id)).scalar_one()
    timed = sa.select(point_class_level.c.level).where(point_class_level.c.point_class_id == point_class_id)
    return int(min([own, *connection.execute(timed).scalars()]))


def zones_around(connection: Connection, zone_id: int | None) -> Sequence[sa.Row[Any]]:
    """Return a zone and those it lies in, innermost first."""
    found: list[sa.Row[Any]] = []
    while zone_id is not None and len(found) < MAX_ZONE_DEPTH:
        row = connection.execute(sa.select(zone).where(zone.c.id == zone_id)).one()
        found.append(row)
        zone_id = row.parent_id
    return found


def agents_serving(connection: Connection, uses: Sequence[str]) -> list[str]:
    """Return the agents with a point that knows a card by one of these uses; a PIV card may be known at every point."""
    served = sa.true() if "piv" in uses else point.c.use.in_(uses)
    chosen = sa.select(point.c.agent).where(served, point.c.agent.is_not(None)).distinct().order_by(point.c.agent)
    return list(connection.execute(chosen).scalars())


def zone_numbers(connection: Connection) -> dict[str, int]:
    """Return the row numbers of all zones by their codes."""
    return {row.code: row.id for row in connection.execute(sa.select(zone.c.code, zone.c.id).order_by(zone.c.code))}
