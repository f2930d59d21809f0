# SPDX-License-Identifier: EUPL-1.2
"""Writers that never rest: somebody new in the state, then at once their line and their money in the record."""

import threading
from typing import Self

import sqlalchemy as sa
from service.chains import LIMIT_S, begin
from service.fake_clock import MONDAY_MS, FakeClock
from sqlalchemy.engine import Connection

from cardservice.agents.store import agent
from cardservice.database import Databases, open_databases, read, write
from cardservice.journal.service import Entry
from cardservice.journal.store import journal_entry
from cardservice.ledger.rules import AccountName, Posting, Transfer
from cardservice.ledger.service import Ledger
from cardservice.recorder import Recorder

BANK = AccountName("source", "bank")


def add_newcomer(databases: Databases, code: str) -> None:
    """Put an agent into the state."""
    values = {"code": code, "public_key": "00" * 32, "locked": False, "enrolled_ms": MONDAY_MS}
    with write(databases.state) as connection:
        connection.execute(sa.insert(agent).values(values))


def newcomers(databases: Databases) -> set[str]:
    """Who is in the state."""
    with read(databases.state) as connection:
        return set(connection.execute(sa.select(agent.c.code)).scalars())


def recorded(databases: Databases) -> int:
    """How many lines the journal has."""
    with read(databases.record) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(journal_entry)).scalar_one()


def named_in_record(databases: Databases) -> set[str]:
    """Whom the ledger has an account for."""
    with read(databases.record) as connection:
        return set(connection.execute(sa.text("SELECT owner FROM ledger_account WHERE kind = 'wallet'")).scalars())


class Load:
    """Two writers on one recorder, while the context lasts; `acknowledged` counts what is on disk."""

    def __init__(self, url: str) -> None:
        self._databases = open_databases(url)
        self._journal, self._ledger = begin(self._databases.record), Ledger(FakeClock())
        self._recorder = Recorder(self._databases.record, (self._journal, self._ledger))
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(name,)) for name in ("a", "b")]
        self._lock = threading.Lock()
        self.acknowledged = 0
        self.failures: list[BaseException] = []

    def __enter__(self) -> Self:
        self._recorder.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(LIMIT_S)
        self._recorder.stop()
        self._databases.close()

    def _write(self, name: str) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            code = f"{name}-{number}"
            try:
                add_newcomer(self._databases, code)
                self._recorder.submit(lambda connection, who=code: self._unit(connection, who)).result(LIMIT_S)
            except Exception as error:  # noqa: BLE001  # a thread's failure is told by the test
                self.failures.append(error)
                return
            with self._lock:
                self.acknowledged += 1

    def _unit(self, connection: Connection, code: str) -> None:
        self._journal.append(connection, Entry("canteen", MONDAY_MS, {"code": code}))
        wallet = AccountName("wallet", code)
        for account in (BANK, wallet):
            self._ledger.open_account(connection, account, 0 if account is wallet else None)
        self._ledger.post(connection, Transfer("move", (Posting(BANK, -100), Posting(wallet, 100)), MONDAY_MS))
