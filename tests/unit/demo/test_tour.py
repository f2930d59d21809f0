# SPDX-License-Identifier: EUPL-1.2
"""What the tour looks at by itself, and when."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from support.waiting import wait_until

from cardservice.demo import tour as module
from cardservice.demo.tour import Tour


class Room:
    """Stands for the city: the PC's screen is as `locked` says, and every look at the trays is counted."""

    def __init__(self) -> None:
        self.locked: bool | None = False
        self.looks = 0
        self.around = self
        self.state_folder = None
        self.cable = SimpleNamespace(plugged=True)
        self.live = SimpleNamespace(tell=lambda _: None)
        self.disabled: set[str] = set()
        self.directory_runs = True

    def printed(self) -> dict[str, int]:
        self.looks += 1
        return {}

    def pc_locked(self) -> bool | None:
        return self.locked

    def eject(self, _point: str) -> None:
        """The slot is empty."""


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def tour(room: Room, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tour]:
    monkeypatch.setattr(module, "Apart", lambda _: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.001)
    tour = Tour(room)
    yield tour
    tour.stop()


def test_it_looks_only_while_somebody_watches(tour, room):
    """Every look at the PC's screen starts a program: with no page open there is none."""
    asked: list[bool] = []
    open_pages: list[str] = []

    def watched() -> bool:
        asked.append(bool(open_pages))
        return bool(open_pages)

    tour.start(watched)
    wait_until(lambda: len(asked) > 5)
    assert room.looks == 0
    open_pages.append("page")
    wait_until(lambda: room.looks > 1)


@pytest.mark.parametrize("gone", [None, True])
def test_only_a_screen_that_says_so_has_locked(tour, room, gone):
    """A screen that tells nothing any more is not said to have locked in so many milliseconds."""
    tour._look()
    assert tour.state()["pc"]["locked"] is False
    room.locked = gone
    assert (tour.take_out()["locked_ms"] is not None) is (gone is True)
