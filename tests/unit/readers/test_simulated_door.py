# SPDX-License-Identifier: EUPL-1.2
"""The simulated door behaves like a device: it times its own pulse, tells every change, and can break down."""

import queue

import pytest

from cardservice.doors.ports import OutputFault, Shown
from integrations.simulated_io import SimulatedDoor, build


class Bench:
    def __init__(self) -> None:
        self.now_us = 0
        self.told: list[tuple[str, str]] = []
        self.door = SimulatedDoor("door-1", self.note, clock_us=lambda: self.now_us, own_timer=False)

    def note(self, point: str, strike: str, shown: Shown) -> None:
        assert point == "door-1"
        self.told.append((strike, shown.led))

    def at(self, ms: int) -> None:
        self.now_us = ms * 1_000
        self.door.advance()


@pytest.fixture
def bench():
    return Bench()


def test_a_pulse_ends_by_itself(bench):
    bench.door.pulse(3_000)
    bench.at(2_999)
    assert bench.door.state() == "released"
    bench.at(3_000)
    assert bench.door.state() == "locked"
    assert bench.told == [("released", "off"), ("locked", "off")]


@pytest.mark.parametrize(("second_ms", "locks_at_ms"), [(3_000, 4_000), (500, 3_000)])
def test_a_second_pulse_only_makes_it_longer(bench, second_ms, locks_at_ms):
    bench.door.pulse(3_000)
    bench.at(1_000)
    bench.door.pulse(second_ms)
    bench.at(locks_at_ms - 1)
    assert bench.door.state() == "released"
    bench.at(locks_at_ms)
    assert bench.told == [("released", "off"), ("locked", "off")]


def test_what_is_shown_goes_dark_and_a_new_one_starts_again(bench):
    bench.door.show(Shown("red", "refused", ("Nein", "No")))
    bench.at(2_000)
    bench.door.show(Shown("green", "ok"))
    bench.at(4_999)
    assert bench.door.shown() == Shown("green", "ok")
    bench.at(5_000)
    assert bench.door.shown() == Shown("off", "silent")
    assert [led for _, led in bench.told] == ["red", "green", "off"]


def test_a_broken_door_fails_and_locks(bench):
    bench.door.pulse(3_000)
    bench.door.break_down("wire cut")
    assert bench.door.state() == "fault"
    for call in (lambda: bench.door.pulse(1), lambda: bench.door.show(Shown("red", "refused"))):
        with pytest.raises(OutputFault, match="door-1: wire cut"):
            call()
    bench.door.repair()
    assert bench.door.state() == "locked"
    assert [strike for strike, _ in bench.told] == ["released", "fault", "locked"]


def test_its_own_timer_locks_it():
    """Nobody calls: the thread of the door does it, and a later pulse starts it again."""
    told: queue.Queue[str] = queue.Queue()
    door = build("door-1", lambda _point, strike, _shown: told.put(strike))
    for _ in range(2):
        door.pulse(20)
        assert [told.get(timeout=10) for _ in range(2)] == ["released", "locked"]
