# SPDX-License-Identifier: EUPL-1.2
"""Reads what an explanation is made from, all of it in the caller's one transaction."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access import store
from cardservice.access.city import STATE_REFUSAL, PointCompiler
from cardservice.access.explain.facts import (
    BlockOrGrant,
    CardFacts,
    Demand,
    GroupFacts,
    HolderFacts,
    LockdownFacts,
    PointFacts,
    SponsorFacts,
    Times,
)
from cardservice.access.explain.rules import group_paths
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import within
from cardservice.cards.rules import CardState, is_piv, suspension_end_ms
from cardservice.cards.store import card, credential, in_use_first
from cardservice.people.movers.store import counting_of
from cardservice.people.outsiders.store import sponsor_of
from cardservice.people.store import directory_group, person

_CHUNK: Final = 500


def point_facts(connection: Connection, compiler: PointCompiler, code: str) -> PointFacts | None:
    """Return everything that bears on one point, None if there is no such point."""
    row = connection.execute(
        sa.select(store.point, store.point_class)
        .set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
        .join(store.point_class, store.point.c.point_class_id == store.point_class.c.id)
        .where(store.point.c.code == code)
    ).first()
    if row is None:
        return None
    zones = {zone.id: zone for zone in store.zones_around(connection, row.point_zone_id)}
    exception = connection.execute(
        sa.select(store.level_exception).where(store.level_exception.c.point_id == row.point_id)
    ).first()
    options = json.loads(row.point_options)
    return PointFacts(
        code=row.point_code,
        name=row.point_name,
        use=Use(row.point_use),
        time_zone=row.point_time_zone,
        zones=tuple(zone.name for zone in zones.values()),
        point_class=row.point_class_name,
        level=row.point_class_level,
        people=row.point_class_people,
        second_within_ms=row.point_class_second_within_ms,
        freshness_ms=row.point_class_freshness_ms,
        stale_permits=row.point_class_stale_policy == "permit",
        stops_locked_out=row.point_use in compiler.house.lock_out_stops,
        live_check=row.point_class_directory_check == "live",
        demands=tuple(_demands(connection, compiler, row)),
        zone_levels=tuple((zone.name, zone.level) for zone in zones.values() if (zone.level or 0) > Level.NONE),
        exception=None if exception is None else (exception.until_ms, exception.reason),
        escape_route=isinstance(options, dict) and options.get("escape_route") is True,
        lockdowns=tuple(_lockdowns(connection, zones, row.point_id)),
        rules=tuple(_rules(connection, compiler, row, zones)),
        compiled=compiler.period,
    )


def _demands(connection: Connection, compiler: PointCompiler, row: sa.Row[Any]) -> Iterator[Demand]:
    levels = store.point_class_level
    named = sa.select(levels, store.schedule.c.name).join(store.schedule, levels.c.schedule_id == store.schedule.c.id)
    of_class = named.where(levels.c.point_class_id == row.point_class_id).order_by(store.schedule.c.name, levels.c.id)
    for one in connection.execute(of_class):
        times = Times(one.name, compiler.toggles(one.schedule_id, row.point_time_zone))
        yield Demand(times, one.level, one.people)


def _lockdowns(connection: Connection, zones: dict[int, sa.Row[Any]], point_id: int) -> Iterator[LockdownFacts]:
    lockdown = store.door_lockdown
    present = sa.and_(directory_group.c.id == lockdown.c.passing_group_id, directory_group.c.present)
    named = sa.select(lockdown, directory_group.c.name).join(directory_group, present, isouter=True)
    here = sa.or_(lockdown.c.zone_id.in_(zones), lockdown.c.point_id == point_id)
    for one in connection.execute(named.where(here).order_by(lockdown.c.since_ms)):
        zone = None if one.zone_id is None else zones[one.zone_id].name
        yield LockdownFacts(zone, one.since_ms, one.passing_group_id, one.name)


def _rules(
    connection: Connection, compiler: PointCompiler, row: sa.Row[Any], zones: dict[int, sa.Row[Any]]
) -> Iterator[BlockOrGrant]:
    """Yield every grant and block at the point, whoever it names: its own, those of its zones, those of its use."""
    rule = store.access_rule
    here = sa.or_(rule.c.point_id == row.point_id, rule.c.zone_id.in_(zones), rule.c.use == row.point_use)
    named = (
        sa.select(rule, directory_group.c.name.label("group_name"), store.schedule.c.name.label("schedule_name"))
        .join(directory_group, rule.c.group_id == directory_group.c.id, isouter=True)
        .join(store.schedule, rule.c.schedule_id == store.schedule.c.id, isouter=True)
        .where(here)
        .order_by(rule.c.id)
    )
    for one in connection.execute(named):
        toggles = compiler.toggles(one.schedule_id, row.point_time_zone)
        yield BlockOrGrant(
            effect=one.effect,
            group=one.group_id,
            group_name=one.group_name,
            person=one.person_id,
            target_kind="point" if one.point_id is not None else "zone" if one.zone_id is not None else "use",
            target=row.point_name if one.point_id is not None else _target(one, zones),
            times=Times(one.schedule_name, within(toggles, one.valid_from_ms, one.valid_until_ms)),
            from_ms=one.valid_from_ms,
            until_ms=one.valid_until_ms,
        )


def _target(rule: sa.Row[Any], zones: dict[int, sa.Row[Any]]) -> str:
    return str(rule.use) if rule.zone_id is None else str(zones[rule.zone_id].name)


_CARDS: Final = (
    sa.select(credential.c.key, card, person.c.id.label("holder"), person.c.name, person.c.login, person.c.dn)
    .add_columns(person.c.present, person.c.enabled, person.c.groups, person.c.locked_until_ms)
    .add_columns(person.c.valid_from_ms.label("person_from_ms"), person.c.valid_until_ms.label("person_until_ms"))
    .select_from(credential)
    .join(card, credential.c.card_id == card.c.id)
    .join(person, card.c.person_id == person.c.id, isouter=True)
    .where(~credential.c.retired)
)


def credentials_of(
    connection: Connection, condition: sa.ColumnElement[bool], *, at_ms: int, limit: int
) -> list[tuple[bytes, CardFacts]]:
    """Return credential and card of each credential that fits, cards in use at `at_ms` first, then the newest."""
    rows = connection.execute(
        _CARDS.where(condition).order_by(in_use_first(at_ms), card.c.id.desc(), credential.c.id).limit(limit)
    ).all()
    holders: dict[int, HolderFacts] = {}
    for row in rows:
        if row.holder is not None and row.holder not in holders:
            holders[row.holder] = _holder(connection, row)
    return [(bytes(row.key), _card(row, holders.get(row.holder))) for row in rows]


def _card(row: sa.Row[Any], holder: HolderFacts | None) -> CardFacts:
    return CardFacts(
        reference=row.reference,
        method="piv" if is_piv(bytes(row.key)) else "desfire",
        state=row.state,
        state_reason=row.state_reason,
        state_refusal=None if row.state == CardState.ACTIVE else STATE_REFUSAL[row.state],
        suspended_until_ms=suspension_end_ms(row.state, row.suspended_until_ms),
        from_ms=row.valid_from_ms,
        until_ms=row.valid_until_ms,
        holder=holder,
    )


def _holder(connection: Connection, row: sa.Row[Any]) -> HolderFacts:
    effective: list[int] = json.loads(row.groups)
    staying = counting_of(connection, row.holder)
    groups = [
        replace(group, member_dns=group.member_dns | {row.dn}) if group.row in staying else group
        for group in _groups(connection, effective)
    ]
    found = group_paths(row.dn, groups)
    # The effective groups are what counts; the members of the groups only say how somebody came by them.
    alone = {group.row: (group.name,) for group in groups}
    return HolderFacts(
        row=row.holder,
        name=row.name,
        login=row.login,
        present=row.present,
        enabled=row.enabled,
        from_ms=row.person_from_ms,
        until_ms=row.person_until_ms,
        locked_until_ms=row.locked_until_ms,
        paths={number: found.get(number, alone.get(number, (f"#{number}",))) for number in effective},
        staying=staying,
        sponsor=_sponsor(connection, row.holder),
    )


def _sponsor(connection: Connection, holder: int) -> SponsorFacts | None:
    row = sponsor_of(connection, holder)
    if row is None:
        return None
    return SponsorFacts(row.name, row.login, row.present, row.enabled, row.valid_from_ms, row.valid_until_ms)


def _groups(connection: Connection, numbers: Sequence[int]) -> list[GroupFacts]:
    found: list[GroupFacts] = []
    for start in range(0, len(numbers), _CHUNK):
        rows = connection.execute(
            sa.select(directory_group).where(directory_group.c.id.in_(numbers[start : start + _CHUNK]))
        )
        found += [GroupFacts(row.id, row.dn, row.name, frozenset(json.loads(row.members))) for row in rows]
    return found
