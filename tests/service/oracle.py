# SPDX-License-Identifier: EUPL-1.2
"""Who may pass, said a second time: slowly, from the plain facts, without a line of the service's own rules.

`docs/access.md` is all it follows. Local time is read off a list of all hours of a day; groups are added until none
is added; zones are climbed step by step. Instants are milliseconds since 1970-01-01T00:00:00Z.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from service.facts import DAY_MS, MINUTE_MS, Card, Demand, Facts, Person, PointClass, Rule, is_holiday

DAY_OF_HOLIDAYS = 7
NO_USE = {
    "stock": "card_not_issued",
    "in_production": "card_not_issued",
    "produced": "card_not_issued",
    "ready_for_pickup": "card_not_issued",
    "suspended": "card_suspended",
    "revoked": "card_revoked",
    "expired": "card_expired",
    "returned": "card_revoked",
    "erased": "card_revoked",
    "destroyed": "card_revoked",
}
# Beside reasons: going on to the next question is right too.
OR_GOES_ON = "goes on"
# Schedules are worked out for these days, counted from the one on which that is done.
WORKED_OUT_DAYS = range(-1, 397)


@cache
def hours_of(zone: str, day: date) -> list[tuple[int, int]]:
    """Return every hour of a local day: what a clock on the wall shows as it begins (minutes since midnight), and when.

    All zones asked about are whole hours beside UTC, and no clock changes within an hour.
    """
    tz = ZoneInfo(zone)
    hours = []
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    for moment in (begin + timedelta(hours=number) for number in range(54)):
        local = moment.astimezone(tz)
        assert local.minute == 0
        if local.date() == day:
            hours.append((local.hour * 60, int(moment.timestamp() * 1000)))
    return hours


@cache
def shown_at(zone: str, day: date, minute: int) -> list[int]:
    """Return when the wall clock shows `minute` of `day`; where it skips that, when it shows an hour more."""
    if minute == 24 * 60:
        day, minute = day + timedelta(days=1), 0
    for wanted in (minute, minute + 60):
        hours = [(wall, at_ms) for wall, at_ms in hours_of(zone, day) if wall <= wanted < wall + 60]
        if hours:
            return [at_ms + (wanted - wall) * MINUTE_MS for wall, at_ms in hours]
    raise AssertionError(f"{zone} never shows minute {minute} on {day}")


@dataclass(frozen=True)
class Question:
    """One tap; `first` is who was asked for a second person just before, None for nobody."""

    credential: bytes
    point: str
    level: int
    at_ms: int
    age_ms: int
    first: str | None = None


class Oracle:
    """Answers from facts that stand still; whatever it found out once it remembers.

    `worked_out_ms` is when schedules were last worked out. Each question of `ORDER` returns the reasons that are right,
    none for yes: more than one where the page leaves it open which of them is told.
    """

    ORDER: tuple[str, ...] = (
        "known",
        "usable",
        "in_their_time",
        "fresh",
        "not_locked_out",
        "not_locked_down",
        "not_doubtful",
        "not_blocked",
        "granted",
        "strong_enough",
        "accompanied",
    )
    REMEMBERED = (
        "groups_of",
        "zones_of",
        "targets_of",
        "rules_for",
        "depends_on_schedules",
        "day_shown",
        "sometimes_open",
    )
    REMEMBERED += ("spans_on", "hours_on")

    def __init__(self, facts: Facts, worked_out_ms: int) -> None:
        self.facts = facts
        self.worked_out_ms = worked_out_ms
        for name in self.REMEMBERED:
            setattr(self, name, cache(getattr(self, name)))

    def answers(self, question: Question) -> set[str]:
        """Return the reasons that are right."""
        also: set[str] = set()
        for name in self.ORDER:
            refused = getattr(self, name)(question)
            if OR_GOES_ON in refused:
                also |= refused - {OR_GOES_ON}
            elif refused:
                return refused | also
        return {"granted"} | also

    # 1. Is the point known, and the credential?

    def known(self, question: Question) -> set[str]:
        if question.point not in self.facts.points:
            return {"point_unknown"}
        return set() if question.credential in self.facts.cards else {"card_unknown"}

    # 2. Is the card active, has it a holder, are they present and enabled?

    def usable(self, question: Question) -> set[str]:
        card = self.facts.cards[question.credential]
        state = self.state_of(card, question.at_ms)
        if state != "active":
            return {NO_USE[state]}
        if card.holder is None:
            return {"no_holder"}
        person = self.facts.people[card.holder]
        if not person.present:
            return {"person_left"}
        if not person.enabled:
            return {"person_disabled"}
        return set() if self.is_answered_for(person) else {"no_sponsor"}

    def is_answered_for(self, person: Person) -> bool:
        if person.sponsor is None:
            return True
        sponsor = self.facts.people[person.sponsor]
        return sponsor.present and sponsor.enabled

    def state_of(self, card: Card, at_ms: int) -> str:
        """Return what a card is: suspended before the instant at which that ends, active from it on."""
        over = card.suspension_ends_ms is not None and at_ms >= card.suspension_ends_ms
        return "active" if card.state == "suspended" and over else card.state

    # 3. Is it their time, and that of whoever answers for them? Where more than one is out of it, either may be told.

    def in_their_time(self, question: Question) -> set[str]:
        card = self.facts.cards[question.credential]
        holder = self.facts.people[card.holder]
        own = self.out_of_time("card", card, question.at_ms) | self.out_of_time("person", holder, question.at_ms)
        return own | self.sponsors_time(holder, question.at_ms)

    def sponsors_time(self, holder: Person, at_ms: int) -> set[str]:
        if holder.sponsor is None:
            return set()
        out = self.out_of_time("person", self.facts.people[holder.sponsor], at_ms)
        return {"no_sponsor"} if out else set()

    def out_of_time(self, of: str, thing: Card | Person, at_ms: int) -> set[str]:
        reasons = set()
        if thing.from_ms is not None and at_ms < thing.from_ms:
            reasons.add(f"{of}_not_yet_valid")
        if thing.until_ms is not None and at_ms >= thing.until_ms:
            reasons.add(f"{of}_expired")
        return reasons

    # 4. Was the directory copy proved current recently enough?

    def fresh(self, question: Question) -> set[str]:
        kind = self.class_of(question.point)
        return {"directory_stale"} if question.age_ms > kind.freshness_ms and not kind.stale_permits else set()

    # Is the holder's account locked out in the directory, at a point of a use that such a lock stops?

    def not_locked_out(self, question: Question) -> set[str]:
        if self.facts.points[question.point].use not in self.facts.lock_out_stops:
            return set()
        locked_out = self.is_locked_out(self.facts.people[self.holder_of(question)], question.at_ms)
        return {"person_locked_out"} if locked_out else set()

    def is_locked_out(self, person: Person, at_ms: int) -> bool:
        return person.locked_out and (person.lock_ends_ms is None or at_ms < person.lock_ends_ms)

    # 5. Is the door locked down?

    def not_locked_down(self, question: Question) -> set[str]:
        passing = self.passing_groups(question.point)
        if not passing:
            return set()
        one = next(iter(passing))
        goes_on = len(passing) == 1 and one in self.groups_of(self.holder_of(question))
        return set() if goes_on else {"locked_down"}

    def passing_groups(self, point: str) -> set[str | None]:
        """Return the passing group of each lockdown that holds at a point; None where a lockdown has none."""
        place = self.facts.points[point]
        if place.use != "door" or place.escape_route:
            return set()
        of_zones = {self.facts.lockdowns[zone] for zone in self.zones_of(point) if zone in self.facts.lockdowns}
        return of_zones | ({self.facts.door_locks[point]} if point in self.facts.door_locks else set())

    # Do blocks or levels depend on schedules, and is it too far off to know them? Where only a schedule that may never
    # be open makes the difference, the page leaves it open whether the answer is known all the same.

    def not_doubtful(self, question: Question) -> set[str]:
        if self.is_worked_out(question.at_ms):
            return set()
        surely, perhaps = self.depends_on_schedules(question.point)
        if surely:
            return {"clock_doubtful"}
        return {"clock_doubtful", OR_GOES_ON} if perhaps else set()

    def depends_on_schedules(self, point: str) -> tuple[bool, bool]:
        """Say whether a demand or block at a point, whoever it names, surely has a schedule; whether perhaps.

        Instants are no schedules: what begins or ends at one is known however far off it is.
        """
        zone = self.facts.points[point].time_zone
        blocks = [one for one in self.facts.rules if one.effect == "block" and one.target in self.targets_of(point)]
        sometimes = [one for one in blocks if one.from_ms is None or one.until_ms is None or one.from_ms < one.until_ms]
        demands = self.class_of(point).demands
        surely = any(self.sometimes_open(one.schedule, zone) for one in (*demands, *sometimes) if one.schedule)
        return surely, bool(demands) or any(one.schedule for one in blocks)

    # 6. Does a block name the holder now?

    def not_blocked(self, question: Question) -> set[str]:
        for rule in self.rules_for(self.holder_of(question), question.point):
            if rule.effect == "block" and self.holds(rule, question):
                return {"blocked"}
        return set()

    # 7. Does a grant name the holder now?

    def granted(self, question: Question) -> set[str]:
        rules = self.rules_for(self.holder_of(question), question.point)
        grants = [rule for rule in rules if rule.effect == "grant"]
        if any(self.holds(rule, question) for rule in grants):
            return set()
        if not grants:
            return {"no_grant"}
        if any(self.sometimes_holds(rule, question.point) for rule in grants):
            return {"outside_schedule"}
        return {"outside_schedule", "no_grant"}

    # 8. Is the proof strong enough?

    def strong_enough(self, question: Question) -> set[str]:
        return {"level_too_low"} if question.level < self.demanded_level(question) else set()

    def demanded_level(self, question: Question) -> int:
        of_class = self.most(self.class_of(question.point).level, [one.level for one in self.in_force(question)])
        return max(of_class, self.zones_level(question))

    def most(self, own: int, in_force: list[int]) -> int:
        return max(in_force) if in_force else own

    def zones_level(self, question: Question) -> int:
        until_ms = self.facts.points[question.point].exception_until_ms
        if until_ms is not None and question.at_ms < until_ms:
            return 0
        return max(self.facts.zones[zone].level or 0 for zone in self.zones_of(question.point))

    # 9. Are two different people demanded?

    def accompanied(self, question: Question) -> set[str]:
        people = [one.people for one in self.in_force(question)]
        if self.most(self.class_of(question.point).people, people) < 2:
            return set()
        if question.first is None:
            return {"second_person_needed"}
        return {"same_person_twice"} if question.first == self.holder_of(question) else set()

    # What the questions rest on.

    def is_worked_out(self, at_ms: int) -> bool:
        """Say whether schedules are worked out for a moment. The days are those of UTC."""
        return at_ms // DAY_MS - self.worked_out_ms // DAY_MS in WORKED_OUT_DAYS

    def holder_of(self, question: Question) -> str:
        return self.facts.cards[question.credential].holder

    def class_of(self, point: str) -> PointClass:
        return self.facts.classes[self.facts.points[point].point_class]

    def groups_of(self, person: str) -> set[str]:
        inside: set[str] = set()
        while True:
            found = {
                name
                for name, members in self.facts.groups.items()
                if ("person", person) in members or any(("group", one) in members for one in inside)
            }
            if found == inside:
                return inside
            inside = found

    def zones_of(self, point: str) -> list[str]:
        return list(self.facts.zones_around(self.facts.points[point].zone))

    def rules_for(self, person: str, point: str) -> list[Rule]:
        """Return the rules that name a person at a point, whatever their time."""
        who = {("person", person), *(("group", name) for name in self.groups_of(person))}
        where = self.targets_of(point)
        return [rule for rule in self.facts.rules if rule.subject in who and rule.target in where]

    def targets_of(self, point: str) -> set[tuple[str, str]]:
        """Return what a rule may be for that holds at a point."""
        return {
            ("point", point),
            ("use", self.facts.points[point].use),
            *(("zone", zone) for zone in self.zones_of(point)),
        }

    def holds(self, rule: Rule, question: Question) -> bool:
        """Say whether a rule holds: its first instant inclusive, its last exclusive, and its schedule."""
        if rule.from_ms is not None and question.at_ms < rule.from_ms:
            return False
        if rule.until_ms is not None and question.at_ms >= rule.until_ms:
            return False
        return rule.schedule is None or self.is_open(rule.schedule, question)

    def in_force(self, question: Question) -> list[Demand]:
        return [one for one in self.class_of(question.point).demands if self.is_open(one.schedule, question)]

    def sometimes_holds(self, rule: Rule, point: str) -> bool:
        """Say whether a rule surely has a time: it has no schedule, or that is open within its bounds soon."""
        from_ms = -(2**60) if rule.from_ms is None else rule.from_ms
        until_ms = 2**60 if rule.until_ms is None else rule.until_ms
        if rule.schedule is None:
            return from_ms < until_ms
        spans = self.sometimes_open(rule.schedule, self.facts.points[point].time_zone)
        return any(max(start, from_ms) < min(end, until_ms) for start, end in spans)

    def sometimes_open(self, schedule: str, zone: str) -> list[tuple[int, int]]:
        today = self.day_shown(zone, self.worked_out_ms)
        return [span for number in range(1, 15) for span in self.spans_on(schedule, zone, _beside(today, number))]

    def is_open(self, schedule: str, question: Question) -> bool:
        """Say whether a schedule holds at the point: an interval may reach into the day after its own.

        At a moment for which it is not worked out it holds for nobody.
        """
        if not self.is_worked_out(question.at_ms):
            return False
        zone = self.zone_of_time(question.point)
        today = self.day_shown(zone, question.at_ms)
        days = (_beside(today, -1), today, _beside(today, 1))
        spans = (span for day in days for span in self.spans_on(schedule, zone, day))
        return any(start <= question.at_ms < end for start, end in spans)

    def zone_of_time(self, point: str) -> str:
        return self.facts.points[point].time_zone

    def day_shown(self, zone: str, at_ms: int) -> date:
        return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).date()

    def spans_on(self, schedule: str, zone: str, day: date) -> list[tuple[int, int]]:
        """Return from when until when the hours of a day hold."""
        return [(self.begin(zone, day, start), self.end(zone, day, end)) for start, end in self.hours_on(schedule, day)]

    def begin(self, zone: str, day: date, minute: int) -> int:
        return shown_at(zone, day, minute)[0]

    def end(self, zone: str, day: date, minute: int) -> int:
        return shown_at(zone, day, minute)[-1]

    def hours_on(self, schedule: str, day: date) -> list[tuple[int, int]]:
        """Return the hours of a day: of its group of special days, else of holidays, else of its weekday."""
        plan = self.facts.schedules[schedule]
        for group, hours in plan.special.items():
            if day in self.facts.special_days[group]:
                return hours
        kind = DAY_OF_HOLIDAYS if is_holiday(plan.land, day) else day.weekday()
        return [(start, end) for wanted, start, end in plan.intervals if wanted == kind]


def _beside(day: date, number: int) -> date:
    return day + timedelta(days=number)
