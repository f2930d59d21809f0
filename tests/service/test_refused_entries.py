# SPDX-License-Identifier: EUPL-1.2
"""What may not be entered (`docs/access.md`): refused whole, with a message that names what and where."""

import contextlib
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa
from service.directory import group, open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice import changes
from cardservice.access import store
from cardservice.access.rules import Level, Reason, Tap, decide
from cardservice.access.schedules import Interval
from cardservice.access.service import City
from cardservice.access.setup import (
    AccessSetup,
    DemandSetup,
    LevelException,
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    SpecialDaysSetup,
    SpecialHours,
    ZoneSetup,
    apply,
)
from cardservice.cards import service as cards
from cardservice.database import Databases
from cardservice.errors import Conflict, NotFound

DAYS = {
    "half": (date(2026, 12, 24), date(2026, 12, 31)),
    "closed": (date(2026, 12, 28), date(2026, 12, 31)),
    "bridge": (date(2026, 6, 4), date(2026, 6, 5)),
}
INTERVALS = (Interval(0, 420, 1080),)
EXCEPTION = LevelException(1_800_000_000_000, "building site")


@pytest.fixture(autouse=True)
def city(databases: Databases, clock: FakeClock) -> None:
    """A vault that demands a card and its PIN, inside a house that demands the card."""
    tell(open_copy(databases.state, clock), someone("anna"), group("office", "anna"))
    everything = AccessSetup(
        zones=[
            ZoneSetup("house", "House", level=Level.CARD),
            ZoneSetup("vault", "Vault", "house", Level.CARD_PIN),
            ZoneSetup("room", "Room", "vault"),
        ],
        special_days=[SpecialDaysSetup(code, code, days) for code, days in DAYS.items()],
        schedules=[ScheduleSetup("night", "Night", INTERVALS)],
        point_classes=[
            PointClassSetup("card", "Card"),
            PointClassSetup("pin", "PIN", level=Level.CARD_PIN),
            PointClassSetup(
                "pin-by-day", "PIN by day", level=Level.CARD_PIN, demands=(DemandSetup("night", Level.UID),)
            ),
        ],
    )
    apply(databases.state, 1, everything)


def _hours(land: str | None, *groups: str, hours: tuple[tuple[int, int], ...] = ((480, 720),)) -> dict[str, Any]:
    special = tuple(SpecialHours(code, hours) for code in groups)
    return {"schedules": [ScheduleSetup("hours", "Hours", INTERVALS, land, special)]}


def _point(zone: str, point_class: str, exception: LevelException | None = None) -> dict[str, Any]:
    return {"points": [PointSetup("door", "Door", zone, point_class, exception=exception)]}


@dataclass(frozen=True)
class Refused:
    """What is entered, and words that the refusal must have."""

    parts: dict[str, Any]
    words: tuple[str, ...]
    error: type[Exception] = field(default=Conflict)


REFUSED = {
    "a day in two groups": Refused(_hours(None, "half", "closed"), ("schedule hours", "2026-12-31", "half", "closed")),
    "a holiday of one Land": Refused(_hours("NW", "bridge"), ("schedule hours", "2026-06-04", "bridge", "NW")),
    "a class below its zone": Refused(_point("vault", "card"), ("point door", "zone vault", "card_pin")),
    "a class below a zone around": Refused(_point("room", "card"), ("point door", "zone vault", "card_pin")),
    "a class below it at night": Refused(_point("house", "pin-by-day"), ("point door", "zone house", "uid", "card")),
    "a group nobody knows": Refused(
        {"rules": [RuleSetup(group="nobody", zone="house")]}, ("directory group", "nobody"), NotFound
    ),
    "no Land": Refused(_hours("XX"), ("schedule hours", "XX")),
    "no time zone": Refused(
        {"points": [PointSetup("door", "Door", "room", "pin", time_zone="Mars/Base")]}, ("point door", "Mars/Base")
    ),
    "nobody at all": Refused({"point_classes": [PointClassSetup("odd", "Odd", people=0)]}, ("point class odd", "0")),
    "three people": Refused({"point_classes": [PointClassSetup("odd", "Odd", people=3)]}, ("point class odd", "3")),
    "three people at times": Refused(
        {"point_classes": [PointClassSetup("odd", "Odd", demands=(DemandSetup("night", Level.CARD, 3),))]},
        ("point class odd", "3"),
    ),
}


def _stored(databases: Databases) -> tuple[int, ...]:
    tables = (store.zone, store.schedule, store.schedule_special, store.point_class, store.point, store.access_rule)
    counts = [sa.select(sa.func.count()).select_from(table) for table in (*tables, changes.changes)]
    with databases.state.connect() as connection:
        return tuple(connection.execute(count).scalar_one() for count in counts)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_whole_and_says_what_and_where(databases: Databases, name: str) -> None:
    """Nothing of it is stored, nobody hears of a change, and who entered it can put it right from the message."""
    refused, before = REFUSED[name], _stored(databases)
    with pytest.raises(refused.error) as error:
        apply(databases.state, 1, AccessSetup(**refused.parts))
    assert [word for word in refused.words if word not in str(error.value)] == []
    assert _stored(databases) == before


ACCEPTED = {
    "days in one group each": _hours(None, "half", "bridge"),
    "a holiday of another Land": _hours("BE", "bridge"),
    "a holiday where none counts": _hours(None, "bridge"),
    "closing days": _hours("NW", "closed", hours=()),
    "a class as strong as its zone": _point("room", "pin"),
    "a weaker class with an exception": _point("room", "card", EXCEPTION),
    "one weaker at night with an exception": _point("house", "pin-by-day", EXCEPTION),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_beside_it_is_accepted(databases: Databases, name: str) -> None:
    """The same groups, days, zones and classes where they leave nothing in doubt."""
    before = _stored(databases)
    apply(databases.state, 1, AccessSetup(**ACCEPTED[name]))
    assert _stored(databases) != before


ENDS_FIRST = {
    "hours of a weekday": {"schedules": [ScheduleSetup("hours", "Hours", (Interval(0, 720, 480),))]},
    "special hours": _hours(None, "half", hours=((720, 480),)),
    "hours without a minute": {"schedules": [ScheduleSetup("hours", "Hours", (Interval(0, 480, 480),))]},
}


@pytest.mark.parametrize("name", ENDS_FIRST)
def test_hours_that_end_before_they_begin_are_refused_whole(databases: Databases, name: str) -> None:
    before = _stored(databases)
    with pytest.raises(Conflict):
        apply(databases.state, 1, AccessSetup(**ENDS_FIRST[name]))
    assert _stored(databases) == before


@pytest.mark.parametrize("name", ENDS_FIRST)
def test_hours_that_end_before_they_begin_are_named(databases: Databases, name: str) -> None:
    with pytest.raises(Conflict, match="schedule hours, "):
        apply(databases.state, 1, AccessSetup(**ENDS_FIRST[name]))


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_exception_needs_a_reason(databases: Databases, reason: str) -> None:
    with pytest.raises(Conflict, match="point door"):
        apply(databases.state, 1, AccessSetup(**_point("room", "card", LevelException(1_800_000_000_000, reason))))


def test_a_rule_counts_however_deep_zones_are_nested(databases: Databases, clock: FakeClock) -> None:
    """A zone that is too deep for the rules around it is refused, or they count there; never is one forgotten."""
    names = [f"z{number}" for number in range(40)]
    cards.register(databases.state, [cards.NewCard(1, row_numbers(databases.state)["anna"], (b"anna's card",))])
    with contextlib.suppress(Conflict):
        everything = AccessSetup(
            zones=[ZoneSetup(name, name, outer) for name, outer in zip(names, [None, *names], strict=False)],
            points=[PointSetup("door", "Door", names[-1], "card")],
            rules=[
                RuleSetup(group="office", point="door"),
                RuleSetup(group="office", zone=names[0], effect="block"),
            ],
        )
        apply(databases.state, 1, everything)
    city = City(databases.state, clock)
    city.build()
    tap = Tap("door", b"anna's card", Level.CARD)
    assert decide(city.snapshot, tap, clock.now_ms(), 0).reason in {Reason.BLOCKED, Reason.POINT_UNKNOWN}
