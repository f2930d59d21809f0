# SPDX-License-Identifier: EUPL-1.2
"""What the tables hold about one person. Each use by statements of its own: none names tables of two uses."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.agents.tap_lines import fact
from cardservice.canteen.store import canteen_payment
from cardservice.cards.pin.store import holder_pin
from cardservice.cards.store import card, credential
from cardservice.journal.rules import Place
from cardservice.journal.store import journal_entry, journal_subject
from cardservice.ledger.store import ledger_account, ledger_entry, ledger_transfer
from cardservice.people.store import person
from cardservice.people.web_sessions import web_session
from cardservice.printing.store import print_release
from cardservice.timeclock.store import timeclock_booking, timeclock_unbooked

MAX_CARDS: Final = 100


@dataclass(frozen=True, slots=True)
class Amount:
    """How many rows there are, and the instant of the oldest; None: there is none."""

    count: int
    oldest_ms: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal."""

    place: Place
    at_ms: int
    payload: str


def cards_of(connection: Connection, number: int) -> list[sa.Row[Any]]:
    """Return the cards of a person, the newest first."""
    chosen = sa.select(card).where(card.c.person_id == number).order_by(card.c.id.desc()).limit(MAX_CARDS)
    return list(connection.execute(chosen))


def keys_of_cards(connection: Connection, number: int) -> dict[int, list[bytes]]:
    """Return card (row number) -> what it is known by, for the cards of a person."""
    chosen = sa.select(credential.c.card_id, credential.c.key).join(card, card.c.id == credential.c.card_id)
    found: dict[int, list[bytes]] = {}
    for row in connection.execute(chosen.where(card.c.person_id == number, ~credential.c.retired)):
        found.setdefault(row.card_id, []).append(bytes(row.key))
    return found


def own_card(connection: Connection, number: int, reference: str) -> bool:
    """Tell whether a card is this person's."""
    chosen = sa.select(card.c.id).where(card.c.person_id == number, card.c.reference == reference)
    return connection.execute(chosen).first() is not None


def directory_entry(connection: Connection, number: int) -> sa.Row[Any] | None:
    """Return the person as the directory's copy has them."""
    return connection.execute(sa.select(person).where(person.c.id == number)).first()


def names_of(connection: Connection, logins: Collection[str]) -> dict[str, str]:
    """Return login -> name and login, of those that one person who is present has."""
    chosen = sa.select(person.c.login, person.c.name).where(person.c.login.in_(sorted(logins)), person.c.present)
    found: dict[str, list[str]] = {}
    for row in connection.execute(chosen):
        found.setdefault(row.login, []).append(f"{row.name} ({row.login})")
    return {login: names[0] for login, names in found.items() if len(names) == 1}


def pin_changed_ms(connection: Connection, number: int) -> int | None:
    """Return when the person's PIN was last set, None if they have none."""
    chosen = sa.select(holder_pin.c.changed_ms).where(holder_pin.c.person_id == number)
    return connection.execute(chosen).scalar()


def sessions_of(connection: Connection, number: int) -> tuple[int, int | None]:
    """Return how many sessions of a person are stored, and when the last of them ends."""
    table = web_session.c
    chosen = sa.select(sa.func.count(), sa.func.max(table.ends_ms)).where(table.person_id == number)
    count, ends_ms = connection.execute(chosen).one()
    return count, ends_ms


def journal_lines(
    connection: Connection, stream: str, pseudonym: str, *, only: Sequence[str] = (), beside: Sequence[str] = ()
) -> Amount:
    """Return how many lines of a stream are about somebody: of these points alone, or of all but these."""
    chosen = _about(stream, pseudonym)
    if only or beside:
        # A line may be about a zone.
        of = sa.func.coalesce(fact(connection, "point").as_string(), "")
        chosen = chosen.where(of.in_(only) if only else of.not_in(beside))
    return _amount(connection, chosen, journal_entry.c.at_ms)


def newest_lines(connection: Connection, stream: str, pseudonym: str, limit: int) -> list[Line]:
    """Return the newest lines of a stream about somebody, newest first."""
    return _lines(connection, _about(stream, pseudonym), limit)


def newest_refusals(connection: Connection, stream: str, pseudonym: str, limit: int) -> list[Line]:
    """Return the newest taps of somebody in a stream that were refused, newest first."""
    refused = (fact(connection, "kind").as_string() == "tap", ~fact(connection, "permit").as_boolean())
    return _lines(connection, _about(stream, pseudonym).where(*refused), limit)


def bookings(connection: Connection, pseudonym: str) -> Amount:
    """Return the time clock's bookings of somebody."""
    table = timeclock_booking.c
    return _amount(connection, sa.select(table.number).where(table.pseudonym == pseudonym), table.at_ms)


def unbooked(connection: Connection, pseudonym: str) -> Amount:
    """Return the taps at the time clock that became no booking."""
    table = timeclock_unbooked.c
    return _amount(connection, sa.select(table.event).where(table.pseudonym == pseudonym), table.at_ms)


def releases(connection: Connection, pseudonym: str) -> Amount:
    """Return the releases of somebody's documents."""
    table = print_release.c
    return _amount(connection, sa.select(table.job).where(table.pseudonym == pseudonym), table.at_ms)


def payments(connection: Connection, pseudonym: str) -> Amount:
    """Return what was asked of somebody's wallet at tills."""
    table = canteen_payment.c
    return _amount(connection, sa.select(table.transfer_id).where(table.wallet == pseudonym), table.at_ms)


def movements(connection: Connection, pseudonym: str) -> Amount:
    """Return the movements on somebody's wallet."""
    chosen = (
        sa.select(ledger_entry.c.transfer_id)
        .join(ledger_account, ledger_account.c.id == ledger_entry.c.account_id)
        .join(ledger_transfer, ledger_transfer.c.id == ledger_entry.c.transfer_id)
        .where(ledger_account.c.owner == pseudonym)
    )
    return _amount(connection, chosen, ledger_transfer.c.at_ms)


Counted = Callable[[Connection, str], Amount]
# Use -> what it keeps besides its stream of the journal: name of the item -> how it is counted.
ITEMS: Final[Mapping[str, Mapping[str, Counted]]] = MappingProxyType(
    {
        "door": {},
        "workstation": {},
        "timeclock": {"bookings": bookings, "unbooked": unbooked},
        "printer": {"releases": releases},
        "canteen": {"payments": payments, "movements": movements},
    }
)


def _about(stream: str, pseudonym: str) -> sa.Select[Any]:
    entry, subject = journal_entry.c, journal_subject.c
    same = sa.and_(entry.stream == subject.stream, entry.epoch == subject.epoch, entry.sequence == subject.sequence)
    chosen = sa.select(entry.stream, entry.epoch, entry.sequence, entry.at_ms, entry.payload)
    joined = chosen.select_from(journal_subject).join(journal_entry, same)
    return joined.where(subject.pseudonym == pseudonym, subject.stream == stream)


def _lines(connection: Connection, chosen: sa.Select[Any], limit: int) -> list[Line]:
    entry = journal_entry.c
    newest = chosen.order_by(entry.at_ms.desc(), entry.epoch.desc(), entry.sequence.desc()).limit(limit)
    return [
        Line(Place(row.stream, row.epoch, row.sequence), row.at_ms, row.payload) for row in connection.execute(newest)
    ]


def _amount(connection: Connection, chosen: sa.Select[Any], at_ms: sa.ColumnElement[int]) -> Amount:
    count, oldest_ms = connection.execute(chosen.with_only_columns(sa.func.count(), sa.func.min(at_ms))).one()
    return Amount(count, oldest_ms)
