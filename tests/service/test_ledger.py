# SPDX-License-Identifier: EUPL-1.2
"""The ledger on both databases: nobody falls below their floor, memory and store agree, no fault stays unnoticed."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
import sqlalchemy as sa
from service.chains import LIMIT_S, results
from service.fake_clock import MONDAY_MS, FakeClock
from sqlalchemy.engine import Connection

from cardservice.database import Databases, write
from cardservice.errors import BelowFloor, Conflict, DatabaseUnavailable, LedgerBroken, NotFound
from cardservice.ledger.rules import AccountName, Posting, Transfer
from cardservice.ledger.service import Answer, Ledger, LedgerReport, check
from cardservice.ledger.store import (
    RequestKey,
    balance_of,
    ledger_account,
    ledger_entry,
    ledger_request,
    ledger_transfer,
)
from cardservice.recorder import Recorder

ANNA, BERT = AccountName("wallet", "a" * 32), AccountName("wallet", "b" * 32)
BANK = AccountName("source", "bank")
DIGEST, OTHER = b"d" * 32, b"o" * 32


@pytest.fixture
def ledger(clock: FakeClock) -> Ledger:
    return Ledger(clock)


@pytest.fixture
def recorder(databases: Databases, ledger: Ledger) -> Iterator[Recorder]:
    running = Recorder(databases.record, (ledger,))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def run(recorder: Recorder) -> Callable[..., list[object]]:
    """Run units in one batch; return what each said."""

    def together(*units: Callable[[Connection], object]) -> list[object]:
        reached, opened = threading.Event(), threading.Event()

        def gate(_: Connection) -> bool:
            reached.set()
            return opened.wait(LIMIT_S)

        first = recorder.submit(gate)
        assert reached.wait(LIMIT_S)
        futures: list[Future[object]] = [recorder.submit(unit) for unit in units]
        opened.set()
        assert first.result(LIMIT_S)
        return results(futures)

    return together


def move(ledger: Ledger, cents: int, giver: AccountName = BANK, taker: AccountName = ANNA, reverses: int | None = None):
    """Return a unit that moves money between accounts, wallets beginning at a floor of 0."""

    def unit(connection: Connection) -> int:
        for name in (giver, taker):
            ledger.open_account(connection, name, 0 if name.kind == "wallet" else None)
        postings = (Posting(giver, -cents), Posting(taker, cents))
        return ledger.post(connection, Transfer("move", postings, MONDAY_MS, reverses))

    return unit


def failing(unit: Callable[[Connection], object]) -> Callable[[Connection], None]:
    def fails(connection: Connection) -> None:
        unit(connection)
        raise RuntimeError

    return fails


def balances(ledger: Ledger, databases: Databases, run, *names: AccountName) -> list[int]:
    """Return what the ledger says these accounts hold, after comparing that with the entries."""
    (said,) = run(lambda connection: [ledger.balance_cents(connection, name) for name in names])
    with databases.record.connect() as connection:
        assert said == [balance_of(connection, name) for name in names]
    return said


def test_money_moves_and_adds_up(databases: Databases, ledger: Ledger, run) -> None:
    """Two top-ups and a payment in one batch: numbered in order, one flush, balances as the entries say."""
    said = run(move(ledger, 500), move(ledger, 250, taker=BERT), move(ledger, 200, ANNA, BERT))
    assert said == [1, 2, 3]
    assert balances(ledger, databases, run, ANNA, BERT, BANK) == [300, 450, -750]
    assert check(databases.record) == LedgerReport(accounts=3, transfers=3, entries=6, requests=0)


def test_nobody_falls_below_their_floor(databases: Databases, ledger: Ledger, run) -> None:
    """Inside a batch, across batches, and after a restart; the last cent can be spent."""
    assert run(move(ledger, 500))[0] == 1
    said = run(move(ledger, 300, ANNA, BERT), move(ledger, 300, ANNA, BERT), move(ledger, 200, ANNA, BERT))
    assert [type(one) for one in said] == [int, BelowFloor, int]
    assert type(run(move(ledger, 1, ANNA, BERT))[0]) is BelowFloor
    again = Ledger()
    with write(databases.record) as connection, pytest.raises(BelowFloor):
        move(again, 501, BERT, ANNA)(connection)
    assert balances(ledger, databases, run, ANNA, BERT) == [0, 500]
    check(databases.record)


def test_a_refused_transfer_leaves_nothing_behind(databases: Databases, ledger: Ledger, run) -> None:
    """Not even when the unit goes on: the refusal came before the first entry."""
    run(move(ledger, 500))

    def tries(connection: Connection) -> int:
        with pytest.raises(BelowFloor):
            move(ledger, 501, ANNA, BERT)(connection)
        return int(move(ledger, 500, ANNA, BERT)(connection))

    assert run(tries) == [2]
    assert balances(ledger, databases, run, ANNA, BERT) == [0, 500]
    assert check(databases.record).transfers == 2


def test_a_failing_unit_takes_back_what_it_did(databases: Databases, ledger: Ledger, run) -> None:
    """Balances, numbers and accounts are as if it had never run; its neighbours' are not touched."""
    said = run(
        move(ledger, 500),
        failing(move(ledger, 400, ANNA, BERT)),
        move(ledger, 450, ANNA, AccountName("wallet", "c")),
        failing(move(ledger, 900, taker=BERT)),
        move(ledger, 20, ANNA, BERT),
    )
    assert [one if isinstance(one, int) else type(one) for one in said] == [1, RuntimeError, 2, RuntimeError, 3]
    assert balances(ledger, databases, run, ANNA, BERT) == [30, 20]
    assert check(databases.record).accounts == 4


def test_a_failed_commit_is_forgotten(databases: Databases, ledger: Ledger, run) -> None:
    """What could not be written is not remembered either: the same money can be spent once, later."""
    run(move(ledger, 500))

    commits = itertools.count(1)

    @sa.event.listens_for(databases.record, "commit")
    def fail(_: Connection) -> None:
        # The first is that of the unit which holds the batch together.
        if next(commits) == 2:
            raise sa.exc.OperationalError("COMMIT", {}, Exception("database or disk is full"))

    said = run(move(ledger, 500, ANNA, BERT), move(ledger, 7))
    assert [type(one) for one in said] == [DatabaseUnavailable] * 2
    assert run(move(ledger, 500, ANNA, BERT), move(ledger, 1, ANNA, BERT))[0] == 2
    assert balances(ledger, databases, run, ANNA, BERT) == [0, 500]
    check(databases.record)


def test_an_old_mark_forgets_everything(databases: Databases, ledger: Ledger) -> None:
    """Only the newest mark can be taken back step by step; with an older one the store is read again."""
    old = ledger.mark()
    with write(databases.record) as connection:
        move(ledger, 500)(connection)
    ledger.mark()
    with write(databases.record) as connection:
        connection.execute(sa.update(ledger_account).where(ledger_account.c.kind == "wallet").values(floor_cents=-100))
    ledger.back_to(old)
    with write(databases.record) as connection:
        assert ledger.account(connection, ANNA) == (2, -100, 500)


def test_an_account_is_opened_once_and_never_by_paying(databases: Databases, ledger: Ledger, run) -> None:
    (missing,) = run(
        lambda connection: ledger.post(connection, Transfer("x", (Posting(ANNA, 5), Posting(BERT, -5)), MONDAY_MS))
    )
    assert isinstance(missing, NotFound)
    said = run(*[lambda connection: ledger.open_account(connection, ANNA, 0).id] * 3)
    assert said == [1, 1, 1]
    assert run(lambda connection: ledger.balance_cents(connection, BERT)) == [0]
    assert check(databases.record).accounts == 1


def test_a_floor_can_be_moved_but_not_above_what_is_there(databases: Databases, ledger: Ledger, run) -> None:
    def floor(cents: int, name: AccountName = ANNA):
        return lambda connection: ledger.set_floor(connection, name, cents)

    run(move(ledger, 500))
    said = run(floor(-300), move(ledger, 800, ANNA, BERT), floor(-299), floor(0, BANK), floor(0, AccountName("x", "y")))
    assert [None if one is None else type(one) for one in said] == [None, int, BelowFloor, NotFound, NotFound]
    assert type(run(move(ledger, 1, ANNA, BERT))[0]) is BelowFloor
    check(databases.record)
    assert balances(Ledger(), databases, run, ANNA) == [-300]


def test_no_more_is_reversed_than_is_left(databases: Databases, ledger: Ledger, run) -> None:
    """Also when the transfer and its reversals stand in one batch and nothing of them is written yet."""
    run(move(ledger, 500, taker=BERT), move(ledger, 500))
    said = run(
        move(ledger, 300, ANNA, BERT),
        move(ledger, 200, BERT, ANNA, reverses=3),
        move(ledger, 101, BERT, ANNA, reverses=3),
        move(ledger, 100, BERT, ANNA, reverses=3),
        move(ledger, 1, BERT, ANNA, reverses=3),
        move(ledger, 1, ANNA, BERT, reverses=3),
        move(ledger, 1, BERT, ANNA, reverses=99),
    )
    assert [type(one) for one in said] == [int, int, Conflict, int, Conflict, Conflict, Conflict]
    assert balances(ledger, databases, run, ANNA, BERT) == [500, 500]
    check(databases.record)


def test_what_is_not_written_yet_can_be_reversed(databases: Databases, ledger: Ledger, run) -> None:
    """A transfer and its reversal in one unit: no more than is left, although nothing of it is in the store."""

    def unit(connection: Connection) -> int:
        move(ledger, 50)(connection)
        number = move(ledger, 300)(connection)
        move(ledger, 200, ANNA, BANK, reverses=number)(connection)
        with pytest.raises(Conflict):
            move(ledger, 101, ANNA, BANK, reverses=number)(connection)
        return int(move(ledger, 100, ANNA, BANK, reverses=number)(connection))

    assert run(unit) == [4]
    assert balances(ledger, databases, run, ANNA) == [50]
    check(databases.record)


def answering(ledger: Ledger, made: list[str], key: str = "k", digest: bytes = DIGEST, caller: str = "till"):
    def unit(connection: Connection) -> Answer:
        def make() -> Answer:
            made.append(key)
            return {"number": move(ledger, 5)(connection), "text": "Grüße", "parts": [[700, 5]]}

        return ledger.once(connection, RequestKey.of(caller, key), digest, make)

    return unit


def test_the_same_request_is_answered_once(databases: Databases, ledger: Ledger, run) -> None:
    """In one batch, in a later one, and by a service that was restarted; another caller's key is another key."""
    made: list[str] = []
    run(answering(ledger, made, "other"))
    first, second, others = run(
        answering(ledger, made), answering(ledger, made), answering(ledger, made, caller="till-2")
    )
    assert first == second == {"number": 2, "text": "Grüße", "parts": [[700, 5]]}
    assert others["number"] == 3
    assert run(answering(ledger, made)) == [first]
    with write(databases.record) as connection:
        assert answering(Ledger(), made)(connection) == first
    assert made == ["other", "k", "k"]
    assert check(databases.record).requests == check(databases.record).transfers == 3


def test_the_same_key_for_something_else_is_refused(databases: Databases, ledger: Ledger, run) -> None:
    """Whatever came first is kept; the neighbours in the batch are not hurt."""
    made: list[str] = []
    said = run(answering(ledger, made), answering(ledger, made, digest=OTHER), answering(ledger, made, "k2"))
    assert [type(one) for one in said] == [dict, Conflict, dict]
    with write(databases.record) as connection, pytest.raises(Conflict, match="make a new key"):
        Ledger().answered(connection, RequestKey("till", "k"), OTHER)
    with write(databases.record) as connection:
        assert ledger.answered(connection, RequestKey("till", "new"), DIGEST) is None
        assert ledger.answered(connection, RequestKey("till", "k2"), DIGEST) == said[2]


@pytest.mark.parametrize(("caller", "key"), [("", "k"), ("c", ""), ("c" * 65, "k"), ("c", "k" * 256), ("c", "k\x00")])
def test_a_key_that_cannot_be_kept_is_refused_before_anybody_else_is_hurt(caller: str, key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        RequestKey.of(caller, key)


def test_an_answer_and_a_digest_have_a_size(databases: Databases, ledger: Ledger) -> None:
    with write(databases.record) as connection, pytest.raises(ValueError, match="at most 16384"):
        ledger.once(connection, RequestKey("c", "k"), DIGEST, lambda: {"x": "y" * 17_000})
    with write(databases.record) as connection, pytest.raises(ValueError, match="32 bytes"):
        ledger.once(connection, RequestKey("c", "k"), b"", dict)


class Statements:
    """Counts what is sent to the record store."""

    def __init__(self, databases: Databases) -> None:
        self.count = 0
        sa.event.listen(databases.record, "before_cursor_execute", self)

    def __call__(self, *_: object) -> None:
        self.count += 1


def test_a_batch_costs_few_statements(databases: Databases, ledger: Ledger, run) -> None:
    """Sixty transfers between sixty wallets nobody has touched yet, each with its key: not one statement each."""
    names = [AccountName("wallet", f"{number:032x}") for number in range(60)]
    run(*(move(ledger, 500, taker=name) for name in names))
    ledger.forget()
    for number, name in enumerate(names):
        ledger.expect_account(name)
        ledger.expect_request(RequestKey("till", str(number)))
    counted = Statements(databases)

    def paying(number: int):
        def unit(connection: Connection) -> Answer:
            request = RequestKey.of("till", str(number))
            return ledger.once(
                connection, request, DIGEST, lambda: {"n": move(ledger, 5, names[number], BANK)(connection)}
            )

        return unit

    assert [one["n"] for one in run(*(paying(number) for number in range(60)))] == list(range(61, 121))
    # Requests, wallets, the bank's account, the newest number; then transfers, two pieces of entries, requests.
    assert counted.count <= 10
    check(databases.record)


PLANTED = [
    ("transfer 2 is missing", sa.delete(ledger_transfer).where(ledger_transfer.c.id == 2)),
    ("account 1 is missing", sa.delete(ledger_account).where(ledger_account.c.id == 1)),
    (
        "transfer 1: 2 entries add up to 1 cents",
        sa.update(ledger_entry)
        .where(ledger_entry.c.transfer_id == 1, ledger_entry.c.number == 0)
        .values(amount_cents=ledger_entry.c.amount_cents + 1),
    ),
    ("transfer 3: 0 entries", sa.delete(ledger_entry).where(ledger_entry.c.transfer_id == 3)),
    (
        "transfer 2, entry 1: there is no such transfer, or no such account",
        sa.update(ledger_entry)
        .where(ledger_entry.c.transfer_id == 2, ledger_entry.c.number == 1)
        .values(account_id=99),
    ),
    (
        "transfer 98, entry 0: there is no such transfer",
        sa.insert(ledger_entry).values(transfer_id=98, number=0, account_id=1, amount_cents=5, limited=False),
    ),
    ("transfer 3 reverses 97", sa.update(ledger_transfer).where(ledger_transfer.c.id == 3).values(reverses=97)),
    ("transfer 2 reverses 3", sa.update(ledger_transfer).where(ledger_transfer.c.id == 2).values(reverses=3)),
    ("transfer 4 reverses 3", sa.update(ledger_transfer).where(ledger_transfer.c.id == 4).values(reverses=3)),
    (
        "transfer 2: .* were taken back of",
        sa.update(ledger_entry)
        .where(ledger_entry.c.transfer_id == 3)
        .values(amount_cents=ledger_entry.c.amount_cents * 4),
    ),
    (
        "transfer 2: .* were taken back of",
        sa.update(ledger_entry)
        .where(ledger_entry.c.transfer_id == 3)
        .values(amount_cents=-ledger_entry.c.amount_cents),
    ),
    (
        "account [12] holds 300 cents, allowed are at least 301",
        sa.update(ledger_account).where(ledger_account.c.owner == ANNA.owner).values(floor_cents=301),
    ),
]


@pytest.mark.parametrize(("fault", "planted"), PLANTED, ids=[fault for fault, _ in PLANTED])
def test_each_fault_is_found_and_named(databases: Databases, ledger: Ledger, run, fault: str, planted) -> None:
    """A row taken out, changed, added or hung elsewhere: the check says where."""
    run(
        move(ledger, 500),
        move(ledger, 300, ANNA, BERT),
        move(ledger, 100, BERT, ANNA, reverses=2),
        move(ledger, 50, BERT, BANK),
    )
    assert check(databases.record).transfers == 4
    with write(databases.record) as connection:
        connection.execute(planted)
    with pytest.raises(LedgerBroken, match=fault):
        check(databases.record)


def test_an_empty_ledger_adds_up(databases: Databases) -> None:
    assert check(databases.record) == LedgerReport(0, 0, 0, 0)


def test_every_table_says_whose_it_is() -> None:
    tables = (ledger_account, ledger_transfer, ledger_entry, ledger_request)
    assert all(table.info == {"use": "canteen"} for table in tables)
