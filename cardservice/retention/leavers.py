# SPDX-License-Identifier: EUPL-1.2
"""People who left: noticed once no directory names them, and their canteen account closed once it holds nothing.

A closed account and its payments stay, since sums and receipts do; they are called by the account's own number then,
which leads to nobody.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, Protocol

from sqlalchemy.engine import Connection

from cardservice.canteen.rules import OPAQUE_LENGTH, WALLET
from cardservice.canteen.store import forget_wallet, payments_of
from cardservice.database import StoreName
from cardservice.ledger.rules import AccountName
from cardservice.ledger.service import Ledger
from cardservice.ledger.store import accounts_by_name
from cardservice.pseudonyms import pseudonym_of
from cardservice.recorder import Unit
from cardservice.retention import store
from cardservice.retention.rules import AT_ONCE

# What payments are called by whose holder never had an account: all of them were the employer's to pay.
_NO_ACCOUNT: Final = 0


class Reading(Protocol):
    """Opens a reading transaction of a store."""

    def __call__(self, store: StoreName, /) -> AbstractContextManager[Connection]:
        """Return it."""
        ...


class Writing(Protocol):
    """Has one transaction of a store on disk."""

    def __call__(self, store: StoreName, unit: Unit[Any], /) -> Any:
        """Return what the unit returned."""
        ...


def note_leavers(reading: Reading, writing: Writing, now_ms: int) -> None:
    """Note who is in no directory any more, and who came back."""
    with reading("state") as connection:
        absent = store.absent_people(connection)
    with reading("record") as connection:
        known = store.departed(connection)
    for people in _parts(sorted(absent - known)):
        writing("record", partial(_add, people, now_ms))
    for people in _parts(sorted(known - absent)):
        writing("record", partial(_drop, people))


def close_wallet(reading: Reading, writing: Writing, ledger: Ledger, secret: bytes, person: int) -> bool:
    """Have nothing tell any more which account was whose; False while it holds or owes something."""
    name = AccountName(WALLET, pseudonym_of(secret, person))
    with reading("record") as connection:
        account = accounts_by_name(connection, [name]).get(name)
    if account is not None and account.balance_cents:
        return False
    closed = _closed_name(_NO_ACCOUNT if account is None else account.id)
    payments: Sequence[int] = [0] * AT_ONCE
    while len(payments) == AT_ONCE:
        with reading("record") as connection:
            payments = payments_of(connection, name.owner, AT_ONCE)
        if payments:
            writing("record", partial(_forget, payments, closed))
    return bool(writing("record", partial(_rename, ledger, name, closed)))


def _add(people: Sequence[int], now_ms: int, connection: Connection) -> int:
    return store.add_departures(connection, people, now_ms)


def _drop(people: Sequence[int], connection: Connection) -> int:
    return store.drop_departures(connection, people)


def _forget(payments: Sequence[int], closed: str, connection: Connection) -> None:
    forget_wallet(connection, payments, closed)


def _rename(ledger: Ledger, name: AccountName, closed: str, connection: Connection) -> bool:
    if ledger.balance_cents(connection, name):
        return False
    ledger.rename(connection, name, closed)
    return True


def _closed_name(account: int) -> str:
    return hashlib.sha256(f"closed account {account}".encode()).hexdigest()[:OPAQUE_LENGTH]


def _parts(people: Sequence[int]) -> list[Sequence[int]]:
    return [people[begin : begin + AT_ONCE] for begin in range(0, len(people), AT_ONCE)]
