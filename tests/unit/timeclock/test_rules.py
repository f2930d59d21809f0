# SPDX-License-Identifier: EUPL-1.2
"""Which booking a tap makes: with keys and without, after a forgotten end, within the guard, with a clock set back."""

import dataclasses
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.timeclock.book import BERLIN, at, came, paused, resumed, went

from cardservice.timeclock.days import day_of, span_of
from cardservice.timeclock.rules import (
    BOOKS,
    HOUR_MS,
    MINUTE_MS,
    Booking,
    Code,
    Kind,
    Request,
    Terminal,
    check_options,
    decide,
    terminal_of,
)

KEYS = Terminal(alternating=False)
ALTERNATING = Terminal()
IN, OUT, BREAK_START, BREAK_END = (kind.value for kind in Kind)


def tap(when: str, choice: str | None = None, *, before: tuple[Booking, ...] = (), terminal: Terminal = KEYS) -> str:
    at_ms = at(when)
    today_from_ms = span_of(day_of(at_ms, BERLIN), BERLIN).from_ms
    return decide(before, Request(at_ms, today_from_ms, choice), terminal).value


MORNING = (came("2026-03-16 08:00"),)
BREAK = (*MORNING, paused("2026-03-16 12:00"))
BACK = (*BREAK, resumed("2026-03-16 12:30"))
EVENING = (*BACK, went("2026-03-16 16:30"))


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ((), "booked_in"),
        (MORNING, "booked_out"),
        (BREAK, "break_ended"),
        (BACK, "booked_out"),
        (EVENING, "booked_in"),
    ],
)
def test_without_a_choice_the_next_booking_is_made(before, expected):
    """None or out: in; in or break end: out; break start: break end. A terminal with keys asks for one instead."""
    assert tap("2026-03-16 18:00", before=before, terminal=ALTERNATING) == expected
    assert tap("2026-03-16 18:00", before=before, terminal=KEYS) == "choice_missing"


@pytest.mark.parametrize("terminal", [KEYS, ALTERNATING])
@pytest.mark.parametrize(
    ("before", "choice", "expected"),
    [
        ((), IN, "booked_in"),
        ((), OUT, "booked_out"),
        ((), BREAK_START, "not_in"),
        ((), BREAK_END, "not_in"),
        (MORNING, IN, "already_in"),
        (MORNING, OUT, "booked_out"),
        (MORNING, BREAK_START, "break_begun"),
        (MORNING, BREAK_END, "not_on_break"),
        (BREAK, IN, "still_on_break"),
        (BREAK, OUT, "booked_out"),
        (BREAK, BREAK_START, "still_on_break"),
        (BREAK, BREAK_END, "break_ended"),
        (BACK, IN, "already_in"),
        (BACK, BREAK_START, "break_begun"),
        (EVENING, IN, "booked_in"),
        (EVENING, OUT, "already_out"),
        (EVENING, BREAK_START, "not_in"),
        (MORNING, "business_errand", "choice_unknown"),
        (MORNING, "IN", "choice_unknown"),
    ],
)
def test_a_choice_is_booked_as_chosen_or_refused(before, choice, expected, terminal):
    """Whatever the terminal does without a choice."""
    assert tap("2026-03-16 18:00", choice, before=before, terminal=terminal) == expected


@pytest.mark.parametrize("terminal", [KEYS, ALTERNATING])
@pytest.mark.parametrize("yesterday", [MORNING, BREAK, BACK, (came("2026-03-16 20:00"),)])
@pytest.mark.parametrize("morning", ["2026-03-17 00:01", "2026-03-17 06:00", "2026-03-17 08:00", "2026-03-20 08:00"])
def test_an_end_forgotten_yesterday_never_blocks_todays_in(yesterday, morning, terminal):
    assert tap(morning, IN, before=yesterday, terminal=terminal) == "booked_in"


@pytest.mark.parametrize(
    ("began", "came_back", "expected"),
    [
        ("2026-03-16 08:00", "2026-03-17 07:55", "booked_in"),
        ("2026-03-16 14:00", "2026-03-17 06:00", "booked_in"),
        ("2026-03-16 16:00", "2026-03-17 06:00", "booked_in"),
        ("2026-03-16 16:01", "2026-03-17 06:00", "booked_out"),
        ("2026-03-16 22:00", "2026-03-17 06:00", "booked_out"),
        ("2026-03-16 19:00", "2026-03-17 07:45", "booked_out"),
        ("2026-03-16 06:00", "2026-03-16 20:30", "booked_out"),
        ("2026-03-13 08:00", "2026-03-16 08:00", "booked_in"),
    ],
)
def test_without_a_choice_a_forgotten_end_and_a_night_shift_are_told_apart(began, came_back, expected):
    """Fourteen hours after a coming of another day somebody comes; after fewer, or on the same day, they go."""
    assert tap(came_back, before=(came(began),), terminal=ALTERNATING) == expected


def test_a_terminal_of_long_shifts_says_so():
    """At a fire station, 23 hours after the coming, a tap is still the going."""
    fire_station = terminal_of({"shift_h": 25})
    assert tap("2026-03-17 07:00", before=MORNING, terminal=fire_station) == "booked_out"
    assert tap("2026-03-17 09:00", before=MORNING, terminal=fire_station) == "booked_in"


def test_a_night_workers_mistake_is_refused_and_their_forgotten_end_is_not():
    """Coming back from a break at night is not a new coming; the next evening is."""
    night = (came("2026-03-16 22:00"), paused("2026-03-17 02:00"))
    assert tap("2026-03-17 02:30", IN, before=night) == "still_on_break"
    forgot = (*night, resumed("2026-03-17 02:30"))
    assert tap("2026-03-17 03:00", IN, before=forgot) == "already_in"
    assert tap("2026-03-17 21:30", IN, before=forgot) == "booked_in"
    assert tap("2026-03-17 21:30", before=forgot, terminal=ALTERNATING) == "booked_in"


def test_who_forgot_to_come_may_go():
    """On another day than the last going, and after a coming that is too long ago, a going is kept."""
    assert tap("2026-03-17 16:30", OUT, before=EVENING) == "booked_out"
    assert tap("2026-03-18 16:30", OUT, before=MORNING) == "booked_out"
    assert tap("2026-03-18 16:30", BREAK_START, before=MORNING) == "not_in"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "already_booked"), (59.999, "already_booked"), (60, "booked_out"), (-59.999, "already_booked")],
)
def test_the_guard_holds_for_its_time_and_no_longer(seconds, expected):
    """Forwards and, with a clock set back a little, backwards."""
    request = Request(MORNING[0].at_ms + int(seconds * 1_000), at("2026-03-16 00:00"))
    assert decide(MORNING, request, ALTERNATING) == expected


@pytest.mark.parametrize("terminal", [KEYS, ALTERNATING])
@pytest.mark.parametrize(
    ("choice", "expected"),
    [(None, "already_booked"), (IN, "already_booked"), (OUT, "booked_out"), (BREAK_START, "break_begun")],
)
def test_the_guard_stops_the_same_and_no_choice_but_not_another(choice, expected, terminal):
    assert tap("2026-03-16 08:00:30", choice, before=MORNING, terminal=terminal) == expected


def test_a_terminal_may_have_another_guard_or_none():
    assert tap("2026-03-16 08:02", before=MORNING, terminal=terminal_of({"guard_s": 300})) == "already_booked"
    assert tap("2026-03-16 08:00", before=MORNING, terminal=terminal_of({"guard_s": 0})) == "booked_out"


def test_a_clock_set_back_blocks_nobody():
    """An hour back, a day, years: the next tap is booked, and in order."""
    assert tap("2026-03-16 07:00", before=MORNING, terminal=ALTERNATING) == "booked_out"
    assert tap("2026-03-16 07:00", OUT, before=MORNING) == "booked_out"
    assert tap("2019-01-01 12:00", before=MORNING, terminal=ALTERNATING) == "booked_in"
    in_2031 = (came("2031-01-01 08:00"),)
    assert tap("2026-03-16 08:00", before=in_2031, terminal=ALTERNATING) == "booked_in"
    assert tap("2026-03-16 08:00", IN, before=in_2031) == "booked_in"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Terminal()),
        ({"mode": "keys", "guard_s": 30, "language": "en"}, Terminal(alternating=False, guard_ms=30_000)),
        ({"mode": "alternating", "shift_h": 26}, Terminal(shift_ms=26 * HOUR_MS)),
    ],
)
def test_options_of_a_terminal(options, expected):
    check_options(options)
    assert terminal_of(options) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "strict"},
        {"mode": True},
        {"guard_s": -1},
        {"guard_s": 3_601},
        {"guard_s": True},
        {"guard_s": "60"},
        {"shift_h": 0},
        {"shift_h": 27},
        {"language": "fr"},
        {"colour": "red"},
    ],
)
def test_unusable_options_are_refused_and_never_stop_a_terminal(options):
    """The setup names them; a terminal that has them all the same books as usual."""
    (name,) = options
    with pytest.raises(ValueError, match=f"option {name}: .*allowed are"):
        check_options(options)
    assert terminal_of(options) == Terminal()


CHOICES = st.sampled_from([None, *(kind.value for kind in Kind)])
STEPS_MS = st.one_of(st.integers(0, 3 * MINUTE_MS), st.integers(0, 9 * HOUR_MS), st.integers(0, 60 * HOUR_MS))


@given(st.lists(st.tuples(CHOICES, STEPS_MS), max_size=25), st.booleans())
def test_whatever_is_tapped_the_bookings_make_sense(taps, alternating):
    """No break without a coming, none in a break, no second coming or going on one day; a day begins with an in."""
    terminal = dataclasses.replace(ALTERNATING, alternating=alternating)
    now_ms, bookings = at("2026-03-26 08:00"), []
    for choice, step_ms in taps:
        now_ms += step_ms
        today = span_of(day_of(now_ms, BERLIN), BERLIN)
        code = decide(bookings, Request(now_ms, today.from_ms, choice), terminal)
        last = bookings[-1] if bookings else None
        if code not in BOOKS:
            assert code is Code.CHOICE_MISSING or last is not None or choice in {BREAK_START, BREAK_END}
            assert choice != IN or last.at_ms >= min(today.from_ms, now_ms - MINUTE_MS)
            continue
        kind = BOOKS[code]
        assert choice in {None, kind}
        if kind in {Kind.BREAK_START, Kind.BREAK_END}:
            assert last.kind in ({Kind.IN, Kind.BREAK_END} if kind is Kind.BREAK_START else {Kind.BREAK_START})
        elif last is not None and last.kind is kind and now_ms - last.at_ms < 14 * HOUR_MS:
            assert day_of(last.at_ms, BERLIN) != day_of(now_ms, BERLIN)
        bookings.append(Booking(kind, now_ms, "pforte"))


def test_a_day_has_23_to_25_hours():
    hours = {
        text: (span := span_of(date.fromisoformat(text), BERLIN)).until_ms - span.from_ms
        for text in ("2026-03-28", "2026-03-29", "2026-10-25")
    }
    assert hours == {"2026-03-28": 24 * HOUR_MS, "2026-03-29": 23 * HOUR_MS, "2026-10-25": 25 * HOUR_MS}
