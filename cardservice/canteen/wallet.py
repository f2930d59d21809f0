# SPDX-License-Identifier: EUPL-1.2
"""What a wallet holds and how that came about, for its owner's eyes: read from the store alone, in any thread."""

from dataclasses import dataclass

from sqlalchemy.engine import Engine

from cardservice.canteen.rules import WALLET
from cardservice.canteen.store import payments_by_transfer
from cardservice.database import read
from cardservice.ledger.rules import AccountName
from cardservice.ledger.store import accounts_by_name, newest_entries


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement of a wallet and what it held afterwards; `terminal` where it was a payment or its refund."""

    kind: str
    at_ms: int
    amount_cents: int
    balance_cents: int
    terminal: str | None


@dataclass(frozen=True, slots=True)
class WalletView:
    """A wallet now, and its newest movements, newest first."""

    balance_cents: int
    movements: tuple[Movement, ...]


def view_wallet(engine: Engine, wallet: str, limit: int) -> WalletView:
    """Return what `wallet` (a pseudonym) holds, and at most `limit` movements; of one nobody has used: nothing.

    Raises:
        DatabaseUnavailable: the record store cannot be read.
    """
    name = AccountName(WALLET, wallet)
    with read(engine) as connection:
        account = accounts_by_name(connection, [name]).get(name)
        entries = newest_entries(connection, name, limit)
        payments = payments_by_transfer(connection, [row.reverses or row.transfer_id for row in entries])
    held_cents = 0 if account is None else account.balance_cents
    movements, balance_cents = [], held_cents
    for row in entries:
        payment = payments.get(row.reverses or row.transfer_id)
        terminal = None if payment is None else payment.terminal
        movements.append(Movement(row.kind, row.at_ms, row.amount_cents, balance_cents, terminal))
        balance_cents -= row.amount_cents
    return WalletView(held_cents, tuple(movements))
