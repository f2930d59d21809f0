# SPDX-License-Identifier: EUPL-1.2
"""Oracles that are wrong in one rule each; a sample of questions must tell every one of them from the service."""

from datetime import date
from itertools import pairwise

from service.facts import Card, Person, Rule, is_holiday
from service.oracle import DAY_OF_HOLIDAYS, Demand, Oracle, Question, shown_at


class SpecialDaysIgnored(Oracle):
    def hours_on(self, schedule: str, day: date) -> list[tuple[int, int]]:
        plan = self.facts.schedules[schedule]
        kind = DAY_OF_HOLIDAYS if is_holiday(plan.land, day) else day.weekday()
        return [(start, end) for wanted, start, end in plan.intervals if wanted == kind]


class ClosingDaysIgnored(SpecialDaysIgnored):
    def hours_on(self, schedule: str, day: date) -> list[tuple[int, int]]:
        return Oracle.hours_on(self, schedule, day) or super().hours_on(schedule, day)


class HalfDaysShut(Oracle):
    def hours_on(self, schedule: str, day: date) -> list[tuple[int, int]]:
        special = any(day in self.facts.special_days[group] for group in self.facts.schedules[schedule].special)
        return [] if special else super().hours_on(schedule, day)


class SpecialDaysForEverySchedule(Oracle):
    def hours_on(self, schedule: str, day: date) -> list[tuple[int, int]]:
        special = any(day in days for days in self.facts.special_days.values())
        named = any(day in self.facts.special_days[group] for group in self.facts.schedules[schedule].special)
        return [] if special and not named else super().hours_on(schedule, day)


class HolidaysIgnored(Oracle):
    def hours_on(self, schedule: str, day: date) -> list[tuple[int, int]]:
        plan = self.facts.schedules[schedule]
        if not is_holiday(plan.land, day):
            return super().hours_on(schedule, day)
        return [(start, end) for wanted, start, end in plan.intervals if wanted == day.weekday()]


class HolidaysWithoutALand(Oracle):
    def hours_on(self, schedule: str, day: date) -> list[tuple[int, int]]:
        plan = self.facts.schedules[schedule]
        return [] if plan.land is None and is_holiday("NW", day) else super().hours_on(schedule, day)


class HolidaysOfOneLand(Oracle):
    def hours_on(self, schedule: str, day: date) -> list[tuple[int, int]]:
        plan = self.facts.schedules[schedule]
        if plan.land is None or is_holiday(plan.land, day) == is_holiday("NW", day):
            return super().hours_on(schedule, day)
        kind = DAY_OF_HOLIDAYS if is_holiday("NW", day) else day.weekday()
        return [(start, end) for wanted, start, end in plan.intervals if wanted == kind]


class EndsWhenFirstShown(Oracle):
    def end(self, zone: str, day: date, minute: int) -> int:
        return shown_at(zone, day, minute)[0]


class BeginsWhenLastShown(Oracle):
    def begin(self, zone: str, day: date, minute: int) -> int:
        return shown_at(zone, day, minute)[-1]


class SkippedTimeComesAtOnce(Oracle):
    def begin(self, zone: str, day: date, minute: int) -> int:
        return min(shown_at(zone, day, minute)[0], shown_at(zone, day, (minute // 60) * 60 + 60)[0])


class EndMinuteStillOpen(Oracle):
    def end(self, zone: str, day: date, minute: int) -> int:
        return shown_at(zone, day, minute)[-1] + 1


class BeginsAMillisecondLate(Oracle):
    def begin(self, zone: str, day: date, minute: int) -> int:
        return shown_at(zone, day, minute)[0] + 1


class OneClockForAll(Oracle):
    def zone_of_time(self, point: str) -> str:
        return "Europe/Berlin"


class DistantClocksTrusted(Oracle):
    def not_doubtful(self, question: Question) -> set[str]:
        return set()


class AbsentIsDisabled(Oracle):
    def usable(self, question: Question) -> set[str]:
        refused = super().usable(question)
        return {"person_disabled"} if refused == {"person_left"} else refused


class DisabledMayPass(Oracle):
    def usable(self, question: Question) -> set[str]:
        return super().usable(question) - {"person_disabled"}


class SuspendedIsRevoked(Oracle):
    def usable(self, question: Question) -> set[str]:
        refused = super().usable(question)
        return {"card_revoked"} if refused == {"card_suspended"} else refused


class CardsHaveNoTime(Oracle):
    def out_of_time(self, of: str, thing: Card | Person, at_ms: int) -> set[str]:
        return set() if of == "card" else super().out_of_time(of, thing, at_ms)


class PeopleHaveNoTime(Oracle):
    def out_of_time(self, of: str, thing: Card | Person, at_ms: int) -> set[str]:
        return set() if of == "person" else super().out_of_time(of, thing, at_ms)


class FromExclusive(Oracle):
    def out_of_time(self, of: str, thing: Card | Person, at_ms: int) -> set[str]:
        return {f"{of}_not_yet_valid"} if at_ms == thing.from_ms else super().out_of_time(of, thing, at_ms)


class UntilInclusive(Oracle):
    def out_of_time(self, of: str, thing: Card | Person, at_ms: int) -> set[str]:
        return super().out_of_time(of, thing, at_ms - 1 if at_ms == thing.until_ms else at_ms)


class StaleAlwaysRefused(Oracle):
    def fresh(self, question: Question) -> set[str]:
        stale = question.age_ms > self.class_of(question.point).freshness_ms
        return {"directory_stale"} if stale else set()


class StaleAMillisecondEarly(Oracle):
    def fresh(self, question: Question) -> set[str]:
        kind = self.class_of(question.point)
        return {"directory_stale"} if question.age_ms >= kind.freshness_ms and not kind.stale_permits else set()


class LockdownsIgnored(Oracle):
    def not_locked_down(self, question: Question) -> set[str]:
        return set()


class NobodyPassesALockdown(Oracle):
    def not_locked_down(self, question: Question) -> set[str]:
        return {"locked_down"} if self.passing_groups(question.point) else set()


class EitherGroupPasses(Oracle):
    def not_locked_down(self, question: Question) -> set[str]:
        passing = self.passing_groups(question.point)
        return {"locked_down"} if passing and not passing & self.groups_of(self.holder_of(question)) else set()


class BothGroupsPass(Oracle):
    def not_locked_down(self, question: Question) -> set[str]:
        passing = self.passing_groups(question.point)
        return set() if passing <= self.groups_of(self.holder_of(question)) else {"locked_down"}


class PassingNeedsNoGrant(Oracle):
    def granted(self, question: Question) -> set[str]:
        return set() if self.passing_groups(question.point) else super().granted(question)


class LockdownOfTheInnermostZone(Oracle):
    def passing_groups(self, point: str) -> set[str | None]:
        return super().passing_groups(point) if self.facts.points[point].zone in self.facts.lockdowns else set()


class EscapeRoutesLockedDown(Oracle):
    def passing_groups(self, point: str) -> set[str | None]:
        if self.facts.points[point].use != "door":
            return set()
        return {self.facts.lockdowns[zone] for zone in self.zones_of(point) if zone in self.facts.lockdowns}


class EveryUseLockedDown(Oracle):
    def passing_groups(self, point: str) -> set[str | None]:
        if self.facts.points[point].escape_route:
            return set()
        return {self.facts.lockdowns[zone] for zone in self.zones_of(point) if zone in self.facts.lockdowns}


class GroupsNotNested(Oracle):
    def groups_of(self, person: str) -> set[str]:
        return {name for name, members in self.facts.groups.items() if ("person", person) in members}


class ZonesNotNested(Oracle):
    def zones_of(self, point: str) -> list[str]:
        return super().zones_of(point)[:1]


class RulesOfUsesIgnored(Oracle):
    def targets_of(self, point: str) -> set[tuple[str, str]]:
        return {target for target in super().targets_of(point) if target[0] != "use"}


class BlocksIgnored(Oracle):
    def not_blocked(self, question: Question) -> set[str]:
        return set()


class BlocksAtAnyTime(Oracle):
    def not_blocked(self, question: Question) -> set[str]:
        rules = self.rules_for(self.holder_of(question), question.point)
        return {"blocked"} if any(rule.effect == "block" for rule in rules) else set()


class GrantBeatsBlock(Oracle):
    def not_blocked(self, question: Question) -> set[str]:
        return super().not_blocked(question) if super().granted(question) else set()


class RulesHaveNoBounds(Oracle):
    def holds(self, rule: Rule, question: Question) -> bool:
        return rule.schedule is None or self.is_open(rule.schedule, question)


class RulesHaveNoSchedules(Oracle):
    def holds(self, rule: Rule, question: Question) -> bool:
        return super().holds(Rule(rule.effect, rule.subject, rule.target, None, rule.from_ms, rule.until_ms), question)


class RuleFromExclusive(Oracle):
    def holds(self, rule: Rule, question: Question) -> bool:
        return question.at_ms != rule.from_ms and super().holds(rule, question)


class RuleUntilInclusive(Oracle):
    def holds(self, rule: Rule, question: Question) -> bool:
        until_ms = None if rule.until_ms is None else rule.until_ms + 1
        return super().holds(
            Rule(rule.effect, rule.subject, rule.target, rule.schedule, rule.from_ms, until_ms), question
        )


class NeverAndNotNowAreOne(Oracle):
    def granted(self, question: Question) -> set[str]:
        refused = super().granted(question)
        return {"no_grant"} if "outside_schedule" in refused else refused


class EverybodyStrongEnough(Oracle):
    def strong_enough(self, question: Question) -> set[str]:
        return set()


class OneStepStronger(Oracle):
    def strong_enough(self, question: Question) -> set[str]:
        return {"level_too_low"} if question.level <= self.demanded_level(question) else set()


class LeastOfTheDemands(Oracle):
    def most(self, own: int, in_force: list[int]) -> int:
        return min(in_force) if in_force else own


class ClassCountsBesideDemands(Oracle):
    def most(self, own: int, in_force: list[int]) -> int:
        return max([own, *in_force])


class DemandsIgnored(Oracle):
    def in_force(self, question: Question) -> list[Demand]:
        return []


class DemandsAtAnyTime(Oracle):
    def in_force(self, question: Question) -> list[Demand]:
        return self.class_of(question.point).demands


class ZonesDemandNothing(Oracle):
    def zones_level(self, question: Question) -> int:
        return 0


class InnermostZoneDemands(Oracle):
    def zones_level(self, question: Question) -> int:
        levels = [self.facts.zones[zone].level for zone in self.zones_of(question.point)]
        return super().zones_level(question) and next((level for level in levels if level is not None), 0)


class LeastOfTheZones(Oracle):
    def zones_level(self, question: Question) -> int:
        levels = [self.facts.zones[zone].level for zone in self.zones_of(question.point)]
        return super().zones_level(question) and min(level for level in levels if level is not None)


class ZoneReplacesTheClass(Oracle):
    def demanded_level(self, question: Question) -> int:
        return self.zones_level(question) or super().demanded_level(question)


class ExceptionsIgnored(Oracle):
    def zones_level(self, question: Question) -> int:
        return max(self.facts.zones[zone].level or 0 for zone in self.zones_of(question.point))


class ExceptionsNeverEnd(Oracle):
    def zones_level(self, question: Question) -> int:
        point = self.facts.points[question.point]
        return 0 if point.exception_until_ms is not None else super().zones_level(question)


class ExceptionEndInclusive(Oracle):
    def zones_level(self, question: Question) -> int:
        point = self.facts.points[question.point]
        return 0 if question.at_ms == point.exception_until_ms else super().zones_level(question)


class OnePersonIsEnough(Oracle):
    def accompanied(self, question: Question) -> set[str]:
        return set()


class LeastPeople(Oracle):
    def accompanied(self, question: Question) -> set[str]:
        people = [one.people for one in self.in_force(question)]
        return super().accompanied(question) if min(people, default=2) > 1 else set()


class OwnPeopleBesideDemands(Oracle):
    def accompanied(self, question: Question) -> set[str]:
        if self.class_of(question.point).people < 2:
            return super().accompanied(question)
        if question.first is None:
            return {"second_person_needed"}
        return {"same_person_twice"} if question.first == self.holder_of(question) else set()


class SamePersonTwiceMayPass(Oracle):
    def accompanied(self, question: Question) -> set[str]:
        return super().accompanied(question) - {"same_person_twice"}


class SecondIsAskedAgain(Oracle):
    def accompanied(self, question: Question) -> set[str]:
        people = [one.people for one in self.in_force(question)]
        needed = self.most(self.class_of(question.point).people, people) > 1
        return {"second_person_needed"} if needed else set()


class TimeAskedBeforeState(Oracle):
    def usable(self, question: Question) -> set[str]:
        refused = super().usable(question)
        return refused if self.holder_of(question) is None else self.in_their_time(question) or refused


def _asked_after(later: str, earlier: str) -> type[Oracle]:
    """Return an oracle that asks the question `later` only after the one that follows it."""
    order = [name for name in Oracle.ORDER if name != later]
    order.insert(order.index(earlier) + 1, later)
    return type(f"{later}_asked_after_{earlier}", (Oracle,), {"ORDER": tuple(order)})


# Where the doubt about a clock stands among them the page does not say.
_IN_ORDER = ("in_their_time", "fresh", "not_locked_down", "not_blocked", "granted", "strong_enough", "accompanied")
WRONG_ORACLES = [
    one for one in list(globals().values()) if isinstance(one, type) and issubclass(one, Oracle) and one is not Oracle
] + [_asked_after(*pair) for pair in pairwise(_IN_ORDER)]
