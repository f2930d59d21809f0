# SPDX-License-Identifier: EUPL-1.2
"""A small bank: fifty wallets, tills that do everything at once, readers that add everything up meanwhile."""

import hashlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import sqlalchemy as sa
from service.fake_clock import MONDAY_MS
from sqlalchemy.engine import Connection

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
from cardservice.database import Databases, read
from cardservice.ledger.rules import AccountName
from cardservice.ledger.service import Ledger
from cardservice.ledger.store import balance_of, ledger_account, ledger_entry
from cardservice.recorder import Recorder

LIMIT_S = 120.0
WALLETS = [f"{number:032x}" for number in range(50)]
# Every fifth may owe something.
LIMITS = {wallet: 700 if number % 5 == 0 else 0 for number, wallet in enumerate(WALLETS)}
# So often a unit fails after it has booked something.
CRASHES = 0.02
# So many operations a till has under way at once.
UNDER_WAY = 6


def payment_number(number: int) -> Payment:
    """Return the payment that is made under the key of this number; its instant tells which one it was."""
    return Payment(
        terminal="till-1",
        caller="till",
        wallet=WALLETS[number % len(WALLETS)],
        amount_cents=1 + number % 97,
        at_ms=MONDAY_MS + number,
        price_class=PriceClass.DRINKS if number % 3 else PriceClass.FOOD,
    )


def request(number: int) -> tuple[str, str, bytes]:
    """Return caller, key and digest of a payment."""
    return "till", f"payment {number}", hashlib.sha256(repr(payment_number(number)).encode()).digest()


class Crash(Exception):
    """A unit that failed after it had booked something."""


@dataclass
class Bank:
    """One canteen on one database."""

    databases: Databases
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.canteen = Canteen(self.ledger)
        self.recorder = Recorder(self.databases.record, (self.ledger,))

    def do(self, unit: Callable[[Connection], Any]) -> Any:
        return self.recorder.submit(unit).result(LIMIT_S)

    def fill_up(self, cents: int) -> None:
        for wallet in WALLETS:
            top_up = TopUp(wallet, cents, Source.PAYROLL, MONDAY_MS)
            self.do(lambda connection, top_up=top_up: self.canteen.top_up(connection, top_up))
            self.do(lambda connection, w=wallet: self.canteen.set_limit(connection, w, LIMITS[w]))

    def remembered_and_added_up(self, wallet: str) -> tuple[int, int]:
        """Return what the ledger says a wallet holds and what its entries add up to, in one transaction."""

        def unit(connection: Connection) -> tuple[int, int]:
            said = self.canteen.balance_cents(connection, wallet)
            self.ledger.write_gathered(connection)
            return said, balance_of(connection, AccountName("wallet", wallet))

        found: tuple[int, int] = self.do(unit)
        return found


@contextmanager
def opened(databases: Databases) -> Iterator[Bank]:
    bank = Bank(databases)
    bank.recorder.start()
    try:
        yield bank
    finally:
        bank.recorder.stop()


@dataclass
class Till:
    """Does what a till does, at random; keeps its own account of what it was told."""

    bank: Bank
    number: int
    dice: random.Random
    told: Counter[str] = field(default_factory=Counter)
    wallets: Counter[str] = field(default_factory=Counter)
    payments: list[tuple[str, str]] = field(default_factory=list)

    def work(self, operations: int) -> None:
        """Do so many things, a few of them at once."""
        under_way: list[tuple[str, str, Future[Any]]] = []
        for _ in range(operations):
            under_way.append(self._begin())
            if len(under_way) == UNDER_WAY:
                self._end(*under_way.pop(0))
        for one in under_way:
            self._end(*one)

    def _begin(self) -> tuple[str, str, "Future[Any]"]:
        kind = self.dice.choices(("pay", "top_up", "refund", "void"), (6, 2, 2, 1))[0]
        if kind in {"refund", "void"} and not self.payments:
            kind = "pay"
        wallet, name = self.dice.choice(WALLETS), ""
        if kind in {"refund", "void"}:
            wallet, name = self.dice.choice(self.payments)
        unit = getattr(self, f"_{kind}")(wallet, name)
        if self.dice.random() < CRASHES:
            kind, unit = "crash", self._crashing(unit)
        return kind, wallet, self.bank.recorder.submit(unit)

    def _end(self, kind: str, wallet: str, future: "Future[Any]") -> None:
        if kind == "crash":
            assert isinstance(future.exception(LIMIT_S), Crash)
            self.told["crash"] += 1
            return
        result, cents = future.result(LIMIT_S)
        if isinstance(result, Paid):
            self.payments.append((wallet, result.payment))
            self.wallets[wallet] -= result.split.own_cents
        elif isinstance(result, Refunded):
            self.wallets[wallet] += result.split.own_cents
        elif kind == "top_up":
            self.wallets[wallet] += cents
        self.told[result.code if isinstance(result, Refused) else kind] += 1

    def _crashing(self, unit: Callable[[Connection], Any]) -> Callable[[Connection], None]:
        def crash(connection: Connection) -> None:
            unit(connection)
            raise Crash

        return crash

    def _pay(self, wallet: str, _: str) -> Callable[[Connection], Any]:
        food, drinks = self.dice.randrange(1, 900), self.dice.randrange(1, 300)
        lines = (Line(PriceClass.FOOD, food), Line(PriceClass.DRINKS, drinks))[: self.dice.randrange(1, 3)]
        payment = Payment(
            terminal=f"till-{self.number}",
            caller=f"till-{self.number}",
            wallet=wallet,
            amount_cents=sum(line.amount_cents for line in lines),
            at_ms=MONDAY_MS,
            lines=lines,
        )
        return lambda connection: (self.bank.canteen.pay(connection, payment), 0)

    def _top_up(self, wallet: str, _: str) -> Callable[[Connection], Any]:
        top_up = TopUp(wallet, self.dice.randrange(1, 2_000), Source.BANK, MONDAY_MS)
        return lambda connection: (self.bank.canteen.top_up(connection, top_up), top_up.amount_cents)

    def _refund(self, _: str, payment: str) -> Callable[[Connection], Any]:
        lines = (Line(self.dice.choice(list(PriceClass)), self.dice.randrange(1, 400)),)
        refund = Refund(payment, lines[0].amount_cents, MONDAY_MS, lines=lines)
        return lambda connection: (self.bank.canteen.refund(connection, refund), 0)

    def _void(self, _: str, payment: str) -> Callable[[Connection], Any]:
        return lambda connection: (self.bank.canteen.void(connection, payment, MONDAY_MS), 0)


class Reader:
    """Adds everything up, again and again, in transactions of its own, until it is told to stop."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._stopped = threading.Event()
        self.reads = 0
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=work) for work in (self._read, self._check)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, once: Callable[[], None]) -> None:
        try:
            while not self._stopped.is_set():
                once()
                self.reads += 1
        except Exception as error:  # noqa: BLE001  # whatever it is, the test fails with it
            self.wrong.append(repr(error))

    def _check(self) -> None:
        def once() -> None:
            check(self._databases.record)

        self._repeat(once)

    def _read(self) -> None:
        self._repeat(self._read_once)

    def _read_once(self) -> None:
        held = balances(self._databases)
        if sum(held.values()):
            self.wrong.append(f"all accounts together hold {sum(held.values())}")
        self.wrong += [
            f"{wallet} holds {held['wallet', wallet]}" for wallet in WALLETS if held["wallet", wallet] < -LIMITS[wallet]
        ]


def balances(databases: Databases) -> Counter[tuple[str, str]]:
    """Add up every account from its entries, in one reading transaction."""
    with read(databases.record) as connection:
        rows = connection.execute(
            sa.select(ledger_account.c.kind, ledger_account.c.owner, sa.func.sum(ledger_entry.c.amount_cents))
            .join(ledger_entry, ledger_entry.c.account_id == ledger_account.c.id)
            .group_by(ledger_account.c.kind, ledger_account.c.owner)
        )
        return Counter({(row[0], row[1]): int(row[2]) for row in rows})
