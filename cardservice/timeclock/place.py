# SPDX-License-Identifier: EUPL-1.2
"""The time clock as a tap meets it: books in the tap's own transaction, answers with the time and the day's total."""

from collections.abc import Callable, Sequence
from typing import Final, Self
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Connection

from cardservice.access.rules import Use
from cardservice.agents.places import Answer, PermittedTap
from cardservice.clock import Clock
from cardservice.pseudonyms import pseudonym_of
from cardservice.timeclock import store
from cardservice.timeclock.days import USUAL_ZONE, Span, day_of, hours_and_minutes, span_of, wall_clock
from cardservice.timeclock.rules import (
    BOOKS,
    HOUR_MS,
    MINUTE_MS,
    Booking,
    Code,
    Request,
    Shift,
    ShiftState,
    decide,
    running_shift,
    shifts_of,
    terminal_of,
    worked_between,
)
from cardservice.timeclock.sentences import Shown, say

# Over a weekend: on Monday the end that is missing since Friday is told.
_BACK_MS: Final = 96 * HOUR_MS


class TimeClock:
    """Books taps at the points of this use. `secret` is the one that this use's pseudonyms are made with.

    A tap is answered once: the same event again, however late, gets the same answer and books nothing more.
    """

    use: Final = Use.TIMECLOCK

    def __init__(self, secret: Callable[[], bytes], clock: Clock, *, time_zone: str = USUAL_ZONE) -> None:
        self._secret = secret
        self._clock = clock
        self._zone = ZoneInfo(time_zone)

    @property
    def books(self) -> Self:
        """What is booked is kept by the time clock itself."""
        return self

    def expect(self, tap: PermittedTap) -> None:
        """Nothing: a holder's bookings are read one by one."""

    def record(self, connection: Connection, tap: PermittedTap) -> Answer:
        """Book the tap, or keep why it books nothing; return what the terminal says."""
        pseudonym = pseudonym_of(self._secret(), tap.person)
        before = store.settled(connection, tap.event)
        if before is not None:
            return self._again(connection, pseudonym, before)
        history = store.history(connection, pseudonym, tap.at_ms - _BACK_MS)
        bookings = history.bookings
        request = Request(tap.at_ms, self._today(tap.at_ms).from_ms, tap.choice)
        code = decide(bookings, request, terminal_of(tap.point.options))
        if code in BOOKS:
            booking = Booking(BOOKS[code], tap.at_ms, tap.point.code)
            new = store.NewBooking(pseudonym, tap.event, booking, self._clock.now_ms())
            store.keep_booking(connection, new)
            bookings = [*bookings, booking]
        else:
            # The history may hold this very event, which another service booked since the first question.
            before = store.settled(connection, tap.event)
            if before is not None:
                return self._again(connection, pseudonym, before)
            store.keep_unbooked(connection, tap.event, store.Settled(pseudonym, code, tap.at_ms, history.through))
        return self._answer(code, bookings, tap.at_ms)

    async def act(self, tap: PermittedTap, answer: Answer | None) -> Answer | None:
        """Return the answer: nothing lies outside the store."""
        return answer

    def _again(self, connection: Connection, pseudonym: str, before: store.Settled) -> Answer:
        """Return the answer of then, to whoever got it; nobody else learns about it."""
        if before.pseudonym != pseudonym:
            return self._answer(Code.EVENT_TAKEN, [], before.at_ms)
        since_ms = before.at_ms - _BACK_MS
        bookings = store.history(connection, pseudonym, since_ms, before.through).bookings
        return self._answer(before.code, bookings, before.at_ms)

    def _today(self, at_ms: int) -> Span:
        return span_of(day_of(at_ms, self._zone), self._zone)

    def _answer(self, code: Code, bookings: Sequence[Booking], at_ms: int) -> Answer:
        """Say what became of a tap at `at_ms`; `bookings` are the person's with the one it made."""
        shifts = shifts_of(bookings, at_ms)
        running, today = running_shift(shifts), self._today(at_ms)
        day = self._day_shown(shifts, at_ms)
        worked_ms = worked_between(shifts, day.from_ms, day.until_ms, at_ms)
        last = bookings[-1] if bookings else None
        about_ms = at_ms if last is None else last.at_ms
        if code is Code.ALREADY_IN and running is not None:
            about_ms = running.began_ms
        shown = Shown(
            clock=wall_clock(about_ms, self._zone),
            kind=None if last is None else last.kind,
            worked=hours_and_minutes(worked_ms // MINUTE_MS),
            today=day == today,
            gap=_has_gap(code, shifts),
        )
        said = say(code, shown)
        facts: dict[str, str | int | bool] = {
            "today_ms": worked_ms,
            "working": running is not None and not running.on_break,
        }
        if last is not None:
            facts |= {"kind": last.kind.value, "at_ms": last.at_ms}
        return Answer(done=code in BOOKS, code=code.value, text_de=said.de, text_en=said.en, facts=facts)

    def _day_shown(self, shifts: Sequence[Shift], at_ms: int) -> Span:
        """Return the day whose total is told: that of the shift in hand, which may have begun yesterday."""
        today = self._today(at_ms)
        if not shifts:
            return today
        shift = running_shift(shifts) or shifts[-1]
        in_hand = shift.state is ShiftState.RUNNING or shift.bookings[-1].at_ms >= today.from_ms
        return self._today(shift.began_ms) if in_hand else today


def _has_gap(code: Code, shifts: Sequence[Shift]) -> bool:
    """Tell whether the booking just made shows that one before it was forgotten."""
    if code is Code.BOOKED_IN:
        return len(shifts) > 1 and shifts[-2].state is ShiftState.END_MISSING
    return code is Code.BOOKED_OUT and shifts[-1].state is ShiftState.START_MISSING
