# SPDX-License-Identifier: EUPL-1.2
"""The bank test, on both databases: whatever many tills do at once, every read adds up and nobody owes too much.

Balances are added up from the entries, never taken from the ledger that is tested; what each till was told is counted
apart and compared at the end.
"""

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from faults.bank import WALLETS, Bank, Reader, Till, balances, opened, payment_number, request
from sqlalchemy.engine import Connection
from support.lives import Life, Lives
from support.postgres import PostgresServer

from cardservice.canteen.service import Paid, check
from cardservice.canteen.store import canteen_payment
from cardservice.database import Databases, open_databases, upgrade
from cardservice.errors import Conflict
from cardservice.ledger.service import Answer
from cardservice.ledger.store import ledger_request

TILLS = 8
FIRST_CENTS = 500
LIMIT_S = 120.0
KINDS = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place of its own, migrated."""
    if request.param == "sqlite":
        yield migrated(f"sqlite:///{tmp_path / 'stores'}")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.new_database()
    yield migrated(server.url(name))
    server.drop_database(name)


def migrated(url: str) -> str:
    databases = open_databases(url)
    upgrade(databases)
    databases.close()
    return url


@pytest.fixture
def databases(url: str) -> Iterator[Databases]:
    opened_databases = open_databases(url)
    yield opened_databases
    opened_databases.close()


def run_all(*works: Callable[[], None]) -> None:
    """Run these at once, each in a thread; fail with the first error."""
    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result()


def test_every_read_adds_up_whatever_the_tills_do(databases: Databases, url, scale, dice, report) -> None:
    """Payments, refunds, voids and top-ups of eight tills, some failing half-way: never a cent too much or less."""
    operations = scale.of(480, 20_000)
    with opened(databases) as bank:
        bank.fill_up(FIRST_CENTS)
        tills = [Till(bank, number, random.Random(dice.random())) for number in range(TILLS)]
        with Reader(databases) as reader:
            run_all(*(lambda till=till: till.work(operations // TILLS) for till in tills))
            compared = [bank.remembered_and_added_up(wallet) for wallet in WALLETS]
    told = sum((till.told for till in tills), Counter())
    expected = Counter(dict.fromkeys(WALLETS, FIRST_CENTS))
    for till in tills:
        expected.update(till.wallets)
    assert reader.wrong == []
    assert all(said == added_up for said, added_up in compared)
    held = balances(databases)
    assert {wallet: held["wallet", wallet] for wallet in WALLETS} == dict(expected)
    assert sum(held.values()) == 0
    found = check(databases.record)
    report(
        f"the bank test on {url.partition(':')[0]}",
        operations=told.total(),
        transfers=found.transfers,
        entries=found.entries,
        full_reads=reader.reads,
        reads_that_did_not_add_up=len(reader.wrong),
        refused_for_lack_of_funds=told["no_funds"],
        units_failed_half_way=told["crash"],
    )
    assert reader.reads > 5
    assert min(told[kind] for kind in ("pay", "top_up", "refund", "void", "crash", "no_funds", "above_rest")) > 0
    assert found.transfers == len(WALLETS) + told["pay"] + told["top_up"] + told["refund"] + told["void"]


def paying_once(bank: Bank, number: int, digest: bytes | None = None) -> Callable[[Connection], Answer]:
    caller, key, its_own = request(number)

    def unit(connection: Connection) -> Answer:
        def make() -> Answer:
            paid = bank.canteen.pay(connection, payment_number(number))
            assert isinstance(paid, Paid)
            return {"payment": paid.payment}

        return bank.canteen.once(connection, caller, key, digest or its_own, make)

    return unit


def test_the_same_key_at_the_same_time_pays_once(databases: Databases, url, scale, report) -> None:
    """Eight tills ask for the same payments, each three times; others ask for something else under their keys."""
    numbers = scale.of(12, 1_000)
    answers: list[list[Answer]] = [[] for _ in range(TILLS)]
    conflicts: list[int] = []

    def till(which: int) -> None:
        for number in range(numbers):
            futures = [bank.recorder.submit(paying_once(bank, number)) for _ in range(3)]
            other = bank.recorder.submit(paying_once(bank, number, b"o" * 32))
            answers[which] += [future.result(LIMIT_S) for future in futures]
            assert isinstance(other.exception(LIMIT_S), Conflict)
            conflicts.append(number)

    with opened(databases) as bank:
        bank.fill_up(100_000)
        run_all(*(lambda which=which: till(which) for which in range(TILLS)))
    report(
        f"the same key at the same time on {url.partition(':')[0]}",
        requests=TILLS * numbers * 3,
        other_content_refused=len(conflicts),
        payments=len(payments(databases)),
    )
    assert sorted(payments(databases)) == list(range(numbers))
    assert all(one == answers[0] for one in answers)
    assert len({answer["payment"] for answer in answers[0]}) == numbers
    check(databases.record)


def payments(databases: Databases) -> list[int]:
    """Return the numbers of the payments that stand in the store, once for each row."""
    first_ms = payment_number(0).at_ms
    with databases.record.connect() as connection:
        return [at_ms - first_ms for at_ms in connection.execute(sa.select(canteen_payment.c.at_ms)).scalars()]


def acknowledged_before_death(life: Life, kill_after: int) -> dict[int, str]:
    """Kill a child that pays once it has acknowledged so many; return all it had acknowledged."""
    told: dict[int, str] = {}
    for said in life:
        number, name = said.split()
        told[int(number)] = name
        if len(told) == kill_after:
            life.kill()
    assert life.exit_code == -signal.SIGKILL
    return told


def test_killed_in_the_middle_nothing_is_lost_and_nothing_paid_twice(
    databases: Databases, url, scale, dice, report
) -> None:
    """Each life begins with what the one before may or may not have paid, under the same keys."""
    lives, start = scale.of(5, 100), 0
    told: dict[int, str] = {}
    repeated = 0
    with opened(databases) as bank:
        bank.fill_up(1_000_000)
    with Lives(Path(__file__).with_name("bank_payer.py"), url) as payer:
        for _ in range(lives):
            new = acknowledged_before_death(payer.begin(str(start)), dice.randrange(30, 250))
            assert all(told.get(number, name) == name for number, name in new.items()), "the same key, another payment"
            repeated += len(told.keys() & new.keys())
            told |= new
            # Some that were acknowledged, and all that were not.
            start = max(0, max(told) - 20)
    with databases.record.connect() as connection:
        kept = set(connection.execute(sa.select(canteen_payment.c.id)).scalars())
        keys = set(connection.execute(sa.select(ledger_request.c.key)).scalars())
    paid = payments(databases)
    check(databases.record)
    report(
        f"kill -9 of a process that pays, on {url.partition(':')[0]}",
        lives=lives,
        acknowledged=len(told),
        acknowledged_lost=len(set(told.values()) - kept),
        paid_twice=len(paid) - len(set(paid)),
        asked_again=repeated,
    )
    assert set(told.values()) <= kept
    assert len(paid) == len(set(paid)) == len(keys) == max(paid) + 1
    assert repeated > 0
    owed = Counter(dict.fromkeys(WALLETS, 1_000_000))
    for number in paid:
        owed[payment_number(number).wallet] -= payment_number(number).amount_cents
    held = balances(databases)
    assert {wallet: held["wallet", wallet] for wallet in WALLETS} == dict(owed)
