# SPDX-License-Identifier: EUPL-1.2
"""The city in memory: followed step by step it equals the city compiled anew, and readers never see it half done."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from service.conftest import Place
from service.directory import group, open_copy, row_numbers, someone, tell
from service.facts import DAY_MS
from service.fake_clock import FakeClock
from service.random_city import RandomCity
from sqlalchemy.engine import Connection

from cardservice import changes
from cardservice.access import city as compilation
from cardservice.access import service, setup, store
from cardservice.access.rules import Decision, HouseRules, Level, Reason, Tap, Use, decide
from cardservice.access.schedules import Interval
from cardservice.access.service import City
from cardservice.cards import service as cards
from cardservice.cards.rules import CardState
from cardservice.cards.store import credential
from cardservice.changes import ChangeKind
from cardservice.clock import UNKNOWN_AGE_MS
from cardservice.database import Databases, open_databases, write
from cardservice.errors import DatabaseUnavailable
from cardservice.people.rules import NO_KNOWN_END_MS
from cardservice.people.service import DirectoryCopy

KEY = b"\x01anna's card"


@dataclass
class World:
    """A small city: Anna is in the office, the office may pass the door; `city` is not told unless a test does so."""

    databases: Databases
    clock: FakeClock
    copy: DirectoryCopy
    told: list[frozenset[ChangeKind]] = field(default_factory=list)

    def __post_init__(self) -> None:
        tell(self.copy, someone("anna"), group("office", "anna"), group("works"))
        classes = (setup.PointClassSetup("plain", "Plain"),)
        self.apply(
            zones=[setup.ZoneSetup("hall", "Hall"), setup.ZoneSetup("room", "Room", "hall")],
            schedules=[setup.ScheduleSetup("hours", "Hours", tuple(Interval(d, 420, 1080) for d in range(5)), "NW")],
            point_classes=classes,
            points=[setup.PointSetup("door", "Door", "room", "plain")],
            rules=[setup.RuleSetup(group="office", point="door")],
        )
        (self.reference,) = cards.register(
            self.databases.state, [cards.NewCard(1, row_numbers(self.databases.state)["anna"], (KEY,))]
        )
        self.city = City(self.databases.state, self.clock, self.told.append)
        self.city.build()

    def apply(self, **parts: object) -> None:
        setup.apply(self.databases.state, 1, setup.AccessSetup(**parts))

    def decide(self, point: str = "door") -> Decision:
        return decide(self.city.snapshot, Tap(point, KEY, Level.CARD), self.clock.now_ms(), 0)

    def change_state(self, state: CardState, reason: str | None = None, ends_in_ms: int | None = None) -> None:
        now_ms = self.clock.now_ms()
        new = cards.NewState(state, reason, None if ends_in_ms is None else now_ms + ends_in_ms)
        cards.change_state(self.databases.state, self.reference, new, now_ms)

    def answer(self, point: str = "door") -> Reason:
        """Catch up, then tap."""
        self.city.catch_up()
        return self.decide(point).reason


@pytest.fixture
def world(databases: Databases, clock: FakeClock) -> World:
    return World(databases, clock, open_copy(databases.state, clock))


def rebuilt(databases: Databases, clock: FakeClock) -> City:
    city = City(databases.state, clock)
    city.build()
    return city


@pytest.mark.parametrize("seed", range(4))
def test_followed_step_by_step_it_equals_the_city_compiled_anew(
    databases: Databases, clock: FakeClock, seed: int
) -> None:
    """People, groups, cards, states, grants, points: after any of them, content and revision are the same."""
    world = RandomCity(databases.state, clock, seed)
    city = City(databases.state, clock)
    city.build()
    world.populate()
    deeds = []
    for step in range(30):
        deeds.append(world.change_something())
        if step % 3 and step != 29:
            continue
        city.catch_up()
        anew = rebuilt(databases, clock)
        assert city.snapshot.content_hash() == anew.snapshot.content_hash(), deeds
        assert city.snapshot.revision == anew.snapshot.revision
        assert city.snapshot.card_count == anew.snapshot.card_count
        assert dict(city.snapshot.points) == dict(anew.snapshot.points)
        clock.pass_ms(3_600_000)


def test_a_city_not_yet_built_refuses_everything(databases: Databases, clock: FakeClock) -> None:
    city = City(databases.state, clock)
    assert decide(city.snapshot, Tap("door", KEY, Level.CARD_PIN), clock.now_ms(), 0).reason is Reason.POINT_UNKNOWN
    assert city.age_ms() == UNKNOWN_AGE_MS


def test_what_the_directory_says_reaches_the_door(world: World) -> None:
    """Disable, enable, group, leave: each counts at the next tap after catching up, and not before."""
    assert world.answer() is Reason.GRANTED
    tell(world.copy, someone("anna", enabled=False))
    assert world.decide().reason is Reason.GRANTED
    assert world.answer() is Reason.PERSON_DISABLED
    tell(world.copy, someone("anna"))
    assert world.answer() is Reason.GRANTED
    tell(world.copy, group("office"))
    assert world.answer() is Reason.NO_GRANT
    tell(world.copy, group("office", "@works"), group("works", "anna"))
    assert world.answer() is Reason.GRANTED
    tell(world.copy, someone("anna", valid_until_ms=world.clock.now_ms()))
    assert world.answer() is Reason.PERSON_EXPIRED
    tell(world.copy, removed=("anna",))
    assert world.answer() is Reason.PERSON_LEFT
    tell(world.copy, someone("anna"))
    assert world.answer() is Reason.NO_GRANT


def test_only_an_active_card_opens(world: World) -> None:
    """Whatever other state a card is in, it is refused for the card's own sake."""
    number = row_numbers(world.databases.state)["anna"]
    new = [cards.NewCard(1, number, (state.value.encode(),), state) for state in CardState]
    cards.register(world.databases.state, new)
    world.city.catch_up()
    for state in CardState:
        tap = Tap("door", state.value.encode(), Level.CARD)
        decision = decide(world.city.snapshot, tap, world.clock.now_ms(), 0)
        assert decision.permit is (state is CardState.ACTIVE)
        assert state is CardState.ACTIVE or decision.reason.value.startswith("card_")


def test_a_lock_out_refuses_at_points_of_the_uses_it_stops_and_ends_by_itself(world: World) -> None:
    """At a PC unless the settings say otherwise, at a door never; nothing has to run at its end."""
    world.apply(
        points=[setup.PointSetup("desk", "PC", "room", "plain", use=Use.WORKSTATION)],
        rules=[setup.RuleSetup(group="office", point="desk")],
    )
    tell(world.copy, someone("anna", locked_until_ms=world.clock.now_ms() + 10))
    assert (world.answer("door"), world.answer("desk")) == (Reason.GRANTED, Reason.PERSON_LOCKED_OUT)
    world.clock.pass_ms(9)
    assert world.decide("desk").reason is Reason.PERSON_LOCKED_OUT
    world.clock.pass_ms(1)
    assert world.decide("desk").reason is Reason.GRANTED
    tell(world.copy, someone("anna", locked_until_ms=NO_KNOWN_END_MS))
    world.clock.pass_ms(400 * DAY_MS)
    assert (world.answer("door"), world.answer("desk")) == (Reason.GRANTED, Reason.PERSON_LOCKED_OUT)
    doors_only = City(world.databases.state, world.clock, house=HouseRules(frozenset({Use.DOOR})))
    doors_only.build()
    taps = [Tap(point, KEY, Level.CARD) for point in ("door", "desk")]
    answers = [decide(doors_only.snapshot, tap, world.clock.now_ms(), 0).reason for tap in taps]
    assert answers == [Reason.PERSON_LOCKED_OUT, Reason.GRANTED]
    tell(world.copy, someone("anna"))
    assert world.answer("desk") is Reason.GRANTED


def test_a_suspended_card_works_again_once_it_is_active(world: World) -> None:
    world.change_state(CardState.SUSPENDED, "missing")
    assert world.answer() is Reason.CARD_SUSPENDED
    world.change_state(CardState.ACTIVE)
    assert world.answer() is Reason.GRANTED
    world.change_state(CardState.REVOKED, "lost")
    assert world.answer() is Reason.CARD_REVOKED


def test_a_card_suspended_until_an_instant_works_from_it_on(world: World) -> None:
    """Nothing has to run then; before it whoever holds it and all dates count for nothing, afterwards they do."""
    end_ms = world.clock.now_ms() + 10
    world.change_state(CardState.SUSPENDED, "missing", 10)
    tell(world.copy, someone("anna", valid_from_ms=end_ms + 5, valid_until_ms=end_ms + 7))
    expected = {-10: Reason.CARD_SUSPENDED, -1: Reason.CARD_SUSPENDED, 0: Reason.PERSON_NOT_YET_VALID}
    expected |= {4: Reason.PERSON_NOT_YET_VALID, 5: Reason.GRANTED, 6: Reason.GRANTED, 7: Reason.PERSON_EXPIRED}
    for after_ms, reason in expected.items():
        world.clock.pass_ms(end_ms + after_ms - world.clock.now_ms())
        assert world.answer() is reason, after_ms


def test_what_refuses_anyway_refuses_after_a_suspension_too(world: World) -> None:
    """A holder who left meanwhile."""
    world.change_state(CardState.SUSPENDED, "missing", 10)
    tell(world.copy, removed=("anna",))
    assert world.answer() is Reason.CARD_SUSPENDED
    world.clock.pass_ms(10)
    assert world.decide().reason is Reason.PERSON_LEFT


def test_a_suspension_is_ended_early_by_hand(world: World) -> None:
    world.change_state(CardState.SUSPENDED, "missing", 10)
    assert world.answer() is Reason.CARD_SUSPENDED
    world.change_state(CardState.ACTIVE)
    assert world.answer() is Reason.GRANTED


def test_a_retired_credential_is_unknown(world: World) -> None:
    """A key taken from a card leaves the followed city and stays out of the one compiled anew."""
    with write(world.databases.state) as connection:
        connection.execute(sa.update(credential).values(retired=True))
        changes.append(connection, "card", [1])
    assert world.answer() is Reason.CARD_UNKNOWN
    assert world.city.snapshot.card_count == 0
    assert rebuilt(world.databases, world.clock).snapshot.content_hash() == world.city.snapshot.content_hash()


def test_a_card_without_holder_opens_nothing(world: World) -> None:
    cards.register(world.databases.state, [cards.NewCard(1, None, (b"spare",))])
    world.city.catch_up()
    tap = Tap("door", b"spare", Level.CARD)
    assert decide(world.city.snapshot, tap, world.clock.now_ms(), 0).reason is Reason.NO_HOLDER


def test_a_rule_for_one_person_counts_from_its_first_moment(world: World) -> None:
    """People named by no rule of their own carry no number of their own; the first such rule gives them one."""
    world.apply(rules=[setup.RuleSetup(login="anna", zone="hall", effect="block")])
    assert world.answer() is Reason.BLOCKED
    with write(world.databases.state) as connection:
        connection.execute(sa.delete(store.access_rule).where(store.access_rule.c.effect == "block"))
        changes.append(connection, "access", [0])
    assert world.answer() is Reason.GRANTED


def test_a_rule_for_a_zone_counts_in_the_zones_inside_it(world: World) -> None:
    world.apply(
        zones=[setup.ZoneSetup("yard", "Yard")],
        points=[setup.PointSetup("gate", "Gate", "yard", "plain"), setup.PointSetup("hatch", "Hatch", "hall", "plain")],
        rules=[setup.RuleSetup(group="office", zone="hall")],
    )
    assert {point: world.answer(point) for point in ("door", "hatch", "gate")} == {
        "door": Reason.GRANTED,
        "hatch": Reason.GRANTED,
        "gate": Reason.NO_GRANT,
    }


def test_zones_in_a_circle_are_survived(world: World) -> None:
    with write(world.databases.state) as connection:
        connection.execute(sa.update(store.zone).values(parent_id=store.zone.c.id))
        changes.append(connection, "access", [0])
    assert world.answer() is Reason.GRANTED


def test_listeners_hear_what_kind_of_thing_changed(world: World) -> None:
    world.city.catch_up()
    assert world.told == []
    tell(world.copy, someone("anna", enabled=False))
    world.city.catch_up()
    with write(world.databases.state) as connection:
        changes.append(connection, "agent", [7])
        changes.append(connection, "access", [0])
    world.city.catch_up()
    assert world.told == [{"person"}, {"agent", "access"}]


def test_a_point_that_did_not_change_is_the_very_same_record(world: World) -> None:
    before = world.city.snapshot.point("door")
    world.apply(points=[setup.PointSetup("gate", "Gate", "hall", "plain")])
    world.city.catch_up()
    assert world.city.snapshot.point("gate") is not None
    assert world.city.snapshot.point("door") is before


def test_schedules_are_renewed_before_they_run_out(world: World) -> None:
    """With nothing changed for a year, each day's first look keeps the schedules at least 365 days ahead."""
    world.apply(rules=[setup.RuleSetup(group="works", point="door", schedule="hours")])
    tell(world.copy, group("office"), group("works", "anna"))
    world.city.catch_up()
    for _ in range(60):
        world.clock.pass_ms(7 * DAY_MS)
        world.city.catch_up()
        now_ms = world.clock.now_ms()
        assert world.city.snapshot.compiled.until_ms - now_ms >= 364 * DAY_MS
        ahead = [world.clock.now_ms() + day * DAY_MS for day in range(364)]
        snapshot = world.city.snapshot
        open_days = sum(decide(snapshot, Tap("door", KEY, Level.CARD), at, 0).permit for at in ahead)
        assert 235 <= open_days <= 265


def test_a_clock_set_far_back_compiles_anew(world: World) -> None:
    world.clock.wall_ms -= 30 * DAY_MS
    world.city.catch_up()
    compiled = world.city.snapshot.compiled
    assert compiled.from_ms <= world.clock.now_ms() < compiled.until_ms


def test_what_changed_while_schedules_were_renewed_is_told(world: World) -> None:
    """A locked agent must be cut off even if its change came in with a rebuild."""
    world.city.catch_up()
    world.told.clear()
    with write(world.databases.state) as connection:
        changes.append(connection, "agent", [7])
    world.clock.pass_ms(60 * DAY_MS)
    world.city.catch_up()
    assert any("agent" in kinds for kinds in world.told)


def test_the_age_says_when_the_log_was_last_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.clock.pass_ms(5_000)
    assert world.city.age_ms() == 5_000
    world.city.catch_up()
    assert world.city.age_ms() == 0
    monkeypatch.setattr(service, "read", _unreadable)
    world.clock.pass_ms(700)
    with pytest.raises(DatabaseUnavailable):
        world.city.catch_up()
    assert world.city.age_ms() == 700


def _unreadable(*_: object, **__: object) -> None:
    raise DatabaseUnavailable("away")


def test_a_database_that_is_away_leaves_the_city_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.city.snapshot
    tell(world.copy, someone("anna", enabled=False))
    monkeypatch.setattr(compilation, "cards_of", _unreadable)
    with pytest.raises(DatabaseUnavailable):
        world.city.catch_up()
    assert world.city.snapshot is before
    monkeypatch.undo()
    assert world.answer() is Reason.PERSON_DISABLED


def test_a_block_that_came_while_the_database_was_away_counts_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rule that names a person changes their cards too; a failed attempt must not lose that."""
    world.apply(rules=[setup.RuleSetup(login="anna", point="door", effect="block")])
    monkeypatch.setattr(compilation, "cards_of", _unreadable)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            world.city.catch_up()
    monkeypatch.undo()
    assert world.answer() is Reason.BLOCKED


def test_more_changes_than_one_look_takes_are_all_applied(world: World) -> None:
    tell(world.copy, *(someone(f"p{n}") for n in range(6_000)))
    tell(world.copy, someone("anna", enabled=False))
    assert world.answer() is Reason.PERSON_DISABLED
    with world.databases.state.connect() as connection:
        assert world.city.snapshot.revision == changes.latest(connection)


class InTheMiddle:
    """Runs `deed` once, just before the compiler reads the access rules."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, deed: Callable[[], None]) -> None:
        self._deed: Callable[[], None] | None = deed
        self._schedules = compilation._schedules
        monkeypatch.setattr(compilation, "_schedules", self._between)

    def _between(self, connection: Connection) -> object:
        found = self._schedules(connection)
        deed, self._deed = self._deed, None
        if deed is not None:
            deed()
        return found


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_compiled_is_from_one_moment(
    world: World, place: Place, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    """A rule stored between two reads, with a schedule of its own, is seen whole or not at all."""
    other = open_databases(place.url)

    def deed() -> None:
        everything = setup.AccessSetup(
            schedules=[setup.ScheduleSetup("night", "Night", (Interval(0, 0, 60),))],
            rules=[setup.RuleSetup(group="works", point="door", schedule="night")],
        )
        setup.apply(other.state, 1, everything)

    InTheMiddle(monkeypatch, deed)
    world.apply(rules=[setup.RuleSetup(group="works", point="door", effect="block")])
    if whole:
        world.city.build()
    else:
        world.city.catch_up()
    world.city.catch_up()
    other.close()
    anew = rebuilt(world.databases, world.clock)
    assert world.city.snapshot.content_hash() == anew.snapshot.content_hash()
    assert world.city.snapshot.revision == anew.snapshot.revision


def test_readers_never_see_a_half_state(world: World) -> None:
    """Two doors are always granted or blocked together: whatever the reader sees, it is one of the two cities.

    A reader takes one snapshot and asks it about both doors while a writer changes both in one transaction.
    """
    world.apply(
        points=[setup.PointSetup("gate", "Gate", "hall", "plain")],
        rules=[setup.RuleSetup(group="office", point="gate")],
    )
    world.city.catch_up()
    stop = threading.Event()
    seen: set[tuple[Reason, Reason]] = set()
    answered = threading.Semaphore(0)

    def read() -> None:
        while not stop.is_set():
            snapshot = world.city.snapshot
            at = world.clock.now_ms()
            seen.add(tuple(decide(snapshot, Tap(p, KEY, Level.CARD), at, 0).reason for p in ("door", "gate")))
            answered.release()
            stop.wait(0.0005)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(6):
        both = [setup.RuleSetup(group="office", point=point, effect="block") for point in ("door", "gate")]
        world.apply(rules=both)
        world.city.catch_up()
        assert answered.acquire(timeout=10)
        with write(world.databases.state) as connection:
            connection.execute(sa.delete(store.access_rule).where(store.access_rule.c.effect == "block"))
            changes.append(connection, "access", [0])
        world.city.catch_up()
        assert answered.acquire(timeout=10)
    stop.set()
    reader.join()
    granted, blocked = (Reason.GRANTED, Reason.GRANTED), (Reason.BLOCKED, Reason.BLOCKED)
    assert granted in seen
    assert seen <= {granted, blocked}


def test_a_reader_never_waits_for_the_writer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of catching up, with the city's lock held, taps are answered from the old state."""
    during: list[Reason] = []
    original = compilation.cards_of

    def slow(*args: object, **kwargs: object) -> object:
        during.append(world.decide().reason)
        return original(*args, **kwargs)

    monkeypatch.setattr(compilation, "cards_of", slow)
    tell(world.copy, someone("anna", enabled=False))
    assert world.answer() is Reason.PERSON_DISABLED
    assert during == [Reason.GRANTED]
