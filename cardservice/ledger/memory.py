# SPDX-License-Identifier: EUPL-1.2
"""What the store's only writer remembers of it, and how it takes back what was rolled back.

A row that is asked for is remembered, its absence too; nobody else writes, so both stay true. Whoever submits work may
say beforehand which rows it will ask for: all of a batch are then looked up in one statement.
"""

from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from sqlalchemy.engine import Connection

MAX_REMEMBERED: Final = 50_000
MAX_EXPECTED: Final = 10_000
# Statements of every number of keys stay prepared, so there are not too many of them.
MAX_ASKED: Final = 64

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")
# Returns the rows of these keys that the store has.
Fetch = Callable[[Connection, Sequence[Key]], Mapping[Key, Row]]


class Memory(Generic[Key, Row]):
    """Rows of one kind by their key. Used by the recorder's thread only, but for `expect`."""

    def __init__(self, fetch: "Fetch[Key, Row]") -> None:
        self._fetch = fetch
        self._rows: dict[Key, Row | None] = {}
        # What was there before the newest mark.
        self._before: dict[Key, Row | None] = {}
        self._expected: deque[Key] = deque(maxlen=MAX_EXPECTED)

    def expect(self, key: Key) -> None:
        """Say, from any thread, that this row will be asked for soon; the oldest such hints are dropped."""
        self._expected.append(key)

    def find(self, connection: Connection, key: Key) -> Row | None:
        """Return a row, None if there is none."""
        if key not in self._rows:
            keys = self._keys_with(key)
            found = self._fetch(connection, keys)
            for one in keys:
                self._rows[one] = found.get(one)
        return self._rows[key]

    def _keys_with(self, key: Key) -> list[Key]:
        """Return `key` and the unknown ones among those that are expected."""
        keys = {key}
        while self._expected and len(keys) < MAX_ASKED:
            expected = self._expected.popleft()
            if expected not in self._rows:
                keys.add(expected)
        return list(keys)

    def put(self, key: Key, row: Row) -> None:
        """Remember what was just written; the key was asked for before."""
        self._before.setdefault(key, self._rows[key])
        self._rows[key] = row

    def drop(self, key: Key) -> None:
        """Remember that this row is there no longer; the key was asked for before."""
        self._before.setdefault(key, self._rows[key])
        self._rows[key] = None

    def mark(self) -> None:
        """From now on remember what changes; outside of any unit."""
        self._before.clear()
        if len(self._rows) > MAX_REMEMBERED:
            self._rows.clear()

    def back(self) -> None:
        """Undo everything since the newest mark; what was only read stays true."""
        self._rows.update(self._before)
        self._before.clear()

    def forget(self) -> None:
        """Drop everything; the store is read again."""
        self._rows.clear()
        self._before.clear()
