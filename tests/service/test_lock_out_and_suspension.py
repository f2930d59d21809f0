# SPDX-License-Identifier: EUPL-1.2
"""Cards suspended until an instant, and accounts locked out in the directory: answers worked out by hand.

It is Monday, 16 March 2026, 09:00 UTC. Most of what ends here ends ten days later, at `END`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from service.directory import group, open_copy, row_numbers, someone, tell
from service.facts import DAY_MS
from service.fake_clock import MONDAY_MS, FakeClock
from service.random_access import group_number
from sqlalchemy.engine import Engine

from cardservice.access import setup
from cardservice.access.rules import HouseRules, Level, Tap, Use, decide
from cardservice.access.schedules import Interval
from cardservice.access.service import City
from cardservice.cards import service as cards
from cardservice.cards.rules import CardState
from cardservice.database import Databases, write
from cardservice.doors import store as doors
from cardservice.people.rules import NO_KNOWN_END_MS

END = MONDAY_MS + 10 * DAY_MS
# Classes allow a copy of one minute.
FRESH, STALE = 60_000, 60_001
ORDINARY = frozenset({Use.WORKSTATION})
EVERY_USE = frozenset(Use)

# Everybody of the staff may pass at every point but the vault, which nobody is granted; it takes a card there.
POINTS = {"door": Use.DOOR, "pc": Use.WORKSTATION, "clock": Use.TIMECLOCK, "printer": Use.PRINTER, "till": Use.CANTEEN}
POINTS |= {"foyer": Use.DOOR, "vault": Use.DOOR, "vault pc": Use.WORKSTATION}
POINTS |= {"patient pc": Use.WORKSTATION, "night pc": Use.WORKSTATION}
CLASS_OF = {"patient pc": "patient", "night pc": "night"}
ZONE_OF = {"foyer": "foyer", "vault": "vault", "vault pc": "vault"}

# What the directory says of people, beside that they are there.
PEOPLE: dict[str, dict[str, Any]] = {
    "anna": {},
    "disabled": {"enabled": False},
    "left": {},
    "until_the_day_before": {"valid_until_ms": END - DAY_MS},
    "blocked": {},
    "locked": {"locked_until_ms": END},
    "locked_guard": {"locked_until_ms": END},
    "locked_for_good": {"locked_until_ms": NO_KNOWN_END_MS},
    "locked_yesterday": {"locked_until_ms": MONDAY_MS - DAY_MS},
    "locked_until_now": {"locked_until_ms": MONDAY_MS},
    "locked_and_disabled": {"locked_until_ms": END, "enabled": False},
    "locked_and_expired": {"locked_until_ms": END, "valid_until_ms": MONDAY_MS},
    "locked_to_the_last": {"locked_until_ms": END, "valid_until_ms": END},
    "locked_and_blocked": {"locked_until_ms": END},
    "freed": {"locked_until_ms": END},
    "locked_longer": {"locked_until_ms": END},
}
GUARDS = ("locked_guard",)
BLOCKED = ("blocked", "locked_and_blocked")

SUSPENDED = ((CardState.SUSPENDED, END),)


class Card(NamedTuple):
    """Whose a card is, the states it goes through after it was active, each with an end, and its own time."""

    holder: str | None
    steps: tuple[tuple[CardState, int | None], ...] = SUSPENDED
    from_ms: int | None = None
    until_ms: int | None = None


CARDS = {name: Card(name, steps=()) for name in PEOPLE} | {
    "suspended": Card("anna"),
    "suspended for good": Card("anna", ((CardState.SUSPENDED, None),)),
    "suspended, ends later": Card("anna", until_ms=END + 2 * DAY_MS),
    "suspended, ends sooner": Card("anna", until_ms=END - 2 * DAY_MS),
    "suspended, ends then": Card("anna", until_ms=END),
    "suspended, begins later": Card("anna", from_ms=END + 3 * DAY_MS),
    "suspended, begins then": Card("anna", from_ms=END),
    "suspended, nobody's": Card(None),
    "suspended, of the disabled": Card("disabled"),
    "suspended, of who left": Card("left"),
    "suspended, of who goes before": Card("until_the_day_before"),
    "suspended, of the blocked": Card("blocked"),
    "suspended, of the locked": Card("locked"),
    "suspended and revoked": Card("anna", (*SUSPENDED, (CardState.REVOKED, None))),
    "suspended and active": Card("anna", (*SUSPENDED, (CardState.ACTIVE, None))),
    "suspended for good now": Card("anna", (*SUSPENDED, (CardState.ACTIVE, None), (CardState.SUSPENDED, None))),
    "second card of the locked": Card("locked", steps=()),
}


class Case(NamedTuple):
    """One tap and its answer, worked out by hand."""

    card: str
    point: str
    at_ms: int
    answer: str
    why: str
    age_ms: int = 0
    level: Level = Level.CARD


SUSPENSION = [
    Case("suspended", "door", MONDAY_MS, "card_suspended", "It is suspended from the moment that somebody said so."),
    Case("suspended", "door", END - 1, "card_suspended", "The last millisecond still belongs to the suspension."),
    Case("suspended", "door", END, "granted", "From the instant itself on it is active."),
    Case("suspended", "door", END + 200 * DAY_MS, "granted", "It stays active."),
    Case("suspended", "till", END - 1, "card_suspended", "A suspension holds at every use."),
    Case("suspended for good", "door", END + 300 * DAY_MS, "card_suspended", "No end was said, so it has none."),
    Case(
        "suspended, ends later", "door", END + 2 * DAY_MS - 1, "granted", "Active again, and its own time still runs."
    ),
    Case("suspended, ends later", "door", END + 2 * DAY_MS, "card_expired", "Being active again prolongs no card."),
    Case("suspended, ends sooner", "door", END - 3 * DAY_MS, "card_suspended", "It is both suspended and in its time."),
    Case(
        "suspended, ends sooner",
        "door",
        END - DAY_MS,
        "card_suspended",
        "Suspended before END, whatever its dates say.",
    ),
    Case("suspended, ends sooner", "door", END, "card_expired", "Active again, but its own time was over before."),
    Case("suspended, ends then", "door", END - 1, "card_suspended", "Both still run; the state is asked first."),
    Case("suspended, ends then", "door", END, "card_expired", "Both end at once: active, and expired."),
    Case(
        "suspended, begins later",
        "door",
        END - 1,
        "card_suspended",
        "Not yet valid either, but the state is asked first.",
    ),
    Case(
        "suspended, begins later", "door", END, "card_not_yet_valid", "Active again, three days before its time begins."
    ),
    Case("suspended, begins later", "door", END + 3 * DAY_MS, "granted", "Active again, and its time has begun."),
    Case("suspended, begins then", "door", END, "granted", "The suspension ends and its time begins at one instant."),
    Case("suspended, nobody's", "door", END - 1, "card_suspended", "The card is asked about before its holder."),
    Case("suspended, nobody's", "door", END, "no_holder", "Active again, but still nobody's."),
    Case("suspended, of the disabled", "door", END - 1, "card_suspended", "The card is asked about before its holder."),
    Case("suspended, of the disabled", "door", END, "person_disabled", "Active again, but its holder is disabled."),
    Case("suspended, of who left", "door", END - 1, "card_suspended", "The card is asked about before its holder."),
    Case("suspended, of who left", "door", END, "person_left", "Active again, but its holder is gone."),
    Case(
        "suspended, of who goes before", "door", END - 1, "card_suspended", "The state is asked before anybody's time."
    ),
    Case(
        "suspended, of who goes before", "door", END, "person_expired", "Active again, but its holder's time is over."
    ),
    Case("suspended, of the blocked", "door", END - 1, "card_suspended", "The state comes long before blocks."),
    Case("suspended, of the blocked", "door", END, "blocked", "Active again, and a block beats the grant."),
    Case("suspended", "vault", END - 1, "card_suspended", "The state comes before grants."),
    Case("suspended", "vault", END, "no_grant", "Active again gives nobody a right."),
    Case("suspended", "foyer", END - 1, "card_suspended", "The state comes before the lockdown."),
    Case("suspended", "foyer", END, "locked_down", "Active again does not pass a lockdown."),
    Case("suspended", "door", END - 1, "card_suspended", "The state comes before the age of the copy.", age_ms=STALE),
    Case("suspended", "door", END, "directory_stale", "Active again, but nobody knows its holder.", age_ms=STALE),
    Case("suspended and revoked", "door", END, "card_revoked", "What was revoked meanwhile does not become active."),
    Case("suspended and active", "door", END - 1, "granted", "Somebody ended the suspension before its end."),
    Case(
        "suspended for good now",
        "door",
        END,
        "card_suspended",
        "The new suspension has no end, whatever the old one had.",
    ),
]

LOCK_OUT = [
    Case("locked", "pc", END - 1, "person_locked_out", "The last millisecond still belongs to the lock."),
    Case("locked", "pc", END, "granted", "From the instant itself on the account is free, and no event said so."),
    Case(
        "second card of the locked", "pc", END - 1, "person_locked_out", "It is the account that is locked, not a card."
    ),
    Case("locked", "door", END - 1, "granted", "Anybody can type wrong passwords: a lock stops no door."),
    Case("locked", "clock", END - 1, "granted", "Nor the time clock."),
    Case("locked", "printer", END - 1, "granted", "Nor a printer."),
    Case("locked", "till", END - 1, "granted", "Nor a till."),
    Case("anna", "pc", MONDAY_MS, "granted", "Nobody locked her out."),
    Case(
        "locked_for_good",
        "pc",
        END + 300 * DAY_MS,
        "person_locked_out",
        "No end is known: as long as the directory says so.",
    ),
    Case("locked_yesterday", "pc", MONDAY_MS, "granted", "The directory still tells of a lock that has ended."),
    Case(
        "locked_until_now",
        "pc",
        MONDAY_MS - 1,
        "person_locked_out",
        "A clock a millisecond slow is still before the end.",
    ),
    Case("locked_until_now", "pc", MONDAY_MS, "granted", "It ends now, and until is exclusive."),
    Case("freed", "pc", MONDAY_MS, "granted", "An administrator freed the account before the lock's end."),
    Case("locked_longer", "pc", END, "person_locked_out", "More wrong passwords moved the end."),
    Case("locked_longer", "pc", END + DAY_MS, "granted", "The later end is an end all the same."),
    Case("locked", "pc", MONDAY_MS, "person_locked_out", "A copy just young enough knows of the lock.", age_ms=FRESH),
    Case("locked", "pc", MONDAY_MS, "directory_stale", "The age of the copy is asked about first.", age_ms=STALE),
    Case("locked", "patient pc", MONDAY_MS, "person_locked_out", "Permit goes on to the next question.", age_ms=STALE),
    Case("locked", "patient pc", END, "granted", "The lock has ended, and the age is permitted.", age_ms=STALE),
    Case("locked_and_disabled", "pc", MONDAY_MS, "person_disabled", "Disabled is asked about first."),
    Case("locked_and_expired", "pc", MONDAY_MS, "person_expired", "Their time is asked about first."),
    Case("locked_to_the_last", "pc", END - 1, "person_locked_out", "In their time and locked out."),
    Case("locked_to_the_last", "pc", END, "person_expired", "Free again at the instant at which their time is over."),
    Case("suspended, of the locked", "pc", END - 1, "card_suspended", "The card is asked about first."),
    Case("suspended, of the locked", "pc", END, "granted", "Suspension and lock end at one instant."),
    Case("locked_and_blocked", "pc", END - 1, "person_locked_out", "A lock is asked about before blocks."),
    Case("locked_and_blocked", "pc", END, "blocked", "Free again, but blocked."),
    Case("locked", "vault pc", END - 1, "person_locked_out", "A lock is asked about before grants."),
    Case("locked", "vault pc", END, "no_grant", "Free again, but without a grant there."),
    Case("locked", "pc", END - 1, "person_locked_out", "A lock is asked about before the level.", level=Level.UID),
    Case("locked", "pc", END, "level_too_low", "Free again, but the proof is too weak.", level=Level.UID),
    Case(
        "locked_for_good",
        "night pc",
        END + 600 * DAY_MS,
        "person_locked_out",
        "A doubt about hours comes after question 5.",
    ),
    Case(
        "locked",
        "night pc",
        END + 600 * DAY_MS,
        "clock_doubtful",
        "Free again, but nobody knows what is demanded then.",
    ),
]

LOCK_OUT_AT_EVERY_USE = [
    Case("locked", "door", END - 1, "person_locked_out", "The setting names doors."),
    Case("locked", "door", END, "granted", "The end is an end at doors, too."),
    Case("locked", "clock", END - 1, "person_locked_out", "The setting names time clocks."),
    Case("locked", "printer", END - 1, "person_locked_out", "The setting names printers."),
    Case("locked", "till", END - 1, "person_locked_out", "The setting names tills."),
    Case("locked", "pc", END - 1, "person_locked_out", "The setting names PCs."),
    Case("locked", "foyer", END - 1, "person_locked_out", "A lock is asked about before the lockdown."),
    Case("locked", "foyer", END, "locked_down", "Free again, but not of the group that passes."),
    Case("locked_guard", "foyer", END - 1, "person_locked_out", "Who passes a lockdown does not pass a lock."),
    Case("locked_guard", "foyer", END, "granted", "Free again, and of the group that passes."),
    Case("locked", "vault", END - 1, "person_locked_out", "A lock is asked about before grants."),
]

LOCK_OUT_AT_DOORS = [
    Case("locked", "door", END - 1, "person_locked_out", "The setting names doors."),
    Case("locked_for_good", "pc", MONDAY_MS, "granted", "The setting names doors alone: PCs are no exception."),
]

LOCK_OUT_NOWHERE = [
    Case("locked_for_good", "pc", MONDAY_MS, "granted", "The setting names no use."),
    Case("locked_for_good", "door", MONDAY_MS, "granted", "The setting names no use."),
    Case("locked_and_disabled", "pc", MONDAY_MS, "person_disabled", "Disabled is disabled, whatever a lock stops."),
]


@pytest.fixture
def state(databases: Databases, clock: FakeClock) -> Iterator[Engine]:
    """A store with all of this, as people enter it."""
    copy = open_copy(databases.state, clock)
    tell(copy, *(someone(name, **said) for name, said in PEOPLE.items()), group("staff", *PEOPLE))
    tell(copy, group("guards", *GUARDS))
    _enter_access(databases.state)
    for name, card in CARDS.items():
        _give(databases.state, name, card)
    tell(copy, someone("freed"), someone("locked_longer", locked_until_ms=END + DAY_MS), removed=("left",))
    with write(databases.state) as connection:
        guards = group_number(connection, "guards")
        row = {"zone_id": doors.zone_number(connection, "foyer"), "since_ms": 1, "by": "desk", "reason": "drill"}
        assert doors.begin_lockdown(connection, row | {"passing_group_id": guards})
    return databases.state


def _enter_access(state: Engine) -> None:
    zones = [setup.ZoneSetup(code, code.title()) for code in ("house", "foyer", "vault")]
    night = setup.DemandSetup("week", Level.CARD)
    classes = [
        setup.PointClassSetup("plain", "Plain", freshness_ms=FRESH),
        setup.PointClassSetup("patient", "Patient", freshness_ms=FRESH, stale_policy="permit"),
        setup.PointClassSetup("night", "Night", freshness_ms=FRESH, demands=(night,)),
    ]
    points = [
        setup.PointSetup(code, code.title(), ZONE_OF.get(code, "house"), CLASS_OF.get(code, "plain"), use=use)
        for code, use in POINTS.items()
    ]
    everything = setup.AccessSetup(
        zones=zones,
        schedules=[setup.ScheduleSetup("week", "Week", tuple(Interval(day, 0, 1440) for day in range(7)))],
        point_classes=classes,
        points=points,
        rules=[
            *(setup.RuleSetup(group="staff", zone=zone) for zone in ("house", "foyer")),
            *(setup.RuleSetup(login=login, zone="house", effect="block") for login in BLOCKED),
        ],
    )
    setup.apply(state, 1, everything)


def _give(state: Engine, name: str, card: Card) -> None:
    holder = None if card.holder is None else row_numbers(state)[card.holder]
    own_time = {"valid_from_ms": card.from_ms, "valid_until_ms": card.until_ms}
    (reference,) = cards.register(state, [cards.NewCard(1, holder, (name.encode(),), **own_time)])
    reasons = {CardState.SUSPENDED: "missing", CardState.REVOKED: "lost"}
    for step, end_ms in card.steps:
        cards.change_state(state, reference, cards.NewState(step, reasons.get(step), end_ms), MONDAY_MS)


# What a lock-out stops -> what is asked then; None: nobody set it.
CASES = (
    (None, (*SUSPENSION, *LOCK_OUT)),
    (ORDINARY, LOCK_OUT),
    (EVERY_USE, (*SUSPENSION, *LOCK_OUT_AT_EVERY_USE)),
    (frozenset({Use.DOOR}), LOCK_OUT_AT_DOORS),
    (frozenset[Use](), LOCK_OUT_NOWHERE),
)


def test_answers_worked_out_by_hand(state: Engine, clock: FakeClock) -> None:
    """Each answer is the one that somebody worked out from the page alone, with the reason beside it."""
    wrong = []
    for stops, cases in CASES:
        city = City(state, clock) if stops is None else City(state, clock, house=HouseRules(stops))
        city.build()
        wrong += [(stops, case, told) for case in cases if (told := _told(city, case)) != case.answer]
    assert wrong == []


def _told(city: City, case: Case) -> str:
    return decide(city.snapshot, Tap(case.point, case.card.encode(), case.level), case.at_ms, case.age_ms).reason.value
