# SPDX-License-Identifier: EUPL-1.2
"""From tables to snapshot: the whole city once, afterwards only what the change log names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from cardservice.access import store
from cardservice.access.options.rules import Options
from cardservice.access.revoked import all_revoked, revoked_of
from cardservice.access.rules import (
    NEVER_MS,
    REFUSED,
    CardRecord,
    CompiledPeriod,
    Decision,
    HouseRules,
    Level,
    PointRecord,
    Reason,
    Timed,
    TimedLevel,
    Use,
    Window,
)
from cardservice.access.schedules import ALWAYS, HORIZON_DAYS, Interval, Schedule, SpecialDays, compile_schedule, within
from cardservice.access.snapshot import same_number
from cardservice.cards.rules import CardState, suspension_end_ms
from cardservice.cards.store import card, credential
from cardservice.people.outsiders.store import outsider, sponsor, sponsored_by
from cardservice.people.store import person

_DAY_MS: Final = 86_400_000
_EXPIRED: Final = REFUSED[Reason.CARD_EXPIRED]
_log = structlog.get_logger()

STATE_REFUSAL: Final[Mapping[str, Reason]] = {
    CardState.STOCK: Reason.CARD_NOT_ISSUED,
    CardState.IN_PRODUCTION: Reason.CARD_NOT_ISSUED,
    CardState.PRODUCED: Reason.CARD_NOT_ISSUED,
    CardState.READY_FOR_PICKUP: Reason.CARD_NOT_ISSUED,
    CardState.SUSPENDED: Reason.CARD_SUSPENDED,
    CardState.REVOKED: Reason.CARD_REVOKED,
    CardState.EXPIRED: Reason.CARD_EXPIRED,
    CardState.RETURNED: Reason.CARD_REVOKED,
    CardState.ERASED: Reason.CARD_REVOKED,
    CardState.DESTROYED: Reason.CARD_REVOKED,
}

_CARDS: Final = (
    sa.select(
        credential.c.key,
        card.c.id.label("card_id"),
        card.c.state,
        card.c.valid_from_ms,
        card.c.valid_until_ms,
        card.c.suspended_until_ms,
        card.c.person_id,
        person.c.enabled,
        person.c.present,
        person.c.valid_from_ms.label("person_from_ms"),
        person.c.valid_until_ms.label("person_until_ms"),
        person.c.locked_until_ms,
        person.c.groups,
        # None for people of a directory: nobody answers for them.
        sponsor.c.present.label("sponsor_present"),
        sponsor.c.enabled.label("sponsor_enabled"),
        sponsor.c.valid_from_ms.label("sponsor_from_ms"),
        sponsor.c.valid_until_ms.label("sponsor_until_ms"),
    )
    .select_from(credential)
    .join(card, credential.c.card_id == card.c.id)
    .join(person, card.c.person_id == person.c.id, isouter=True)
    .join(outsider, outsider.c.person_id == person.c.id, isouter=True)
    .join(sponsor, sponsor.c.id == outsider.c.sponsor_id, isouter=True)
)

_POINTS: Final = (
    sa.select(store.point, store.point_class)
    .set_label_style(sa.LABEL_STYLE_TABLENAME_PLUS_COL)
    .join(store.point_class, store.point.c.point_class_id == store.point_class.c.id)
)


class CardCompiler:
    """Turns rows into records; equal subjects and windows are one object."""

    def __init__(self) -> None:
        self._subjects: dict[tuple[str, int], tuple[int, ...]] = {}
        self._windows: dict[Window, Window] = {}

    def records(self, rows: sa.CursorResult[Any], direct: frozenset[int]) -> Iterator[tuple[bytes, CardRecord]]:
        """Yield credential key and record of each row; `direct` are the people named by a rule of their own."""
        for row in rows:
            refusal, window = _refusal(row), _window(row)
            suspended_until_ms = suspension_end_ms(row.state, row.suspended_until_ms)
            if suspended_until_ms is not None:
                refusal, window = None, _suspended(suspended_until_ms, refusal, window)
            yield (
                bytes(row.key),
                CardRecord(
                    refusal=refusal,
                    window=None if window is None else self._windows.setdefault(window, window),
                    subjects=self._subject_tuple(row, direct),
                    holder=row.person_id or 0,
                    card=row.card_id,
                    locked_until_ms=_lock_end_ms(row.locked_until_ms),
                ),
            )

    def _subject_tuple(self, row: sa.Row[Any], direct: frozenset[int]) -> tuple[int, ...]:
        own = row.person_id if row.person_id in direct else 0
        key = (row.groups or "[]", own)
        subjects = self._subjects.get(key)
        if subjects is None:
            subjects = tuple(same_number(group) for group in json.loads(key[0])) + ((-own,) if own else ())
            self._subjects[key] = subjects
        return subjects


def _window(row: sa.Row[Any]) -> Window | None:
    if (row.valid_from_ms, row.valid_until_ms, row.person_from_ms, row.person_until_ms) == (None,) * 4:
        # Whoever has a sponsor has an end of their own.
        return None
    froms = (
        (row.valid_from_ms, Reason.CARD_NOT_YET_VALID),
        (row.person_from_ms, Reason.PERSON_NOT_YET_VALID),
        (row.sponsor_from_ms, Reason.NO_SPONSOR),
    )
    untils = (
        (row.valid_until_ms, Reason.CARD_EXPIRED),
        (row.person_until_ms, Reason.PERSON_EXPIRED),
        (row.sponsor_until_ms, Reason.NO_SPONSOR),
    )
    from_ms, early = max(
        ((at, why) for at, why in froms if at is not None), default=(-NEVER_MS, Reason.CARD_NOT_YET_VALID)
    )
    until_ms, late = min(((at, why) for at, why in untils if at is not None), default=(NEVER_MS, Reason.CARD_EXPIRED))
    return Window(from_ms, until_ms, REFUSED[early], REFUSED[late])


def _lock_end_ms(stored_ms: int | None) -> int:
    """Return the end of a lock-out as records have it; those without a known end share one number."""
    if stored_ms is None:
        return 0
    return NEVER_MS if stored_ms == NEVER_MS else stored_ms


def _suspended(until_ms: int, refusal: Decision | None, window: Window | None) -> Window:
    """Return the window of a card that is suspended for a time; `refusal` and `window` are what counts afterwards."""
    if refusal is not None:
        # Nothing is left of it: from that instant on it is what comes after every window.
        return Window(until_ms, until_ms, refusal, refusal, until_ms)
    if window is None:
        return Window(until_ms, NEVER_MS, _EXPIRED, _EXPIRED, until_ms)
    return window._replace(from_ms=max(window.from_ms, until_ms), suspended_until_ms=until_ms)


def _refusal(row: sa.Row[Any]) -> Decision | None:
    """Return what refuses whatever the time, but for a suspension that ends."""
    if row.state != CardState.ACTIVE and suspension_end_ms(row.state, row.suspended_until_ms) is None:
        return REFUSED[STATE_REFUSAL[row.state]]
    if row.person_id is None:
        return REFUSED[Reason.NO_HOLDER]
    if not row.present:
        return REFUSED[Reason.PERSON_LEFT]
    if not row.enabled:
        return REFUSED[Reason.PERSON_DISABLED]
    answered_for = row.sponsor_present is None or (row.sponsor_present and row.sponsor_enabled)
    return None if answered_for else REFUSED[Reason.NO_SPONSOR]


def people_named_directly(connection: Connection) -> frozenset[int]:
    """Return the row numbers of the people that a grant or block names themselves."""
    rows = connection.execute(
        sa.select(store.access_rule.c.person_id).where(store.access_rule.c.person_id.is_not(None)).distinct()
    )
    return frozenset(row.person_id for row in rows)


def all_cards(
    connection: Connection, compiler: CardCompiler, direct: frozenset[int]
) -> Iterator[tuple[bytes, CardRecord]]:
    """Yield the record of every credential in the city, and of what was revoked."""
    yield from compiler.records(connection.execute(_CARDS.where(~credential.c.retired)), direct)
    yield from all_revoked(connection)


def cards_of(
    connection: Connection,
    compiler: CardCompiler,
    direct: frozenset[int],
    *,
    people: Sequence[int] = (),
    cards: Sequence[int] = (),
) -> dict[bytes, CardRecord | None]:
    """Return the records of the credentials of these people and these cards (row numbers); None for a retired one.

    Whoever these people answer for is among them.
    """
    found: dict[bytes, CardRecord | None] = {}
    everybody = sorted({*people, *sponsored_by(connection, people)})
    for column, numbers in ((card.c.person_id, everybody), (card.c.id, cards)):
        for start in range(0, len(numbers), 500):
            of_these = column.in_(numbers[start : start + 500])
            found.update(compiler.records(connection.execute(_CARDS.where(of_these, ~credential.c.retired)), direct))
            gone = connection.execute(sa.select(credential.c.key).join(card).where(of_these, credential.c.retired))
            found.update((bytes(row.key), None) for row in gone)
    for start in range(0, len(cards), 500):
        found.update(revoked_of(connection, cards[start : start + 500]))
    return found


@dataclass(frozen=True, slots=True)
class _Rule:
    """One grant or block, its times compiled for one zone of time on demand."""

    effect: str
    subject: int
    schedule_id: int | None
    valid_from_ms: int | None
    valid_until_ms: int | None


class PointCompiler:
    """Compiles every point from the access tables as they stand in one transaction."""

    def __init__(self, connection: Connection, now_ms: int, house: HouseRules) -> None:
        self.house = house
        self.period = compiled_period(now_ms)
        self._schedules = _schedules(connection)
        self._zone_parent, self._zone_level = {}, {}
        for row in connection.execute(sa.select(store.zone)):
            self._zone_parent[row.id], self._zone_level[row.id] = row.parent_id, row.level or Level.NONE
        lockdowns = connection.execute(sa.select(store.door_lockdown)).all()
        self._passing = {row.zone_id: row.passing_group_id for row in lockdowns if row.zone_id is not None}
        self._passing_door = {row.point_id: row.passing_group_id for row in lockdowns if row.point_id is not None}
        exceptions = connection.execute(sa.select(store.level_exception))
        self._exception_until_ms = {row.point_id: row.until_ms for row in exceptions}
        self._levels: dict[int, list[tuple[int, int, int]]] = {}
        for row in connection.execute(sa.select(store.point_class_level)):
            self._levels.setdefault(row.point_class_id, []).append((row.schedule_id, row.level, row.people))
        self._rules: dict[tuple[str, Any], list[_Rule]] = {}
        for row in connection.execute(sa.select(store.access_rule)):
            self._rules.setdefault(_target(row), []).append(_rule(row))
        self._toggles: dict[tuple[int | None, str], tuple[int, ...]] = {}

    def points(self, connection: Connection) -> dict[str, PointRecord]:
        """Return every point by code, compiled."""
        return {row.point_code: self._point(row) for row in connection.execute(_POINTS)}

    def point(self, connection: Connection, code: str) -> PointRecord | None:
        """Return one point, compiled as it is among all of them; None if there is none."""
        row = connection.execute(_POINTS.where(store.point.c.code == code)).first()
        return None if row is None else self._point(row)

    def _point(self, row: sa.Row[Any]) -> PointRecord:
        zones = self._zones_around(row.point_zone_id)
        grants, blocks = self._rules_at(row, zones)
        options = _options(row)
        always, timed = self._by_time(grants, row.point_time_zone)
        _, timed_blocks = self._by_time(blocks, row.point_time_zone, keep_always=True)
        return PointRecord(
            code=row.point_code,
            use=Use(row.point_use),
            always=always,
            timed=timed,
            blocks=timed_blocks,
            level=row.point_class_level,
            timed_levels=tuple(
                sorted(
                    TimedLevel(self.toggles(schedule_id, row.point_time_zone), level, people)
                    for schedule_id, level, people in self._levels.get(row.point_class_id, ())
                )
            ),
            freshness_ms=row.point_class_freshness_ms,
            stale_permits=row.point_class_stale_policy == "permit",
            granted=Decision(permit=True, reason=Reason.GRANTED, open_ms=row.point_class_open_ms),
            # A block whose hours all lie outside the compiled time counts too.
            by_clock=bool(self._levels.get(row.point_class_id)) or any(rule.schedule_id for rule in blocks),
            compiled_from_ms=self.period.from_ms,
            compiled_until_ms=self.period.until_ms,
            stops_locked_out=row.point_use in self.house.lock_out_stops,
            methods=tuple(row.point_class_methods.split(",")),
            journal=row.point_class_journal_mode,
            answer_budget_ms=row.point_class_answer_budget_ms,
            tap_budget_ms=row.point_class_tap_budget_ms,
            live_check=row.point_class_directory_check == "live",
            agent=row.point_agent,
            reader=row.point_reader,
            name=row.point_name,
            zones=tuple(zones),
            options=MappingProxyType(options),
            people=row.point_class_people,
            floor=self._floor(row, zones),
            second_within_ms=row.point_class_second_within_ms,
            lockdown=self._lockdown(row, options, zones),
        )

    def _lockdown(self, row: sa.Row[Any], options: Options, zones: Sequence[int]) -> frozenset[int] | None:
        """Return who may pass during the lockdowns of a door and around it, None where there are none."""
        # The way out stays open: a door of an escape route is never locked down.
        if row.point_use != Use.DOOR or options.get("escape_route") is True:
            return None
        passing = {self._passing[zone_id] for zone_id in zones if zone_id in self._passing}
        if row.point_id in self._passing_door:
            passing.add(self._passing_door[row.point_id])
        # Who may pass one lockdown only does not pass where another one holds too.
        return frozenset(passing if len(passing) == 1 else ()) - {None} if passing else None

    def _floor(self, row: sa.Row[Any], zones: Sequence[int]) -> TimedLevel | None:
        """Return the least that the zones around demand, once the point's exception has ended."""
        level = max(self._zone_level[zone_id] for zone_id in zones)
        if level <= Level.NONE:
            return None
        until_ms = self._exception_until_ms.get(row.point_id)
        return TimedLevel(ALWAYS if until_ms is None else (until_ms,), level)

    def _zones_around(self, zone_id: int | None) -> list[int]:
        """Return the zone and those it lies in, innermost first."""
        zones: list[int] = []
        while zone_id is not None and len(zones) < store.MAX_ZONE_DEPTH:
            zones.append(zone_id)
            zone_id = self._zone_parent.get(zone_id)
        return zones

    def _rules_at(self, row: sa.Row[Any], zones: Sequence[int]) -> tuple[list[_Rule], list[_Rule]]:
        targets: list[tuple[str, Any]] = [("point", row.point_id), ("use", row.point_use)]
        targets += [("zone", zone_id) for zone_id in zones]
        rules = [rule for target in targets for rule in self._rules.get(target, ())]
        return [r for r in rules if r.effect == "grant"], [r for r in rules if r.effect == "block"]

    def _by_time(
        self, rules: Sequence[_Rule], zone: str, *, keep_always: bool = False
    ) -> tuple[frozenset[int], tuple[Timed, ...]]:
        """Split rules into subjects named at any time and subjects by their toggles."""
        subjects: dict[tuple[int, ...], set[int]] = {}
        for rule in rules:
            toggles = within(self.toggles(rule.schedule_id, zone), rule.valid_from_ms, rule.valid_until_ms)
            if toggles:
                subjects.setdefault(toggles, set()).add(same_number(rule.subject))
        always = frozenset() if keep_always else frozenset(subjects.pop(ALWAYS, ()))
        return always, tuple(Timed(toggles, frozenset(named)) for toggles, named in sorted(subjects.items()))

    def toggles(self, schedule_id: int | None, zone: str) -> tuple[int, ...]:
        """Return what a schedule is in a zone of time, for the period of this compiler; None is at any time."""
        key = (schedule_id, zone)
        if key not in self._toggles:
            schedule = None if schedule_id is None else self._schedules[schedule_id]
            toggles = compile_schedule(schedule, zone, self.period.from_ms + _DAY_MS)
            # Nothing holds by a schedule where nobody worked out what it says.
            self._toggles[key] = toggles if schedule is None else within(toggles, *self.period)
        return self._toggles[key]


def compiled_period(now_ms: int) -> CompiledPeriod:
    """Return what schedules compiled at `now_ms` cover: the same all day, so that equal rules compile to equal points.

    It begins a day before the UTC day of `now_ms` and ends two days before the compiled days do, a margin for zones.
    """
    midnight_ms = now_ms // _DAY_MS * _DAY_MS
    return CompiledPeriod(midnight_ms - _DAY_MS, midnight_ms + (HORIZON_DAYS - 3) * _DAY_MS)


def _options(row: sa.Row[Any]) -> dict[str, str | int | bool]:
    """Return the stored options of a point; one somebody spoilt by hand costs its options, not the whole city."""
    try:
        stored = json.loads(row.point_options)
    except (ValueError, RecursionError):
        stored = None
    if store.are_options(stored):
        return stored
    _log.error("point.options_unreadable", point=row.point_code)
    return {}


def _schedules(connection: Connection) -> dict[int, Schedule]:
    intervals: dict[int, list[Interval]] = {}
    for row in connection.execute(sa.select(store.schedule_interval).order_by(store.schedule_interval.c.id)):
        intervals.setdefault(row.schedule_id, []).append(Interval(row.day, row.start_minute, row.end_minute))
    special = _special_days(connection)
    return {
        row.id: Schedule(tuple(intervals.get(row.id, ())), row.land, tuple(special.get(row.id, ())))
        for row in connection.execute(sa.select(store.schedule))
    }


def _special_days(connection: Connection) -> dict[int, list[SpecialDays]]:
    """Return the special days of each schedule by its row number, in the order of their codes."""
    days: dict[int, set[date]] = {}
    for row in connection.execute(sa.select(store.special_day)):
        days.setdefault(row.group_id, set()).add(row.day)
    hours: dict[int, list[tuple[int, int]]] = {}
    parts = store.schedule_special_interval
    for row in connection.execute(sa.select(parts).order_by(parts.c.id)):
        hours.setdefault(row.special_id, []).append((row.start_minute, row.end_minute))
    found: dict[int, list[SpecialDays]] = {}
    named = sa.select(store.schedule_special).join(store.special_day_group).order_by(store.special_day_group.c.code)
    for row in connection.execute(named):
        special = SpecialDays(frozenset(days.get(row.group_id, ())), tuple(hours.get(row.id, ())))
        found.setdefault(row.schedule_id, []).append(special)
    return found


def _target(row: sa.Row[Any]) -> tuple[str, Any]:
    if row.point_id is not None:
        return "point", row.point_id
    return ("zone", row.zone_id) if row.zone_id is not None else ("use", row.use)


def _rule(row: sa.Row[Any]) -> _Rule:
    # A person is a subject like a group; negative numbers keep the two apart.
    subject = row.group_id if row.group_id is not None else -row.person_id
    return _Rule(row.effect, subject, row.schedule_id, row.valid_from_ms, row.valid_until_ms)
