# SPDX-License-Identifier: EUPL-1.2
"""Far-off moments: `clock_doubtful` where blocks or levels depend on schedules, and only there."""

from collections.abc import Iterator

import pytest
from service.directory import group, open_copy, row_numbers, someone, tell
from service.facts import DAY_MS
from service.fake_clock import FakeClock

from cardservice.access.rules import Level, Tap, decide
from cardservice.access.schedules import Interval
from cardservice.access.service import City
from cardservice.access.setup import (
    AccessSetup,
    DemandSetup,
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    ZoneSetup,
    apply,
)
from cardservice.cards import service as cards
from cardservice.database import Databases

KEY = b"anna's card"
WEEK_LONG = tuple(Interval(day, 0, 1440) for day in range(7))
FAR_OFF = (-500 * DAY_MS, -30 * DAY_MS, 402 * DAY_MS, 500 * DAY_MS)


class House:
    """Anna, of the office, may pass its one door at any time; Bob may not."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self._databases, self._clock = databases, clock
        tell(open_copy(databases.state, clock), someone("anna"), someone("bob"), group("office", "anna"))
        cards.register(databases.state, [cards.NewCard(1, row_numbers(databases.state)["anna"], (KEY,))])

    def answers(self, *ahead_ms: int, demands: tuple[DemandSetup, ...] = (), **block: object) -> Iterator[str]:
        """Enter everything, with a block if one is given; say what Anna is answered so far from now."""
        blocks = [RuleSetup(point="door", effect="block", **block)] if block else []
        everything = AccessSetup(
            zones=[ZoneSetup("hall", "Hall")],
            schedules=[ScheduleSetup("hours", "Hours", WEEK_LONG)],
            point_classes=[PointClassSetup("plain", "Plain", demands=demands)],
            points=[PointSetup("door", "Door", "hall", "plain")],
            rules=[RuleSetup(group="office", point="door"), *blocks],
        )
        apply(self._databases.state, 1, everything)
        city = City(self._databases.state, self._clock)
        city.build()
        for ahead in ahead_ms:
            at_ms = self._clock.now_ms() + ahead
            yield decide(city.snapshot, Tap("door", KEY, Level.CARD), at_ms, 0).reason.value


@pytest.fixture
def house(databases: Databases, clock: FakeClock) -> House:
    return House(databases, clock)


def test_where_nothing_depends_on_the_time_every_clock_will_do(house: House) -> None:
    assert set(house.answers(*FAR_OFF)) == {"granted"}


def test_a_demand_with_a_schedule_is_unknown_far_off(house: House) -> None:
    demands = (DemandSetup("hours", Level.CARD_PIN),)
    assert set(house.answers(*FAR_OFF, demands=demands)) == {"clock_doubtful"}


def test_a_block_with_a_schedule_is_unknown_far_off(house: House) -> None:
    assert set(house.answers(*FAR_OFF, login="bob", schedule="hours")) == {"clock_doubtful"}


@pytest.mark.parametrize(("bound", "ahead_days"), [("valid_from_ms", 450), ("valid_until_ms", -450)])
def test_a_block_whose_hours_all_lie_far_off_is_unknown_there(
    house: House, clock: FakeClock, bound: str, ahead_days: int
) -> None:
    """A clock that is far off must not open a door on the very days on which its holder is blocked."""
    block = {"login": "anna", "schedule": "hours", bound: clock.now_ms() + ahead_days * DAY_MS}
    at_ms = (ahead_days + (50 if ahead_days > 0 else -50)) * DAY_MS
    assert list(house.answers(at_ms, **block)) == ["clock_doubtful"]


@pytest.mark.parametrize(("login", "reason"), [("bob", "granted"), ("anna", "blocked")])
def test_a_block_for_all_times_is_known_far_off(house: House, login: str, reason: str) -> None:
    assert set(house.answers(*FAR_OFF, login=login)) == {reason}


def test_schedules_are_worked_out_for_396_days_ahead(house: House) -> None:
    demands = (DemandSetup("hours", Level.CARD),)
    assert list(house.answers(395 * DAY_MS, 396 * DAY_MS, demands=demands)) == ["granted", "granted"]
