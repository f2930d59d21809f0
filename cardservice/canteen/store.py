# SPDX-License-Identifier: EUPL-1.2
"""The payments, in the record store; what is left of one stands in the ledger alone."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.canteen.rules import MAX_EVENT_LENGTH, MAX_TERMINAL_LENGTH, OPAQUE_LENGTH, SUBSIDY, WALLET
from cardservice.database import RECORD, RowNumber
from cardservice.hot_sql import fetch_among
from cardservice.ledger.rules import CARRIED, MAX_CALLER_LENGTH
from cardservice.ledger.store import ledger_account, ledger_entry, ledger_transfer

_HELD: Final = sa.text(f"wallet <> '{CARRIED}'")

canteen_payment = sa.Table(
    "canteen_payment",
    RECORD,
    sa.Column("transfer_id", RowNumber, primary_key=True, autoincrement=False),
    # What tills know it by: its instant and 80 random bits, so that nobody can guess one or learn how many there are.
    sa.Column("id", sa.String(OPAQUE_LENGTH), nullable=False, unique=True),
    sa.Column("terminal", sa.String(MAX_TERMINAL_LENGTH), nullable=False),
    sa.Column("caller", sa.String(MAX_CALLER_LENGTH), nullable=False),
    sa.Column("amount_cents", sa.BigInteger, nullable=False),
    sa.Column("wallet", sa.String(OPAQUE_LENGTH), nullable=False),
    # The tap that paid; no tap pays twice.
    sa.Column("event", sa.String(MAX_EVENT_LENGTH), unique=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    # What may still be somebody's is found by its age.
    sa.Index("ix_canteen_payment_held", "at_ms", sqlite_where=_HELD, postgresql_where=_HELD),
    info={"use": "canteen"},
)

_TAPS: Final = "SELECT event, id FROM canteen_payment WHERE event {0}"
# As the index has it: a parameter or a comparison would not be seen to be the same.
_LIMITED: Final = sa.text("ledger_entry.limited")
_LATE_MS: Final = 7 * 86_400_000
_BY_ID: Final = sa.select(canteen_payment).where(canteen_payment.c.id == sa.bindparam("payment"))


def payments_by_tap(connection: Connection, events: Sequence[tuple[str]]) -> dict[tuple[str], str]:
    """Return the payments that these taps made."""
    return {(event,): payment for event, payment in fetch_among(connection, _TAPS, [event for (event,) in events])}


def find_payment(connection: Connection, payment: str) -> sa.Row[Any] | None:
    """Return one payment, None if there is none."""
    return connection.execute(_BY_ID, {"payment": payment}).first()


def payments_by_transfer(connection: Connection, transfers: Sequence[int]) -> dict[int, sa.Row[Any]]:
    """Return the payments that these transfers are."""
    rows = connection.execute(sa.select(canteen_payment).where(canteen_payment.c.transfer_id.in_(transfers)))
    return {row.transfer_id: row for row in rows}


def payments_of(connection: Connection, wallet: str, limit: int) -> list[int]:
    """Return some of the payments (their transfers) from a wallet."""
    chosen = sa.select(canteen_payment.c.transfer_id).where(canteen_payment.c.wallet == wallet)
    return list(connection.execute(chosen.limit(limit)).scalars())


def forget_wallet(connection: Connection, transfers: Sequence[int], closed: str) -> None:
    """Call the wallet of these payments otherwise, and forget by which taps they were made."""
    theirs = sa.update(canteen_payment).where(canteen_payment.c.transfer_id.in_(transfers))
    connection.execute(theirs.values(wallet=closed, event=None))


def held_payments(until_ms: int) -> sa.Select[Any]:
    """Select the payments (their transfers) until then that are some wallet's."""
    return sa.select(canteen_payment.c.transfer_id).where(_HELD, canteen_payment.c.at_ms <= until_ms)


def oldest_held_payment(connection: Connection) -> int | None:
    """Return the instant of the oldest payment that is some wallet's, None if there is none."""
    oldest: int | None = connection.execute(sa.select(sa.func.min(canteen_payment.c.at_ms)).where(_HELD)).scalar()
    return oldest


def held_entries(until_ms: int) -> sa.Select[Any]:
    """Select the entries (transfer_id) until then that stand in some wallet, wallet by wallet.

    A wallet of which the oldest entry is younger is not looked through. Entries are booked in order, but for what came
    late: a week is more than any of it.
    """
    begun = sa.select(ledger_account.c.id).select_from(ledger_account)
    begun = begun.join(ledger_transfer, ledger_transfer.c.id == _first_entry())
    begun = begun.where(ledger_account.c.kind == WALLET, ledger_transfer.c.at_ms <= until_ms + _LATE_MS)
    return (
        sa.select(ledger_entry.c.transfer_id)
        .select_from(ledger_entry)
        .join(ledger_transfer, ledger_transfer.c.id == ledger_entry.c.transfer_id)
        .where(_LIMITED, ledger_entry.c.account_id.in_(begun), ledger_transfer.c.at_ms <= until_ms)
        .order_by(ledger_entry.c.account_id, ledger_entry.c.transfer_id)
    )


def oldest_held_entry(connection: Connection) -> int | None:
    """Return the instant of the oldest entry that stands in some wallet, None if there is none."""
    first = sa.select(sa.func.min(ledger_transfer.c.at_ms)).select_from(ledger_account)
    first = first.join(ledger_transfer, ledger_transfer.c.id == _first_entry())
    oldest: int | None = connection.execute(first.where(ledger_account.c.kind == WALLET)).scalar()
    return oldest


def _first_entry() -> sa.ScalarSelect[Any]:
    """Select the first transfer of the account that is looked at: one step in the index of limited entries."""
    first = sa.select(sa.func.min(ledger_entry.c.transfer_id))
    first = first.where(ledger_entry.c.account_id == ledger_account.c.id, _LIMITED)
    return first.correlate(ledger_account).scalar_subquery()


def unmatched_payment(connection: Connection) -> str | None:
    """Every payment is a transfer of that kind, and every such transfer is a payment; return the first that is not."""
    payment, transfer = canteen_payment, ledger_transfer
    pairs = sa.and_(transfer.c.id == payment.c.transfer_id, transfer.c.kind == "payment")
    alone = sa.select(payment.c.transfer_id).outerjoin(transfer, pairs).where(transfer.c.id.is_(None))
    unpaid = sa.select(transfer.c.id).outerjoin(payment, pairs)
    unpaid = unpaid.where(transfer.c.kind == "payment", payment.c.transfer_id.is_(None))
    for statement, fault in (
        (alone, "a payment is of transfer {}, which is none"),
        (unpaid, "transfer {} has no payment"),
    ):
        number = connection.execute(statement.limit(1)).scalar()
        if number is not None:
            return fault.format(number)
    return None


def wrong_amount(connection: Connection) -> str | None:
    """What the holder and the employer lost is what the payment says; return the first that differs."""
    payment, entry = canteen_payment, ledger_entry
    paying = ledger_account.c.kind.in_((WALLET, SUBSIDY.kind))
    lost = sa.func.sum(sa.case((paying, -entry.c.amount_cents), else_=0))
    row = connection.execute(
        sa.select(payment.c.transfer_id, payment.c.amount_cents, lost.label("lost"))
        .join(entry, entry.c.transfer_id == payment.c.transfer_id)
        .join(ledger_account, ledger_account.c.id == entry.c.account_id)
        .group_by(payment.c.transfer_id, payment.c.amount_cents)
        .having(lost != payment.c.amount_cents)
        .order_by(payment.c.transfer_id)
        .limit(1)
    ).first()
    return row and f"the payment of transfer {row.transfer_id} is of {row.amount_cents} cents, booked are {row.lost}"
