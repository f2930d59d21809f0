# SPDX-License-Identifier: EUPL-1.2
"""What can be wrong with a ledger, one query each; every one returns the first fault as a sentence, or None."""

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.ledger.rules import CARRIED
from cardservice.ledger.store import ledger_account as account
from cardservice.ledger.store import ledger_entry as entry
from cardservice.ledger.store import ledger_transfer as transfer


def count(connection: Connection, table: sa.Table) -> int:
    """Return how many rows a table has."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _first(connection: Connection, statement: sa.Select[Any]) -> sa.Row[Any] | None:
    return connection.execute(statement.limit(1)).first()


def _missing_number(connection: Connection, table: sa.Table, what: str) -> str | None:
    """A row taken out leaves its number free: nothing else does."""
    counted = sa.select(table.c.id, sa.func.row_number().over(order_by=table.c.id).label("expected")).subquery()
    row = _first(connection, sa.select(counted).where(counted.c.id != counted.c.expected).order_by(counted.c.id))
    return row and f"{what} {row.expected} is missing; the next one found is {row.id}"


def missing_transfer(connection: Connection) -> str | None:
    """Transfers are numbered from 1 without gaps."""
    return _missing_number(connection, transfer, "transfer")


def missing_account(connection: Connection) -> str | None:
    """Accounts are numbered from 1 without gaps."""
    return _missing_number(connection, account, "account")


def unbalanced_transfer(connection: Connection) -> str | None:
    """Every transfer has two entries at least, and they add up to 0."""
    total, entries = sa.func.coalesce(sa.func.sum(entry.c.amount_cents), 0), sa.func.count(entry.c.number)
    row = _first(
        connection,
        sa.select(transfer.c.id, total.label("total"), entries.label("entries"))
        .select_from(transfer)
        .outerjoin(entry, entry.c.transfer_id == transfer.c.id)
        .group_by(transfer.c.id)
        .having(sa.or_(total != 0, entries < 2))
        .order_by(transfer.c.id),
    )
    return row and f"transfer {row.id}: {row.entries} entries add up to {row.total} cents, not to 0"


def dangling_entry(connection: Connection) -> str | None:
    """Every entry belongs to a transfer and to an account."""
    row = _first(
        connection,
        sa.select(entry.c.transfer_id, entry.c.number)
        .outerjoin(transfer, transfer.c.id == entry.c.transfer_id)
        .outerjoin(account, account.c.id == entry.c.account_id)
        .where(sa.or_(transfer.c.id.is_(None), account.c.id.is_(None)))
        .order_by(entry.c.transfer_id, entry.c.number),
    )
    return row and f"transfer {row.transfer_id}, entry {row.number}: there is no such transfer, or no such account"


def unbalanced_whole(connection: Connection) -> str | None:
    """All accounts together hold nothing."""
    balances = sa.select(sa.func.sum(entry.c.amount_cents).label("cents")).group_by(entry.c.account_id).subquery()
    total = connection.execute(sa.select(sa.func.sum(balances.c.cents))).scalar() or 0
    return f"all accounts add up to {total} cents, not to 0" if total else None


def account_below_floor(connection: Connection) -> str | None:
    """No account holds less than it may."""
    balance = sa.func.coalesce(sa.func.sum(entry.c.amount_cents), 0)
    row = _first(
        connection,
        sa.select(account.c.id, account.c.floor_cents, balance.label("balance"))
        .outerjoin(entry, entry.c.account_id == account.c.id)
        .where(account.c.floor_cents.is_not(None))
        .group_by(account.c.id, account.c.floor_cents)
        .having(balance < account.c.floor_cents)
        .order_by(account.c.id),
    )
    return row and f"account {row.id} holds {row.balance} cents, allowed are at least {row.floor_cents}"


def mislabelled_entry(connection: Connection) -> str | None:
    """An entry says whether its account has a lowest balance."""
    row = _first(
        connection,
        sa.select(entry.c.transfer_id, entry.c.number)
        .join(account, account.c.id == entry.c.account_id)
        .where(entry.c.limited != account.c.floor_cents.is_not(None))
        .order_by(entry.c.transfer_id, entry.c.number),
    )
    return row and f"transfer {row.transfer_id}, entry {row.number}: it would not be found by its account"


def dangling_reversal(connection: Connection) -> str | None:
    """What is reversed exists, came before, and is no reversal itself."""
    reversed_one = transfer.alias("reversed_one")
    row = _first(
        connection,
        sa.select(transfer.c.id, transfer.c.reverses)
        .outerjoin(reversed_one, reversed_one.c.id == transfer.c.reverses)
        .where(
            transfer.c.reverses.is_not(None),
            sa.or_(
                reversed_one.c.id.is_(None),
                reversed_one.c.id >= transfer.c.id,
                reversed_one.c.reverses.is_not(None),
            ),
        )
        .order_by(transfer.c.id),
    )
    return row and f"transfer {row.id} reverses {row.reverses}, which is missing, later or a reversal itself"


def reversed_too_much(connection: Connection) -> str | None:
    """In each account, what is left of a reversed transfer lies between nothing and what it was.

    Where some of it was carried over already, the accounts of that kind count as one.
    """
    of = sa.func.coalesce(transfer.c.reverses, transfer.c.id)
    one = sa.case((sa.tuple_(of, account.c.kind).in_(_partly_carried()), 0), else_=account.c.id)
    was = sa.func.sum(sa.case((transfer.c.reverses.is_(None), entry.c.amount_cents), else_=0))
    back = sa.func.sum(sa.case((transfer.c.reverses.is_not(None), entry.c.amount_cents), else_=0))
    row = _first(
        connection,
        sa.select(of.label("of"), was.label("was"), back.label("back"))
        .select_from(transfer)
        .join(entry, entry.c.transfer_id == transfer.c.id)
        .join(account, account.c.id == entry.c.account_id)
        .where(
            sa.or_(
                transfer.c.reverses.is_not(None),
                transfer.c.id.in_(sa.select(transfer.c.reverses).where(transfer.c.reverses.is_not(None))),
            )
        )
        .group_by(of, account.c.kind, one)
        # Of the same sign, or larger: more than was there. Nothing else is left for a wrong one.
        .having(sa.or_(was * back > 0, sa.func.abs(back) > sa.func.abs(was)))
        .order_by(of),
    )
    return row and f"transfer {row.of}: {row.back} cents were taken back of {row.was} in one of its accounts"


def _partly_carried() -> sa.Select[Any]:
    """Return the reversed transfers of which something stands in an account for what was carried over, and its kind."""
    carried, made, at = account.alias("carried"), transfer.alias("made"), entry.alias("at")
    return (
        sa.select(sa.func.coalesce(made.c.reverses, made.c.id), carried.c.kind)
        .select_from(at)
        .join(carried, carried.c.id == at.c.account_id)
        .join(made, made.c.id == at.c.transfer_id)
        .where(carried.c.owner == CARRIED)
    )


FAULTS: Final[tuple[Callable[[Connection], str | None], ...]] = (
    missing_account,
    missing_transfer,
    unbalanced_transfer,
    dangling_entry,
    unbalanced_whole,
    dangling_reversal,
    reversed_too_much,
    account_below_floor,
    mislabelled_entry,
)
