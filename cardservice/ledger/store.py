# SPDX-License-Identifier: EUPL-1.2
"""Tables of the ledger, in the record store, and the questions asked of them.

No foreign keys: PostgreSQL would look up every row's partner one by one, and the recorder is the only writer. That
nothing dangles is part of `cardservice.ledger.service.check`.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import RECORD, RowNumber
from cardservice.hot_sql import fetch_among
from cardservice.ledger.rules import MAX_CALLER_LENGTH, MAX_KEY_LENGTH, MAX_KIND_LENGTH, MAX_OWNER_LENGTH, AccountName

_CANTEEN: Final = {"use": "canteen"}

ledger_account = sa.Table(
    "ledger_account",
    RECORD,
    sa.Column("id", RowNumber, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(MAX_KIND_LENGTH), nullable=False),
    # A pseudonym, or the name of an account that is nobody's.
    sa.Column("owner", sa.String(MAX_OWNER_LENGTH), nullable=False),
    # The lowest balance allowed; null: any.
    sa.Column("floor_cents", sa.BigInteger),
    sa.Column("opened_ms", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("kind", "owner"),
    info=_CANTEEN,
)

# Numbered from 1 without gaps.
ledger_transfer = sa.Table(
    "ledger_transfer",
    RECORD,
    sa.Column("id", RowNumber, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(MAX_KIND_LENGTH), nullable=False),
    sa.Column("reverses", sa.BigInteger),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Index(
        "ix_ledger_transfer_reverses",
        "reverses",
        sqlite_where=sa.text("reverses IS NOT NULL"),
        postgresql_where=sa.text("reverses IS NOT NULL"),
    ),
    info=_CANTEEN,
)

ledger_entry = sa.Table(
    "ledger_entry",
    RECORD,
    sa.Column("transfer_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("account_id", sa.BigInteger, nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    # Whether its account has a lowest balance: the entries of no other are asked for by account.
    sa.Column("limited", sa.Boolean, server_default=sa.true(), nullable=False),
    sa.Index(
        "ix_ledger_entry_account_id",
        "account_id",
        "transfer_id",
        sqlite_where=sa.text("limited"),
        postgresql_where=sa.text("limited"),
    ),
    sqlite_with_rowid=False,
    info=_CANTEEN,
)

# What a caller asked for under a key of its own making, and what it was answered.
ledger_request = sa.Table(
    "ledger_request",
    RECORD,
    # The key first: keys that begin with the time, which the API asks callers for, stand on the same page.
    sa.Column("key", sa.String(MAX_KEY_LENGTH), primary_key=True),
    sa.Column("caller", sa.String(MAX_CALLER_LENGTH), primary_key=True),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
    info=_CANTEEN,
)


class RequestKey(NamedTuple):
    """Who asked, and the key the caller made for it."""

    caller: str
    key: str

    @classmethod
    def of(cls, caller: str, key: str) -> Self:
        """Return the key of a request.

        Raises:
            ValueError: either is empty, too long or not printable ASCII.
        """
        for text, most in ((caller, MAX_CALLER_LENGTH), (key, MAX_KEY_LENGTH)):
            if not (1 <= len(text) <= most and text.isascii() and text.isprintable()):
                raise ValueError(f"a caller or an idempotency key has 1 to {most} printable ASCII characters")
        return cls(caller, key)


class StoredRequest(NamedTuple):
    """What was asked (its digest) and answered (JSON)."""

    digest: bytes
    answer: str


class Account(NamedTuple):
    """An account; the balance of one without a floor is not kept (0)."""

    id: int
    floor_cents: int | None
    balance_cents: int


# An account without a limit may have millions of entries; its balance decides nothing.
_BY_NAME: Final = """
    SELECT kind, owner, id, floor_cents,
        (SELECT coalesce(sum(amount_cents), 0) FROM ledger_entry WHERE account_id = account.id AND limited)
    FROM ledger_account account WHERE kind {0} AND owner {1}"""
_REQUESTS: Final = "SELECT caller, key, digest, answer FROM ledger_request WHERE key {0}"

_REST: Final = (
    sa.select(
        ledger_account.c.kind,
        ledger_account.c.owner,
        sa.cast(sa.func.sum(ledger_entry.c.amount_cents), sa.BigInteger).label("rest_cents"),
    )
    .select_from(ledger_transfer)
    .join(ledger_entry, ledger_entry.c.transfer_id == ledger_transfer.c.id)
    .join(ledger_account, ledger_account.c.id == ledger_entry.c.account_id)
    .where(sa.or_(ledger_transfer.c.id == sa.bindparam("of"), ledger_transfer.c.reverses == sa.bindparam("of")))
    .group_by(ledger_account.c.kind, ledger_account.c.owner)
)

_SET_FLOOR: Final = (
    sa.update(ledger_account)
    .where(ledger_account.c.id == sa.bindparam("of"))
    .values(floor_cents=sa.bindparam("floor_cents"))
)

_SET_OWNER: Final = (
    sa.update(ledger_account).where(ledger_account.c.id == sa.bindparam("of")).values(owner=sa.bindparam("to"))
)


def accounts_by_name(connection: Connection, names: Sequence[AccountName]) -> dict[AccountName, Account]:
    """Return those of these accounts that exist, with the balance of each that has a floor."""
    rows = fetch_among(connection, _BY_NAME, {name.kind for name in names}, {name.owner for name in names})
    return {
        AccountName(kind, owner): Account(number, floor_cents, int(balance_cents))
        for kind, owner, number, floor_cents, balance_cents in rows
    }


def requests_by_key(connection: Connection, keys: Sequence[RequestKey]) -> dict[RequestKey, StoredRequest]:
    """Return those of these requests that were answered before."""
    rows = fetch_among(connection, _REQUESTS, {key.key for key in keys})
    return {RequestKey(caller, key): StoredRequest(bytes(digest), answer) for caller, key, digest, answer in rows}


def highest_numbers(connection: Connection, tables: Sequence[sa.Table]) -> dict[sa.Table, int]:
    """Return the highest `id` in each of these tables, 0 for an empty one."""
    return {table: connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0 for table in tables}


def rest_of(connection: Connection, transfer_id: int) -> dict[AccountName, int]:
    """Return what is left of a transfer in each account after everything that reverses it; empty: no such transfer."""
    return {AccountName(row.kind, row.owner): row.rest_cents for row in connection.execute(_REST, {"of": transfer_id})}


def balance_of(connection: Connection, name: AccountName) -> int:
    """Return an account's balance, added up from its entries."""
    account, entry = ledger_account, ledger_entry
    found = connection.execute(
        sa.select(sa.func.sum(entry.c.amount_cents))
        .select_from(account)
        .join(entry, entry.c.account_id == account.c.id)
        .where(account.c.kind == name.kind, account.c.owner == name.owner)
    ).scalar()
    return int(found or 0)


def set_floor(connection: Connection, account_id: int, floor_cents: int | None) -> None:
    """Write an account's new lowest balance."""
    connection.execute(_SET_FLOOR, {"of": account_id, "floor_cents": floor_cents})


def set_owner(connection: Connection, account_id: int, owner: str) -> None:
    """Call an account otherwise."""
    connection.execute(_SET_OWNER, {"of": account_id, "to": owner})


def entries_of(connection: Connection, kind: str, transfers: Sequence[int]) -> Sequence[sa.Row[Any]]:
    """Return what these transfers moved in accounts of one kind that have a lowest balance: owner, id, cents.

    One row for each account, by its number.
    """
    account, entry = ledger_account, ledger_entry
    cents = sa.cast(sa.func.sum(entry.c.amount_cents), sa.BigInteger).label("cents")
    statement: sa.Select[Any] = (
        sa.select(account.c.owner, account.c.id, cents)
        .select_from(entry)
        .join(account, account.c.id == entry.c.account_id)
        .where(entry.c.transfer_id.in_(transfers), entry.c.limited, account.c.kind == kind)
        .group_by(account.c.owner, account.c.id)
        .order_by(account.c.id)
    )
    return connection.execute(statement).all()


def move_entries(connection: Connection, transfers: Sequence[int], account_id: int, to: int) -> int:
    """Have what these transfers moved in one account stand in another, without a lowest balance; return how many."""
    entry = ledger_entry
    theirs = sa.update(entry).where(entry.c.transfer_id.in_(transfers), entry.c.account_id == account_id)
    return connection.execute(theirs.values(account_id=to, limited=False)).rowcount


def newest_entries(connection: Connection, name: AccountName, limit: int) -> Sequence[sa.Row[Any]]:
    """Return an account's newest entries, newest first: transfer_id, kind, reverses, at_ms, amount_cents.

    Of an account without a lowest balance: none.
    """
    account, transfer, entry = ledger_account, ledger_transfer, ledger_entry
    statement: sa.Select[Any] = (
        sa.select(entry.c.transfer_id, entry.c.amount_cents, transfer.c.kind, transfer.c.reverses, transfer.c.at_ms)
        .select_from(account)
        .join(entry, entry.c.account_id == account.c.id)
        .join(transfer, transfer.c.id == entry.c.transfer_id)
        .where(account.c.kind == name.kind, account.c.owner == name.owner, entry.c.limited)
        .order_by(entry.c.transfer_id.desc())
        .limit(limit)
    )
    return connection.execute(statement).all()
