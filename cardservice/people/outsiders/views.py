# SPDX-License-Identifier: EUPL-1.2
"""Outsiders as lists and pages show them, and how they are found."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum, unique
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.people.outsiders import store
from cardservice.people.outsiders.rules import SOON_MS, Kind, Standing, State, state_at
from cardservice.people.outsiders.store import OUTSIDERS, outsider, sponsor
from cardservice.people.register import containing, within
from cardservice.people.rules import OUTSIDE
from cardservice.people.store import organisation, person
from cardservice.web.reach import Reach


@unique
class Which(StrEnum):
    """Of whom a list is: everybody whose time has not ended, those of them who need somebody to act, or the ended."""

    HERE = "here"
    SOON = "soon"
    NO_SPONSOR = "no_sponsor"
    ENDED = "ended"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Sponsor:
    """Somebody of a directory who answers for outsiders; `answers`: they can now."""

    person: int
    name: str
    login: str | None
    department: str | None
    answers: bool


@dataclass(frozen=True, slots=True)
class OwnGroup:
    """A group that the service keeps itself; `group` is its number, `members` how many are in it now."""

    group: int
    name: str
    members: int


@dataclass(frozen=True, slots=True)
class GroupName:
    """A group that an outsider is in."""

    group: int
    name: str


@dataclass(frozen=True, slots=True)
class OutsiderView:
    """One person outside the directory; `person` is their number here, as in the list of people.

    `reason` is why they were added or changed last. Of whoever is erased the number, the time and the sponsor are left.
    """

    person: int
    organisation: str
    department: str | None
    name: str
    mail: str | None
    kind: Kind
    company: str | None
    state: State
    from_ms: int
    until_ms: int
    sponsor: Sponsor
    groups: tuple[GroupName, ...]
    reason: str
    created_by: str
    created_ms: int
    changed_by: str
    changed_ms: int

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        own = asdict(self)
        return own | {"groups": list(own["groups"])}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Return what a document shows: one that was made a moment ago, or that was kept for a repeated request."""
        sponsor, groups = Sponsor(**document["sponsor"]), tuple(GroupName(**group) for group in document["groups"])
        typed = {"kind": Kind(document["kind"]), "state": State(document["state"])}
        return cls(**{**document, **typed, "sponsor": sponsor, "groups": groups})

    def head(self) -> dict[str, Any]:
        """Return what a change of it rests on: nothing that time or a directory changes."""
        own = self.document()
        del own["state"]
        return own | {"sponsor": self.sponsor.person, "groups": [one.group for one in self.groups]}


@dataclass(frozen=True, slots=True)
class OutsidersWanted:
    """What a list is about; `text` is part of a name or company, `sponsor` a person's number."""

    which: Which = Which.HERE
    text: str | None = None
    sponsor: int | None = None


def listed(
    connection: Connection, wanted: OutsidersWanted, reaches: Sequence[Reach], now_ms: int, page: tuple[int, int]
) -> tuple[OutsiderView, ...]:
    """Return outsiders in the order of their numbers; `page` is after which, and how many at most."""
    after, limit = page
    chosen = OUTSIDERS.where(within(reaches), outsider.c.person_id > after, *_conditions(wanted, now_ms))
    return _views(connection, chosen.order_by(outsider.c.person_id).limit(limit), now_ms)


def soonest(
    connection: Connection, wanted: OutsidersWanted, reaches: Sequence[Reach], now_ms: int, limit: int
) -> tuple[OutsiderView, ...]:
    """Return outsiders by their ends, the nearest first; of those that have ended, the last one first."""
    end = person.c.valid_until_ms.desc() if wanted.which is Which.ENDED else person.c.valid_until_ms
    chosen = OUTSIDERS.where(within(reaches), *_conditions(wanted, now_ms))
    return _views(connection, chosen.order_by(end, outsider.c.person_id).limit(limit), now_ms)


def one(connection: Connection, number: int, reaches: Sequence[Reach], now_ms: int) -> OutsiderView | None:
    """Return one outsider, None if there is none of this number within one of `reaches`."""
    found = _views(connection, OUTSIDERS.where(within(reaches), outsider.c.person_id == number), now_ms)
    return found[0] if found else None


def sponsors(
    connection: Connection, condition: sa.ColumnElement[bool], reaches: Sequence[Reach], now_ms: int, limit: int
) -> tuple[Sponsor, ...]:
    """Return people of a directory who can answer for outsiders now and fit, by name."""
    chosen = sa.select(person, organisation.c.code).join(organisation, person.c.organisation_id == organisation.c.id)
    chosen = chosen.where(within(reaches), _answers(person, now_ms), condition)
    rows = connection.execute(chosen.order_by(person.c.name, person.c.id).limit(limit))
    return tuple(Sponsor(row.id, row.name, row.login, row.department, answers=True) for row in rows)


def called(text: str) -> sa.ColumnElement[bool]:
    """Return what is true of people of whose name or login a text is part, or whose personnel number it is."""
    named = (containing(person.c.name, text), containing(person.c.login, text))
    return sa.or_(*named, person.c.personnel_number == text)


def own_groups(connection: Connection) -> tuple[OwnGroup, ...]:
    """Return the groups of the service's own, by name."""
    return tuple(OwnGroup(*row) for row in store.own_groups(connection))


def _conditions(wanted: OutsidersWanted, now_ms: int) -> list[sa.ColumnElement[bool]]:
    until_ms = person.c.valid_until_ms
    here = sa.and_(person.c.present, until_ms > now_ms)
    of_which: dict[Which, sa.ColumnElement[bool]] = {
        Which.HERE: here,
        Which.SOON: sa.and_(here, until_ms <= now_ms + SOON_MS),
        Which.NO_SPONSOR: sa.and_(here, sa.not_(_answers(sponsor, now_ms))),
        Which.ENDED: sa.and_(person.c.present, until_ms <= now_ms),
        Which.ALL: sa.true(),
    }
    found = [of_which[wanted.which]]
    if wanted.text is not None:
        named = (containing(person.c.name, wanted.text), containing(outsider.c.company, wanted.text))
        found.append(sa.or_(*named))
    if wanted.sponsor is not None:
        found.append(outsider.c.sponsor_id == wanted.sponsor)
    return found


def _answers(whose: sa.FromClause, now_ms: int) -> sa.ColumnElement[bool]:
    """Return what `Standing.answers` is, in the words of the store."""
    from_ms, until_ms = whose.c.valid_from_ms, whose.c.valid_until_ms
    return sa.and_(
        whose.c.directory != OUTSIDE,
        whose.c.present,
        whose.c.enabled,
        sa.or_(from_ms.is_(None), from_ms <= now_ms),
        sa.or_(until_ms.is_(None), until_ms > now_ms),
    )


def _views(connection: Connection, chosen: sa.Select[Any], now_ms: int) -> tuple[OutsiderView, ...]:
    rows = connection.execute(chosen).all()
    names = {number: name for number, name, _ in store.own_groups(connection)} if rows else {}
    return tuple(_view(row, names, now_ms) for row in rows)


def _view(row: sa.Row[Any], names: Mapping[int, str], now_ms: int) -> OutsiderView:
    own = Standing(row.directory, row.present, row.enabled, row.valid_from_ms, row.valid_until_ms)
    theirs = Standing(
        row.sponsor_directory,
        row.sponsor_present,
        row.sponsor_enabled,
        row.sponsor_valid_from_ms,
        row.sponsor_valid_until_ms,
    )
    groups = [GroupName(number, names[number]) for number in json.loads(row.groups) if number in names]
    answering = Sponsor(
        row.sponsor_id, row.sponsor_name, row.sponsor_login, row.sponsor_department, theirs.answers(now_ms)
    )
    return OutsiderView(
        person=row.person_id,
        organisation=row.organisation,
        department=row.department,
        name=row.name,
        mail=row.mail,
        kind=Kind(row.kind),
        company=row.company,
        state=state_at(own, theirs, now_ms),
        from_ms=row.valid_from_ms,
        until_ms=row.valid_until_ms,
        sponsor=answering,
        groups=tuple(sorted(groups, key=lambda group: (group.name, group.group))),
        reason=row.reason,
        created_by=row.created_by,
        created_ms=row.created_ms,
        changed_by=row.changed_by,
        changed_ms=row.changed_ms,
    )
