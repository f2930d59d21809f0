# SPDX-License-Identifier: EUPL-1.2
"""The compiled, immutable state of the city that every tap is answered from.

A snapshot is never changed: a change makes a new one that shares everything the change did not touch, and the owner
swaps one reference. Readers never wait for a writer. Pure: standard library only, no tables, no clock.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Generic, Self, TypeVar

from cardservice.access.rules import CardRecord, CompiledPeriod, PointRecord

# A change copies one shard. Up to so many entries stand in one, whose copy takes 2 ms at most; a million in 256 shards:
# then a change copies about 4,000 entries, a third of a millisecond, and every look-up costs a call more. More and
# smaller shards would make look-ups slower still, because less of them stays in the processor's cache.
IN_ONE: Final = 200_000
SHARDS: Final = 256

# Of a snapshot that was never built.
NEVER_COMPILED: Final = CompiledPeriod(0, 0)

Value = TypeVar("Value")


_numbers: Final[dict[int, int]] = {}


def same_number(number: int) -> int:
    """Return the one object for the number of a subject: a decision then compares few places in memory, not values.

    There are as many as there are groups, and people named by a rule of their own.
    """
    return _numbers.setdefault(number, number)


class ShardedMap(Generic[Value]):
    """An immutable mapping from bytes whose changed copies share all shards but the changed ones."""

    __slots__ = ("_mask", "_shards", "_size", "get")

    def __init__(self, shards: tuple[dict[bytes, Value], ...], size: int) -> None:
        self._shards = shards
        self._mask = len(shards) - 1
        self._size = size
        # Of one shard the dictionary's own method.
        self.get: Callable[[bytes], Value | None] = self._get if self._mask else shards[0].get
        """Returns the value of a key, None if there is none."""

    @classmethod
    def of(cls, items: Iterable[tuple[bytes, Value]]) -> "ShardedMap[Value]":
        """Build a map of `items`; the last of equal keys wins."""
        entries = dict(items)
        if len(entries) <= IN_ONE:
            return cls((entries,), len(entries))
        shards: tuple[dict[bytes, Value], ...] = tuple({} for _ in range(SHARDS))
        while entries:
            key, value = entries.popitem()
            shards[hash(key) & (SHARDS - 1)][key] = value
        return cls(shards, sum(map(len, shards)))

    def _get(self, key: bytes) -> Value | None:
        return self._shards[hash(key) & self._mask].get(key)

    def changed(self, changes: Mapping[bytes, Value | None]) -> "ShardedMap[Value]":
        """Return a map in which `changes` hold; None removes a key."""
        copies: dict[int, dict[bytes, Value]] = {}
        size = self._size
        for key, value in changes.items():
            number = hash(key) & self._mask
            shard = copies.get(number)
            if shard is None:
                shard = copies[number] = dict(self._shards[number])
            size -= len(shard)
            if value is None:
                shard.pop(key, None)
            else:
                shard[key] = value
            size += len(shard)
        shards = list(self._shards)
        for number, shard in copies.items():
            shards[number] = shard
        if len(shards) == 1 and size > IN_ONE:
            return ShardedMap.of(shards[0].items())
        return ShardedMap(tuple(shards), size)

    def items(self) -> Iterable[tuple[bytes, Value]]:
        """Yield every key and value, in no particular order."""
        for shard in self._shards:
            yield from shard.items()

    def __len__(self) -> int:
        return self._size


class Snapshot:
    """Credentials and points of the city at one revision of the change log.

    `compiled` is the time that the compiled schedules cover. `card(credential)` and `point(code)` return a record
    or None.
    """

    __slots__ = ("_cards", "_points", "card", "compiled", "point", "revision")

    def __init__(
        self,
        revision: int,
        cards: ShardedMap[CardRecord],
        points: Mapping[str, PointRecord],
        compiled: CompiledPeriod,
    ) -> None:
        self.revision = revision
        self.compiled = compiled
        self._cards = cards
        self._points = dict(points)
        # The two look-ups of a decision, as the bound methods themselves: a call more each would double their cost.
        self.card: Callable[[bytes], CardRecord | None] = cards.get
        self.point: Callable[[str], PointRecord | None] = self._points.get

    @classmethod
    def empty(cls) -> Self:
        """Return the snapshot that refuses everything."""
        return cls(0, ShardedMap.of(()), {}, NEVER_COMPILED)

    @property
    def points(self) -> Mapping[str, PointRecord]:
        """All points by code."""
        return self._points

    def items(self) -> Iterable[tuple[bytes, CardRecord]]:
        """Yield every credential and its record, in no particular order."""
        return self._cards.items()

    @property
    def card_count(self) -> int:
        """How many credentials are known."""
        return len(self._cards)

    def with_cards(self, revision: int, changes: Mapping[bytes, CardRecord | None]) -> "Snapshot":
        """Return the snapshot at `revision` in which the credentials of `changes` are replaced; None removes one."""
        cards = self._cards.changed(changes) if changes else self._cards
        return Snapshot(revision, cards, self._points, self.compiled)

    def out_of_use(self, changes: Mapping[bytes, CardRecord | None], now_ms: int) -> frozenset[int]:
        """Return who (row numbers) holds a card that is in use here and no longer once `changes` hold."""
        before = {key: self.card(key) for key in changes}
        return frozenset(
            old.holder
            for key, old in before.items()
            if old is not None and old.is_in_use(now_ms) and not ((new := changes[key]) and new.is_in_use(now_ms))
        )

    def with_points(self, revision: int, points: Mapping[str, PointRecord], compiled: CompiledPeriod) -> "Snapshot":
        """Return the snapshot at `revision` with these points and all its cards."""
        return Snapshot(revision, self._cards, points, compiled)

    def content_hash(self) -> str:
        """Return a SHA-256 over all records: equal for equal content, however it was reached. Slow; for checks."""
        digest = hashlib.sha256()
        for key, card in sorted(self._cards.items()):
            digest.update(repr((key, card)).encode())
        for code, point in sorted(self._points.items()):
            digest.update(repr((code, _comparable(point))).encode())
        return digest.hexdigest()


def _comparable(point: PointRecord) -> tuple[object, ...]:
    """Return the point's content in one order: sets print in whatever order they were filled."""
    return (
        point.use,
        sorted(point.always),
        [(entry.toggles, sorted(entry.subjects)) for entry in point.timed],
        [(entry.toggles, sorted(entry.subjects)) for entry in point.blocks],
        point.level,
        point.timed_levels,
        point.freshness_ms,
        point.stale_permits,
        point.granted,
        point.people,
        point.floor,
        point.second_within_ms,
        point.by_clock,
        point.stops_locked_out,
        point.lockdown if point.lockdown is None else sorted(point.lockdown),
    )
