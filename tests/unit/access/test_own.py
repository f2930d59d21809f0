# SPDX-License-Identifier: EUPL-1.2
"""What one's own cards would be answered at every point, against asking for each tap there could be, one by one."""

import random
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cardservice.access.own.rules import is_passing, level_at, out_of_use, own_decisions
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
)
from cardservice.access.schedules import ALWAYS
from cardservice.access.snapshot import ShardedMap, Snapshot
from cardservice.cards.rules import desfire_credential, piv_credential

AT = 1_000_000
AGE_MS = 5_000
PERIOD = CompiledPeriod(0, 2 * AT)
NOW, ANOTHER_TIME = (AT - 10, AT + 10), (AT + 10, AT + 20)
METHODS = (
    ("desfire",),
    ("desfire",),
    ("piv",),
    ("desfire", "piv"),
    ("piv", "desfire"),
    ("attested",),
    ("attested", "desfire"),
    (),
)
OF_THE_CARD = {
    *(Reason.CARD_SUSPENDED, Reason.CARD_REVOKED, Reason.CARD_EXPIRED, Reason.CARD_NOT_YET_VALID),
    *(Reason.PERSON_DISABLED, Reason.CARD_UNKNOWN),
}
GROUPS = (1, 2, 3, 4)
CITIES = 60


def number(card: int) -> bytes:
    return desfire_credential("door", bytes((card,)) * 12)


def piv(card: int) -> bytes:
    return piv_credential(bytes(32), bytes((card,)) * 16)


def some_timed(chance: random.Random) -> tuple[Timed, ...]:
    if chance.random() < 0.5:
        return ()
    return (Timed(chance.choice((ALWAYS, NOW, ANOTHER_TIME)), frozenset(chance.sample(GROUPS, 2))),)


def some_point(chance: random.Random, code: str) -> PointRecord:
    return PointRecord(
        code=code,
        use=chance.choice((Use.DOOR, Use.DOOR, Use.WORKSTATION)),
        always=frozenset(chance.sample(GROUPS, chance.choice((0, 1, 2)))),
        timed=some_timed(chance),
        blocks=some_timed(chance) if chance.random() < 0.3 else (),
        level=chance.choice((Level.READER_ATTESTED, Level.CARD, Level.CARD, Level.CARD_PIN)),
        timed_levels=(TimedLevel(NOW, Level.CARD_PIN),) if chance.random() < 0.1 else (),
        freshness_ms=chance.choice((AGE_MS - 1, AGE_MS, AGE_MS, AGE_MS)),
        stale_permits=chance.random() < 0.3,
        granted=Decision(permit=True, reason=Reason.GRANTED, open_ms=1),
        by_clock=chance.random() < 0.5,
        compiled_until_ms=chance.choice((NEVER_MS, NEVER_MS, AT)),
        methods=chance.choice(METHODS),
        lockdown=frozenset() if chance.random() < 0.2 else None,
        stops_locked_out=chance.random() < 0.3,
    )


def some_card(chance: random.Random, subjects: tuple[int, ...], locked_until_ms: int) -> CardRecord | None:
    if chance.random() < 0.1:
        return None
    refusals = (*(None,) * 8, Reason.CARD_REVOKED, Reason.CARD_SUSPENDED, Reason.PERSON_DISABLED)
    refused = chance.choice(refusals)
    early, late = REFUSED[Reason.CARD_NOT_YET_VALID], REFUSED[Reason.CARD_EXPIRED]
    bounds = chance.choice((*(None,) * 6, NOW, ANOTHER_TIME, (0, AT)))
    window = None if bounds is None else Window(*bounds, early, late)
    refusal = None if refused is None else REFUSED[refused]
    return CardRecord(refusal, window, subjects, holder=1, card=1, locked_until_ms=locked_until_ms)


def some_city(seed: int) -> tuple[Snapshot, list[bytes]]:
    """Return a city and what one person's cards are known by there."""
    chance = random.Random(seed)
    subjects, locked_until_ms = tuple(chance.sample(GROUPS, 2)), chance.choice((0, AT, AT + 1))
    keys: list[bytes] = []
    records: list[tuple[bytes, CardRecord]] = []
    for card in range(chance.choice((0, 1, 1, 2, 2, 3))):
        record = some_card(chance, subjects, locked_until_ms)
        for key in chance.choice(((number(card),), (piv(card),), (number(card), piv(card)))):
            keys.append(key)
            records += [] if record is None else [(key, record)]
    points = {code: some_point(chance, code) for code in map(str, range(20))}
    return Snapshot(1, ShardedMap.of(records), points, PERIOD), keys


def every_tap(point: PointRecord, keys: list[bytes]) -> Iterator[Tap]:
    """Yield every tap that this point could hear of."""
    for key in keys:
        for method in point.methods:
            if (method == "piv") == (key[0] == 0x10):
                yield Tap(point.code, key, Level.READER_ATTESTED if method == "attested" else Level.CARD)


@pytest.mark.parametrize("seed", range(CITIES))
def test_a_point_opens_exactly_if_some_tap_of_ones_own_opens_it(seed: int) -> None:
    """And a refusal is one that such a tap is told: of a card in use if there is one, never of another use's points."""
    snapshot, keys = some_city(seed)
    answers = list(own_decisions(snapshot, Use.DOOR, keys, AT, AGE_MS))
    assert [point.code for point, _ in answers] == [p.code for p in snapshot.points.values() if p.use is Use.DOOR]
    for point, answer in answers:
        told = {decide(snapshot, tap, AT, AGE_MS).reason for tap in every_tap(point, keys)}
        assert answer.permit is (Reason.GRANTED in told)
        assert answer.reason in (told or {Reason.CARD_UNSUPPORTED})
        if told - OF_THE_CARD:
            assert answer.reason not in OF_THE_CARD


@pytest.mark.parametrize("seed", range(CITIES))
def test_only_what_may_open_later_is_ones_concern(seed: int) -> None:
    """No lockdown, old copy or lock-out makes a door one's own: in a city without them there is a grant for it."""
    snapshot, keys = some_city(seed)
    calm = {
        code: replace(point, lockdown=None, stale_permits=True, stops_locked_out=False, compiled_until_ms=NEVER_MS)
        for code, point in snapshot.points.items()
    }
    undisturbed = snapshot.with_points(1, calm, PERIOD)
    for point, answer in own_decisions(snapshot, Use.DOOR, keys, AT, AGE_MS):
        told = {decide(undisturbed, tap, AT, AGE_MS).reason for tap in every_tap(point, keys)}
        expected = not answer.permit and bool(told & {Reason.GRANTED, Reason.OUTSIDE_SCHEDULE})
        if answer.reason in {Reason.BLOCKED, Reason.LEVEL_TOO_LOW, Reason.NO_GRANT}:
            expected = False
        assert is_passing(snapshot, point, answer, keys, AT) is expected, (point, answer)


@pytest.mark.parametrize("seed", range(CITIES))
def test_why_no_card_works_is_said_of_the_best_one(seed: int) -> None:
    """None as soon as one card is in order, whatever the doors say; otherwise what one of the cards is refused for."""
    snapshot, keys = some_city(seed)
    records = [snapshot.card(key) for key in keys]
    in_order = [
        record.refusal is None and (record.window is None or record.window.from_ms <= AT < record.window.until_ms)
        for record in records
        if record is not None
    ]
    reason = out_of_use(snapshot, keys, AT)
    assert (reason is None) is (any(in_order) or not keys)
    if reason is not None:
        open_door = PointRecord(
            "d", Use.DOOR, frozenset(GROUPS), (), (), 0, (), NEVER_MS, True, REFUSED[Reason.BLOCKED]
        )
        everywhere = snapshot.with_points(1, {"d": open_door}, PERIOD)
        assert reason in {decide(everywhere, Tap("d", key, Level.CARD), AT, 0).reason for key in keys}
        assert reason in OF_THE_CARD


def test_of_two_cards_the_one_that_can_be_mended_speaks() -> None:
    """Suspended before revoked, and revoked before one that nobody knows, in whichever order they are asked."""
    states = (Reason.CARD_SUSPENDED, Reason.CARD_REVOKED)
    records = [(number(i), CardRecord(REFUSED[state], None, (), 1, i)) for i, state in enumerate(states)]
    snapshot = Snapshot(1, ShardedMap.of(records), {}, PERIOD)
    for keys in ([number(0), number(1), number(9)], [number(9), number(1), number(0)]):
        assert out_of_use(snapshot, keys, AT) is Reason.CARD_SUSPENDED
        assert out_of_use(snapshot, [key for key in keys if key != number(0)], AT) is Reason.CARD_REVOKED
    assert out_of_use(snapshot, [], AT) is None


def test_a_number_that_a_reader_read_proves_less_than_the_card() -> None:
    point = some_point(random.Random(1), "d")
    for methods, of_number, of_piv in (
        (("desfire",), Level.CARD, None),
        (("attested",), Level.READER_ATTESTED, None),
        (("attested", "desfire"), Level.CARD, None),
        (("piv",), None, Level.CARD),
        (("desfire", "piv"), Level.CARD, Level.CARD),
        ((), None, None),
    ):
        there = replace(point, methods=methods)
        assert (level_at(there, number(1)), level_at(there, piv(1))) == (of_number, of_piv)


def test_a_city_of_five_thousand_doors_is_asked_in_little_time() -> None:
    """The dearest case, three cards: all locked down, each door is asked about twice. Usually a third of a second."""
    door = replace(some_point(random.Random(2), ""), use=Use.DOOR, methods=("desfire", "piv"), always=frozenset({9}))
    timed = tuple(Timed((at, at + 1), frozenset({2})) for at in range(20))
    points = {str(n): replace(door, code=str(n), lockdown=frozenset(), timed=timed) for n in range(5_000)}
    card = CardRecord(None, None, tuple(range(100, 160)), holder=1, card=1)
    keys = [number(1), number(2), piv(1)]
    snapshot = Snapshot(1, ShardedMap.of([(key, card) for key in keys]), points, PERIOD)
    began_s = time.thread_time()
    answers = list(own_decisions(snapshot, Use.DOOR, keys, AT, AGE_MS))
    concern = [is_passing(snapshot, point, answer, keys, AT) for point, answer in answers]
    took_s = time.thread_time() - began_s
    assert (len(answers), sum(concern)) == (5_000, 0)
    assert took_s < 2.0, took_s
