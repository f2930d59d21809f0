# SPDX-License-Identifier: EUPL-1.2
"""What each use knows of a card and its holder, and that nobody can bring two uses together."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.canteen.rules import WALLET
from cardservice.canteen.store import canteen_payment
from cardservice.cards.keystore import open_store
from cardservice.database import open_databases, read
from cardservice.demo.city import DemoCity
from cardservice.demo.drawer import card_of
from cardservice.journal.store import journal_subject
from cardservice.ledger.store import ledger_account, ledger_entry
from cardservice.people.lookup import person_by_login
from cardservice.printing.store import print_release
from cardservice.pseudonyms import pseudonym_of
from cardservice.timeclock.store import timeclock_booking
from cardservice.use_guard import UsesLinked
from city import deck, seed


class Apart:
    """What each use knows of a person, read from the city's own stores; nothing is written."""

    def __init__(self, city: DemoCity) -> None:
        self._city = city
        folder = city.state_folder
        self._databases = open_databases(f"sqlite:///{folder}")
        passphrase = (folder / "keys.secret").read_bytes().strip()
        self._keys = open_store(folder / "keys.json", passphrase, demonstration_allowed=True)

    def close(self) -> None:
        """Close the stores."""
        self._databases.close()

    def of(self, card_id: str) -> dict[str, Any]:
        """Return for each use: the number on the card, the holder's pseudonym (both cut short), how many records.

        Raises:
            NotPossible: there is no such card.
        """
        card = card_of(card_id)
        person = None if card.login is None else person_by_login(self._databases.state, card.login)
        return {"card": card_id, "uses": [self._use(use, card, person) for use in _RECORDS]}

    def try_to_link(self) -> str:
        """Ask the record who both clocked in and paid; return how that is refused."""
        both = timeclock_booking.join(canteen_payment, timeclock_booking.c.at_ms == canteen_payment.c.at_ms)
        try:
            with read(self._databases.record) as connection:
                connection.execute(sa.select(sa.func.count()).select_from(both))
        except UsesLinked as refused:
            return str(refused)
        raise AssertionError("two uses were linked")

    def _use(self, use: str, card: deck.CityCard, person: int | None) -> dict[str, Any]:
        number = _number(use, card)
        known: dict[str, Any] = {"use": use, "number": number and number.hex()[:4], "pseudonym": None, "records": None}
        if person is not None:
            pseudonym = pseudonym_of(self._keys.secret(_SECRETS[use]), person)
            with read(self._databases.record) as connection:
                known |= {"pseudonym": pseudonym[:6], "records": _RECORDS[use](connection, pseudonym)}
        return known


def _lines_of(stream: str) -> Callable[[Connection, str], int]:
    def count(connection: Connection, pseudonym: str) -> int:
        line = journal_subject.c
        return _count(connection, journal_subject, sa.and_(line.stream == stream, line.pseudonym == pseudonym))

    return count


def _entries(connection: Connection, pseudonym: str) -> int:
    account = ledger_account.c
    of_wallet = ledger_entry.join(ledger_account, account.id == ledger_entry.c.account_id)
    return _count(connection, of_wallet, sa.and_(account.kind == WALLET, account.owner == pseudonym))


def _count(connection: Connection, rows: sa.FromClause, condition: sa.ColumnElement[bool]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(rows).where(condition)).scalar_one())


# Doors and PCs keep nothing but their streams of the journal; the others have tables of their own.
_RECORDS: Final[Mapping[str, Callable[[Connection, str], int]]] = {
    "door": _lines_of("door"),
    "workstation": _lines_of("workstation"),
    "timeclock": lambda connection, owner: _count(
        connection, timeclock_booking, timeclock_booking.c.pseudonym == owner
    ),
    "printer": lambda connection, owner: _count(connection, print_release, print_release.c.pseudonym == owner),
    "canteen": _entries,
}
_SECRETS: Final[Mapping[str, str]] = {
    "door": "journal door pseudonym",
    "workstation": "journal workstation pseudonym",
    "timeclock": "timeclock pseudonym",
    "printer": "printer pseudonym",
    "canteen": "canteen pseudonym",
}


def _number(use: str, card: deck.CityCard) -> bytes | None:
    """Return what a card is known by in one use, None if it carries nothing for it."""
    if use == "workstation":
        return deck.card_uuid(card.card_id).bytes if card.chip == "employee" or card.chip.startswith("piv") else None
    return seed.number(card.number_of, use) if card.chip in {"employee", "desfire"} else None
