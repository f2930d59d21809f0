# SPDX-License-Identifier: EUPL-1.2
"""The decision: every reason, the order of the questions, and each boundary to the millisecond."""

import random
from dataclasses import replace

import pytest

from cardservice.access.rules import (
    NEVER_MS,
    REFUSED,
    CardRecord,
    CompiledPeriod,
    Decision,
    Level,
    PointRecord,
    Reason,
    Tap,
    Timed,
    TimedLevel,
    Use,
    Window,
    decide,
    inside,
)
from cardservice.access.schedules import ALWAYS
from cardservice.access.snapshot import ShardedMap, Snapshot

AT = 1_000_000
FRESH_MS = 60_000
OFFICE, IT = 7, 8
PERIOD = CompiledPeriod(0, 2 * AT)
GRANTED = Decision(permit=True, reason=Reason.GRANTED, open_ms=5_000)
CARD = CardRecord(refusal=None, window=None, subjects=(OFFICE,), holder=1, card=1)
DOOR = PointRecord(
    code="door",
    use=Use.DOOR,
    always=frozenset({OFFICE}),
    timed=(),
    blocks=(),
    level=Level.CARD,
    timed_levels=(),
    freshness_ms=FRESH_MS,
    stale_permits=False,
    granted=GRANTED,
)
WINDOW = Window(AT - 10, AT + 10, REFUSED[Reason.CARD_NOT_YET_VALID], REFUSED[Reason.PERSON_EXPIRED])


def answer(
    card: CardRecord | None = CARD,
    point: PointRecord | None = DOOR,
    *,
    at_ms: int = AT,
    age_ms: int = 0,
    level: int = Level.CARD,
    first: int = 0,
) -> Reason:
    cards = ShardedMap.of([(b"key", card)] if card is not None else [])
    snapshot = Snapshot(1, cards, {"door": point} if point is not None else {}, PERIOD)
    decision = decide(snapshot, Tap("door", b"key", level, first), at_ms, age_ms)
    assert decision.permit is (decision.reason is Reason.GRANTED)
    return decision.reason


def test_a_grant_opens_for_as_long_as_the_point_says() -> None:
    snapshot = Snapshot(1, ShardedMap.of([(b"key", CARD)]), {"door": DOOR}, PERIOD)
    assert decide(snapshot, Tap("door", b"key", Level.CARD), AT, 0) is GRANTED


def test_no_rule_at_all_means_no() -> None:
    """An empty city, an empty point and a holder without groups are refused."""
    assert not decide(Snapshot.empty(), Tap("door", b"key", Level.CARD_PIN), AT, 0).permit
    assert answer(point=replace(DOOR, always=frozenset())) is Reason.NO_GRANT
    assert answer(CARD._replace(subjects=())) is Reason.NO_GRANT


# Every obstacle alone, in the order in which the questions are asked.
OBSTACLES = (
    (Reason.POINT_UNKNOWN, {"point": None}),
    (Reason.CARD_UNKNOWN, {"card": None}),
    (Reason.CARD_SUSPENDED, {"refusal": REFUSED[Reason.CARD_SUSPENDED]}),
    (
        Reason.PERSON_EXPIRED,
        {"window": Window(0, AT, REFUSED[Reason.CARD_NOT_YET_VALID], REFUSED[Reason.PERSON_EXPIRED])},
    ),
    (Reason.DIRECTORY_STALE, {"age_ms": FRESH_MS + 1}),
    (Reason.PERSON_LOCKED_OUT, {"locked_until_ms": NEVER_MS, "stops_locked_out": True}),
    (Reason.LOCKED_DOWN, {"lockdown": frozenset()}),
    (Reason.CLOCK_DOUBTFUL, {"compiled_until_ms": AT, "by_clock": True}),
    (Reason.BLOCKED, {"blocks": (Timed(ALWAYS, frozenset({OFFICE})),)}),
    (Reason.NO_GRANT, {"always": frozenset()}),
    (Reason.LEVEL_TOO_LOW, {"tap_level": Level.UID}),
)


POINT_FIELDS = ("blocks", "always", "compiled_until_ms", "by_clock", "stops_locked_out", "lockdown")
CARD_FIELDS = ("refusal", "window", "locked_until_ms")


def with_obstacles(*obstacles: dict[str, object]) -> Reason:
    wanted = {name: value for obstacle in obstacles for name, value in obstacle.items()}
    point = None if "point" in wanted else DOOR
    if point is not None:
        point = replace(point, **{name: wanted[name] for name in POINT_FIELDS if name in wanted})
    card = None if "card" in wanted else CARD
    if card is not None:
        card = card._replace(**{name: wanted[name] for name in CARD_FIELDS if name in wanted})
    return answer(card, point, age_ms=wanted.get("age_ms", 0), level=wanted.get("tap_level", Level.CARD))


@pytest.mark.parametrize("first", range(len(OBSTACLES)))
def test_the_first_no_ends_the_questions(first: int) -> None:
    """Each obstacle gives its reason alone, and with all later ones too."""
    reason, obstacle = OBSTACLES[first]
    assert with_obstacles(obstacle) is reason
    assert with_obstacles(*(later for _, later in OBSTACLES[first:])) is reason


@pytest.mark.parametrize("reason", [one for one in Reason if one is not Reason.GRANTED])
def test_a_refusal_of_card_or_holder_is_handed_on(reason: Reason) -> None:
    assert answer(CARD._replace(refusal=REFUSED[reason])) is reason
    assert not REFUSED[reason].permit


def test_granted_is_no_refusal() -> None:
    assert Reason.GRANTED not in REFUSED
    assert set(REFUSED) == set(Reason) - {Reason.GRANTED}


@pytest.mark.parametrize(
    ("at_ms", "reason"),
    [
        (AT - 11, Reason.CARD_NOT_YET_VALID),
        (AT - 10, Reason.GRANTED),
        (AT + 9, Reason.GRANTED),
        (AT + 10, Reason.PERSON_EXPIRED),
    ],
)
def test_validity_includes_its_start_and_excludes_its_end(at_ms: int, reason: Reason) -> None:
    assert answer(CARD._replace(window=WINDOW), at_ms=at_ms) is reason


def test_a_suspended_card_is_that_until_the_instant_whatever_else_its_dates_say() -> None:
    """From it on the other dates count, or what refuses whatever the time."""
    before = dict.fromkeys((-AT, 0, AT - 20, AT - 1), Reason.CARD_SUSPENDED)
    early, late = REFUSED[Reason.CARD_NOT_YET_VALID], REFUSED[Reason.PERSON_EXPIRED]
    left = REFUSED[Reason.PERSON_LEFT]
    others = (
        (Window(AT, NEVER_MS, early, late, AT), {AT: Reason.GRANTED, 2 * AT: Reason.GRANTED}),
        (Window(AT, AT + 9, early, late, AT), {AT: Reason.GRANTED, AT + 8: Reason.GRANTED, AT + 9: late.reason}),
        (Window(AT + 5, AT + 9, early, late, AT), {AT: early.reason, AT + 4: early.reason, AT + 5: Reason.GRANTED}),
        (Window(AT, AT - 9, early, late, AT), {AT: late.reason, 2 * AT: late.reason}),
        (Window(AT, AT, left, left, AT), {AT: left.reason, 2 * AT: left.reason}),
    )
    for window, after in others:
        card = CARD._replace(window=window)
        expected = before | after
        assert {at_ms: answer(card, at_ms=at_ms) for at_ms in expected} == expected, window


def test_a_lock_out_refuses_until_its_end_where_it_counts_and_nowhere_else() -> None:
    """Nobody without one is refused, whatever the clock shows."""
    desk = replace(DOOR, stops_locked_out=True)
    locked = CARD._replace(locked_until_ms=AT)
    assert answer(locked, desk, at_ms=AT - 1) is Reason.PERSON_LOCKED_OUT
    assert answer(locked, desk, at_ms=AT) is Reason.GRANTED
    assert answer(locked, DOOR, at_ms=AT - 1) is Reason.GRANTED
    assert answer(CARD._replace(locked_until_ms=NEVER_MS), desk, at_ms=2 * AT) is Reason.PERSON_LOCKED_OUT
    assert answer(CARD, desk, at_ms=-AT) is Reason.GRANTED


def test_a_window_that_ends_before_it_begins_never_opens() -> None:
    window = Window(AT + 10, AT - 10, REFUSED[Reason.CARD_NOT_YET_VALID], REFUSED[Reason.CARD_EXPIRED])
    assert all(answer(CARD._replace(window=window), at_ms=at) is not Reason.GRANTED for at in range(AT - 12, AT + 12))


@pytest.mark.parametrize(("age_ms", "reason"), [(FRESH_MS, Reason.GRANTED), (FRESH_MS + 1, Reason.DIRECTORY_STALE)])
def test_the_copy_may_be_exactly_as_old_as_the_bound(age_ms: int, reason: Reason) -> None:
    assert answer(age_ms=age_ms) is reason


def test_past_the_bound_the_stated_policy_decides() -> None:
    """A point that permits with an old copy still refuses for every other reason."""
    lenient = replace(DOOR, stale_permits=True)
    assert answer(point=lenient, age_ms=NEVER_MS) is Reason.GRANTED
    assert answer(point=replace(lenient, always=frozenset()), age_ms=NEVER_MS) is Reason.NO_GRANT


def test_a_block_wins_over_every_grant() -> None:
    card = CARD._replace(subjects=(OFFICE, IT, -1))
    blocks = (Timed((AT, AT + 5), frozenset({-1})),)
    point = replace(DOOR, timed=(Timed(ALWAYS, frozenset({IT})),), blocks=blocks)
    assert [answer(card, point, at_ms=AT + offset) for offset in (-1, 0, 4, 5)] == [
        Reason.GRANTED,
        Reason.BLOCKED,
        Reason.BLOCKED,
        Reason.GRANTED,
    ]


def test_a_block_of_others_concerns_nobody_else() -> None:
    assert answer(point=replace(DOOR, blocks=(Timed(ALWAYS, frozenset({IT})),))) is Reason.GRANTED


TIMES = (
    {"blocks": (Timed((AT + 8, AT + 9), frozenset({IT})),)},
    {"timed_levels": (TimedLevel((AT, AT + 1), Level.UID),)},
)


@pytest.mark.parametrize("times", TIMES)
def test_outside_the_compiled_time_nobody_knows_what_is_blocked_or_demanded(times: dict[str, object]) -> None:
    """A clock that was set wrong must not lift a block or lower a level: refused, with a reason of its own."""
    point = replace(DOOR, compiled_from_ms=AT - 10, compiled_until_ms=AT + 10, by_clock=True, **times)
    assert [answer(point=point, at_ms=AT + offset) for offset in (-11, -10, 9, 10)] == [
        Reason.CLOCK_DOUBTFUL,
        Reason.GRANTED,
        Reason.GRANTED,
        Reason.CLOCK_DOUBTFUL,
    ]


def test_what_is_granted_at_any_time_needs_no_clock() -> None:
    point = replace(DOOR, compiled_from_ms=AT - 10, compiled_until_ms=AT + 10)
    assert answer(point=point, at_ms=AT + 10) is Reason.GRANTED


def test_a_grant_outside_its_times_says_so() -> None:
    """Outside the schedule is told apart from never granted."""
    point = replace(DOOR, always=frozenset(), timed=(Timed((AT, AT + 5), frozenset({OFFICE})),))
    assert answer(point=point, at_ms=AT - 1) is Reason.OUTSIDE_SCHEDULE
    assert answer(point=point, at_ms=AT) is Reason.GRANTED
    assert answer(point=point, at_ms=AT + 5) is Reason.OUTSIDE_SCHEDULE
    assert answer(CARD._replace(subjects=(IT,)), point) is Reason.NO_GRANT


def test_one_of_several_timed_grants_is_enough() -> None:
    timed = (Timed((0, 1), frozenset({OFFICE})), Timed((AT, AT + 1), frozenset({IT, OFFICE})))
    assert answer(point=replace(DOOR, always=frozenset(), timed=timed)) is Reason.GRANTED


def test_a_person_is_no_group_of_the_same_number() -> None:
    point = replace(DOOR, always=frozenset({-OFFICE}))
    assert answer(point=point) is Reason.NO_GRANT
    assert answer(CARD._replace(subjects=(-OFFICE,)), point) is Reason.GRANTED


@pytest.mark.parametrize("demanded", list(Level))
@pytest.mark.parametrize("proved", list(Level))
def test_the_proof_must_be_as_strong_as_demanded(demanded: Level, proved: Level) -> None:
    expected = Reason.GRANTED if proved >= demanded else Reason.LEVEL_TOO_LOW
    assert answer(point=replace(DOOR, level=demanded), level=proved) is expected


def test_the_level_follows_the_time() -> None:
    """In force the highest entry counts, a lower one than the default too; outside, the default."""
    weak, strong = TimedLevel((AT, AT + 10), Level.UID), TimedLevel((AT + 5, AT + 10), Level.CARD_PIN)
    point = replace(DOOR, timed_levels=(weak, strong))
    least = {
        at: min(level for level in Level if answer(point=point, at_ms=at, level=level) is Reason.GRANTED)
        for at in (AT - 1, AT, AT + 4, AT + 5, AT + 9, AT + 10)
    }
    assert least == {
        AT - 1: Level.CARD,
        AT: Level.UID,
        AT + 4: Level.UID,
        AT + 5: Level.CARD_PIN,
        AT + 9: Level.CARD_PIN,
        AT + 10: Level.CARD,
    }


def test_a_floor_is_never_gone_below_once_it_holds() -> None:
    """What the zone demands counts from the exception's end on, whatever the class says at that hour."""
    floor = TimedLevel((AT + 2,), Level.CARD)
    point = replace(DOOR, level=Level.UID, timed_levels=(TimedLevel((AT + 3, AT + 4), Level.CARD_PIN),), floor=floor)
    least = [
        min(level for level in Level if answer(point=point, at_ms=AT + offset, level=level) is Reason.GRANTED)
        for offset in range(6)
    ]
    assert least == [Level.UID, Level.UID, Level.CARD, Level.CARD_PIN, Level.CARD, Level.CARD]


def test_toggles_open_and_close_in_turn() -> None:
    assert [inside((10, 20, 30), at) for at in (9, 10, 19, 20, 29, 30, NEVER_MS)] == [
        False,
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert not inside((), 0)
    assert inside(ALWAYS, -NEVER_MS)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (0, Reason.SECOND_PERSON_NEEDED),
        (CARD.holder, Reason.SAME_PERSON_TWICE),
        (CARD.holder + 1, Reason.GRANTED),
    ],
)
def test_where_two_people_are_demanded_they_must_be_different(first: int, reason: Reason) -> None:
    assert answer(point=replace(DOOR, people=2), first=first) is reason
    at_night = replace(DOOR, timed_levels=(TimedLevel((AT, AT + 1), Level.CARD, people=2),))
    assert answer(point=at_night, first=first) is reason
    assert answer(point=at_night, first=first, at_ms=AT + 1) is Reason.GRANTED


def test_a_second_person_makes_up_for_nothing_else() -> None:
    """Who has no grant or too weak a proof is told that, however many have come."""
    two = replace(DOOR, people=2)
    assert answer(point=replace(two, always=frozenset()), first=99) is Reason.NO_GRANT
    assert answer(point=two, first=99, level=Level.UID) is Reason.LEVEL_TOO_LOW
    assert answer(point=replace(two, blocks=(Timed(ALWAYS, frozenset({OFFICE})),)), first=99) is Reason.BLOCKED


def test_a_lockdown_shuts_out_all_but_those_it_lets_pass() -> None:
    """They need their grant all the same."""
    fire_brigade = CARD._replace(subjects=(OFFICE, IT))
    shut = replace(DOOR, lockdown=frozenset({IT}))
    assert answer(point=replace(DOOR, lockdown=frozenset())) is Reason.LOCKED_DOWN
    assert answer(point=shut) is Reason.LOCKED_DOWN
    assert answer(fire_brigade, shut) is Reason.GRANTED
    assert answer(fire_brigade, replace(shut, always=frozenset())) is Reason.NO_GRANT


def test_whatever_was_asked_before_the_answer_is_that_of_the_moment() -> None:
    """A point keeps what holds until the next edge: asked forwards, backwards and at random it says the same."""
    chance = random.Random(5)
    times = [tuple(sorted(chance.sample(range(AT, AT + 60), 4))) for _ in range(4)]
    point = replace(
        DOOR,
        always=frozenset(),
        timed=(Timed(times[0], frozenset({OFFICE})), Timed(times[1], frozenset({OFFICE, IT}))),
        blocks=(Timed(times[2], frozenset({OFFICE})),),
        timed_levels=(TimedLevel(times[3], Level.CARD_PIN, people=2),),
        by_clock=True,
        compiled_from_ms=AT + 3,
        compiled_until_ms=AT + 57,
    )
    moments = [*range(AT - 2, AT + 62)]
    expected = {at_ms: answer(point=replace(point), at_ms=at_ms) for at_ms in moments}
    assert len(set(expected.values())) >= 4
    for order in (moments, moments[::-1], chance.sample(moments * 3, 3 * len(moments))):
        assert all(answer(point=point, at_ms=at_ms) is expected[at_ms] for at_ms in order)
