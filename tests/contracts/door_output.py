# SPDX-License-Identifier: EUPL-1.2
"""What every adapter of doors must do, whatever hangs behind it: the contract of `DoorOutput` and `DoorSensors`.

A test class inherits `DoorOutputContract` and gives a fixture `door`: a `DoorAtHand`.
"""

import itertools
import time
from typing import Protocol

import pytest
from support.waiting import wait_until

from cardservice.doors.ports import DoorInputs, DoorOutput, DoorSensors, OutputFault, Shown, StrikeState

GREEN = Shown("green", "ok", ("Bitte", "Please"))


class DoorAtHand(Protocol):
    """An adapter's door, what it told, and hands that work the hardware behind it."""

    output: DoorOutput
    told: list[StrikeState]

    def energised(self) -> bool:
        """Tell whether the strike really is released."""
        ...

    def set_contact(self, *, is_open: bool) -> None:
        """Move the leaf."""
        ...

    def set_exit(self, *, pressed: bool) -> None:
        """Press the button for the way out, or let it go."""
        ...

    def set_tamper(self, *, tampered: bool) -> None:
        """Open the housing, or close it."""
        ...

    def break_down(self) -> None:
        """Make the device fail."""
        ...

    def repair(self) -> None:
        """Make it work again."""
        ...


class DoorOutputContract:
    """Promises of a door's adapter."""

    def test_a_pulse_ends_by_itself(self, door: DoorAtHand) -> None:
        began_s = time.monotonic()
        door.output.pulse(400)
        assert door.energised()
        assert door.output.state() == "released"
        wait_until(lambda: door.output.state() == "locked")
        assert time.monotonic() - began_s >= 0.39
        assert not door.energised()
        assert door.told[-2:] == ["released", "locked"]

    def test_a_second_pulse_only_makes_it_longer(self, door: DoorAtHand) -> None:
        began_s = time.monotonic()
        door.output.pulse(500)
        door.output.pulse(10)
        wait_until(lambda: door.output.state() == "locked")
        assert time.monotonic() - began_s >= 0.49
        assert door.told.count("released") == 1

    def test_locking_ends_a_pulse_at_once(self, door: DoorAtHand) -> None:
        door.output.pulse(60_000)
        door.output.lock()
        assert door.output.state() == "locked"
        assert not door.energised()
        door.output.lock()
        assert door.output.state() == "locked"

    def test_it_can_be_released_again_and_again(self, door: DoorAtHand) -> None:
        for _ in range(3):
            door.output.pulse(60_000)
            assert door.energised()
            door.output.lock()
        assert door.told.count("released") == 3

    def test_showing_never_touches_the_strike(self, door: DoorAtHand) -> None:
        door.output.show(GREEN)
        assert not door.energised()
        assert door.output.state() == "locked"

    def test_the_contacts_are_told_at_once_and_at_every_change(self, door: DoorAtHand) -> None:
        heard = self._watch(door)
        wait_until(lambda: heard and heard[-1] == DoorInputs("closed"))
        door.set_contact(is_open=True)
        wait_until(lambda: heard[-1].contact == "open")
        door.set_contact(is_open=False)
        wait_until(lambda: heard[-1].contact == "closed")
        door.set_exit(pressed=True)
        wait_until(lambda: heard[-1].exit_pressed)
        door.set_exit(pressed=False)
        wait_until(lambda: not heard[-1].exit_pressed)
        door.set_tamper(tampered=True)
        wait_until(lambda: heard[-1].tampered)
        door.set_tamper(tampered=False)
        wait_until(lambda: heard[-1] == DoorInputs("closed"))
        assert all(one != other for one, other in itertools.pairwise(heard))

    def test_a_released_strike_is_among_the_inputs(self, door: DoorAtHand) -> None:
        """Who watches the leaf learns that it may be opened, and before it is."""
        heard = self._watch(door)
        door.output.pulse(60_000)
        wait_until(lambda: heard[-1].released)
        door.output.lock()
        wait_until(lambda: not heard[-1].released)

    def test_a_device_that_fails_is_a_fault_and_says_so(self, door: DoorAtHand) -> None:
        """In the middle of a pulse: strike a fault, contact unknown, pulses refused; then it works again, locked."""
        heard = self._watch(door)
        door.output.pulse(60_000)
        door.break_down()
        wait_until(lambda: door.output.state() == "fault")
        wait_until(lambda: heard[-1].contact == "unknown")
        assert not heard[-1].released
        for act in (lambda: door.output.pulse(1_000), door.output.lock):
            with pytest.raises(OutputFault):
                act()
        door.repair()
        wait_until(lambda: door.output.state() == "locked")
        wait_until(lambda: heard[-1].contact != "unknown")
        assert not door.energised()
        door.output.pulse(60_000)
        assert door.energised()
        assert [state for state in door.told if state == "fault"] != []

    def _watch(self, door: DoorAtHand) -> list[DoorInputs]:
        assert isinstance(door.output, DoorSensors)
        heard: list[DoorInputs] = []
        door.output.watch(heard.append)
        return heard
