# SPDX-License-Identifier: EUPL-1.2
"""The time clock on both databases: booked exactly once by event, answered in words, whatever the clock does."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from service.chains import LIMIT_S
from service.fake_clock import FakeClock
from sqlalchemy.engine import Connection
from unit.timeclock.book import BERLIN, at
from unit.timeclock.oracle import MINUTE_MS, worked_minutes
from unit.timeclock.terminal import ANNA, BEN, book, clock_point, permitted, secret

from cardservice.agents.places import Answer
from cardservice.database import Databases
from cardservice.recorder import Recorder
from cardservice.timeclock.days import day_of, span_of
from cardservice.timeclock.place import TimeClock
from cardservice.timeclock.store import timeclock_booking, timeclock_unbooked

IN, OUT, BREAK_START, BREAK_END = "in", "out", "break_start", "break_end"


@pytest.fixture
def time_clock(clock: FakeClock) -> TimeClock:
    return TimeClock(secret, clock)


def bookings(databases: Databases) -> list[sa.Row]:
    with databases.record.connect() as connection:
        return list(connection.execute(sa.select(timeclock_booking).order_by("number")))


def unbooked(databases: Databases) -> list[sa.Row]:
    with databases.record.connect() as connection:
        return list(connection.execute(sa.select(timeclock_unbooked)))


def said(answers: list[Answer]) -> list[tuple[str, str]]:
    return [(answer.code, answer.text_de) for answer in answers]


def test_a_day_at_the_terminal(databases, time_clock, clock):
    """Each tap is one booking, answered with its time, the day's total and whether the person works now."""
    day = [
        permitted("2026-03-16 08:01:20", IN),
        permitted("2026-03-16 12:00", BREAK_START),
        permitted("2026-03-16 12:31", BREAK_END),
        permitted("2026-03-16 16:15", OUT),
    ]
    answers = book(databases.record, time_clock, *day)
    assert said(answers) == [
        ("booked_in", "Guten Morgen, gekommen um 08:01."),
        ("break_begun", "Pause begonnen um 12:00. Heute gearbeitet: 3:59."),
        ("break_ended", "Pause beendet um 12:31. Heute gearbeitet: 3:59."),
        ("booked_out", "Gegangen um 16:15. Heute gearbeitet: 7:43."),
    ]
    assert all(answer.done for answer in answers)
    assert [(answer.facts["kind"], answer.facts["working"]) for answer in answers] == [
        (IN, True),
        (BREAK_START, False),
        (BREAK_END, True),
        (OUT, False),
    ]
    assert answers[3].facts["at_ms"] == at("2026-03-16 16:15")
    assert answers[3].facts["today_ms"] == (7 * 60 + 43) * MINUTE_MS
    first, *_ = rows = bookings(databases)
    assert [(row.event, row.kind, row.at_ms, row.point, row.source) for row in rows] == [
        (tap.event, tap.choice, tap.at_ms, "pforte", "terminal") for tap in day
    ]
    assert first.recorded_ms == clock.now_ms()


def test_an_event_that_comes_again_books_nothing_and_gets_its_answer_again(databases, time_clock):
    """Booked, guarded or refused; at once or after everything else, with another time and choice."""
    day = [
        permitted("2026-03-16 08:00"),
        permitted("2026-03-16 08:00:30"),
        permitted("2026-03-16 08:05", IN),
        permitted("2026-03-16 12:00"),
        permitted("2026-03-16 12:00:59"),
        permitted("2026-03-16 12:05", "lunch"),
    ]
    answers = book(databases.record, time_clock, *day)
    codes = [answer.code for answer in answers]
    assert codes == ["booked_in", "already_booked", "already_in", "booked_out", "already_booked", "choice_unknown"]
    later = [permitted("2026-03-17 09:00", "break_start", event=tap.event) for tap in day]
    assert book(databases.record, time_clock, *day, *later, *later) == answers * 3
    assert [row.event for row in bookings(databases)] == [day[0].event, day[3].event]
    assert len(unbooked(databases)) == 4


def test_somebody_elses_event_tells_nothing_about_them(databases, time_clock):
    """An agent that sends an old event with another card learns no booking, and books none."""
    hers = permitted("2026-03-16 08:01", IN)
    answers = book(databases.record, time_clock, hers, permitted("2026-03-16 09:00", IN, person=BEN, event=hers.event))
    assert (answers[1].done, answers[1].code) == (False, "event_taken")
    assert "08:01" not in answers[1].text_de + answers[1].text_en
    assert "at_ms" not in answers[1].facts
    assert len(bookings(databases)) == 1


def test_nobody_is_named_and_nobody_is_mixed_up(databases, time_clock):
    """The tables know pseudonyms only, the same at every terminal; a colleague's booking changes nothing for me."""
    answers = book(
        databases.record,
        time_clock,
        permitted("2026-03-16 08:00"),
        permitted("2026-03-16 08:00:10", person=BEN),
        permitted("2026-03-16 12:00", point=clock_point("keller")),
    )
    assert [answer.code for answer in answers] == ["booked_in", "booked_in", "booked_out"]
    rows = bookings(databases)
    assert rows[0].pseudonym == rows[2].pseudonym != rows[1].pseudonym
    assert not any(str(person) in repr(tuple(row)[1:]) for row in rows for person in (ANNA, BEN))
    assert len(rows[0].pseudonym) == 32


def test_the_guard_holds_at_every_terminal(databases, time_clock):
    """The old booking is shown; a minute later the next one counts."""
    answers = book(
        databases.record,
        time_clock,
        permitted("2026-03-16 08:01:00"),
        permitted("2026-03-16 08:01:59", point=clock_point("keller")),
        permitted("2026-03-16 08:02:00", point=clock_point("keller")),
    )
    assert [answer.code for answer in answers] == ["booked_in", "already_booked", "booked_out"]
    assert answers[1].text_de == "Bereits gebucht um 08:01: Kommen."
    assert answers[1].facts == {"kind": IN, "at_ms": at("2026-03-16 08:01"), "today_ms": 0, "working": True}
    assert not answers[1].done


def test_options_of_the_point_hold(databases, time_clock):
    keys = clock_point(mode="keys", guard_s=0)
    answers = book(
        databases.record,
        time_clock,
        permitted("2026-03-16 08:00", point=keys),
        permitted("2026-03-16 08:00", IN, point=keys),
        permitted("2026-03-16 08:00", IN, point=keys),
    )
    assert [answer.code for answer in answers] == ["choice_missing", "booked_in", "already_in"]
    assert answers[0].facts == {"today_ms": 0, "working": False}
    assert answers[2].text_de == ("Nicht gebucht: Sie sind schon um 08:00 gekommen. Zum Gehen wählen Sie bitte Gehen.")


def test_who_comes_twice_is_told_when_they_came(databases, time_clock):
    """Not when their break ended."""
    taps = (("08:00", IN), ("12:00", BREAK_START), ("12:30", BREAK_END), ("13:00", IN))
    answers = book(databases.record, time_clock, *(permitted(f"2026-03-16 {time}", choice) for time, choice in taps))
    assert answers[3].text_en == "Not booked: you came at 08:00. To leave, please choose Out."
    assert answers[3].facts["today_ms"] == (4 * 60 + 30) * MINUTE_MS


def test_who_forgot_to_go_is_let_in_and_told(databases, time_clock):
    """On Monday of the end that is missing since Friday, once; today's total begins at nothing."""
    answers = book(
        databases.record,
        time_clock,
        permitted("2026-03-13 08:00"),
        permitted("2026-03-16 07:55"),
        permitted("2026-03-16 12:00"),
        permitted("2026-03-16 13:00"),
    )
    assert said(answers)[1:] == [
        ("booked_in", "Guten Morgen, gekommen um 07:55. Das Ende Ihrer letzten Arbeitszeit fehlt."),
        ("booked_out", "Gegangen um 12:00. Heute gearbeitet: 4:05."),
        ("booked_in", "Guten Tag, gekommen um 13:00."),
    ]
    assert answers[1].facts["today_ms"] == 0


def test_who_forgot_to_come_may_go_and_is_told(databases, time_clock):
    (answer,) = book(databases.record, time_clock, permitted("2026-03-16 16:30", OUT))
    assert answer.done
    assert answer.text_de == "Gegangen um 16:30. Ihr Kommen fehlt, bitte lassen Sie es nachtragen."


def test_a_night_shift_is_told_as_a_whole(databases, time_clock):
    """Through the longer night of October too; the next evening begins a day of its own."""
    answers = book(
        databases.record,
        time_clock,
        permitted("2026-10-24 22:00"),
        permitted("2026-10-25 06:00"),
        permitted("2026-10-25 06:00:30"),
        permitted("2026-10-25 21:55"),
    )
    assert [answer.text_de for answer in answers[1:3]] == [
        "Gegangen um 06:00. Gearbeitet: 9:00.",
        "Bereits gebucht um 06:00: Gehen.",
    ]
    assert [answer.facts["today_ms"] for answer in answers] == [0, 540 * MINUTE_MS, 540 * MINUTE_MS, 0]


def test_another_time_zone_has_its_own_midnight_and_clock(databases, clock):
    """At 23:30 UTC it is half past midnight in Berlin; in London nothing of the day is over."""
    london = TimeClock(secret, clock, time_zone="Europe/London")
    answers = book(databases.record, london, permitted(at("2026-01-12 08:00")), permitted(at("2026-01-13 00:30")))
    assert answers[0].text_de == "Guten Morgen, gekommen um 07:00."
    assert answers[1].text_de == "Gegangen um 23:30. Heute gearbeitet: 16:30."


def test_a_clock_set_back_makes_no_negative_time(databases, time_clock):
    """An hour back between two taps: both are booked in their order, the total is nothing rather than less."""
    answers = book(
        databases.record,
        time_clock,
        permitted("2026-03-16 08:30"),
        permitted("2026-03-16 07:45"),
        permitted("2026-03-16 08:00"),
        permitted("2026-03-16 10:00"),
    )
    assert [answer.code for answer in answers] == ["booked_in", "booked_out"] * 2
    assert [answer.facts["today_ms"] for answer in answers] == [0, 0, 0, 120 * MINUTE_MS]


@pytest.fixture
def recorder(databases: Databases) -> Iterator[Recorder]:
    with running(databases) as one:
        yield one


@contextmanager
def running(databases: Databases) -> Iterator[Recorder]:
    one = Recorder(databases.record)
    one.start()
    yield one
    one.stop()


def test_a_neighbour_that_fails_makes_nothing_twice(databases, time_clock, recorder):
    """The recorder runs every unit again then: each tap is booked once, and answered as ever."""

    def fails(connection: Connection) -> None:
        raise ValueError

    taps = [permitted("2026-03-16 08:00", person=number) for number in range(40)]
    units = [lambda connection, tap=tap: time_clock.record(connection, tap) for tap in taps]
    futures = [recorder.submit(unit) for unit in (*units[:20], fails, *units[20:], *units)]
    answers = [future.result(LIMIT_S) for number, future in enumerate(futures) if number != 20]
    assert {answer.code for answer in answers} == {"booked_in"}
    assert sorted(row.event for row in bookings(databases)) == sorted(tap.event for tap in taps)
    assert unbooked(databases) == []


def test_two_services_with_the_same_events_book_each_once(databases, time_clock):
    """An agent that went over to another service meanwhile: one booking, one answer."""
    taps = [permitted("2026-03-16 08:00", person=number) for number in range(60)]
    units = [lambda connection, tap=tap: time_clock.record(connection, tap) for tap in taps]
    with running(databases) as here, running(databases) as there:
        futures = [(here.submit(unit), there.submit(unit)) for unit in units]
        answers = [(one.result(LIMIT_S), other.result(LIMIT_S)) for one, other in futures]
    assert all(one == other for one, other in answers)
    assert len(bookings(databases)) == len(taps)


def test_a_tap_asks_the_store_three_times_however_much_is_booked(databases, time_clock):
    """Was it answered before, what is booked lately, the new row: no more with hundreds of bookings, and by index."""
    start_ms = at("2026-03-16 00:00")
    book(databases.record, time_clock, *(permitted(start_ms + n * 120_000, point=clock_point()) for n in range(300)))
    statements: list[str] = []
    sa.event.listen(databases.record, "before_cursor_execute", lambda *call: statements.append(call[2]))
    (answer,) = book(databases.record, time_clock, permitted(start_ms + 300 * 120_000))
    assert answer.facts["today_ms"] == 150 * 2 * MINUTE_MS
    assert len([text for text in statements if "timeclock" in text]) == 3


DAYS = ("2026-03-28", "2026-10-24", "2026-06-30", "2026-12-31")


@pytest.mark.parametrize("day", DAYS)
def test_what_the_terminal_tells_is_what_the_oracle_counts(databases, time_clock, day):
    """Three people tap at random for three days, over both changes of summer time: the totals agree, tap by tap."""
    rng = random.Random(f"{day} {databases.record.dialect.name}")
    taps, now_ms = [], at(f"{day} 05:00")
    while now_ms < at(f"{day} 05:00") + 3 * 24 * 60 * MINUTE_MS:
        now_ms += rng.choice((20_000, 55 * MINUTE_MS, rng.randrange(4 * 60 * MINUTE_MS)))
        choice = rng.choice((None, IN, OUT, BREAK_START, BREAK_END))
        taps.append(permitted(now_ms, choice, person=rng.randrange(3)))
    made = {person: [] for person in range(3)}
    for tap, answer in zip(taps, book(databases.record, time_clock, *taps), strict=True):
        mine, today = made[tap.person], day_of(tap.at_ms, BERLIN)
        mine += [(answer.facts["kind"], tap.at_ms)] if answer.done else []
        totals = [
            worked_minutes(mine, *span_of(today - timedelta(days=back), BERLIN), tap.at_ms) * MINUTE_MS
            for back in range(3)
        ]
        assert answer.facts["today_ms"] in (totals[:1] if answer.code == "booked_in" else totals)
    assert sum(len(mine) for mine in made.values()) == len(bookings(databases)) > 20
