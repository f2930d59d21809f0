# SPDX-License-Identifier: EUPL-1.2
"""What is kept of people ends by itself, on both databases, and everything that proves something still does."""

import itertools
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock
from service.keeping_world import ANNA, BERT, HIGH, PLAIN, World, wallet_secret, world
from sqlalchemy.engine import Connection
from support.waiting import wait_until

from cardservice.access.rules import Level
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, ZoneSetup, apply
from cardservice.canteen.rules import Payment
from cardservice.canteen.service import Paid
from cardservice.canteen.store import canteen_payment
from cardservice.database import Databases, read, write
from cardservice.errors import DatabaseUnavailable
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry, journal_subject, journal_subject_key
from cardservice.keeping import DAY_MS, LIMITS, RetentionSection
from cardservice.ledger.rules import AccountName
from cardservice.ledger.service import check
from cardservice.ledger.store import accounts_by_name
from cardservice.people.store import directory_group, ensure_organisation, person
from cardservice.pseudonyms import pseudonym_of
from cardservice.recorder import Recorder, Unit
from cardservice.retention import keeper
from cardservice.retention.keeper import Keeper
from cardservice.retention.rules import AT_ONCE, FIXED, MOST_AHEAD_MS
from cardservice.timeclock.store import timeclock_booking

STEPS_DAYS = (1, 6, 23, 60)
# What a day of the world writes.
LIVED = {*LIMITS, "answers"} - {"leavers", "canteen_books"}
GAUGE = "cardservice_retention_oldest_seconds"
YEARS_DAYS = 3 * 365
# Of so many people one may leave without anybody being asked.
OTHERS = tuple(someone(f"person{number}") for number in range(40))


def days_of(name: str) -> int:
    return FIXED[name] if name in FIXED else LIMITS[name].usual


@pytest.fixture
def city(databases: Databases, clock: FakeClock) -> Iterator[World]:
    """A plain door, and one that demands card and PIN."""
    classes = [
        PointClassSetup(PLAIN, PLAIN, level=Level.CARD),
        PointClassSetup(HIGH, HIGH, level=Level.CARD_PIN),
    ]
    points = [PointSetup(code, code, "haus", code) for code in (PLAIN, HIGH)]
    with write(databases.state) as connection:
        number = ensure_organisation(connection, "city", "City")
    apply(databases.state, number, AccessSetup(zones=[ZoneSetup("haus", "Haus")], point_classes=classes, points=points))
    with world(databases, clock) as found:
        yield found


def test_for_three_years_nothing_outlives_its_limit(city: World) -> None:
    """Again and again for three years: of each kind just what is not over yet is there, and all chains verify."""
    retention, lived_ms = city.retention(), []
    for days in itertools.cycle(STEPS_DAYS):
        lived_ms.append(city.clock.now_ms())
        city.live_a_day()
        city.pass_days(days)
        assert retention.run().doubt is None
        now_ms = city.clock.now_ms()
        found = {one.name: one.oldest_ms for one in retention.standing() if one.name in LIVED}
        assert found == {
            name: min((at_ms for at_ms in lived_ms if at_ms + days_of(name) * DAY_MS > now_ms), default=None)
            for name in LIVED
        }
        if len(lived_ms) * sum(STEPS_DAYS) > YEARS_DAYS * len(STEPS_DAYS):
            break
    assert sum(report.entries for report in verify(city.databases.record)) == city.count(journal_entry)
    check(city.databases.record)


def test_what_is_over_is_erased_and_nothing_else(city: World) -> None:
    """A week after: the plain door's line names nobody any more, that of the high zone and yesterday's still do."""
    plain, high = city.line("door", ANNA, point=PLAIN), city.line("door", ANNA, point=HIGH)
    about_a_zone = city.line("door", BERT, zone="haus")
    city.pass_days(6)
    young = city.line("door", BERT, point=PLAIN)
    city.pass_days(1)
    retention = city.retention()
    report = retention.run()
    assert (report.erased["doors"], report.erased["doors_high"]) == (2, 0)
    assert [city.open(place) for place in (plain, about_a_zone)] == [None, None]
    assert city.open(high) == {"person": ANNA}
    assert city.open(young) == {"person": BERT}
    city.pass_days(23)
    assert retention.run().erased["doors_high"] == 1
    assert city.open(high) is None
    verify(city.databases.record)


def test_with_the_last_line_of_somebody_their_key_goes(city: World) -> None:
    """Their number in that stream and its key are gone; who comes again gets a new one, and is read with it."""
    city.line("door", ANNA, point=PLAIN)
    city.line("sign_in", ANNA)
    city.pass_days(8)
    city.line("door", BERT, point=PLAIN)
    city.retention().run()
    assert city.count(journal_subject) == city.count(journal_subject_key) == 2
    again = city.line("door", ANNA, point=PLAIN)
    assert city.open(again) == {"person": ANNA}
    verify(city.databases.record)


def test_a_line_beside_the_erasing_one_stays_readable(city: World) -> None:
    """One transaction erases somebody's last line and writes their next: the next one is under a key that exists."""
    old = city.line("door", ANNA, point=PLAIN)
    city.pass_days(8)
    recorder, places = Recorder(city.databases.record, (city.journal, city.ledger)), []
    retention = city.retention(_Beside(recorder, city, places))
    retention.run()
    assert city.open(old) is None
    assert len(places) == 2
    assert [city.open(place) for place in places] == [{"person": ANNA}] * 2
    verify(city.databases.record)


class _Beside:
    """A recorder that puts a tap of Anna's before and behind the first erasure, in one transaction with it."""

    def __init__(self, recorder: Recorder, city: World, places: list[object]) -> None:
        self._recorder, self._city, self._places = recorder, city, places

    def submit(self, unit: Unit[object]) -> object:
        beside = not self._places

        def tap(connection: Connection) -> None:
            entry = self._city._entry("door", ANNA, point=PLAIN)
            self._places.append(self._city.journal.append(connection, entry))

        if beside:
            self._recorder.submit(tap)
        future = self._recorder.submit(unit)
        if beside:
            self._recorder.submit(tap)
        self._recorder.write_waiting()
        return future


def test_what_erases_holds_the_writer_for_a_few_rows_only(city: World) -> None:
    """However much is due: no transaction touches more than so many lines, and between two there is a pause."""
    count = 3 * AT_ONCE + 7

    def many(connection: Connection) -> None:
        for _ in range(count):
            city.journal.append(connection, city._entry("door", ANNA, point=PLAIN))

    city.record(many)
    city.pass_days(8)
    left, rows = count, []

    class Counting:
        def submit(self, unit: Unit[object]) -> object:
            nonlocal left
            future = city.recorder.submit(unit)
            future.result(20)
            rows.append(left - city.sealed("door"))
            left = city.sealed("door")
            return future

    assert city.retention(Counting()).run().erased["doors"] == count
    assert [one for one in rows if one] == [AT_ONCE] * 3 + [7]
    assert sum(seconds > 0 for seconds in city.pauses) >= 3
    verify(city.databases.record)


def test_a_dry_run_says_what_would_go_and_changes_nothing(city: World) -> None:
    city.live_a_day()
    city.pass_days(63)
    retention = city.retention()
    due = retention.due().erased
    assert city.count(journal_subject) == 10
    assert due == retention.run().erased
    assert set(retention.due().erased.values()) == {0}
    assert due["doors"] == due["doors_high"] == due["unbooked_taps"] == due["answers"] == 1


def test_the_limits_of_the_settings_hold(city: World) -> None:
    """Shorter at once; longer where there is a reason."""
    city.section = RetentionSection(doors=1, workstations=60, reasons={"workstations": "Agreed with the staff council"})
    city.live_a_day()
    retention = city.retention()
    city.pass_days(2)
    retention.run()
    assert (city.sealed("door"), city.sealed("workstation")) == (1, 1)
    city.pass_days(57)
    retention.run()
    assert (city.sealed("door"), city.sealed("workstation")) == (0, 1)
    city.pass_days(1)
    retention.run()
    assert city.sealed("workstation") == 0


def test_a_clock_that_jumps_ahead_erases_nothing(city: World) -> None:
    """Ten years ahead in a moment: nothing goes, and somebody is told; when it is right again all goes on."""
    city.live_a_day()
    retention = city.retention()
    retention.run()
    city.clock.wall_ms += 3_650 * DAY_MS
    doubt = retention.run().doubt
    assert doubt is not None
    assert "confirm-clock" in doubt
    assert city.count(timeclock_booking) == 1
    city.clock.wall_ms -= 3_650 * DAY_MS
    city.pass_days(8)
    assert retention.run().doubt is None
    assert (city.sealed("door"), city.count(timeclock_booking)) == (1, 1)


def test_a_clock_that_is_far_ahead_after_a_pause_is_not_believed_by_itself(city: World) -> None:
    """A process that begins long after the last run: only with a time server, or if somebody says so."""
    city.live_a_day()
    city.retention().run()
    city.pass_days(MOST_AHEAD_MS / DAY_MS)
    assert city.retention().run().doubt is None
    city.clock.wall_ms += 400 * DAY_MS
    assert city.retention().run().doubt is not None
    assert city.sealed("sign_in") == 1
    city.synchronised = True
    assert city.retention().run().doubt is None
    assert city.sealed("sign_in") == 0


def test_somebodys_word_for_the_clock_holds_from_then_on(city: World) -> None:
    """Also for a process that runs on: what follows is measured from there."""
    city.live_a_day()
    retention = city.retention()
    retention.run()
    city.clock.wall_ms += 40 * DAY_MS
    assert retention.run().doubt is not None
    retention.confirm_clock()
    assert retention.run().doubt is None
    assert city.sealed("door") == 0
    city.pass_days(200)
    assert retention.run().doubt is None
    city.clock.wall_ms += 4 * DAY_MS
    assert retention.run().doubt is not None


def test_who_left_is_a_number_after_a_while(city: World) -> None:
    """Their name goes after the limit, not before; who comes back is who they were, and nobody else is touched."""
    copy = open_copy(city.databases.state, city.clock)
    tell(copy, someone("anna", mail="a@example.org"), *OTHERS)
    numbers = row_numbers(city.databases.state)
    retention = city.retention()
    tell(copy, removed=("anna",))
    retention.run()
    city.pass_days(89)
    retention.run()
    assert city.count(person, person.c.name == "Anna") == 1
    city.pass_days(1)
    assert retention.run().erased["leavers"] == 1
    with read(city.databases.state) as connection:
        row = connection.execute(sa.select(person).where(person.c.id == numbers["anna"])).one()
    assert (row.name, row.dn, row.login, row.mail, row.groups) == ("", "", None, None, "[]")
    assert city.count(person, person.c.name == "Person3") == 1
    # A service that was restarted meanwhile knows of them what the store does.
    tell(open_copy(city.databases.state, city.clock), someone("anna", mail="a@example.org"))
    retention.run()
    city.pass_days(100)
    retention.run()
    assert city.count(person, person.c.name == "Anna", person.c.id == numbers["anna"]) == 1


def test_a_group_that_is_gone_names_nobody(city: World) -> None:
    with write(city.databases.state) as connection:
        group = {"directory": "city", "dn": "cn=a", "name": "a", "members": '["uid=anna"]'}
        connection.execute(sa.insert(directory_group).values(**group, stable_id="1", present=False))
        connection.execute(sa.insert(directory_group).values(**group, stable_id="2", present=True))
    city.retention().run()
    assert city.count(directory_group, directory_group.c.members == "[]") == 1


def test_whose_canteen_account_it_was_goes_once_it_holds_nothing(city: World) -> None:
    """The sums stay and add up; an account that holds money waits until it is settled."""
    copy = open_copy(city.databases.state, city.clock)
    tell(copy, someone("anna"), someone("bert"), *OTHERS)
    anna, bert = (row_numbers(city.databases.state)[name] for name in ("anna", "bert"))
    wallet, other = (pseudonym_of(wallet_secret(), one) for one in (anna, bert))
    for one in (wallet, other):
        city.top_up(one, 500)
    meal = Payment(terminal="till", caller="till", amount_cents=500, wallet=wallet, at_ms=city.clock.now_ms())
    assert isinstance(city.record(lambda connection: city.canteen.pay(connection, meal)), Paid)
    tell(copy, removed=("anna",))
    tell(copy, removed=("bert",))
    retention = city.retention()
    retention.run()
    city.pass_days(90)
    retention.run()
    names = [AccountName("wallet", one) for one in (wallet, other)]
    with read(city.databases.record) as connection:
        assert list(accounts_by_name(connection, names)) == names[1:]
    assert city.count(canteen_payment, canteen_payment.c.wallet == wallet) == 0
    assert city.count(canteen_payment) == 1
    check(city.databases.record)
    assert city.record(lambda connection: city.canteen.balance_cents(connection, wallet)) == 0
    city.top_up(wallet, 100)
    assert city.record(lambda connection: city.canteen.balance_cents(connection, wallet)) == 100
    check(city.databases.record)


def test_the_thread_erases_by_itself_and_goes_on_after_a_fault(city: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be used for a moment costs a minute, not the promise; then it shows what there is."""
    monkeypatch.setattr(keeper, "FIRST_S", 0.0)
    monkeypatch.setattr(keeper, "_AGAIN_S", 0.0)
    city.live_a_day()
    city.pass_days(8)
    failures = iter([DatabaseUnavailable("away"), DatabaseUnavailable("away")])

    class Troubled:
        def submit(self, unit: Unit[object]) -> object:
            for failure in failures:
                raise failure
            return city.recorder.submit(unit)

    running = Keeper(city.hands(Troubled()), city.section)
    registry = CollectorRegistry()
    running.start(registry)
    wait_until(lambda: registry.get_sample_value("cardservice_retention_oldest_seconds", {"limit": "time_bookings"}))
    running.stop()
    assert next(failures, None) is None
    assert city.sealed("workstation") == 0
    shown = {name: registry.get_sample_value(GAUGE, {"limit": name}) for name in ("doors", "time_bookings")}
    assert shown == {"doors": 0.0, "time_bookings": 8 * 86_400}
    assert running.sentences() == []


def test_what_ends_whatever_the_settings_say_has_its_limit(city: World) -> None:
    """Answers to systems after two days."""
    city.live_a_day()
    city.pass_days(FIXED["answers"])
    assert city.retention().run().erased["answers"] == 1
