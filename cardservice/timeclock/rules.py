# SPDX-License-Identifier: EUPL-1.2
"""Which booking a tap at the time clock makes, and how much work a person's bookings add up to. Pure.

Instants are milliseconds since 1970-01-01T00:00:00Z; where a day begins and ends is the caller's to say, so both
changes of summer time are right by themselves. Work is counted by the clock time people read: to the minute, seconds
left off.

Bookings come in the order in which they were made. A clock that was set back does not change that order, and what it
would make negative counts nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from cardservice.access.options.rules import LANGUAGE, Option, Options, one_of, require, usable, whole

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
# Nobody works longer in one go; more is not counted.
LONGEST_MS: Final = 24 * HOUR_MS
# How far from its `in` a booking may be and still belong to it: a shift of 24 hours, and its handover.
REACH_MS: Final = 26 * HOUR_MS
MAX_GUARD_S: Final = 3_600


class Kind(StrEnum):
    """What a booking says, and the choices of a terminal with keys."""

    IN = "in"
    OUT = "out"
    BREAK_START = "break_start"
    BREAK_END = "break_end"


class Code(StrEnum):
    """What became of a tap."""

    BOOKED_IN = "booked_in"
    BOOKED_OUT = "booked_out"
    BREAK_BEGUN = "break_begun"
    BREAK_ENDED = "break_ended"
    ALREADY_BOOKED = "already_booked"
    ALREADY_IN = "already_in"
    ALREADY_OUT = "already_out"
    STILL_ON_BREAK = "still_on_break"
    NOT_IN = "not_in"
    NOT_ON_BREAK = "not_on_break"
    CHOICE_MISSING = "choice_missing"
    CHOICE_UNKNOWN = "choice_unknown"
    EVENT_TAKEN = "event_taken"


BOOKS: Final[Mapping[Code, Kind]] = MappingProxyType(
    {
        Code.BOOKED_IN: Kind.IN,
        Code.BOOKED_OUT: Kind.OUT,
        Code.BREAK_BEGUN: Kind.BREAK_START,
        Code.BREAK_ENDED: Kind.BREAK_END,
    }
)
BOOKED_AS: Final[Mapping[Kind, Code]] = MappingProxyType({kind: code for code, kind in BOOKS.items()})


class Booking(NamedTuple):
    """One booking, where and when it was made."""

    kind: Kind
    at_ms: int
    point: str

    @property
    def minute_ms(self) -> int:
        """The minute the clock showed."""
        return to_the_minute(self.at_ms)


def to_the_minute(at_ms: int) -> int:
    """Return the beginning of the minute of `at_ms`."""
    return at_ms - at_ms % MINUTE_MS


class ShiftState(StrEnum):
    """How complete a shift is."""

    RUNNING = "running"
    ENDED = "ended"
    END_MISSING = "end_missing"
    START_MISSING = "start_missing"


@dataclass(slots=True)
class Shift:
    """Bookings that belong together: an `in` and what follows up to its `out`, or one that no `in` belongs to.

    `worked_ms` are the stretches that a booking has ended; `since_ms` is when the one under way began.
    """

    bookings: list[Booking]
    state: ShiftState
    worked_ms: int = 0
    since_ms: int | None = None

    @property
    def began_ms(self) -> int:
        """When it began; the day of this instant is the day all of it belongs to."""
        return self.bookings[0].at_ms

    @property
    def on_break(self) -> bool:
        """Whether a break is under way."""
        return self.state is ShiftState.RUNNING and self.since_ms is None

    def reaches(self, at_ms: int) -> bool:
        """Tell whether something at this instant can still belong to it."""
        return abs(at_ms - self.began_ms) <= REACH_MS

    def take(self, booking: Booking) -> None:
        """Add what follows its `in`; a booking that repeats the one before changes nothing but is kept."""
        self.bookings.append(booking)
        if booking.kind is Kind.BREAK_END:
            if self.since_ms is None:
                self.since_ms = booking.minute_ms
            return
        self.worked_ms, self.since_ms = self.worked_by(booking.at_ms), None
        if booking.kind is Kind.OUT:
            self.state = ShiftState.ENDED

    def worked_by(self, now_ms: int) -> int:
        """Return what was worked, the stretch under way counted up to `now_ms`; whole minutes, in milliseconds.

        A stretch whose end was forgotten counts nothing.
        """
        if self.state is not ShiftState.RUNNING or self.since_ms is None:
            return self.worked_ms
        longest_ms = to_the_minute(self.began_ms) + LONGEST_MS
        stretch_ms = max(0, min(to_the_minute(now_ms), longest_ms) - self.since_ms)
        return min(self.worked_ms + stretch_ms, LONGEST_MS)


def shifts_of(bookings: Iterable[Booking], now_ms: int) -> list[Shift]:
    """Put one person's bookings together; each is in exactly one shift. `now_ms` tells which is still running."""
    shifts: list[Shift] = []
    running: Shift | None = None
    for booking in bookings:
        if booking.kind is Kind.IN:
            if running is not None:
                running.state = ShiftState.END_MISSING
            running = Shift([booking], ShiftState.RUNNING, since_ms=booking.minute_ms)
            shifts.append(running)
        elif running is None or not running.reaches(booking.at_ms):
            shifts.append(Shift([booking], ShiftState.START_MISSING))
        else:
            running.take(booking)
            running = None if running.state is ShiftState.ENDED else running
    if running is not None and not running.reaches(now_ms):
        running.state = ShiftState.END_MISSING
    return shifts


def running_shift(shifts: Sequence[Shift]) -> Shift | None:
    """Return the shift under way, None if there is none."""
    return next((shift for shift in reversed(shifts) if shift.state is ShiftState.RUNNING), None)


def worked_between(shifts: Iterable[Shift], from_ms: int, until_ms: int, now_ms: int) -> int:
    """Return what was worked in the shifts that began from `from_ms` to before `until_ms`, up to `now_ms`."""
    return sum(shift.worked_by(now_ms) for shift in shifts if from_ms <= shift.began_ms < until_ms)


@dataclass(frozen=True, slots=True)
class Terminal:
    """How one terminal books.

    `alternating`: without a choice it books what comes next; otherwise a key must be chosen. A second tap within
    `guard_ms` books nothing. A shift from an earlier day that is `shift_ms` old was not ended by its holder: without a
    choice the next tap is the beginning of a new one.
    """

    alternating: bool = True
    guard_ms: int = 60_000
    shift_ms: int = 14 * HOUR_MS


OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {
        "mode": one_of("alternating", "keys"),
        # Seconds, hours.
        "guard_s": whole(0, MAX_GUARD_S),
        "shift_h": whole(1, REACH_MS // HOUR_MS),
        "language": LANGUAGE,
    }
)


def terminal_of(options: Options) -> Terminal:
    """Return what a point's options say; where one is unusable, its default holds: a clock must go on booking."""
    said = usable(options, OPTIONS)
    usual = Terminal()
    return Terminal(
        alternating=said.get("mode", "alternating") == "alternating",
        guard_ms=int(said.get("guard_s", usual.guard_ms // 1_000)) * 1_000,
        shift_ms=int(said.get("shift_h", usual.shift_ms // HOUR_MS)) * HOUR_MS,
    )


def check_options(options: Options) -> None:
    """Refuse options of a point that its terminal cannot use.

    Raises:
        ValueError: an option there is none of, or a value that is not allowed; says which, and what is.
    """
    require(options, OPTIONS)


@dataclass(frozen=True, slots=True)
class Request:
    """A tap: when, when that day began where the terminal is, and what was chosen."""

    at_ms: int
    today_from_ms: int
    choice: str | None = None


def decide(bookings: Sequence[Booking], request: Request, terminal: Terminal) -> Code:
    """Return what becomes of a tap of somebody with these `bookings`: a code of `BOOKS`, or why nothing is booked."""
    if request.choice is not None and request.choice not in tuple(Kind):
        return Code.CHOICE_UNKNOWN
    last = bookings[-1] if bookings else None
    if last is not None and _repeats(last, request, terminal):
        return Code.ALREADY_BOOKED
    shift = running_shift(shifts_of(bookings, request.at_ms))
    if request.choice is None:
        return BOOKED_AS[_next(shift, request, terminal)] if terminal.alternating else Code.CHOICE_MISSING
    standing = _Standing(last, shift, terminal)
    return _CHOSEN[Kind(request.choice)](standing, request)


def _repeats(last: Booking, request: Request, terminal: Terminal) -> bool:
    return abs(request.at_ms - last.at_ms) < terminal.guard_ms and request.choice in {None, last.kind}


def _next(shift: Shift | None, request: Request, terminal: Terminal) -> Kind:
    if shift is None or (shift.began_ms < request.today_from_ms and _is_old(shift, request, terminal)):
        return Kind.IN
    return Kind.BREAK_END if shift.on_break else Kind.OUT


def _is_old(shift: Shift, request: Request, terminal: Terminal) -> bool:
    return request.at_ms - shift.began_ms >= terminal.shift_ms


class _Standing(NamedTuple):
    last: Booking | None
    shift: Shift | None
    terminal: Terminal


def _in(standing: _Standing, request: Request) -> Code:
    """Refuse a second one only; whatever was forgotten on another day, the first `in` of a day is booked."""
    last, shift, terminal = standing
    if last is None or shift is None or last.at_ms < request.today_from_ms or _is_old(shift, request, terminal):
        return Code.BOOKED_IN
    return Code.STILL_ON_BREAK if shift.on_break else Code.ALREADY_IN


def _out(standing: _Standing, request: Request) -> Code:
    """Refuse a second one only; who forgot to book in may still book that they go."""
    last, shift, _ = standing
    if shift is None and last is not None and last.kind is Kind.OUT and last.at_ms >= request.today_from_ms:
        return Code.ALREADY_OUT
    return Code.BOOKED_OUT


def _break_start(standing: _Standing, _: Request) -> Code:
    if standing.shift is None:
        return Code.NOT_IN
    return Code.STILL_ON_BREAK if standing.shift.on_break else Code.BREAK_BEGUN


def _break_end(standing: _Standing, _: Request) -> Code:
    if standing.shift is None:
        return Code.NOT_IN
    return Code.BREAK_ENDED if standing.shift.on_break else Code.NOT_ON_BREAK


_CHOSEN: Final = MappingProxyType(
    {Kind.IN: _in, Kind.OUT: _out, Kind.BREAK_START: _break_start, Kind.BREAK_END: _break_end}
)
