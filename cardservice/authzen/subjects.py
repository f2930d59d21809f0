# SPDX-License-Identifier: EUPL-1.2
"""Whom a question is about, from memory: logins, stable ids and card references to credentials.

Nothing is read before the first question; from then on it follows the change log, as the snapshot does.
"""

import threading
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.authzen import store
from cardservice.authzen.rules import CARD_TYPE, PERSON_TYPES, Entity
from cardservice.database import read
from cardservice.errors import DatabaseUnavailable

Name = TypeVar("Name")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Subject:
    """A person, or one card; `person` is a row number, 0 for a card without holder.

    `credentials` are of the newest card first, each with the reference of its card.
    """

    person: int
    credentials: tuple[tuple[bytes, str], ...]


@dataclass(frozen=True, slots=True)
class _Person:
    name: str
    login: str | None


@dataclass(frozen=True, slots=True)
class _Card:
    reference: str
    person: int
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _News:
    """What was read: None for somebody or something that is gone."""

    revision: int
    people: dict[int, _Person | None]
    cards: dict[int, _Card | None]


class Subjects:
    """Finds subjects. `find` from any thread; `catch_up` blocks, so not in the loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading, self._changing = threading.Lock(), threading.Lock()
        self._revision: int | None = None
        self._people: dict[int, _Person] = {}
        self._by_login: dict[str, frozenset[int]] = {}
        self._by_name: dict[str, int] = {}
        self._cards: dict[int, _Card] = {}
        self._by_reference: dict[str, int] = {}
        self._cards_of: dict[int, frozenset[int]] = {}

    def knows(self, revision: int) -> bool:
        """Tell whether everything up to this revision of the change log is known here."""
        return self._revision is not None and self._revision >= revision

    def find(self, entity: Entity) -> Subject | None:
        """Return who or what is meant, None if there is nobody and nothing of the kind."""
        with self._changing:
            if entity.type == CARD_TYPE:
                return self._card(self._by_reference.get(entity.id))
            if entity.type in PERSON_TYPES:
                return self._person(self._row_of(entity.id))
        return None

    def changed(self) -> None:
        """Take notice of a change, once the first question was asked; the next question tries again what fails."""
        if self._revision is None:
            return
        try:
            self.catch_up()
        except DatabaseUnavailable as error:
            _log.error("authzen.behind", error=str(error))

    def catch_up(self) -> None:
        """Read what the change log holds by now; the first time everything.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        with self._reading:
            while (news := self._news()) is not None:
                with self._changing:
                    self._take(news)

    def _news(self) -> _News | None:
        with read(self._engine) as connection:
            if self._revision is None:
                return self._read(connection, changes.latest(connection), None, None)
            waiting = changes.since(connection, self._revision)
            if not waiting:
                return None
            people = sorted({change.row for change in waiting if change.kind == "person"})
            cards = sorted({change.row for change in waiting if change.kind == "card"})
            return self._read(connection, waiting[-1].revision, people, cards)

    @staticmethod
    def _read(connection: Connection, revision: int, people: list[int] | None, cards: list[int] | None) -> _News:
        found = _News(revision, dict.fromkeys(people or ()), dict.fromkeys(cards or ()))
        for row in store.people(connection, people):
            login = row.login if row.present else None
            found.people[row.id] = _Person(f"{row.directory}:{row.stable_id}", login)
        keys = store.keys(connection, cards)
        for row in store.cards(connection, cards):
            found.cards[row.id] = _Card(row.reference, row.person_id or 0, keys.get(row.id, ()))
        return found

    def _take(self, news: _News) -> None:
        for row, person in news.people.items():
            self._take_person(row, person)
        for row, card in news.cards.items():
            self._take_card(row, card)
        self._revision = news.revision

    def _take_person(self, row: int, person: _Person | None) -> None:
        before = self._people.pop(row, None)
        if before is not None:
            self._by_name.pop(before.name, None)
            if before.login is not None:
                _without(self._by_login, before.login, row)
        if person is not None:
            self._people[row] = person
            self._by_name[person.name] = row
            if person.login is not None:
                self._by_login[person.login] = self._by_login.get(person.login, frozenset()) | {row}

    def _take_card(self, row: int, card: _Card | None) -> None:
        before = self._cards.pop(row, None)
        if before is not None:
            self._by_reference.pop(before.reference, None)
            _without(self._cards_of, before.person, row)
        if card is not None:
            self._cards[row] = card
            self._by_reference[card.reference] = row
            if card.person:
                self._cards_of[card.person] = self._cards_of.get(card.person, frozenset()) | {row}

    def _row_of(self, name: str) -> int | None:
        """Return whose login it is, unless two people have it; else whose stable id, after their directory's name."""
        found = self._by_login.get(name)
        if found is not None:
            return next(iter(found)) if len(found) == 1 else None
        return self._by_name.get(name)

    def _person(self, row: int | None) -> Subject | None:
        if row is None:
            return None
        newest_first = [self._cards[number] for number in sorted(self._cards_of.get(row, ()), reverse=True)]
        credentials = [(key, card.reference) for card in newest_first for key in card.keys]
        return Subject(row, tuple(credentials))

    def _card(self, row: int | None) -> Subject | None:
        if row is None:
            return None
        card = self._cards[row]
        return Subject(card.person, tuple((key, card.reference) for key in card.keys))


def _without(rows_of: dict[Name, frozenset[int]], name: Name, row: int) -> None:
    """Take one row out of the set of a name, and an empty set away."""
    left = rows_of.get(name, frozenset()) - {row}
    if left:
        rows_of[name] = left
    else:
        rows_of.pop(name, None)
