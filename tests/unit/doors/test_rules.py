# SPDX-License-Identifier: EUPL-1.2
"""The door's rules against a naive oracle that looks through the whole story again at every question."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardservice.doors.ports import DoorInputs
from cardservice.doors.rules import EXIT_MS, GRACE_MS, Door, DoorOptions, LockedDown, check_options

OPTIONS = DoorOptions(held_open_ms=10_000, contact=True, rex=True)
CLOSED, OPEN = DoorInputs(contact="closed"), DoorInputs(contact="open")


@dataclass
class Story:
    """Everything that ever happened at a door, and what follows from it."""

    # When, for how long, and after how many samples: a card may come in the very millisecond of a sample.
    grants: list[tuple[int, int, int]] = field(default_factory=list)
    lockdowns: list[int] = field(default_factory=list)
    samples: list[tuple[int, DoorInputs]] = field(default_factory=list)

    def granted_until(self, at_ms: int) -> int:
        ends = [
            min([begin + length, *(cut for cut in self.lockdowns if begin <= cut <= at_ms)])
            for begin, length, _ in self.grants
            if begin <= at_ms
        ]
        return max(ends, default=-(10**9))

    def exit_until(self, at_ms: int) -> int:
        pressed = [False, *(inputs.exit_pressed for _, inputs in self.samples)]
        presses = [when for (when, _), was, now in zip(self.samples, pressed, pressed[1:], strict=False) if now > was]
        return max((when + EXIT_MS for when in presses if when <= at_ms), default=-(10**9))

    def opening(self) -> int | None:
        """Which sample the leaf was first seen open in, since it was last seen closed."""
        opened = None
        for number, (_, inputs) in enumerate(self.samples):
            if inputs.contact == "closed":
                opened = None
            elif inputs.contact == "open" and opened is None:
                opened = number
        return opened

    def forced(self) -> bool:
        number = self.opening()
        if number is None or number == 0 or self.samples[number - 1][1].contact != "closed":
            return False
        until = self.samples[: number + 1]
        at_ms, inputs = until[-1]
        story = Story([grant for grant in self.grants if grant[2] <= number], self.lockdowns, until)
        released = [False, *(sample.released for _, sample in until)]
        seen = [when for (when, _), was, now in zip(until, released, released[1:], strict=False) if was or now]
        ends = [story.granted_until(at_ms), story.exit_until(at_ms), *seen]
        return not inputs.exit_pressed and all(at_ms >= end + GRACE_MS for end in ends)

    def alarm(self, at_ms: int) -> str:
        if self.forced():
            return "forced"
        if self.samples and self.samples[-1][1].tampered:
            return "tamper"
        number = self.opening()
        open_ms = 0 if number is None else at_ms - self.samples[number][0]
        return "held_open" if open_ms >= OPTIONS.held_open_ms else "none"


SAMPLES = st.builds(
    DoorInputs,
    contact=st.sampled_from(["open", "closed", "closed", "unknown"]),
    exit_pressed=st.booleans(),
    tampered=st.integers(0, 5).map(lambda n: n == 0),
    released=st.integers(0, 3).map(lambda n: n == 0),
)
DEEDS = st.one_of(SAMPLES, SAMPLES, st.integers(0, 8_000), st.sampled_from(["lock down", "end"]))
PAUSES = st.sampled_from([0, 1, GRACE_MS - 1, GRACE_MS, 700, EXIT_MS, OPTIONS.held_open_ms])


@settings(max_examples=300)
@given(st.lists(st.tuples(PAUSES, DEEDS), max_size=25))
def test_a_door_does_what_its_whole_story_says(steps):
    """Alarms, and until when the strike is released, whatever happened in whatever order."""
    door, story, now_ms = Door().arranged(OPTIONS, 0, locked_down=False), Story(), 1_000
    for pause_ms, deed in steps:
        now_ms += pause_ms
        # A lockdown ends a pulse at its own moment; what begins in the same one is refused or comes after it.
        if deed == "lock down":
            door = door.arranged(OPTIONS, now_ms, locked_down=True)
            story.lockdowns.append(now_ms)
        elif deed == "end":
            door = door.arranged(OPTIONS, now_ms, locked_down=False)
            now_ms += 1
        elif isinstance(deed, DoorInputs):
            door = door.sensed(deed, now_ms)
            story.samples.append((now_ms, deed))
        elif door.locked_down:
            with pytest.raises(LockedDown):
                door.granted(deed, now_ms)
        else:
            door = door.granted(deed, now_ms)
            story.grants.append((now_ms, deed, len(story.samples)))
        until_ms = max(story.granted_until(now_ms), story.exit_until(now_ms))
        assert max(door.released_until_ms, now_ms) == max(until_ms, now_ms)
        assert door.alarm(now_ms) == story.alarm(now_ms)
        later_ms = now_ms + OPTIONS.held_open_ms
        assert door.alarm(later_ms) == story.alarm(later_ms)


def arranged(**options):
    return Door().arranged(DoorOptions(**{"contact": True, "rex": True} | options), 0, locked_down=False)


def test_lockdown_ends_a_pulse_at_once_and_never_the_way_out():
    door = arranged().granted(5_000, 0).sensed(DoorInputs("closed", exit_pressed=True), 1_000)
    shut = door.arranged(OPTIONS, 2_000, locked_down=True)
    assert shut.granted_until_ms == 2_000
    assert shut.released_until_ms == 1_000 + EXIT_MS
    asked = shut.sensed(CLOSED, 3_000).sensed(DoorInputs("closed", exit_pressed=True), 9_000)
    assert asked.released_until_ms == 9_000 + EXIT_MS
    assert asked.sensed(DoorInputs("open", exit_pressed=True), 9_100).alarm(9_100) == "none"


def test_who_may_pass_a_lockdown_is_let_in_for_their_pulse_and_nobody_else():
    shut = arranged().arranged(OPTIONS, 1_000, locked_down=True)
    open_now = shut.granted(5_000, 2_000, in_lockdown=True)
    assert open_now.released_until_ms == 7_000
    with pytest.raises(LockedDown):
        open_now.granted(5_000, 3_000)


def test_an_escape_route_is_not_locked_down():
    options = DoorOptions(escape_route=True)
    door = Door().granted(5_000, 0).arranged(options, 1_000, locked_down=True)
    assert not door.locked_down
    assert door.granted(9_000, 1_000).released_until_ms == 10_000


def test_a_door_without_contact_or_button_believes_none():
    """A line that nothing is connected to opens nothing and alarms nobody."""
    door = Door().arranged(DoorOptions(), 0, locked_down=False)
    door = door.sensed(CLOSED, 0).sensed(DoorInputs("open", exit_pressed=True), 60_000)
    assert (door.contact, door.alarm(10**6), door.released_until_ms < 0) == ("unknown", "none", True)


def test_taking_the_contact_away_ends_its_alarms():
    door = arranged().sensed(CLOSED, 0).sensed(OPEN, 9_000)
    assert door.alarm(9_000) == "forced"
    assert door.arranged(DoorOptions(), 9_000, locked_down=False).alarm(10**6) == "none"


def test_an_alarm_outlasts_a_contact_that_is_not_read():
    """A module that fails after a break-in does not end the alarm; the leaf seen closed does."""
    door = arranged().sensed(CLOSED, 0).sensed(OPEN, 9_000).sensed(DoorInputs(), 10_000)
    assert (door.contact, door.alarm(10_000)) == ("unknown", "forced")
    assert door.sensed(CLOSED, 11_000).alarm(11_000) == "none"


def test_a_strike_released_from_the_other_side_forces_nothing():
    """Two points, one strike: who taps inside does not alarm the point outside that has the contact."""
    door = arranged().sensed(DoorInputs("closed", released=True), 9_000)
    assert door.sensed(DoorInputs("open", released=True), 12_000).alarm(12_000) == "none"
    # Opened and locked again between two looks.
    assert door.sensed(OPEN, 12_000).alarm(12_000) == "none"
    assert door.sensed(CLOSED, 12_000).sensed(OPEN, 12_000 + GRACE_MS).alarm(13_000) == "forced"


def test_the_options_are_read():
    options = {"held_open_ms": 1_000, "escape_route": True, "contact": True, "rex": True}
    check_options(options)
    assert DoorOptions.parse(options) == DoorOptions(1_000, escape_route=True, contact=True, rex=True)
    check_options({})
    assert DoorOptions.parse({}) == DoorOptions()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"held_open_ms": 999}, "held_open_ms: 999; allowed are whole numbers from 1000 to 86400000"),
        ({"held_open_ms": 86_400_001}, "held_open_ms: 86400001; allowed are whole numbers from 1000"),
        ({"held_open_ms": True}, "held_open_ms: True"),
        ({"held_open_ms": "soon"}, "held_open_ms: 'soon'"),
        ({"rex": 1}, "rex: 1; allowed are true and false"),
        ({"contact": "yes"}, "contact: 'yes'"),
        ({"escape_route": "no"}, "escape_route: 'no'"),
        ({"locked_down": False}, "locked_down: there is none; allowed are held_open_ms, escape_route"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed_and_costs_no_other(options, words):
    """At the desk it is refused; a door that has it all the same keeps its usual value, and its other options."""
    with pytest.raises(ValueError, match=f"^option {words}"):
        check_options(options)
    others = {"contact": True, "rex": True} | options
    parsed = DoorOptions.parse(others)
    assert parsed == DoorOptions(contact="contact" not in options, rex="rex" not in options)
