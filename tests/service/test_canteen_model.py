# SPDX-License-Identifier: EUPL-1.2
"""A naive canteen in a few lines of decimal arithmetic, and the real one: they agree after every batch.

Nothing of the product's arithmetic is used here: tax by `Decimal`, parts by hand, one dictionary of balances.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service.fake_clock import MONDAY_MS, FakeClock
from sqlalchemy.engine import Connection

from cardservice.canteen.rules import GERMANY, Dated, Tariff
from cardservice.canteen.service import (
    Canteen,
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
from cardservice.database import Databases
from cardservice.errors import BelowFloor
from cardservice.ledger.service import Ledger
from cardservice.ledger.store import ledger_account, ledger_entry
from cardservice.recorder import Recorder

SUBSIDY_CENTS = 150
PERCENT = {"food": 7, "drinks": 19}
NUMBERS = itertools.count(1)

CENTS = st.integers(1, 1_500)
WALLETS, PAYMENTS = st.integers(0, 1), st.integers(0, 5)
GOODS = st.lists(st.tuples(st.sampled_from(sorted(PERCENT)), CENTS), min_size=1, max_size=3)
OPERATIONS = st.one_of(
    st.tuples(st.just("top_up"), WALLETS, CENTS),
    st.tuples(st.just("pay"), WALLETS, GOODS, st.booleans()),
    st.tuples(st.just("refund"), PAYMENTS, CENTS, st.sampled_from([None, "food", "drinks"])),
    st.tuples(st.just("void"), PAYMENTS),
    st.tuples(st.just("limit"), WALLETS, st.integers(0, 800)),
    st.tuples(st.just("crash"), WALLETS, CENTS),
)
BATCHES = st.lists(st.lists(OPERATIONS, min_size=1, max_size=4), min_size=1, max_size=8)


def tax(gross: int, percent: int) -> int:
    exact = Decimal(gross) * percent / (100 + percent)
    return int(exact.quantize(Decimal(1), ROUND_HALF_UP))


@dataclass
class Bought:
    """What is left of one payment."""

    wallet: str
    own: int
    subsidy: int
    left: dict[str, int]
    touched: bool = False


@dataclass
class Naive:
    """The canteen as a child would write it."""

    wallets: list[str]
    held: Counter[str] = field(default_factory=Counter)
    limit: Counter[str] = field(default_factory=Counter)
    bought: list[Bought] = field(default_factory=list)
    sources: int = 0

    def top_up(self, wallet: str, cents: int) -> str:
        self.held[wallet] += cents
        self.sources -= cents
        return "done"

    def pay(self, wallet: str, lines: list[tuple[str, int]], subsidised: bool) -> str:
        whole = sum(cents for _, cents in lines)
        subsidy = min(whole, SUBSIDY_CENTS) if subsidised else 0
        own = whole - subsidy
        if own and self.held[wallet] - own < -self.limit[wallet]:
            return "no_funds"
        self.held[wallet] -= own
        left = Counter[str]()
        for what, cents in lines:
            left[what] += cents
        self.bought.append(Bought(wallet, own, subsidy, dict(left)))
        return "paid"

    def refund(self, one: Bought, cents: int, what: str | None) -> str:
        rest = sum(one.left.values())
        some = [name for name, left in one.left.items() if left]
        if cents > rest:
            return "above_rest" if rest else "nothing_left"
        if what is None and cents < rest and len(some) > 1:
            return "lines_needed"
        if what is not None and one.left.get(what, 0) < cents:
            return "above_rest"
        taken = dict(one.left) if what is None and cents == rest else {what or some[0]: cents}
        for name, part in taken.items():
            one.left[name] -= part
        own = min(cents, one.own)
        one.own, one.subsidy, one.touched = one.own - own, one.subsidy - (cents - own), True
        self.held[one.wallet] += own
        return "refunded"

    def void(self, one: Bought) -> str:
        rest = sum(one.left.values())
        if one.touched:
            return "partly_refunded" if rest else "nothing_left"
        return self.refund(one, rest, None)

    def set_limit(self, wallet: str, cents: int) -> str:
        if self.held[wallet] < -cents:
            return "below"
        self.limit[wallet] = cents
        return "done"

    def accounts(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter({("wallet", name): self.held[name] for name in self.wallets})
        found["source", "bank"] = self.sources
        for one in self.bought:
            found["subsidy", "employer"] -= one.subsidy
            for name, left in one.left.items():
                rate = str(PERCENT[name] * 100)
                found["vat", rate] += tax(left, PERCENT[name])
                found["sales", rate] += left - tax(left, PERCENT[name])
        return found


class Real:
    """The product, told the same things; payments are called by their order in the model."""

    def __init__(self, databases: Databases, wallets: list[str]) -> None:
        ledger = Ledger(FakeClock())
        self.canteen = Canteen(ledger, Tariff(GERMANY.vat_bp, (Dated(0, SUBSIDY_CENTS),)))
        self.recorder = Recorder(databases.record, (ledger,))
        self.wallets = wallets
        self.names: dict[int, str] = {}

    def unit(self, naive: Naive, operation: tuple[Any, ...]) -> Callable[[Connection], str]:
        """Apply the operation to the model now, return it as a unit that says in the model's words what came of it."""
        kind, first, *rest = operation
        if kind == "top_up":
            top_up = TopUp(self.wallets[first], rest[0], Source.BANK, MONDAY_MS)
            return lambda connection: "done" if self.canteen.top_up(connection, top_up) else "none"
        if kind == "pay":
            return self._paying(len(naive.bought), first, *rest)
        if kind == "limit":
            return lambda connection: self._limited(connection, self.wallets[first], rest[0])
        if kind == "crash":
            return lambda connection: self._crash(connection, self.wallets[first], rest[0])
        return lambda connection: self._taken_back(connection, kind, first, *rest)

    def balance_of(self, wallet: str) -> Callable[[Connection], int]:
        return lambda connection: self.canteen.balance_cents(connection, wallet)

    def _paying(self, number: int, wallet: int, lines: list[tuple[str, int]], subsidised: bool):
        payment = Payment(
            terminal="till-1",
            caller="till",
            wallet=self.wallets[wallet],
            amount_cents=sum(cents for _, cents in lines),
            at_ms=MONDAY_MS,
            lines=tuple(Line(PriceClass(what), cents) for what, cents in lines),
            subsidised=subsidised,
        )

        def pay(connection: Connection) -> str:
            result = self.canteen.pay(connection, payment)
            if isinstance(result, Paid):
                self.names[number] = result.payment
                return "paid"
            return result.code

        return pay

    def _limited(self, connection: Connection, wallet: str, cents: int) -> str:
        try:
            self.canteen.set_limit(connection, wallet, cents)
        except BelowFloor:
            return "below"
        return "done"

    def _crash(self, connection: Connection, wallet: str, cents: int) -> str:
        self.canteen.top_up(connection, TopUp(wallet, cents, Source.DESK, MONDAY_MS))
        self.canteen.pay(connection, Payment("till-2", "till", wallet, cents, MONDAY_MS, price_class=PriceClass.DRINKS))
        raise RuntimeError("crash")

    def _taken_back(self, connection: Connection, kind: str, number: int, *more: Any) -> str:
        name = self.names[number]
        result: Refunded | Refused
        if kind == "void":
            result = self.canteen.void(connection, name, MONDAY_MS)
        else:
            cents, what = more
            lines = (Line(PriceClass(what), cents),) if what else ()
            result = self.canteen.refund(connection, Refund(name, cents, MONDAY_MS, lines=lines))
        return "refunded" if isinstance(result, Refunded) else result.code


def expected_of(naive: Naive, operation: tuple[Any, ...]) -> str:
    kind, first, *rest = operation
    if kind in {"refund", "void"}:
        return getattr(naive, kind)(naive.bought[first], *rest)
    if kind == "crash":
        return "crash"
    name = {"limit": "set_limit"}.get(kind, kind)
    return getattr(naive, name)(naive.wallets[first], *rest)


def balances(databases: Databases) -> Counter[tuple[str, str]]:
    """Add up every account from its entries."""
    with databases.record.connect() as connection:
        rows = connection.execute(
            sa.select(ledger_account.c.kind, ledger_account.c.owner, sa.func.sum(ledger_entry.c.amount_cents))
            .join(ledger_entry, ledger_entry.c.account_id == ledger_account.c.id)
            .group_by(ledger_account.c.kind, ledger_account.c.owner)
        )
        return Counter({(kind, owner): int(cents) for kind, owner, cents in rows})


def changed(now: Counter[tuple[str, str]], before: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    return {name: now[name] - before[name] for name in {*now, *before} if now[name] != before[name]}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_model_and_database_agree_after_every_batch(databases: Databases, batches: list[list[Any]]) -> None:
    """The same answers, the same balance in every account, the same in the ledger's memory; and it always adds up."""
    wallets = [f"{next(NUMBERS):032x}" for _ in range(2)]
    naive, real, before = Naive(wallets), Real(databases, wallets), balances(databases)
    for batch in batches:
        expected, futures = [], []
        for operation in batch:
            if operation[0] in {"refund", "void"} and operation[1] >= len(naive.bought):
                continue
            futures.append(real.recorder.submit(real.unit(naive, operation)))
            expected.append(expected_of(naive, operation))
        real.recorder.write_waiting()
        assert [str(future.exception() or future.result()) for future in futures] == expected
        assert changed(balances(databases), before) == {key: cents for key, cents in naive.accounts().items() if cents}
        remembered = [real.recorder.submit(real.balance_of(wallet)) for wallet in wallets]
        real.recorder.write_waiting()
        assert [future.result() for future in remembered] == [naive.held[wallet] for wallet in wallets]
        check(databases.record)
