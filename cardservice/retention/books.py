# SPDX-License-Identifier: EUPL-1.2
"""The canteen's receipts of years that are over: they stay, and nothing tells any more whose they were.

What stood in somebody's wallet stands in one account of nobody's then, and the wallet holds what it held. Each
transaction does all of that for a few transfers, so that the books add up whenever a run is cut off.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.canteen import store as canteen
from cardservice.canteen.rules import WALLET
from cardservice.ledger.rules import CARRIED
from cardservice.ledger.service import Ledger
from cardservice.ledger.store import ledger_entry
from cardservice.retention.store import Row, Step

LIMIT: Final = "canteen_books"


def steps(ledger: Ledger) -> list[Step]:
    """Return what ends in wallets, then payments that took nothing out of one: the employer paid them whole."""
    carry = partial(_carry_over, ledger)
    return [
        Step(LIMIT, "record", _due_entries, carry, canteen.oldest_held_entry),
        Step(LIMIT, "record", _due_payments, carry, canteen.oldest_held_payment),
    ]


def _due_entries(_: Connection, until_ms: int) -> sa.Select[Any]:
    return canteen.held_entries(until_ms)


def _due_payments(_: Connection, until_ms: int) -> sa.Select[Any]:
    theirs = ledger_entry.c.transfer_id == canteen.canteen_payment.c.transfer_id
    taken = sa.exists().where(theirs, ledger_entry.c.limited)
    return canteen.held_payments(until_ms).where(~taken)


def _carry_over(ledger: Ledger, connection: Connection, rows: Sequence[Row]) -> int:
    transfers = [row.transfer_id for row in rows]
    ledger.carry_over(connection, WALLET, transfers)
    canteen.forget_wallet(connection, transfers, CARRIED)
    return len(rows)
