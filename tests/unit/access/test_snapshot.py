# SPDX-License-Identifier: EUPL-1.2
"""The immutable state: a change makes a new one and leaves the old one as it was."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardservice.access import snapshot as snapshot_module
from cardservice.access.rules import CardRecord, CompiledPeriod, Decision, Level, PointRecord, Reason, Timed, Use
from cardservice.access.snapshot import ShardedMap, Snapshot

KEYS = st.binary(max_size=3)
THEN, LATER = CompiledPeriod(0, 10), CompiledPeriod(5, 20)


@pytest.fixture(params=[200_000, 3, 0])
def in_one(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Up to how many entries stand in one dictionary: all, few of them, none."""
    monkeypatch.setattr(snapshot_module, "IN_ONE", request.param)
    return int(request.param)


@pytest.mark.usefixtures("in_one")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, st.integers()), st.lists(st.dictionaries(KEYS, st.none() | st.integers()), max_size=4))
def test_a_changed_map_is_like_a_changed_dictionary(
    start: dict[bytes, int], steps: list[dict[bytes, int | None]]
) -> None:
    """After each change the new map holds it, and every older map is as it was, however large either is."""
    expected, current = dict(start), ShardedMap.of(start.items())
    history = [(dict(expected), current)]
    for changes in steps:
        current = current.changed(changes)
        for key, value in changes.items():
            expected.pop(key, None)
            if value is not None:
                expected[key] = value
        history.append((dict(expected), current))
    for was, one in history:
        assert dict(one.items()) == was
        assert len(one) == len(was)
        assert all(one.get(key) == was.get(key) for changes in steps for key in changes)


def test_the_last_of_equal_keys_wins() -> None:
    built = ShardedMap.of([(b"a", 1), (b"a", 2)])
    assert (built.get(b"a"), len(built)) == (2, 1)


def test_a_change_of_many_shares_what_it_did_not_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "IN_ONE", 0)
    one = ShardedMap.of([(bytes([n]), n) for n in range(200)])
    two = one.changed({b"\x01": -1})
    assert sum(a is not b for a, b in zip(one._shards, two._shards, strict=True)) == 1


def card(number: int) -> CardRecord:
    return CardRecord(refusal=None, window=None, subjects=(1,), holder=number, card=number)


def point(code: str = "door", *, subjects: tuple[int, ...] = (1, 2), level: int = Level.CARD) -> PointRecord:
    granted = Decision(permit=True, reason=Reason.GRANTED, open_ms=1)
    timed = (Timed((1, 2), frozenset(subjects)),)
    return PointRecord(
        code, Use.DOOR, frozenset(subjects), timed, timed, level, (), 1, False, granted
    )  # positions of a record


def test_with_cards_and_with_points_leave_the_old_snapshot_alone() -> None:
    old = Snapshot(1, ShardedMap.of([(b"a", card(1))]), {"door": point()}, THEN)
    newer = old.with_cards(2, {b"a": None, b"b": card(2)})
    newest = newer.with_points(3, {"gate": point("gate")}, LATER)
    assert (old.revision, old.compiled, old.card_count) == (1, THEN, 1)
    assert (old.card(b"a"), old.card(b"b"), old.point("gate")) == (card(1), None, None)
    assert (newer.card(b"a"), newer.card(b"b"), newer.point("door")) == (None, card(2), point())
    assert (newest.revision, newest.compiled, newest.point("door")) == (3, LATER, None)
    assert newest.card(b"b") == card(2)


def test_no_change_keeps_the_very_map() -> None:
    old = Snapshot(1, ShardedMap.of([(b"a", card(1))]), {}, THEN)
    assert old.with_cards(2, {})._cards is old._cards


def test_a_snapshot_does_not_follow_the_dictionary_it_was_given() -> None:
    points = {"door": point()}
    snapshot = Snapshot(1, ShardedMap.of(()), points, THEN)
    points.clear()
    assert snapshot.point("door") is not None


def test_the_content_hash_is_of_content_alone() -> None:
    """Order of filling, revision and period do not count; any record does."""
    forward = Snapshot(1, ShardedMap.of([(b"a", card(1)), (b"b", card(2))]), {"x": point("x"), "y": point("y")}, THEN)
    backward = Snapshot(9, ShardedMap.of([(b"b", card(2)), (b"a", card(1))]), {"y": point("y"), "x": point("x")}, LATER)
    assert forward.content_hash() == backward.content_hash()
    scattered = frozenset({2**40, 7, -3, 1000, 2**33})
    twin = frozenset(reversed([2**33, 1000, -3, 7, 2**40]))
    assert Snapshot(1, ShardedMap.of(()), {"x": point(subjects=tuple(scattered))}, THEN).content_hash() == (
        Snapshot(1, ShardedMap.of(()), {"x": point(subjects=tuple(twin))}, THEN).content_hash()
    )
    others = (
        forward.with_cards(2, {b"a": card(3)}),
        forward.with_cards(2, {b"a": None}),
        forward.with_points(2, {"x": point("x")}, THEN),
        forward.with_points(2, {"x": point("x"), "y": point("y", level=Level.CARD_PIN)}, THEN),
        forward.with_points(2, {"x": point("x"), "y": point("y", subjects=(1,))}, THEN),
        forward.with_points(2, {"x": point("x"), "y": replace(point("y"), stops_locked_out=True)}, THEN),
        forward.with_cards(2, {b"a": card(1)._replace(locked_until_ms=1)}),
    )
    assert len({forward.content_hash(), *(other.content_hash() for other in others)}) == 8
