# SPDX-License-Identifier: EUPL-1.2
"""What the payments are measured against: the database's own commits, and transfers row by row."""

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

AUDIT_LINE: Final = "x" * 130
_WALLETS: Final = 2_000
_FLUSHED: Final = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
_TABLES: Final = (
    "CREATE TABLE bench_raw (id BIGINT PRIMARY KEY, line TEXT NOT NULL)",
    "CREATE TABLE bench_account (id INT PRIMARY KEY, cents BIGINT NOT NULL)",
    "CREATE TABLE bench_transfer (id BIGSERIAL PRIMARY KEY, paid INT NOT NULL, cents BIGINT NOT NULL)",
    "CREATE TABLE bench_entry (transfer BIGINT NOT NULL, account INT NOT NULL, cents BIGINT NOT NULL)",
)

# Commits for some seconds; returns how many a second.
Peer = Callable[[float], float]


def _commits_per_s(commit: Callable[[int], object], numbers: Iterator[int], seconds: float) -> float:
    began_s, done = time.perf_counter(), 0
    while (took_s := time.perf_counter() - began_s) < seconds:
        commit(next(numbers))
        done += 1
    return done / took_s


@contextmanager
def sqlite_commits(folder: Path) -> Iterator[Peer]:
    """One row a commit, flushed (WAL, FULL), with the standard module alone."""
    numbers = itertools.count()
    with closing(sqlite3.connect(folder / "raw.db", isolation_level=None)) as connection:
        for pragma in _FLUSHED:
            connection.execute(pragma).fetchall()
        connection.execute("CREATE TABLE bench_raw (id INTEGER PRIMARY KEY, line TEXT NOT NULL)")

        def commit(number: int) -> None:
            connection.execute("INSERT INTO bench_raw VALUES (?, ?)", (number, AUDIT_LINE))

        yield lambda seconds: _commits_per_s(commit, numbers, seconds)


@contextmanager
def postgres_peers(url: str, clients: int) -> Iterator[tuple[Peer, Peer]]:
    """One row a commit by one client; and transfers FOR UPDATE onto one account by `clients` threads."""
    numbers = itertools.count()
    connections = [psycopg.connect(url, autocommit=True) for _ in range(clients)]
    try:
        for statement in _TABLES:
            connections[0].execute(statement)
        connections[0].execute(
            "INSERT INTO bench_account SELECT n, 1000000000 FROM generate_series(0, %s) n", (_WALLETS,)
        )

        def commit(number: int) -> None:
            connections[0].execute("INSERT INTO bench_raw VALUES (%s, %s)", (number, AUDIT_LINE))

        yield (
            lambda seconds: _commits_per_s(commit, numbers, seconds),
            lambda seconds: _transfers_per_s(connections, seconds),
        )
    finally:
        for connection in connections:
            connection.close()


def _transfers_per_s(connections: "list[psycopg.Connection[Any]]", seconds: float) -> float:
    """Let every connection pay into account 0 in a thread of its own."""
    done = [0] * len(connections)
    began_s = time.perf_counter()

    def pay(which: int) -> None:
        for number in itertools.count(which):
            if time.perf_counter() - began_s >= seconds:
                return
            _transfer(connections[which], 1 + number * len(connections) % _WALLETS)
            done[which] += 1

    threads = [threading.Thread(target=pay, args=(which,)) for which in range(len(connections))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began_s)


def _transfer(connection: "psycopg.Connection[Any]", wallet: int) -> None:
    """Move money the usual way: both balances are rows, locked in a fixed order."""
    with connection.transaction():
        connection.execute("SELECT cents FROM bench_account WHERE id IN (0, %s) ORDER BY id FOR UPDATE", (wallet,))
        connection.execute("UPDATE bench_account SET cents = cents - 980 WHERE id = %s", (wallet,))
        connection.execute("UPDATE bench_account SET cents = cents + 980 WHERE id = 0")
        row = connection.execute(
            "INSERT INTO bench_transfer (paid, cents) VALUES (%s, 980) RETURNING id", (wallet,)
        ).fetchone()
        number = row[0] if row else None
        connection.execute("INSERT INTO bench_entry VALUES (%s, %s, -980), (%s, 0, 980)", (number, wallet, number))
