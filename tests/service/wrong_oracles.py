# SPDX-License-Identifier: EUPL-1.2
"""Oracles that are wrong in one rule each; a sample of questions must tell every one of them from the service."""

from datetime import date
from itertools import pairwise

from service.facts import DAY_MS, Card, Person, Rule, is_holiday
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


class WorkedOutFromTodayOn(Oracle):
    def is_worked_out(self, at_ms: int) -> bool:
        return at_ms >= self.worked_out_ms // DAY_MS * DAY_MS and super().is_worked_out(at_ms)


class WorkedOutForADayMore(Oracle):
    def is_worked_out(self, at_ms: int) -> bool:
        return super().is_worked_out(at_ms) or super().is_worked_out(at_ms - DAY_MS)


class WorkedOutForADayLess(Oracle):
    def is_worked_out(self, at_ms: int) -> bool:
        return super().is_worked_out(at_ms) and super().is_worked_out(at_ms + DAY_MS)


class WorkedOutToTheHourOfNow(Oracle):
    def is_worked_out(self, at_ms: int) -> bool:
        return -DAY_MS <= at_ms - self.worked_out_ms < 397 * DAY_MS


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


class SuspensionsNeverEnd(Oracle):
    def state_of(self, card: Card, at_ms: int) -> str:
        return card.state


class AnEndIsNoSuspension(Oracle):
    def state_of(self, card: Card, at_ms: int) -> str:
        return "active" if card.suspension_ends_ms is not None else card.state


class EverySuspensionEnds(Oracle):
    def state_of(self, card: Card, at_ms: int) -> str:
        return (
            "active" if card.state == "suspended" and card.suspension_ends_ms is None else super().state_of(card, at_ms)
        )


class SuspensionEndInclusive(Oracle):
    def state_of(self, card: Card, at_ms: int) -> str:
        return card.state if at_ms == card.suspension_ends_ms else super().state_of(card, at_ms)


class SuspensionEndsAMillisecondEarly(Oracle):
    def state_of(self, card: Card, at_ms: int) -> str:
        return super().state_of(card, at_ms + 1)


class SuspensionsAsOfToday(Oracle):
    def state_of(self, card: Card, at_ms: int) -> str:
        return super().state_of(card, self.worked_out_ms)


class SuspensionEndsInExpiry(Oracle):
    def usable(self, question: Question) -> set[str]:
        card = self.facts.cards[question.credential]
        over = card.state == "suspended" and self.state_of(card, question.at_ms) == "active"
        return {"card_expired"} if over else super().usable(question)


class SuspendedUntilIsNotYetValid(Oracle):
    def usable(self, question: Question) -> set[str]:
        refused = super().usable(question)
        until = self.facts.cards[question.credential].suspension_ends_ms is not None
        return {"card_not_yet_valid"} if refused == {"card_suspended"} and until else refused


class SuspensionReplacesTheDates(Oracle):
    def out_of_time(self, of: str, thing: Card | Person, at_ms: int) -> set[str]:
        suspended = isinstance(thing, Card) and thing.suspension_ends_ms is not None
        return set() if suspended else super().out_of_time(of, thing, at_ms)


class SuspensionReplacesTheEnd(Oracle):
    def out_of_time(self, of: str, thing: Card | Person, at_ms: int) -> set[str]:
        suspended = isinstance(thing, Card) and thing.suspension_ends_ms is not None
        return super().out_of_time(of, thing, at_ms) - ({"card_expired"} if suspended else set())


class DatesBeforeTheSuspension(Oracle):
    def usable(self, question: Question) -> set[str]:
        card = self.facts.cards[question.credential]
        if card.suspension_ends_ms is None:
            return super().usable(question)
        return self.out_of_time("card", card, question.at_ms) or super().usable(question)


class SuspensionAskedAfterTheHolder(Oracle):
    def usable(self, question: Question) -> set[str]:
        card = self.facts.cards[question.credential]
        if card.suspension_ends_ms is None or card.holder is None:
            return super().usable(question)
        person = self.facts.people[card.holder]
        if not person.present:
            return {"person_left"}
        return super().usable(question) if person.enabled else {"person_disabled"}


class SponsorsIgnored(Oracle):
    def is_answered_for(self, person: Person) -> bool:
        return True


class SponsorsNeverDisabled(Oracle):
    def is_answered_for(self, person: Person) -> bool:
        return person.sponsor is None or self.facts.people[person.sponsor].present


class SponsorsTimeIgnored(Oracle):
    def sponsors_time(self, holder: Person, at_ms: int) -> set[str]:
        return set()


class LockOutsIgnored(Oracle):
    def not_locked_out(self, question: Question) -> set[str]:
        return set()


class LockOutStopsEverything(Oracle):
    def not_locked_out(self, question: Question) -> set[str]:
        locked_out = self.is_locked_out(self.facts.people[self.holder_of(question)], question.at_ms)
        return {"person_locked_out"} if locked_out else set()


class LockOutStopsPcsAlone(Oracle):
    def not_locked_out(self, question: Question) -> set[str]:
        return super().not_locked_out(question) if self.facts.points[question.point].use == "workstation" else set()


class LockOutAlwaysStopsPcs(Oracle):
    def not_locked_out(self, question: Question) -> set[str]:
        at_a_pc = self.facts.points[question.point].use == "workstation"
        locked_out = self.is_locked_out(self.facts.people[self.holder_of(question)], question.at_ms)
        return {"person_locked_out"} if at_a_pc and locked_out else super().not_locked_out(question)


class LockOutNeverStopsDoors(Oracle):
    def not_locked_out(self, question: Question) -> set[str]:
        return set() if self.facts.points[question.point].use == "door" else super().not_locked_out(question)


class LockOutEndInclusive(Oracle):
    def is_locked_out(self, person: Person, at_ms: int) -> bool:
        return super().is_locked_out(person, at_ms - 1 if at_ms == person.lock_ends_ms else at_ms)


class LockOutEndsAMillisecondEarly(Oracle):
    def is_locked_out(self, person: Person, at_ms: int) -> bool:
        return super().is_locked_out(person, at_ms + 1)


class LockOutHasAlwaysAnEnd(Oracle):
    def is_locked_out(self, person: Person, at_ms: int) -> bool:
        return person.lock_ends_ms is not None and super().is_locked_out(person, at_ms)


class LockOutNeverEnds(Oracle):
    def is_locked_out(self, person: Person, at_ms: int) -> bool:
        return person.locked_out


class LockOutsAsOfToday(Oracle):
    def is_locked_out(self, person: Person, at_ms: int) -> bool:
        return super().is_locked_out(person, self.worked_out_ms)


class LockOutDisables(Oracle):
    def not_locked_out(self, question: Question) -> set[str]:
        return {"person_disabled"} if super().not_locked_out(question) else set()


class LockOutsOfAStaleCopyIgnored(Oracle):
    def not_locked_out(self, question: Question) -> set[str]:
        stale = question.age_ms > self.class_of(question.point).freshness_ms
        return set() if stale else super().not_locked_out(question)


class LockOutAskedWithTheDisabled(Oracle):
    def usable(self, question: Question) -> set[str]:
        return super().usable(question) or self.not_locked_out(question)


class LockOutAskedOfThePermittedAlone(Oracle):
    ORDER = (*(name for name in Oracle.ORDER if name != "not_locked_out"), "not_locked_out")


class LockOutAskedAfterTheGrants(Oracle):
    ORDER = tuple(
        one
        for name in Oracle.ORDER
        if name != "not_locked_out"
        for one in ((name, "not_locked_out") if name == "granted" else (name,))
    )


class PassingALockdownPassesALockOut(Oracle):
    def not_locked_out(self, question: Question) -> set[str]:
        passes = self.passing_groups(question.point) and not self.not_locked_down(question)
        return set() if passes else super().not_locked_out(question)


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


class SingleDoorsNeverLocked(Oracle):
    def passing_groups(self, point: str) -> set[str | None]:
        place = self.facts.points[point]
        if place.use != "door" or place.escape_route:
            return set()
        return {self.facts.lockdowns[zone] for zone in self.zones_of(point) if zone in self.facts.lockdowns}


class TheDoorsOwnLockdownWins(Oracle):
    def passing_groups(self, point: str) -> set[str | None]:
        found = super().passing_groups(point)
        return {self.facts.door_locks[point]} if found and point in self.facts.door_locks else found


class LockdownOfADoorShutsItsZone(Oracle):
    def passing_groups(self, point: str) -> set[str | None]:
        place = self.facts.points[point]
        if place.use != "door" or place.escape_route:
            return set()
        beside = [one for one in self.facts.door_locks if self.facts.points[one].zone == place.zone]
        return super().passing_groups(point) | {self.facts.door_locks[one] for one in beside}


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
_IN_ORDER = ("in_their_time", "fresh", "not_locked_out", "not_locked_down", "not_blocked", "granted", "strong_enough")
_IN_ORDER += ("accompanied",)
WRONG_ORACLES = [
    one for one in list(globals().values()) if isinstance(one, type) and issubclass(one, Oracle) and one is not Oracle
] + [_asked_after(*pair) for pair in pairwise(_IN_ORDER)]
