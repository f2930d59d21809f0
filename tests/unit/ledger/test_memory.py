# SPDX-License-Identifier: EUPL-1.2
"""What is remembered of the store is asked for once, and taken back when it was rolled back."""

from collections.abc import Sequence
from typing import Any

import pytest

from cardservice.ledger import memory as module
from cardservice.ledger.memory import MAX_ASKED, Memory

NO_CONNECTION: Any = None


class Rows:
    """A store of three rows that counts its questions."""

    def __init__(self) -> None:
        self.rows = {"a": 1, "b": 2, "c": 3}
        self.asked: list[set[str]] = []

    def __call__(self, _: Any, keys: Sequence[str]) -> dict[str, int]:
        self.asked.append(set(keys))
        return {key: self.rows[key] for key in keys if key in self.rows}


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def memory(rows: Rows) -> Memory[str, int]:
    made = Memory(rows)
    made.mark()
    return made


def test_a_row_is_asked_for_once_and_its_absence_too(memory: Memory[str, int], rows: Rows) -> None:
    assert [memory.find(NO_CONNECTION, key) for key in "axax"] == [1, None, 1, None]
    assert rows.asked == [{"a"}, {"x"}]


def test_what_is_expected_is_asked_for_together(memory: Memory[str, int], rows: Rows) -> None:
    """One question for the whole batch, and no second one for a row that is known."""
    for key in "abxa":
        memory.expect(key)
    assert [memory.find(NO_CONNECTION, key) for key in "cabx"] == [3, 1, 2, None]
    assert rows.asked == [{"a", "b", "c", "x"}]
    memory.expect("a")
    assert memory.find(NO_CONNECTION, "y") is None
    assert rows.asked[1:] == [{"y"}]


def test_one_question_is_bounded(memory: Memory[str, int], rows: Rows) -> None:
    for number in range(3 * MAX_ASKED):
        memory.expect(f"key {number}")
    memory.find(NO_CONNECTION, "a")
    assert len(rows.asked[0]) == MAX_ASKED


def test_what_was_rolled_back_is_taken_back(memory: Memory[str, int], rows: Rows) -> None:
    """To what it was at the mark, however often it changed; what was read stays known."""
    for key, value in (("a", 10), ("a", 11), ("x", 5)):
        memory.find(NO_CONNECTION, key)
        memory.put(key, value)
    memory.back()
    assert [memory.find(NO_CONNECTION, key) for key in "ax"] == [1, None]
    assert len(rows.asked) == 2


def test_a_mark_keeps_what_came_before_it(memory: Memory[str, int]) -> None:
    memory.find(NO_CONNECTION, "a")
    memory.put("a", 10)
    memory.mark()
    memory.put("a", 11)
    memory.back()
    assert memory.find(NO_CONNECTION, "a") == 10


def test_forgotten_is_asked_for_anew(memory: Memory[str, int], rows: Rows) -> None:
    memory.find(NO_CONNECTION, "a")
    memory.put("a", 10)
    memory.forget()
    rows.rows["a"] = 7
    assert memory.find(NO_CONNECTION, "a") == 7


def test_the_memory_is_bounded(memory: Memory[str, int], rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its bound it begins anew at the next mark, never in the middle of a unit."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    for key in "abc":
        memory.find(NO_CONNECTION, key)
    memory.put("a", 10)
    assert memory.find(NO_CONNECTION, "a") == 10
    rows.rows["a"] = 10
    memory.mark()
    assert memory.find(NO_CONNECTION, "a") == 10
    assert rows.asked == [{"a"}, {"b"}, {"c"}, {"a"}]
