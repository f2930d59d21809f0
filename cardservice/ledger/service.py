# SPDX-License-Identifier: EUPL-1.2
"""Moving money, and proving that all of it is where it should be.

`Ledger` runs in the recorder's thread, the only writer of the record store. So it can keep the balances that have a
limit in memory and decide there; rows are gathered and written with few statements, and no row is ever the one that all
payments wait for.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from pydantic_core import to_json
from sqlalchemy.engine import Connection, Engine

from cardservice.clock import Clock, SystemClock
from cardservice.database import read
from cardservice.errors import BelowFloor, Conflict, LedgerBroken, NotFound
from cardservice.hot_sql import insert_rows
from cardservice.ledger import audit, store
from cardservice.ledger.memory import Fetch, Key, Memory, Row
from cardservice.ledger.rules import CARRIED, AccountName, Posting, Transfer, is_within
from cardservice.ledger.store import Account, RequestKey, StoredRequest

MAX_ANSWER_LENGTH: Final = 16 * 1024
_DIGEST_BYTES: Final = 32

Answer = Mapping[str, Any]


class Ledger:
    """Accounts, transfers and answered requests; a participant of the recorder (`cardservice.recorder.Participant`).

    `clock` tells when an account was opened and a request answered.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._memories: list[Memory[Any, Any]] = []
        self._accounts = self.remember(store.accounts_by_name)
        self._requests = self.remember(store.requests_by_key)
        self._numbers = self.remember(store.highest_numbers)
        self._gathered: dict[sa.Table, list[tuple[Any, ...]]] | None = None
        self._marks = 0

    def remember(self, fetch: "Fetch[Key, Row]") -> "Memory[Key, Row]":
        """Return a memory of one more kind of row, which forgets and takes back together with the ledger."""
        memory = Memory(fetch)
        self._memories.append(memory)
        return memory

    def gather(self) -> None:
        """Keep rows in memory until `flush`."""
        self._gathered = {}

    def flush(self, connection: Connection) -> None:
        """Write what was gathered; from now on write at once."""
        self.write_gathered(connection)
        self._gathered = None

    def write_gathered(self, connection: Connection) -> None:
        """Write what was gathered so far, so that a query sees it."""
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, {}
        for table, rows in gathered.items():
            insert_rows(connection, table, rows)

    def mark(self) -> object:
        """Return what `back_to` needs to undo what follows."""
        for memory in self._memories:
            memory.mark()
        self._marks += 1
        return self._marks

    def back_to(self, mark: object) -> None:
        """Undo everything since `mark`."""
        if mark != self._marks:
            self.forget()
            return
        self._gathered = None
        for memory in self._memories:
            memory.back()

    def forget(self) -> None:
        """Drop everything held in memory; the store is read again."""
        self._gathered = None
        for memory in self._memories:
            memory.forget()

    def keep(self, connection: Connection, table: sa.Table, row: tuple[Any, ...]) -> None:
        """Write one row of any table of the record store, together with the ledger's own."""
        if self._gathered is None:
            insert_rows(connection, table, [row])
        else:
            self._gathered.setdefault(table, []).append(row)

    def expect_account(self, name: AccountName) -> None:
        """Say, from any thread, that this account will be asked for soon."""
        self._accounts.expect(name)

    def expect_request(self, request: RequestKey) -> None:
        """Say, from any thread, that this request will be asked for soon."""
        self._requests.expect(request)

    def account(self, connection: Connection, name: AccountName) -> Account | None:
        """Return an account, None if it was never opened."""
        return self._accounts.find(connection, name)

    def open_account(self, connection: Connection, name: AccountName, floor_cents: int | None = None) -> Account:
        """Return an account, opened with this lowest balance if it is new."""
        known = self._accounts.find(connection, name)
        if known is not None:
            return known
        account = Account(self._next_number(connection, store.ledger_account), floor_cents, 0)
        self.keep(connection, store.ledger_account, (account.id, *name, floor_cents, self._clock.now_ms()))
        self._accounts.put(name, account)
        return account

    def set_floor(self, connection: Connection, name: AccountName, floor_cents: int) -> None:
        """Change the lowest balance of an account that has one.

        Raises:
            NotFound: no such account with a floor.
            BelowFloor: it holds less already.
        """
        account = self._accounts.find(connection, name)
        if account is None or account.floor_cents is None:
            raise NotFound(f"there is no account of the kind {name.kind} with a lowest balance by this name")
        if account.balance_cents < floor_cents:
            raise BelowFloor(f"an account of the kind {name.kind} holds less than that already")
        self.write_gathered(connection)
        store.set_floor(connection, account.id, floor_cents)
        self._accounts.put(name, account._replace(floor_cents=floor_cents))

    def rename(self, connection: Connection, name: AccountName, owner: str) -> None:
        """Call an account otherwise from now on; its entries stay, and nobody finds it by the name it had.

        Raises:
            Conflict: another account has that name.
        """
        account, other = self._accounts.find(connection, name), AccountName(name.kind, owner)
        if account is None:
            return
        if self._accounts.find(connection, other) is not None:
            raise Conflict(f"another account of the kind {name.kind} has that name")
        self.write_gathered(connection)
        store.set_owner(connection, account.id, owner)
        self._accounts.put(other, account)
        self._accounts.drop(name)

    def carry_over(self, connection: Connection, kind: str, transfers: Sequence[int]) -> int:
        """Have nothing tell any more in whose accounts of one kind these transfers were; return how many entries.

        Their entries stand in the account `CARRIED` of that kind from now on, and one further transfer for each account
        gives back what it lost by that: every account holds what it held, and every transfer still adds up to 0.
        Only accounts with a lowest balance are somebody's; entries of others stay where they are.
        """
        self.write_gathered(connection)
        carried = AccountName(kind, CARRIED)
        to, moved = self.open_account(connection, carried), 0
        self.write_gathered(connection)
        for row in store.entries_of(connection, kind, transfers):
            name = AccountName(kind, row.owner)
            account = self._opened(connection, name, ())
            moved += store.move_entries(connection, transfers, row.id, to.id)
            self._accounts.put(name, account._replace(balance_cents=account.balance_cents - row.cents))
            if row.cents:
                back = (Posting(name, row.cents), Posting(carried, -row.cents))
                self.post(connection, Transfer("carry", back, self._clock.now_ms()))
        return moved

    def balance_cents(self, connection: Connection, name: AccountName) -> int:
        """Return what an account holds; 0 for one that was never opened."""
        account = self._accounts.find(connection, name)
        if account is None or account.floor_cents is not None:
            return 0 if account is None else account.balance_cents
        self.write_gathered(connection)
        return store.balance_of(connection, name)

    def post(self, connection: Connection, transfer: Transfer, opens: Collection[str] = ()) -> int:
        """Move money between open accounts; return the transfer's number. All of it or, with an error, nothing.

        Accounts of the kinds in `opens` are opened, without a lowest balance, when they are first posted to.

        Raises:
            NotFound: an account was never opened.
            BelowFloor: an account would hold less than it may.
            Conflict: the transfer takes back more than is left of the one it reverses.
        """
        accounts = [self._opened(connection, posting.account, opens) for posting in transfer.postings]
        for account, (name, amount_cents) in zip(accounts, transfer.postings, strict=True):
            if _would_fall_below(account, amount_cents):
                raise BelowFloor(f"an account of the kind {name.kind} would hold less than it may")
        if transfer.reverses is not None and not is_within(
            self.rest_of(connection, transfer.reverses), transfer.postings
        ):
            raise Conflict(f"more would be taken back of transfer {transfer.reverses} than is left of it")
        number = self._next_number(connection, store.ledger_transfer)
        self.keep(connection, store.ledger_transfer, (number, transfer.kind, transfer.reverses, transfer.at_ms))
        for line, account in enumerate(accounts):
            name, amount_cents = transfer.postings[line]
            limited = account.floor_cents is not None
            self.keep(connection, store.ledger_entry, (number, line, account.id, amount_cents, limited))
            if limited:
                self._accounts.put(name, Account(account.id, account.floor_cents, account.balance_cents + amount_cents))
        return number

    def rest_of(self, connection: Connection, transfer: int) -> Mapping[AccountName, int]:
        """Return what is left of a transfer, account by account; empty for one that does not exist."""
        self.write_gathered(connection)
        return store.rest_of(connection, transfer)

    def answered(self, connection: Connection, request: RequestKey, content_digest: bytes) -> Answer | None:
        """Return what this request was answered before, None if it is new.

        Raises:
            Conflict: the same key came before with other content.
        """
        known = self._requests.find(connection, request)
        if known is None:
            return None
        if known.digest != content_digest:
            raise Conflict("this idempotency key was used for a different request; make a new key for a new one")
        answer: Answer = json.loads(known.answer)
        return answer

    def once(
        self, connection: Connection, request: RequestKey, content_digest: bytes, make: Callable[[], Answer]
    ) -> Answer:
        """Return what this request was answered, however often it comes; `make` answers it the first time.

        `content_digest` is the SHA-256 of everything that was asked.

        Raises:
            ValueError: a digest or an answer of the wrong size.
            Conflict: the same key came before with other content.
        """
        if len(content_digest) != _DIGEST_BYTES:
            raise ValueError(f"a digest has {_DIGEST_BYTES} bytes")
        before = self.answered(connection, request, content_digest)
        if before is not None:
            return before
        answer = make()
        text = to_json(answer).decode()
        if len(text) > MAX_ANSWER_LENGTH:
            raise ValueError(f"an answer of {len(text)}; at most {MAX_ANSWER_LENGTH} characters are kept")
        row = (request.key, request.caller, content_digest, text, self._clock.now_ms())
        self.keep(connection, store.ledger_request, row)
        self._requests.put(request, StoredRequest(content_digest, text))
        return answer

    def _opened(self, connection: Connection, name: AccountName, opens: Collection[str]) -> Account:
        account = self._accounts.find(connection, name)
        if account is None and name.kind in opens:
            return self.open_account(connection, name)
        if account is None:
            raise NotFound(f"an account of the kind {name.kind} was never opened")
        return account

    def _next_number(self, connection: Connection, table: sa.Table) -> int:
        number = (self._numbers.find(connection, table) or 0) + 1
        self._numbers.put(table, number)
        return number


def _would_fall_below(account: Account, amount_cents: int) -> bool:
    """Tell whether the account would hold less than it may; nobody is ever refused a gain."""
    if account.floor_cents is None or amount_cents > 0:
        return False
    return account.balance_cents + amount_cents < account.floor_cents


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """A ledger that adds up."""

    accounts: int
    transfers: int
    entries: int
    requests: int


def check(engine: Engine) -> LedgerReport:
    """Add everything up anew from the entries, in one reading transaction.

    Raises:
        LedgerBroken: names the first fault found.
        DatabaseUnavailable: locked or unreachable.
    """
    with read(engine) as connection:
        for find_fault in audit.FAULTS:
            fault = find_fault(connection)
            if fault is not None:
                raise LedgerBroken(f"ledger: {fault}")
        tables = (store.ledger_account, store.ledger_transfer, store.ledger_entry, store.ledger_request)
        return LedgerReport(*(audit.count(connection, table) for table in tables))
