# SPDX-License-Identifier: EUPL-1.2
"""Paying in the canteen, on both databases; the amounts were worked out by hand."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from service.fake_clock import MONDAY_MS, FakeClock
from sqlalchemy.engine import Connection

from cardservice.canteen.rules import GERMANY, SUBSIDY, Dated, RatePart, Split, Tariff
from cardservice.canteen.service import (
    Canteen,
    Code,
    Line,
    Paid,
    Payment,
    PriceClass,
    Refund,
    Refunded,
    Refused,
    Source,
    TopUp,
    check,
)
from cardservice.canteen.store import canteen_payment
from cardservice.canteen.wallet import view_wallet
from cardservice.database import Databases, write
from cardservice.errors import BelowFloor, Conflict, LedgerBroken
from cardservice.ledger.rules import AccountName
from cardservice.ledger.service import Ledger
from cardservice.ledger.store import balance_of, ledger_transfer
from cardservice.recorder import Recorder

ANNA, BERT = "a" * 32, "b" * 32
FOOD, DRINKS = PriceClass.FOOD, PriceClass.DRINKS
TARIFF = Tariff(GERMANY.vat_bp, (Dated(0, 200),))
Result = TypeVar("Result")
Run = Callable[[Callable[[Connection], Result]], Result]


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return Ledger(clock)


@pytest.fixture
def canteen(ledger: Ledger) -> Canteen:
    return Canteen(ledger, TARIFF)


@pytest.fixture
def run(databases: Databases, ledger: Ledger) -> Run:
    """Run one unit in the recorder, in this thread."""
    recorder = Recorder(databases.record, (ledger,))

    def one(unit: Callable[[Connection], Result]) -> Result:
        future = recorder.submit(unit)
        recorder.write_waiting()
        return future.result(0)

    return one


@pytest.fixture
def filled(canteen: Canteen, run: Run) -> None:
    """Anna has 20 EUR."""
    run(lambda connection: canteen.top_up(connection, TopUp(ANNA, 2_000, Source.PAYROLL, MONDAY_MS)))


def meal(amount_cents: int = 980, *lines: Line, **more: Any) -> Payment:
    fields: dict[str, Any] = {"terminal": "till-1", "caller": "till", "wallet": ANNA, "at_ms": MONDAY_MS}
    return Payment(amount_cents=amount_cents, lines=lines, **(fields | more))


def paying(canteen: Canteen, payment: Payment) -> Callable[[Connection], Paid | Refused]:
    return lambda connection: canteen.pay(connection, payment)


def held(databases: Databases, *names: tuple[str, str]) -> list[int]:
    with databases.record.connect() as connection:
        return [balance_of(connection, AccountName(*name)) for name in names]


@pytest.mark.usefixtures("filled")
def test_a_payment_is_booked_with_all_its_parts(databases: Databases, canteen: Canteen, run: Run) -> None:
    """9.80 EUR of food, 2.00 of it the employer's: 7.80 from the wallet, 0.64 of tax, 9.16 for the canteen."""
    paid = run(paying(canteen, meal(subsidised=True)))
    assert isinstance(paid, Paid)
    assert paid.split == Split(780, 200, (RatePart(700, 980, 64),))
    assert held(databases, ("wallet", ANNA), SUBSIDY, ("sales", "700"), ("vat", "700"), ("source", "payroll")) == [
        1_220,
        -200,
        916,
        64,
        -2_000,
    ]
    with databases.record.connect() as connection:
        row = connection.execute(sa.select(canteen_payment)).one()
    assert len(row.id) == 32
    assert row == (2, paid.payment, "till-1", "till", 980, ANNA, None, MONDAY_MS)
    check(databases.record)


@pytest.mark.usefixtures("filled")
def test_food_and_drinks_are_taxed_apart(databases: Databases, canteen: Canteen, run: Run) -> None:
    """6.50 of food contain 0.43, 2.50 of drinks 0.40."""
    paid = run(paying(canteen, meal(900, Line(FOOD, 650), Line(DRINKS, 250))))
    assert isinstance(paid, Paid)
    assert held(databases, ("sales", "700"), ("vat", "700"), ("sales", "1900"), ("vat", "1900")) == [607, 43, 210, 40]


@pytest.mark.usefixtures("filled")
def test_a_till_learns_that_it_is_not_enough_and_nothing_more(databases: Databases, canteen: Canteen, run: Run) -> None:
    """The refusal is the same for a wallet that lacks a cent, one that lacks all, and one nobody has."""
    assert isinstance(run(paying(canteen, meal(2_000))), Paid)
    refusals = [run(paying(canteen, meal(1, wallet=wallet))) for wallet in (ANNA, BERT)]
    refusals.append(run(paying(canteen, meal(10_000, wallet=ANNA))))
    assert refusals == [Refused(Code.NO_FUNDS)] * 3
    assert Code.NO_FUNDS == "no_funds"
    assert held(databases, ("wallet", ANNA), ("wallet", BERT)) == [0, 0]


def test_what_the_employer_pays_alone_needs_no_wallet(databases: Databases, canteen: Canteen, run: Run) -> None:
    paid = run(paying(canteen, meal(150, wallet=BERT, subsidised=True)))
    assert isinstance(paid, Paid)
    assert held(databases, SUBSIDY, ("sales", "700"), ("vat", "700")) == [-150, 140, 10]
    refunded = run(lambda connection: canteen.void(connection, paid.payment, MONDAY_MS))
    assert refunded == Refunded(paid.payment, Split(0, 150, (RatePart(700, 150, 10),)), 0)
    assert held(databases, SUBSIDY, ("sales", "700"), ("vat", "700")) == [0, 0, 0]
    check(databases.record)


@pytest.mark.usefixtures("filled")
def test_a_tap_pays_once(databases: Databases, canteen: Canteen, run: Run) -> None:
    """In the same batch, later, after a restart, and even if it was voided; a refusal does not use it up."""
    tap = meal(300, event="agent-1/7/12")
    assert run(paying(canteen, meal(9_999, event="agent-1/7/12"))) == Refused(Code.NO_FUNDS)

    def twice(connection: Connection) -> list[Paid | Refused]:
        return [canteen.pay(connection, tap), canteen.pay(connection, tap)]

    first, second = run(twice)
    assert isinstance(first, Paid)
    assert second == run(paying(canteen, tap)) == Refused(Code.TAP_USED)
    run(lambda connection: canteen.void(connection, first.payment, MONDAY_MS))
    with write(databases.record) as connection:
        assert Canteen(Ledger()).pay(connection, tap) == Refused(Code.TAP_USED)
    assert isinstance(run(paying(canteen, meal(300, event="agent-1/7/13"))), Paid)
    check(databases.record)


@pytest.mark.usefixtures("filled")
def test_a_void_takes_back_everything_once(databases: Databases, canteen: Canteen, run: Run) -> None:
    paid = run(paying(canteen, meal(subsidised=True)))
    assert isinstance(paid, Paid)

    def voiding(caller: str | None = None) -> Refunded | Refused:
        return run(lambda connection: canteen.void(connection, paid.payment, MONDAY_MS + 1, caller))

    assert voiding("another till") == Refused(Code.PAYMENT_UNKNOWN)
    assert voiding("till") == Refunded(paid.payment, paid.split, 0)
    assert voiding() == Refused(Code.NOTHING_LEFT)
    assert held(databases, ("wallet", ANNA), SUBSIDY, ("sales", "700"), ("vat", "700")) == [2_000, 0, 0, 0]
    check(databases.record)


@pytest.mark.usefixtures("filled")
def test_a_refund_is_never_above_the_rest(databases: Databases, canteen: Canteen, run: Run) -> None:
    """Of 9.80 come back 5.00 (0.33 of its tax), then the rest; the own share first, the employer's after it."""
    paid = run(paying(canteen, meal(subsidised=True)))
    assert isinstance(paid, Paid)

    def giving_back(cents: int, **more: Any) -> Refunded | Refused:
        return run(lambda connection: canteen.refund(connection, Refund(paid.payment, cents, MONDAY_MS + 1, **more)))

    assert giving_back(981) == Refused(Code.ABOVE_REST)
    assert giving_back(5, caller="another till") == Refused(Code.PAYMENT_UNKNOWN)
    assert giving_back(500, caller="till") == Refunded(
        paid.payment, Split(500, 0, (RatePart(700, 500, 33),)), rest_cents=480
    )
    assert run(lambda connection: canteen.void(connection, paid.payment, MONDAY_MS)) == Refused(Code.PARTLY_REFUNDED)
    assert giving_back(481) == Refused(Code.ABOVE_REST)
    assert giving_back(480) == Refunded(paid.payment, Split(280, 200, (RatePart(700, 480, 31),)), rest_cents=0)
    assert giving_back(1) == Refused(Code.NOTHING_LEFT)
    assert held(databases, ("wallet", ANNA), SUBSIDY, ("sales", "700"), ("vat", "700")) == [2_000, 0, 0, 0]
    check(databases.record)


@pytest.mark.usefixtures("filled")
def test_a_refund_says_what_was_given_back_where_the_tax_depends_on_it(
    databases: Databases, canteen: Canteen, run: Run
) -> None:
    """Of 6.50 of food and 2.50 of drinks: 1.00 of either is another tax; all that is left needs no lines."""
    paid = run(paying(canteen, meal(900, Line(FOOD, 650), Line(DRINKS, 250))))
    assert isinstance(paid, Paid)

    def giving_back(cents: int, *lines: Line) -> Refunded | Refused:
        refund = Refund(paid.payment, cents, MONDAY_MS, lines=lines)
        return run(lambda connection: canteen.refund(connection, refund))

    assert giving_back(100) == Refused(Code.LINES_NEEDED)
    assert giving_back(251, Line(DRINKS, 251)) == Refused(Code.ABOVE_REST)

    def given_back(cents: int, part: RatePart, rest_cents: int) -> Refunded:
        return Refunded(paid.payment, Split(cents, 0, (part,)), rest_cents)

    # Of 1.50 of drinks that stay the tax is 23.95.
    assert giving_back(100, Line(DRINKS, 100)) == given_back(100, RatePart(1_900, 100, 16), 800)
    assert giving_back(150, Line(DRINKS, 150)) == given_back(150, RatePart(1_900, 150, 24), 650)
    assert giving_back(50, Line(DRINKS, 50)) == Refused(Code.ABOVE_REST)
    # One rate is left. Of 5.50 of food the tax is 35.98.
    assert giving_back(100) == given_back(100, RatePart(700, 100, 7), 550)
    assert giving_back(550) == given_back(550, RatePart(700, 550, 36), 0)
    check(databases.record)


@pytest.mark.parametrize("name", ["f" * 32, "", "x", "\x00" * 32, "'; --"])
def test_a_payment_nobody_made_cannot_be_given_back(canteen: Canteen, run: Run, name: str) -> None:
    assert run(lambda connection: canteen.void(connection, name, MONDAY_MS)) == Refused(Code.PAYMENT_UNKNOWN)
    refund = Refund(name, 5, MONDAY_MS)
    assert run(lambda connection: canteen.refund(connection, refund)) == Refused(Code.PAYMENT_UNKNOWN)


@pytest.mark.usefixtures("filled")
def test_payment_and_refund_in_one_batch(databases: Databases, canteen: Canteen, run: Run) -> None:
    """What was not written yet is seen all the same."""

    def all_at_once(connection: Connection) -> list[Any]:
        paid = canteen.pay(connection, meal(980))
        assert isinstance(paid, Paid)
        refunded = canteen.refund(connection, Refund(paid.payment, 80, MONDAY_MS))
        assert isinstance(refunded, Refunded)
        return [refunded.rest_cents, canteen.balance_cents(connection, ANNA)]

    assert run(all_at_once) == [900, 1_100]
    assert [one.amount_cents for one in view_wallet(databases.record, ANNA, 2).movements] == [80, -980]
    check(databases.record)


@pytest.mark.usefixtures("filled")
def test_a_wallet_may_owe_up_to_its_limit(databases: Databases, canteen: Canteen, run: Run) -> None:
    """Payroll deduction: 20 EUR on it and 10 to owe buy for 30; the limit cannot be taken away while it is used."""
    run(lambda connection: canteen.set_limit(connection, ANNA, 1_000))
    run(lambda connection: canteen.set_limit(connection, BERT, 500))
    assert isinstance(run(paying(canteen, meal(3_000))), Paid)
    assert run(paying(canteen, meal(1))) == Refused(Code.NO_FUNDS)
    assert isinstance(run(paying(canteen, meal(500, wallet=BERT))), Paid)
    with pytest.raises(BelowFloor):
        run(lambda connection: canteen.set_limit(connection, ANNA, 999))
    with pytest.raises(ValueError, match="0 cents or more"):
        run(lambda connection: canteen.set_limit(connection, ANNA, -1))
    assert held(databases, ("wallet", ANNA), ("wallet", BERT)) == [-1_000, -500]
    check(databases.record)


@pytest.mark.usefixtures("filled")
def test_a_request_sent_twice_pays_once(databases: Databases, canteen: Canteen, run: Run) -> None:
    """The same answer again, a refusal included; the same key for another amount is refused."""

    def asking(key: str, cents: int) -> Callable[[Connection], Any]:
        def make_in(connection: Connection) -> Callable[[], dict[str, Any]]:
            def make() -> dict[str, Any]:
                result = canteen.pay(connection, meal(cents))
                return {"payment": result.payment} if isinstance(result, Paid) else {"refused": result.code}

            return make

        canteen.expect_request("till", key)
        canteen.expect_tap(ANNA, f"agent/1/{cents}")
        digest = cents.to_bytes(32, "big")
        return lambda connection: canteen.once(connection, "till", key, digest, make_in(connection))

    first = run(asking("k", 980))
    assert run(asking("k", 980)) == first
    with pytest.raises(Conflict):
        run(asking("k", 981))
    assert run(asking("too much", 5_000)) == run(asking("too much", 5_000)) == {"refused": "no_funds"}
    with pytest.raises(ValueError, match="printable ASCII"):
        canteen.expect_request("till", "k\n")
    assert run(lambda connection: canteen.answered(connection, "till", "k", (980).to_bytes(32, "big"))) == first
    assert held(databases, ("wallet", ANNA)) == [1_020]


def test_before_there_is_a_rate_of_tax_nothing_is_booked(databases: Databases, canteen: Canteen, run: Run) -> None:
    with pytest.raises(ValueError, match="no rate of tax"):
        run(paying(canteen, meal(at_ms=0)))
    assert check(databases.record).transfers == 0


@pytest.mark.parametrize(
    ("fault", "planted"),
    [
        ("the payment of transfer 2 is of 981 cents", sa.update(canteen_payment).values(amount_cents=981)),
        ("transfer 2 has no payment", sa.delete(canteen_payment)),
        ("a payment is of transfer 1,", sa.update(canteen_payment).values(transfer_id=1)),
        (
            "transfer 1 has no payment",
            sa.update(ledger_transfer).where(ledger_transfer.c.id == 1).values(kind="payment"),
        ),
    ],
)
@pytest.mark.usefixtures("filled")
def test_a_payment_that_is_not_what_was_booked_is_found(
    databases: Databases, canteen: Canteen, run: Run, fault: str, planted: Any
) -> None:
    run(paying(canteen, meal(980, subsidised=True)))
    check(databases.record)
    with write(databases.record) as connection:
        connection.execute(planted)
    with pytest.raises(LedgerBroken, match=fault):
        check(databases.record)


def test_the_payments_table_says_whose_it_is() -> None:
    assert canteen_payment.info == {"use": "canteen"}
