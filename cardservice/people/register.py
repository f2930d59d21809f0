# SPDX-License-Identifier: EUPL-1.2
"""Who is in the copies of the directories, for whoever may look: lists, one person, their groups.

A right that is bound to organisations or departments sees these and nobody else (`web/reach.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.database import read
from cardservice.errors import NotFound
from cardservice.people.outsiders.store import outsider, sponsor
from cardservice.people.store import directory_group, organisation, person
from cardservice.web.reach import Reach

# A query names so many row numbers at once.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class PersonView:
    """One person of a directory; `person` is their number here. `present`: the directory still names them.

    Somebody in no directory, whom the service keeps itself, has the directory "outside", and a `sponsor` who answers
    for them: that person's name.
    """

    person: int
    organisation: str
    directory: str
    name: str
    login: str | None
    mail: str | None
    personnel_number: str | None
    department: str | None
    enabled: bool
    present: bool
    valid_from_ms: int | None
    valid_until_ms: int | None
    sponsor: str | None


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group that somebody is effectively in, directly or through other groups; `group` is its number here."""

    group: int
    directory: str
    name: str


@dataclass(frozen=True, slots=True)
class PeopleWanted:
    """What a list is about; None: whatever it is. `text` is part of a name or login, or the whole personnel number."""

    text: str | None = None
    department: str | None = None
    organisation: str | None = None
    enabled: bool | None = None
    present: bool | None = True


class PeopleRegister:
    """Answers for the copies as they are stored. Everything blocks and may raise DatabaseUnavailable."""

    def __init__(self, state: Engine) -> None:
        self._state = state

    def list(
        self, wanted: PeopleWanted, reaches: tuple[Reach, ...], after: int = 0, limit: int = 100
    ) -> tuple[PersonView, ...]:
        """Return people within one of `reaches` in the order of their numbers, after one of them."""
        chosen = _PEOPLE.where(within(reaches), person.c.id > after, *_conditions(wanted))
        with read(self._state) as connection:
            return tuple(_view(row) for row in connection.execute(chosen.order_by(person.c.id).limit(limit)))

    def one(self, number: int, reaches: tuple[Reach, ...]) -> PersonView:
        """Return one person.

        Raises:
            NotFound: there is none of this number within one of `reaches`.
        """
        with read(self._state) as connection:
            return _view(_one(connection, number, reaches))

    def groups(self, number: int, reaches: tuple[Reach, ...]) -> tuple[GroupView, ...]:
        """Return the groups that somebody counts in, by name.

        Raises:
            NotFound: there is no such person within one of `reaches`.
        """
        with read(self._state) as connection:
            numbers: list[int] = json.loads(_one(connection, number, reaches).groups)
            found: list[GroupView] = []
            for start in range(0, len(numbers), _AT_ONCE):
                these = directory_group.c.id.in_(numbers[start : start + _AT_ONCE])
                rows = connection.execute(sa.select(directory_group).where(these, directory_group.c.present))
                found += [GroupView(row.id, row.directory, row.name) for row in rows]
        return tuple(sorted(found, key=lambda group: (group.name, group.group)))


def within(reaches: Sequence[Reach]) -> sa.ColumnElement[bool]:
    """Return what is true of rows of `person` joined with `organisation` that one of `reaches` holds.

    The same as `Reach.holds_person`, in the words of the store; a right that is bound to places lists nobody.
    """
    return sa.or_(sa.false(), *(_within(reach) for reach in reaches if not reach.of_places))


def _within(reach: Reach) -> sa.ColumnElement[bool]:
    bounds = ((organisation.c.code, reach.organisations), (person.c.department, reach.units))
    return sa.and_(sa.true(), *(column.in_(sorted(bound)) for column, bound in bounds if bound is not None))


def containing(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    """Return what is true where a column contains a text, written in small letters or capitals.

    SQLite knows capitals of a-z alone: with ä, ö and ü each way of writing it is asked for.
    """
    ways = dict.fromkeys((text, text.lower(), text.upper(), text.title()))
    return sa.or_(*(column.icontains(way, autoescape=True) for way in ways))


_PEOPLE: Final = (
    sa.select(person, organisation.c.code.label("organisation"), sponsor.c.name.label("sponsor"))
    .join(organisation, person.c.organisation_id == organisation.c.id)
    .join(outsider, outsider.c.person_id == person.c.id, isouter=True)
    .join(sponsor, sponsor.c.id == outsider.c.sponsor_id, isouter=True)
)


def _conditions(wanted: PeopleWanted) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.text is not None:
        named = (containing(person.c.name, wanted.text), containing(person.c.login, wanted.text))
        found.append(sa.or_(*named, person.c.personnel_number == wanted.text))
    if wanted.department is not None:
        found.append(person.c.department == wanted.department)
    if wanted.organisation is not None:
        found.append(organisation.c.code == wanted.organisation)
    if wanted.enabled is not None:
        found.append(person.c.enabled == wanted.enabled)
    if wanted.present is not None:
        found.append(person.c.present == wanted.present)
    return found


def _one(connection: Connection, number: int, reaches: tuple[Reach, ...]) -> sa.Row[Any]:
    row = connection.execute(_PEOPLE.where(within(reaches), person.c.id == number)).first()
    if row is None:
        raise NotFound(f"there is no person {number}")
    return row


def _view(row: sa.Row[Any]) -> PersonView:
    return PersonView(
        person=row.id,
        organisation=row.organisation,
        directory=row.directory,
        name=row.name,
        login=row.login,
        mail=row.mail,
        personnel_number=row.personnel_number,
        department=row.department,
        enabled=row.enabled,
        present=row.present,
        valid_from_ms=row.valid_from_ms,
        valid_until_ms=row.valid_until_ms,
        sponsor=row.sponsor,
    )
