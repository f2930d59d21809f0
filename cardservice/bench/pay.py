# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench pay`: durable payments into one canteen, next to the same database's own commits.

Tills are tasks of one event loop, as in the service; each waits for its answer before it asks again. A payment of
9.80 EUR has its idempotency row, its tap, own share, subsidy and tax, and goes through the recorder. Next to it, in the
same rounds: one row a commit with the driver alone, and on PostgreSQL transfers row by row FOR UPDATE onto one account.
"""

import asyncio
import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import uvloop
from sqlalchemy.engine import Connection

from cardservice.bench.city_figures import percentile
from cardservice.bench.city_program import BenchError
from cardservice.bench.pay_peers import Peer, postgres_peers, sqlite_commits
from cardservice.bench.report import Figure, Ratio, Report
from cardservice.canteen.rules import GERMANY, Dated, Tariff
from cardservice.canteen.service import Canteen, Paid, Payment, Source, TopUp, check
from cardservice.database import Databases, open_databases, upgrade
from cardservice.ledger.service import Answer, Ledger
from cardservice.recorder import Recorder
from cardservice.server import spare_the_collector
from rig.postgres import running_server

LIBRARIES: Final = ("psycopg", "sqlalchemy", "uvloop")
# 2026-03-16T09:00:00Z
NOW_MS: Final = 1_773_651_600_000
_WARM_UP_TILLS: Final = 64
_WARM_UP_S: Final = 0.5
# Every commit is flushed to the disk, as in the service's own database.
_POSTGRES: Final = "max_connections = 100\nfsync = on\nsynchronous_commit = on\n"
_SUBSIDISED: Final = Tariff(GERMANY.vat_bp, (Dated(0, 200),))


@dataclass(frozen=True, slots=True)
class Size:
    """How often everything is measured in turn and for how long, with how many tills, wallets and locking clients."""

    rounds: int = 15
    seconds: float = 0.4
    tills: tuple[int, ...] = (1, 8, 32, 64)
    wallets: int = 2_000
    clients: int = 64


def run(size: Size = Size()) -> Report:  # frozen
    """Measure both databases.

    Raises:
        RigError: PostgreSQL is not installed, or did not start.
        BenchError: a payment was not made.
    """
    # As the service does once it is ready.
    spare_the_collector()
    report = Report("pay", libraries=LIBRARIES)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pay-")))
        url = stack.enter_context(running_server(_POSTGRES)).url()
        commits, transfers = stack.enter_context(postgres_peers(url, size.clients))
        engines = {
            "SQLite": _Measured(
                stack.enter_context(_canteen(f"sqlite:///{folder / 'stores'}", size.wallets)),
                {"raw": stack.enter_context(sqlite_commits(folder))},
            ),
            "PostgreSQL": _Measured(
                stack.enter_context(_canteen(url, size.wallets)), {"raw": commits, "for update": transfers}
            ),
        }
        for _ in range(size.rounds):
            for measured in engines.values():
                measured.round(size)
    for name, measured in engines.items():
        report.rows += measured.rows(name, size)
    report.ratios += _ratios(engines["SQLite"], engines["PostgreSQL"], size)
    return report


class _Till:
    """The canteen of one database and the recorder it pays through."""

    def __init__(self, databases: Databases, wallets: int) -> None:
        ledger = Ledger()
        self.canteen = Canteen(ledger, _SUBSIDISED)
        self.recorder = Recorder(databases.record, (ledger,))
        self._wallets = [f"{number:032x}" for number in range(wallets)]
        self._numbers = itertools.count()

    def fill_up(self) -> None:
        """Put 10,000 EUR onto every wallet."""
        top_ups = [TopUp(wallet, 1_000_000, Source.BANK, NOW_MS) for wallet in self._wallets]
        for future in [self.recorder.submit(partial(self._top_up, top_up)) for top_up in top_ups]:
            future.result()

    def _top_up(self, top_up: TopUp, connection: Connection) -> int:
        return self.canteen.top_up(connection, top_up)

    async def pay(self) -> None:
        """Pay once, with a tap and a key nobody has had before.

        Raises:
            BenchError: it was refused.
        """
        number = next(self._numbers)
        event = f"agent-1/1/{number}"
        payment = Payment(
            terminal="till-1",
            caller=f"caller-{number % 64}",
            wallet=self._wallets[number * 7 % len(self._wallets)],
            amount_cents=980,
            at_ms=NOW_MS + number,
            event=event,
            subsidised=True,
        )
        key = f"{number:032x}"
        digest = hashlib.sha256(repr(payment).encode()).digest()
        self.canteen.expect_request(payment.caller, key)
        self.canteen.expect_tap(payment.wallet, event)

        def unit(connection: Connection) -> Answer:
            return self.canteen.once(connection, payment.caller, key, digest, lambda: self._answer(connection, payment))

        answer = await self.recorder.submit_here(unit)
        if "payment" not in answer:
            raise BenchError(f"a payment was refused: {answer}")

    def _answer(self, connection: Connection, payment: Payment) -> dict[str, Any]:
        paid = self.canteen.pay(connection, payment)
        if not isinstance(paid, Paid):
            return {"refused": paid.code}
        return {
            "payment": paid.payment,
            "own_cents": paid.split.own_cents,
            "subsidy_cents": paid.split.subsidy_cents,
            "vat": [list(part) for part in paid.split.rates],
        }


@contextmanager
def _canteen(url: str, wallets: int) -> Iterator[_Till]:
    """Open a new canteen; when the measurement is over, its ledger must add up."""
    databases = open_databases(url)
    try:
        upgrade(databases)
        till = _Till(databases, wallets)
        till.recorder.start()
        try:
            till.fill_up()
            uvloop.run(_payments(till, _WARM_UP_TILLS, _WARM_UP_S))
            with databases.record.connect() as connection:
                # What autovacuum does within the first minute: plans made for empty tables are made anew.
                connection.execute(sa.text("ANALYZE"))
                connection.commit()
            yield till
        finally:
            till.recorder.stop()
        check(databases.record)
    finally:
        databases.close()


class _Measured:
    """One database: what was measured on it, round after round."""

    def __init__(self, till: _Till, peers: dict[str, Peer]) -> None:
        self._till = till
        self._peers = peers
        self._per_s: dict[str | int, list[float]] = {}
        self._took_ms: dict[int, list[float]] = {}
        self._batches: dict[int, list[float]] = {}

    def round(self, size: Size) -> None:
        """Measure everything once, in turn."""
        for name, peer in self._peers.items():
            self._per_s.setdefault(name, []).append(peer(size.seconds))
        for tills in size.tills:
            flushes = self._till.recorder.flushes
            took_s, per_s = uvloop.run(_payments(self._till, tills, size.seconds))
            self._per_s.setdefault(tills, []).append(per_s)
            self._took_ms.setdefault(tills, []).extend(one * 1_000 for one in took_s)
            self._batches.setdefault(tills, []).append(len(took_s) / (self._till.recorder.flushes - flushes))

    def per_s(self, what: str | int) -> float:
        """Return the median rate of a peer, or of so many tills."""
        return statistics.median(self._per_s[what])

    def times(self, tills: int, peer: str) -> float:
        """Return how many times as fast as a peer so many tills are: the median of what each round says."""
        pairs = zip(self._per_s[tills], self._per_s[peer], strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def rows(self, name: str, size: Size) -> list[dict[str, Figure]]:
        """Return a row for each peer and each number of tills."""
        peers = {"raw": "one row a commit", "for update": f"row by row FOR UPDATE, {size.clients} clients"}
        rows: list[dict[str, Figure]] = [
            {
                "case": f"{name}, {peers[peer]}",
                "per_s": round(self.per_s(peer)),
                **_least_and_most(self._per_s[peer]),
            }
            for peer in self._peers
        ]
        return rows + [self._row(name, tills) for tills in size.tills]

    def _row(self, name: str, tills: int) -> dict[str, Figure]:
        return {
            "case": f"{name}, payments, {tills} tills",
            "per_s": round(self.per_s(tills)),
            **_least_and_most(self._per_s[tills]),
            "p50_ms": round(statistics.median(self._took_ms[tills]), 2),
            "p99_ms": round(percentile(self._took_ms[tills], 0.99), 2),
            "payments_a_flush": round(statistics.median(self._batches[tills]), 1),
        }


def _least_and_most(per_s: Sequence[float]) -> dict[str, int]:
    return {"least_per_s": round(min(per_s)), "most_per_s": round(max(per_s))}


async def _payments(till: _Till, tills: int, seconds: float) -> tuple[list[float], float]:
    """Let so many tills pay for some seconds; return what each payment took, and payments a second."""
    took_s: list[float] = []
    began_s = time.perf_counter()

    async def pay_on() -> None:
        at_s = began_s
        while at_s - began_s < seconds:
            await till.pay()
            now_s = time.perf_counter()
            took_s.append(now_s - at_s)
            at_s = now_s

    await asyncio.gather(*(pay_on() for _ in range(tills)))
    return took_s, len(took_s) / (time.perf_counter() - began_s)


def _ratios(sqlite: _Measured, postgres: _Measured, size: Size) -> list[Ratio]:
    one, most = min(size.tills), max(size.tills)
    promised: tuple[tuple[str, _Measured, int, str, float], ...] = (
        (f"SQLite, {one} till, of its own commits", sqlite, one, "raw", 0.4),
        (f"SQLite, {most} tills, of its own commits", sqlite, most, "raw", 2.0),
        (f"PostgreSQL, {most} tills, of its own commits", postgres, most, "raw", 2.0),
        (f"PostgreSQL, {most} tills, of transfers FOR UPDATE", postgres, most, "for update", 15.0),
    )
    return [
        Ratio(name, measured.times(tills, peer), goal, at_least=True) for name, measured, tills, peer, goal in promised
    ]
