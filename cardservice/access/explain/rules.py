# SPDX-License-Identifier: EUPL-1.2
"""Every step that leads to yes or no, from plain facts instead of compiled sets. Pure.

`decide` answers from sets in which no rule has a name any more; here every rule is looked at by itself. The first step
that refuses says why, as `decide` does; the steps after it are told all the same, so that nobody mends one thing and
then meets the next. Instants are milliseconds since 1970-01-01T00:00:00Z.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final, NamedTuple

from cardservice.access.explain.facts import (
    Asked,
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
from cardservice.access.rules import NEVER_MS, Level, Reason, Use, inside

Fact = str | int | bool | None | tuple[str, ...]


@unique
class Question(StrEnum):
    """What is asked, in this order."""

    POINT = "point"
    CREDENTIAL = "credential"
    CARD = "card"
    HOLDER = "holder"
    TIME = "time"
    FRESHNESS = "freshness"
    LOCK_OUT = "lock_out"
    LOCKDOWN = "lockdown"
    CLOCK = "clock"
    BLOCK = "block"
    GRANT = "grant"
    LEVEL = "level"
    PEOPLE = "people"


@unique
class Said(StrEnum):
    """What a step found; closed, `sentences.py` has the words."""

    POINT_FOUND = "point_found"
    POINT_MISSING = "point_missing"
    CREDENTIAL_FITS = "credential_fits"
    CREDENTIAL_UNKNOWN = "credential_unknown"
    CREDENTIAL_UNFIT = "credential_unfit"
    CARD_ACTIVE = "card_active"
    CARD_OUT_OF_USE = "card_out_of_use"
    CARD_SUSPENDED_UNTIL = "card_suspended_until"
    CARD_ACTIVE_AGAIN = "card_active_again"
    HOLDER_IN_ORDER = "holder_in_order"
    STAYS_IN_GROUP = "stays_in_group"
    NO_HOLDER = "no_holder"
    HOLDER_LEFT = "holder_left"
    HOLDER_DISABLED = "holder_disabled"
    OUTSIDER_IN_ORDER = "outsider_in_order"
    OUTSIDER_ENDED = "outsider_ended"
    SPONSOR_ANSWERS = "sponsor_answers"
    SPONSOR_LEFT = "sponsor_left"
    SPONSOR_DISABLED = "sponsor_disabled"
    BEGAN = "began"
    BEGINS_LATER = "begins_later"
    ENDS_LATER = "ends_later"
    ENDED = "ended"
    NO_BOUNDS = "no_bounds"
    COPY_FRESH = "copy_fresh"
    KEPT_HERE = "kept_here"
    COPY_NEVER_PROVED = "copy_never_proved"
    COPY_STALE = "copy_stale"
    STALE_PERMITTED = "stale_permitted"
    ASKED_LIVE = "asked_live"
    NOT_LOCKED_OUT = "not_locked_out"
    LOCKED_OUT = "locked_out"
    LOCKED_OUT_UNTIL = "locked_out_until"
    LOCK_OUT_PASSES = "lock_out_passes"
    NO_LOCKDOWN = "no_lockdown"
    LOCKDOWN = "lockdown"
    LOCKDOWN_PASSING = "lockdown_passing"
    DOOR_LOCKED = "door_locked"
    DOOR_LOCKED_PASSING = "door_locked_passing"
    LOCKDOWNS_DIFFER = "lockdowns_differ"
    ESCAPE_ROUTE = "escape_route"
    CLOCK_BELIEVED = "clock_believed"
    CLOCK_DOUBTFUL = "clock_doubtful"
    NO_BLOCK = "no_block"
    BLOCK_HOLDS = "block_holds"
    BLOCK_LATER = "block_later"
    BLOCK_OVER = "block_over"
    NO_GRANT = "no_grant"
    GRANT_HOLDS = "grant_holds"
    GRANT_LATER = "grant_later"
    GRANT_OVER = "grant_over"
    CLASS_LEVEL = "class_level"
    CLASS_LEVEL_REPLACED = "class_level_replaced"
    DEMAND_HOLDS = "demand_holds"
    DEMAND_LATER = "demand_later"
    DEMAND_OVER = "demand_over"
    ZONE_LEVEL = "zone_level"
    EXCEPTION_HOLDS = "exception_holds"
    EXCEPTION_ENDED = "exception_ended"
    PROVED = "proved"
    ONE_PERSON = "one_person"
    FIRST_OF_TWO = "first_of_two"
    SAME_PERSON = "same_person"
    SECOND_OF_TWO = "second_of_two"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found; `facts` by name, instants in keys that end with `_ms`."""

    said: Said
    facts: Mapping[str, Fact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One question and what was found; `refusal` is what it answers by itself, None if it lets pass."""

    question: Question
    refusal: Reason | None
    findings: tuple[Finding, ...]


class Bound(NamedTuple):
    """From when or until when a card or a person counts, and what is answered outside."""

    whose: str
    at_ms: int
    refusal: Reason


def explain(point: PointFacts | None, card: CardFacts | None, asked: Asked) -> tuple[Step, ...]:
    """Return the steps. Where there is no point, no card or no holder, those that would ask about them are missing."""
    if point is None:
        return (_step(Question.POINT, Reason.POINT_UNKNOWN, Said.POINT_MISSING, point=asked.point),)
    steps = [_point(point), _credential(card, asked)]
    if card is None:
        return tuple(steps)
    steps += [_card(card, asked), _holder(card.holder)]
    if card.holder is not None:
        steps += [_time(card, card.holder, asked), _freshness(point, card.holder, asked)]
        steps += [_lock_out(point, card.holder, asked), _lockdown(point, card.holder), _clock(point, asked)]
        steps += [_block(point, card.holder, asked), _grant(point, card.holder, asked)]
        steps += [_level(point, asked), _people(point, card.holder, asked)]
    return tuple(steps)


def reason_of(steps: Sequence[Step]) -> Reason:
    """Return what the steps come to: the first refusal, or a permit."""
    return next((step.refusal for step in steps if step.refusal is not None), Reason.GRANTED)


def group_paths(start_dn: str, groups: Iterable[GroupFacts]) -> dict[int, tuple[str, ...]]:
    """Return group -> names of the groups on the shortest way to it from `start_dn`, itself last; circles end."""
    holding: dict[str, list[GroupFacts]] = {}
    for group in groups:
        for member in group.member_dns:
            holding.setdefault(member, []).append(group)
    paths: dict[int, tuple[str, ...]] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(start_dn, ())]
    for dn, path in waiting:
        for group in sorted(holding.get(dn, ()), key=lambda one: (one.name, one.row)):
            if group.row not in paths:
                paths[group.row] = (*path, group.name)
                waiting.append((group.dn, paths[group.row]))
    return paths


def _step(question: Question, refusal: Reason | None, said: Said, **facts: Fact) -> Step:
    return Step(question, refusal, (Finding(said, facts),))


def _point(point: PointFacts) -> Step:
    facts: dict[str, Fact] = {"point": point.code, "name": point.name, "use": point.use.value}
    facts |= {"zones": point.zones, "point_class": point.point_class, "time_zone": point.time_zone}
    return _step(Question.POINT, None, Said.POINT_FOUND, **facts)


def _credential(card: CardFacts | None, asked: Asked) -> Step:
    if card is None:
        return _step(Question.CREDENTIAL, Reason.CARD_UNKNOWN, Said.CREDENTIAL_UNKNOWN)
    facts: dict[str, Fact] = {"card": card.reference, "method": card.method}
    if asked.level is None:
        return _step(Question.CREDENTIAL, Reason.CARD_UNSUPPORTED, Said.CREDENTIAL_UNFIT, **facts)
    return _step(Question.CREDENTIAL, None, Said.CREDENTIAL_FITS, **facts)


def _card(card: CardFacts, asked: Asked) -> Step:
    facts: dict[str, Fact] = {"state": card.state, "state_reason": card.state_reason}
    end_ms = card.suspended_until_ms
    if end_ms is None:
        said = Said.CARD_ACTIVE if card.state_refusal is None else Said.CARD_OUT_OF_USE
        return _step(Question.CARD, card.state_refusal, said, **facts)
    facts["suspended_until_ms"] = end_ms
    if asked.at_ms < end_ms:
        return _step(Question.CARD, card.state_refusal, Said.CARD_SUSPENDED_UNTIL, **facts)
    return _step(Question.CARD, None, Said.CARD_ACTIVE_AGAIN, **facts)


def _holder(holder: HolderFacts | None) -> Step:
    if holder is None:
        return _step(Question.HOLDER, Reason.NO_HOLDER, Said.NO_HOLDER)
    facts: dict[str, Fact] = {"name": holder.name, "login": holder.login, "groups": len(holder.paths)}
    if holder.sponsor is not None:
        return _outsider(holder, holder.sponsor, facts)
    if not holder.present:
        return _step(Question.HOLDER, Reason.PERSON_LEFT, Said.HOLDER_LEFT, **facts)
    if not holder.enabled:
        return _step(Question.HOLDER, Reason.PERSON_DISABLED, Said.HOLDER_DISABLED, **facts)
    return Step(Question.HOLDER, None, (Finding(Said.HOLDER_IN_ORDER, facts), *_staying(holder)))


def _outsider(holder: HolderFacts, sponsor: SponsorFacts, facts: dict[str, Fact]) -> Step:
    """Say of somebody whom no directory names who answers for them, and whether they can."""
    theirs: dict[str, Fact] = {"name": sponsor.name, "login": sponsor.login}
    if not holder.present:
        return _step(Question.HOLDER, Reason.PERSON_LEFT, Said.OUTSIDER_ENDED)
    own = Finding(Said.OUTSIDER_IN_ORDER, facts)
    if not sponsor.present:
        return Step(Question.HOLDER, Reason.NO_SPONSOR, (own, Finding(Said.SPONSOR_LEFT, theirs)))
    if not sponsor.enabled:
        return Step(Question.HOLDER, Reason.NO_SPONSOR, (own, Finding(Said.SPONSOR_DISABLED, theirs)))
    return Step(Question.HOLDER, None, (own, Finding(Said.SPONSOR_ANSWERS, theirs)))


def _staying(holder: HolderFacts) -> Iterator[Finding]:
    """Yield why somebody counts in a department they left, and until when: those that end first come first."""
    for group, until_ms in sorted(holder.staying.items(), key=lambda one: (one[1], one[0])):
        if group in holder.paths:
            yield Finding(Said.STAYS_IN_GROUP, {"group": holder.paths[group][-1], "until_ms": until_ms})


def _time(card: CardFacts, holder: HolderFacts, asked: Asked) -> Step:
    own = "person" if holder.sponsor is None else "outsider"
    begins = [Bound(own, holder.from_ms, Reason.PERSON_NOT_YET_VALID)] if holder.from_ms is not None else []
    sponsor_from_ms = None if holder.sponsor is None else holder.sponsor.from_ms
    sponsor_until_ms = None if holder.sponsor is None else holder.sponsor.until_ms
    begins += [Bound("sponsor", sponsor_from_ms, Reason.NO_SPONSOR)] if sponsor_from_ms is not None else []
    begins += [Bound("card", card.from_ms, Reason.CARD_NOT_YET_VALID)] if card.from_ms is not None else []
    ends = [Bound("card", card.until_ms, Reason.CARD_EXPIRED)] if card.until_ms is not None else []
    ends += [Bound("sponsor", sponsor_until_ms, Reason.NO_SPONSOR)] if sponsor_until_ms is not None else []
    ends += [Bound(own, holder.until_ms, Reason.PERSON_EXPIRED)] if holder.until_ms is not None else []
    early = [bound for bound in begins if asked.at_ms < bound.at_ms]
    late = [bound for bound in ends if asked.at_ms >= bound.at_ms]
    findings = [_bound(bound, Said.BEGINS_LATER if bound in early else Said.BEGAN) for bound in begins]
    findings += [_bound(bound, Said.ENDED if bound in late else Said.ENDS_LATER) for bound in ends]
    # The latest beginning and the earliest end count, of two at one instant the first named here.
    refusal = None if not late else min(late, key=_instant).refusal
    refusal = refusal if not early else max(early, key=_instant).refusal
    return Step(Question.TIME, refusal, tuple(findings) or (Finding(Said.NO_BOUNDS),))


def _instant(bound: Bound) -> int:
    return bound.at_ms


def _bound(bound: Bound, said: Said) -> Finding:
    return Finding(said, {"whose": bound.whose, "bound_ms": bound.at_ms})


def _freshness(point: PointFacts, holder: HolderFacts, asked: Asked) -> Step:
    never = asked.age_ms >= NEVER_MS
    facts: dict[str, Fact] = {"age_s": None if never else asked.age_ms // 1_000, "bound_s": point.freshness_ms // 1_000}
    live = (Finding(Said.ASKED_LIVE),) if point.live_check else ()
    if asked.age_ms <= point.freshness_ms:
        fresh = Finding(Said.COPY_FRESH, facts) if holder.sponsor is None else Finding(Said.KEPT_HERE)
        return Step(Question.FRESHNESS, None, (fresh, *live))
    said = Finding(Said.COPY_NEVER_PROVED if never else Said.COPY_STALE, facts)
    if point.stale_permits:
        return Step(Question.FRESHNESS, None, (said, Finding(Said.STALE_PERMITTED), *live))
    return Step(Question.FRESHNESS, Reason.DIRECTORY_STALE, (said, *live))


def _lock_out(point: PointFacts, holder: HolderFacts, asked: Asked) -> Step:
    until_ms = holder.locked_until_ms
    if until_ms is None or asked.at_ms >= until_ms:
        return _step(Question.LOCK_OUT, None, Said.NOT_LOCKED_OUT)
    if until_ms >= NEVER_MS:
        locked = Finding(Said.LOCKED_OUT)
    else:
        locked = Finding(Said.LOCKED_OUT_UNTIL, {"locked_until_ms": until_ms})
    if point.stops_locked_out:
        return Step(Question.LOCK_OUT, Reason.PERSON_LOCKED_OUT, (locked,))
    return Step(Question.LOCK_OUT, None, (locked, Finding(Said.LOCK_OUT_PASSES, {"use": point.use.value})))


def _lockdown(point: PointFacts, holder: HolderFacts) -> Step:
    if point.use is not Use.DOOR or not point.lockdowns:
        return _step(Question.LOCKDOWN, None, Said.NO_LOCKDOWN)
    findings = [_standing(lockdown, holder) for lockdown in point.lockdowns]
    if point.escape_route:
        return Step(Question.LOCKDOWN, None, (*findings, Finding(Said.ESCAPE_ROUTE)))
    if len({lockdown.group for lockdown in point.lockdowns}) > 1:
        return Step(Question.LOCKDOWN, Reason.LOCKED_DOWN, (*findings, Finding(Said.LOCKDOWNS_DIFFER)))
    passes = point.lockdowns[0].group in holder.paths
    return Step(Question.LOCKDOWN, None if passes else Reason.LOCKED_DOWN, tuple(findings))


def _standing(lockdown: LockdownFacts, holder: HolderFacts) -> Finding:
    facts: dict[str, Fact] = {"since_ms": lockdown.since_ms, "group": lockdown.group_name}
    alone, passing = Said.DOOR_LOCKED, Said.DOOR_LOCKED_PASSING
    if lockdown.zone is not None:
        facts["zone"] = lockdown.zone
        alone, passing = Said.LOCKDOWN, Said.LOCKDOWN_PASSING
    path = None if lockdown.group is None else holder.paths.get(lockdown.group)
    if path is None:
        return Finding(alone, facts)
    return Finding(passing, facts | {"via": path[:-1]})


def _clock(point: PointFacts, asked: Asked) -> Step:
    """Where blocks or levels depend on a schedule, nobody knows what holds outside of the compiled time."""
    from_ms, until_ms = point.compiled
    facts: dict[str, Fact] = {"from_ms": from_ms, "until_ms": until_ms}
    blocks = any(rule.effect == "block" and rule.times.schedule is not None for rule in point.rules)
    if (blocks or point.demands) and not from_ms <= asked.at_ms < until_ms:
        return _step(Question.CLOCK, Reason.CLOCK_DOUBTFUL, Said.CLOCK_DOUBTFUL, **facts)
    return _step(Question.CLOCK, None, Said.CLOCK_BELIEVED, **facts)


_BLOCK: Final = (Said.BLOCK_HOLDS, Said.BLOCK_LATER, Said.BLOCK_OVER)
_GRANT: Final = (Said.GRANT_HOLDS, Said.GRANT_LATER, Said.GRANT_OVER)
_DEMAND: Final = (Said.DEMAND_HOLDS, Said.DEMAND_LATER, Said.DEMAND_OVER)


def _block(point: PointFacts, holder: HolderFacts, asked: Asked) -> Step:
    naming = _naming(point, holder, "block")
    if not naming:
        return _step(Question.BLOCK, None, Said.NO_BLOCK)
    holds = any(inside(rule.times.toggles, asked.at_ms) for rule in naming)
    findings = tuple(_rule(rule, holder, asked, _BLOCK) for rule in naming)
    return Step(Question.BLOCK, Reason.BLOCKED if holds else None, findings)


def _grant(point: PointFacts, holder: HolderFacts, asked: Asked) -> Step:
    naming = _naming(point, holder, "grant")
    if not naming:
        return _step(Question.GRANT, Reason.NO_GRANT, Said.NO_GRANT)
    findings = tuple(_rule(rule, holder, asked, _GRANT) for rule in naming)
    if any(inside(rule.times.toggles, asked.at_ms) for rule in naming):
        return Step(Question.GRANT, None, findings)
    # What never holds in all the time that is worked out ahead is no grant.
    ever = any(rule.times.toggles for rule in naming)
    return Step(Question.GRANT, Reason.OUTSIDE_SCHEDULE if ever else Reason.NO_GRANT, findings)


def _naming(point: PointFacts, holder: HolderFacts, effect: str) -> list[BlockOrGrant]:
    return [
        rule
        for rule in point.rules
        if rule.effect == effect
        and (rule.group in holder.paths if rule.group is not None else rule.person == holder.row)
    ]


def _rule(rule: BlockOrGrant, holder: HolderFacts, asked: Asked, said: tuple[Said, Said, Said]) -> Finding:
    via = () if rule.group is None else holder.paths[rule.group][:-1]
    facts: dict[str, Fact] = {
        "group": rule.group_name,
        "via": via,
        "target_kind": rule.target_kind,
        "target": rule.target,
        "schedule": rule.times.schedule,
        "from_ms": rule.from_ms,
        "until_ms": rule.until_ms,
    }
    return _by_time(rule.times, asked, said, facts)


def _by_time(times: Times, asked: Asked, said: tuple[Said, Said, Said], facts: Mapping[str, Fact]) -> Finding:
    """Say whether something holds now and until when, or when it does next: `change_ms`, None for never."""
    place = bisect_right(times.toggles, asked.at_ms)
    change_ms = times.toggles[place] if place < len(times.toggles) else None
    holds, later, over = said
    found = holds if place & 1 else over if change_ms is None else later
    return Finding(found, {**facts, "change_ms": change_ms})


def _level(point: PointFacts, asked: Asked) -> Step:
    in_force = [demand for demand in point.demands if inside(demand.times.toggles, asked.at_ms)]
    demanded = max((demand.level for demand in in_force), default=point.level)
    own = Said.CLASS_LEVEL_REPLACED if in_force else Said.CLASS_LEVEL
    findings = [Finding(own, {"point_class": point.point_class, "level": _level_name(point.level)})]
    findings += [_by_time(demand.times, asked, _DEMAND, _demand_facts(demand)) for demand in point.demands]
    floor = max((level for _, level in point.zone_levels), default=Level.NONE)
    findings += [
        Finding(Said.ZONE_LEVEL, {"zone": zone, "level": _level_name(level)}) for zone, level in point.zone_levels
    ]
    if point.exception is not None:
        until_ms, reason = point.exception
        holds = asked.at_ms < until_ms
        said = Said.EXCEPTION_HOLDS if holds else Said.EXCEPTION_ENDED
        findings.append(Finding(said, {"until_ms": until_ms, "why": reason}))
        floor = Level.NONE if holds else floor
    demanded = max(demanded, floor)
    proved = Level.NONE if asked.level is None else asked.level
    findings.append(Finding(Said.PROVED, {"proved": _level_name(proved), "demanded": _level_name(demanded)}))
    return Step(Question.LEVEL, Reason.LEVEL_TOO_LOW if proved < demanded else None, tuple(findings))


def _demand_facts(demand: Demand) -> dict[str, Fact]:
    return {"schedule": demand.times.schedule, "level": _level_name(demand.level), "people": demand.people}


def _level_name(level: int) -> str:
    return Level(level).name.lower()


def _people(point: PointFacts, holder: HolderFacts, asked: Asked) -> Step:
    in_force = [demand.people for demand in point.demands if inside(demand.times.toggles, asked.at_ms)]
    if max(in_force, default=point.people) <= 1:
        return _step(Question.PEOPLE, None, Said.ONE_PERSON)
    within_s = point.second_within_ms // 1_000
    if asked.first == 0:
        return _step(Question.PEOPLE, Reason.SECOND_PERSON_NEEDED, Said.FIRST_OF_TWO, within_s=within_s)
    if asked.first == holder.row:
        return _step(Question.PEOPLE, Reason.SAME_PERSON_TWICE, Said.SAME_PERSON, within_s=within_s)
    return _step(Question.PEOPLE, None, Said.SECOND_OF_TWO, within_s=within_s)
