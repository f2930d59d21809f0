# SPDX-License-Identifier: EUPL-1.2
"""Who gains and loses by a change: counted by people and by pairs, over all that changes by itself in the time."""

from dataclasses import replace

import pytest

from cardservice.access.plan.effects import MAX_MOMENTS, Count, Effect, People, Side, effects
from cardservice.access.rules import Decision, Level, PointRecord, Reason, Timed, TimedLevel, Use
from cardservice.errors import Conflict

NOBODY_GRANTED = PointRecord(
    code="a",
    use=Use.DOOR,
    always=frozenset(),
    timed=(),
    blocks=(),
    level=Level.CARD,
    timed_levels=(),
    freshness_ms=1,
    stale_permits=False,
    granted=Decision(permit=True, reason=Reason.GRANTED),
    compiled_from_ms=0,
    compiled_until_ms=1_000,
)
OPEN = replace(NOBODY_GRANTED, always=frozenset({1}))
# Two in group 1, one in groups 1 and 2, one in none.
PEOPLE = People([(1,), (1,), (1, 2), ()])


def counts(before: PointRecord | None, after: PointRecord | None) -> dict[str, tuple[int, int]]:
    """Return the effects that happen to anybody between 0 and 100."""
    sides = [Side({} if point is None else {"a": point}, PEOPLE) for point in (before, after)]
    found = effects(sides[0], sides[1], 0, 100)
    told = {effect.value: found.count(effect) for effect in Effect}
    return {name: (count.people, count.pairs) for name, count in told.items() if count != Count(0, 0)}


def test_nothing_changes_nothing() -> None:
    assert counts(OPEN, replace(OPEN)) == {}
    assert counts(NOBODY_GRANTED, None) == {}


def test_a_point_that_comes_or_goes() -> None:
    assert counts(None, OPEN) == {"gains": (3, 3)}
    assert counts(OPEN, None) == {"loses": (3, 3)}


def test_a_block_takes_from_those_it_names() -> None:
    assert counts(OPEN, replace(OPEN, blocks=(Timed((50,), frozenset({2})),))) == {"loses": (1, 1)}


def test_hours_that_move_give_and_take() -> None:
    """Exclusive of the end of the time that is looked at, inclusive of its beginning."""
    early = replace(NOBODY_GRANTED, timed=(Timed((10, 20), frozenset({1})),))
    late = replace(NOBODY_GRANTED, timed=(Timed((20, 30), frozenset({1})),))
    assert counts(early, late) == {"gains": (3, 3), "loses": (3, 3)}
    assert counts(NOBODY_GRANTED, replace(early, timed=(Timed((100, 200), frozenset({1})),))) == {}
    assert counts(NOBODY_GRANTED, replace(early, timed=(Timed((-5, 1), frozenset({1})),))) == {"gains": (3, 3)}


def test_who_passes_before_and_after_may_have_to_prove_more() -> None:
    night = replace(OPEN, timed_levels=(TimedLevel((50, 60), Level.CARD_PIN),))
    assert counts(OPEN, night) == {"needs_more": (3, 3)}
    assert counts(night, OPEN) == {"needs_less": (3, 3)}
    assert counts(OPEN, replace(OPEN, people=2)) == {"needs_more": (3, 3)}
    assert counts(OPEN, replace(OPEN, floor=TimedLevel((99,), Level.CARD_PIN))) == {"needs_more": (3, 3)}


def test_people_are_counted_once_pairs_at_every_point() -> None:
    """And no more are named than asked for."""
    nobody, everybody = People([()] * 70), People([(1,)] * 70)
    points = {"a": OPEN, "b": replace(OPEN, code="b")}
    found = effects(Side(points, nobody), Side(points, everybody), 0, 100)
    assert found.count(Effect.GAINS) == Count(70, 140)
    assert list(found.pairs(3)) == [("a", Effect.GAINS, 0), ("a", Effect.GAINS, 1), ("a", Effect.GAINS, 2)]
    assert len(list(found.pairs(1_000))) == 140


def test_hours_that_change_all_the_time_are_refused() -> None:
    wild = replace(OPEN, timed=(Timed(tuple(range(1, MAX_MOMENTS + 3)), frozenset({2})),))
    with pytest.raises(Conflict, match="allowed are 10000"):
        effects(Side({}, PEOPLE), Side({"a": wild}, PEOPLE), 0, MAX_MOMENTS * 2)
