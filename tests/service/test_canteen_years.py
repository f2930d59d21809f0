# SPDX-License-Identifier: EUPL-1.2
"""Eight years after the end of its year nothing tells whose a payment was; wallets and books hold what they held."""

import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from service.canteen_years import WALLETS, balances, in_memory, live, oldest_linked_ms, with_subsidy
from service.conftest import Place
from service.fake_clock import FakeClock
from service.keeping_world import World, world
from support.lives import Lives

from cardservice.canteen.rules import WALLET, Payment, Refund
from cardservice.canteen.service import Code, Paid, Refused, check
from cardservice.canteen.store import canteen_payment, held_entries, held_payments
from cardservice.canteen.wallet import view_wallet
from cardservice.database import Databases, read, write
from cardservice.errors import LedgerBroken
from cardservice.keeping import DAY_MS, LIMITS
from cardservice.ledger.rules import CARRIED
from cardservice.ledger.store import ledger_account, ledger_entry, ledger_transfer
from cardservice.retention.rules import AT_ONCE, counted_from_ms

NAME = "canteen_books"
DAYS = LIMITS[NAME].usual
YEARS = 10
DEATHS = 3


@pytest.fixture
def city(databases: Databases, clock: FakeClock) -> Iterator[World]:
    with world(databases, clock) as found:
        with_subsidy(found)
        yield found


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)


def pay(city: World, wallet: str, cents: int, event: str | None = None, *, subsidised: bool = False) -> str:
    asked = Payment(
        terminal="till",
        caller="till",
        amount_cents=cents,
        wallet=wallet,
        at_ms=city.clock.now_ms(),
        event=event,
        subsidised=subsidised,
    )
    answer = city.record(lambda connection: city.canteen.pay(connection, asked))
    assert isinstance(answer, Paid)
    return answer.payment


@pytest.mark.parametrize("seed", range(2))
def test_for_twelve_years_nobody_is_linked_beyond_the_limit_and_every_sum_holds(city: World, seed: int) -> None:
    """Random years: each run leaves every account of the store and of memory as it was, and the books add up."""
    rng, retention, paid = random.Random(seed), city.retention(), list[str]()
    end_ms, carried = city.clock.now_ms() + (YEARS + 2) * 365 * DAY_MS, 0
    while city.clock.now_ms() < end_ms:
        live(city, rng, rng.randrange(10, 40), paid)
        city.pass_days(rng.randrange(60, 200))
        before, remembered = balances(city), in_memory(city)
        counted = retention.due().erased[NAME]
        erased = retention.run().erased[NAME]
        assert (balances(city), in_memory(city), counted) == (before, remembered, erased)
        assert sum(before.values()) == 0
        oldest_ms = oldest_linked_ms(city)
        assert oldest_ms is None or counted_from_ms(NAME, oldest_ms) + DAYS * DAY_MS > city.clock.now_ms()
        (standing,) = [one for one in retention.standing() if one.name == NAME]
        assert (standing.oldest_ms, standing.overdue_ms(city.clock.now_ms())) == (oldest_ms, 0)
        check(city.databases.record)
        carried += erased
    assert carried > 100
    city.ledger.forget()
    assert in_memory(city) == remembered


def test_a_year_goes_on_the_first_day_after_its_eighth(city: World) -> None:
    """Not a minute earlier, all of it at once; the wallet begins with what it held, and pays on."""
    anna, bert = WALLETS[:2]
    city.top_up(anna, 1_000)
    old = pay(city, anna, 300, "agent/1/1")
    pay(city, bert, 200, "agent/1/2", subsidised=True)
    city.pass_days(365)
    pay(city, anna, 100, "agent/1/3")
    retention = city.retention()
    retention.run()
    city.clock.pass_ms(at("2034-12-31T23:59:00+01:00") - city.clock.now_ms())
    assert retention.run().erased[NAME] == 0
    assert [one.at_ms for one in view(city, anna)] == sorted((one.at_ms for one in view(city, anna)), reverse=True)
    city.clock.pass_ms(60_000)
    assert (retention.due().erased[NAME], retention.run().erased[NAME], retention.run().erased[NAME]) == (3, 3, 0)
    assert [(one.kind, one.amount_cents, one.balance_cents) for one in view(city, anna)] == [
        ("carry", 700, 600),
        ("payment", -100, -100),
    ]
    assert view(city, bert) == ()
    assert city.count(canteen_payment, canteen_payment.c.wallet == CARRIED, canteen_payment.c.event.is_(None)) == 2
    back = Refund(payment=old, amount_cents=100, at_ms=city.clock.now_ms())
    assert city.record(lambda connection: city.canteen.refund(connection, back)) == Refused(Code.PAYMENT_UNKNOWN)
    pay(city, anna, 600)
    check(city.databases.record)


def view(city: World, wallet: str) -> tuple[object, ...]:
    return view_wallet(city.databases.record, wallet, 50).movements


def test_what_was_given_back_later_goes_later(city: World) -> None:
    """The payment is nobody's a year before its refund is; more than was paid would still be found."""
    anna = WALLETS[0]
    city.top_up(anna, 1_000)
    payment = pay(city, anna, 300)
    city.pass_days(365)
    refund = Refund(payment=payment, amount_cents=200, at_ms=city.clock.now_ms())
    city.record(lambda connection: city.canteen.refund(connection, refund))
    retention = city.retention()
    retention.run()
    city.clock.pass_ms(at("2035-01-01T00:00:00+01:00") - city.clock.now_ms())
    assert retention.run().erased[NAME] == 2
    check(city.databases.record)
    with write(city.databases.record) as connection:
        given = sa.select(ledger_transfer.c.id).where(ledger_transfer.c.kind == "refund").scalar_subquery()
        entries = sa.update(ledger_entry).where(ledger_entry.c.transfer_id == given)
        connection.execute(entries.values(amount_cents=ledger_entry.c.amount_cents * 2))
    with pytest.raises(LedgerBroken, match=r"transfer 2: -?\d+ cents were taken back of"):
        check(city.databases.record)


def test_a_posting_that_came_late_goes_with_its_year(city: World) -> None:
    """Booked behind one of the new year: its own instant counts."""
    anna = WALLETS[0]
    city.clock.pass_ms(at("2027-01-01T00:00:05+01:00") - city.clock.now_ms())
    city.top_up(anna, 1_000)
    late = Payment(terminal="till", caller="till", amount_cents=10, wallet=anna, at_ms=at("2026-12-31T23:59:58+01:00"))
    city.record(lambda connection: city.canteen.pay(connection, late))
    retention = city.retention()
    retention.run()
    city.clock.pass_ms(at("2035-01-01T00:00:00+01:00") - city.clock.now_ms())
    assert retention.run().erased[NAME] == 1
    assert oldest_linked_ms(city) == at("2027-01-01T00:00:05+01:00")
    check(city.databases.record)


def test_what_was_rolled_back_is_not_remembered(city: World) -> None:
    """A transaction that fails behind the carrying leaves the store and what tills are answered by as they were."""
    anna = WALLETS[0]
    city.top_up(anna, 1_000)
    before, remembered = balances(city), in_memory(city)

    def fail(connection: sa.Connection) -> None:
        assert city.ledger.carry_over(connection, WALLET, [1]) == 1
        raise RuntimeError

    with pytest.raises(RuntimeError):
        city.record(fail)
    assert (balances(city), in_memory(city)) == (before, remembered)
    pay(city, anna, 1_000)
    check(city.databases.record)


def test_what_is_due_is_found_without_reading_everything(city: World) -> None:
    """Once an hour, beside those who pay: by the indexes, on both databases."""
    for statement, index in (
        (held_payments(0), "ix_canteen_payment_held"),
        (held_entries(0), "ix_ledger_entry_account_id"),
    ):
        with read(city.databases.record) as connection:
            postgres = connection.dialect.name == "postgresql"
            if postgres:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = connection.exec_driver_sql(f"EXPLAIN {'' if postgres else 'QUERY PLAN '}{text}").all()
        assert index in str(plan)


def test_killed_in_the_middle_the_books_add_up_and_the_next_run_goes_on(
    place: Place, databases: Databases, clock: FakeClock
) -> None:
    """Three deaths by SIGKILL: at each every account holds what it held; the last run leaves nobody linked."""
    rng = random.Random(20_260_316)
    with world(databases, clock) as city:
        with_subsidy(city)
        live(city, rng, 12 * AT_ONCE, [])
        before = balances(city)
        clock.pass_ms(at("2035-01-01T00:00:00+01:00") - clock.now_ms())
        linked = [links(city)]
        with Lives(Path(__file__).with_name("retention_eraser.py"), place.url) as eraser:
            for _ in range(DEATHS):
                life, told = eraser.begin(str(clock.now_ms())), 0
                for said in life:
                    told += said == "batch"
                    if told == 2:
                        life.kill()
                assert balances(city) == before
                check(databases.record)
                linked.append(links(city))
            assert 0 < linked[-1] < linked[0]
            assert linked == sorted(linked, reverse=True)
            assert list(eraser.begin(str(clock.now_ms())))[-1] == "done"
        assert (balances(city), links(city)) == (before, 0)
        check(databases.record)


def links(city: World) -> int:
    """Return how many entries, but for those that carried over, stand in somebody's wallet."""
    entries = (
        sa.select(sa.func.count())
        .select_from(ledger_entry)
        .join(ledger_account, ledger_account.c.id == ledger_entry.c.account_id)
        .join(ledger_transfer, ledger_transfer.c.id == ledger_entry.c.transfer_id)
        .where(ledger_account.c.kind == WALLET, ledger_account.c.owner != CARRIED, ledger_transfer.c.kind != "carry")
    )
    with read(city.databases.record) as connection:
        return int(connection.execute(entries).scalar_one())
