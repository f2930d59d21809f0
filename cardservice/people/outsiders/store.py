# SPDX-License-Identifier: EUPL-1.2
"""The table of outsiders: what is kept of them beside their row of `person`, and the groups the service keeps itself.

Their beginning, end, name and groups stand in `person`, whose directory is `OUTSIDE`, so that everything that reads
people finds them; their groups are rows of `directory_group` in the same way.
"""

import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import STATE, row_id
from cardservice.people.rules import OUTSIDE
from cardservice.people.store import directory_group, organisation, person

# A query names so many row numbers at once.
_AT_ONCE: Final = 500

outsider = sa.Table(
    "outsider",
    STATE,
    sa.Column("person_id", sa.ForeignKey("person.id"), primary_key=True, autoincrement=False),
    # Somebody of a directory, whether they can answer for anybody now or not.
    sa.Column("sponsor_id", sa.ForeignKey("person.id"), nullable=False, index=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("company", sa.Text),
    # Why they were added or changed last; gone with the name.
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.Text, nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
    # When the name was erased; none: it was not.
    sa.Column("erased_ms", sa.BigInteger),
)

sponsor: Final = person.alias("sponsor")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is stored of an outsider."""

    name: str
    mail: str | None
    kind: str
    company: str | None
    sponsor: int
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Who changes something, when and why."""

    by: str
    at_ms: int
    reason: str


OUTSIDERS: Final = (
    sa.select(
        outsider,
        person.c.name,
        person.c.mail,
        person.c.department,
        person.c.directory,
        person.c.stable_id,
        person.c.present,
        person.c.enabled,
        person.c.valid_from_ms,
        person.c.valid_until_ms,
        person.c.groups,
        organisation.c.code.label("organisation"),
        *(
            sponsor.c[name].label(f"sponsor_{name}")
            for name in ("name", "login", "department", "directory", "present", "enabled")
        ),
        *(sponsor.c[name].label(f"sponsor_{name}") for name in ("valid_from_ms", "valid_until_ms")),
    )
    .select_from(outsider)
    .join(person, outsider.c.person_id == person.c.id)
    .join(organisation, person.c.organisation_id == organisation.c.id)
    .join(sponsor, outsider.c.sponsor_id == sponsor.c.id)
)


def all_rows(connection: Connection) -> frozenset[int]:
    """Return the row numbers of everybody who ever was kept outside the directories."""
    return frozenset(connection.execute(sa.select(outsider.c.person_id)).scalars())


def sponsored_by(connection: Connection, people: Collection[int]) -> set[int]:
    """Return the row numbers of the outsiders that some of these people answer for."""
    numbers, found = sorted(people), set[int]()
    for start in range(0, len(numbers), _AT_ONCE):
        theirs = outsider.c.sponsor_id.in_(numbers[start : start + _AT_ONCE])
        found.update(connection.execute(sa.select(outsider.c.person_id).where(theirs)).scalars())
    return found


def sponsor_of(connection: Connection, number: int) -> sa.Row[Any] | None:
    """Return the row of `person` of whoever answers for an outsider, None for people of a directory."""
    chosen = sa.select(sponsor).join(outsider, outsider.c.sponsor_id == sponsor.c.id)
    return connection.execute(chosen.where(outsider.c.person_id == number)).first()


def lock(connection: Connection, number: int) -> None:
    """Have nobody else change an outsider before this transaction ends."""
    chosen = sa.select(outsider.c.person_id).where(outsider.c.person_id == number)
    connection.execute(chosen.with_for_update()).all()


def add(connection: Connection, entry: Entry, mark: Mark) -> int:
    """Add an outsider of the sponsor's organisation and department; return the row number."""
    stable_id = str(uuid.uuid4())
    values = _person_values(connection, entry) | {"enabled": True, "present": True, "groups": "[]"}
    number = row_id(
        connection.execute(
            sa.insert(person).values(directory=OUTSIDE, stable_id=stable_id, dn=f"outside={stable_id}", **values)
        )
    )
    made = {"created_by": mark.by, "created_ms": mark.at_ms}
    connection.execute(sa.insert(outsider).values(person_id=number, **made, **_own_values(entry, mark)))
    return number


def change(connection: Connection, number: int, entry: Entry, mark: Mark) -> None:
    """Store what an outsider is now."""
    connection.execute(sa.update(person).where(person.c.id == number).values(_person_values(connection, entry)))
    connection.execute(sa.update(outsider).where(outsider.c.person_id == number).values(_own_values(entry, mark)))


def end(connection: Connection, number: int, mark: Mark) -> None:
    """Let somebody's time end now; whoever had not begun yet never does."""
    begin = sa.case((person.c.valid_from_ms > mark.at_ms, mark.at_ms), else_=person.c.valid_from_ms)
    its = sa.update(person).where(person.c.id == number)
    connection.execute(its.values(valid_from_ms=begin, valid_until_ms=mark.at_ms))
    connection.execute(sa.update(outsider).where(outsider.c.person_id == number).values(_marked(mark)))


def _person_values(connection: Connection, entry: Entry) -> dict[str, Any]:
    where = sa.select(person.c.organisation_id, person.c.department).where(person.c.id == entry.sponsor)
    place = connection.execute(where).one()
    return {
        "name": entry.name,
        "mail": entry.mail,
        "organisation_id": place.organisation_id,
        "department": place.department,
        "valid_from_ms": entry.from_ms,
        "valid_until_ms": entry.until_ms,
    }


def _own_values(entry: Entry, mark: Mark) -> dict[str, Any]:
    return {"sponsor_id": entry.sponsor, "kind": entry.kind, "company": entry.company, **_marked(mark)}


def _marked(mark: Mark) -> dict[str, Any]:
    return {"changed_by": mark.by, "changed_ms": mark.at_ms, "reason": mark.reason}


# Groups of the service's own.


def own_groups(connection: Connection) -> list[tuple[int, str, int]]:
    """Return number, name and how many members of the groups that outsiders can be in, by name."""
    group = directory_group.c
    chosen = sa.select(group.id, group.name, group.members).where(group.directory == OUTSIDE, group.present)
    rows = connection.execute(chosen.order_by(group.name, group.id))
    return [(row.id, row.name, len(json.loads(row.members))) for row in rows]


def group_called(connection: Connection, name: str) -> bool:
    """Tell whether any group is called so, a directory's too: grants name groups."""
    chosen = sa.select(directory_group.c.id).where(directory_group.c.name == name, directory_group.c.present)
    return connection.execute(chosen.limit(1)).first() is not None


def add_group(connection: Connection, name: str) -> int:
    """Add a group; return its number."""
    stable_id = str(uuid.uuid4())
    values = {"directory": OUTSIDE, "stable_id": stable_id, "dn": f"outsidegroup={stable_id}", "name": name}
    return row_id(connection.execute(sa.insert(directory_group).values(**values, members="[]", present=True)))


def remove_group(connection: Connection, number: int) -> None:
    """Take a group out of use: the row stays, since grants may name it."""
    own = sa.and_(directory_group.c.id == number, directory_group.c.directory == OUTSIDE)
    connection.execute(sa.update(directory_group).where(own).values(present=False))


def set_groups(connection: Connection, number: int, groups: Iterable[int]) -> None:
    """Put an outsider into these groups and no other; the groups name their members, as those of a directory do."""
    row = connection.execute(sa.select(person.c.dn, person.c.groups).where(person.c.id == number)).one()
    before, after = set(json.loads(row.groups)), set(groups)
    chosen = sa.select(directory_group.c.id, directory_group.c.members).where(
        directory_group.c.id.in_(before ^ after), directory_group.c.directory == OUTSIDE
    )
    for group in connection.execute(chosen.order_by(directory_group.c.id).with_for_update()).all():
        members = set(json.loads(group.members)) - {row.dn} | ({row.dn} if group.id in after else set())
        its = sa.update(directory_group).where(directory_group.c.id == group.id)
        connection.execute(its.values(members=json.dumps(sorted(members))))
    connection.execute(sa.update(person).where(person.c.id == number).values(groups=json.dumps(sorted(after))))


# Erasing.


def to_erase(connection: Connection, ended_by_ms: int, limit: int) -> Sequence[int]:
    """Return outsiders that ended at this instant or before and whose names still stand here, at most `limit`."""
    chosen = sa.select(outsider.c.person_id).join(person, outsider.c.person_id == person.c.id)
    ended = (outsider.c.erased_ms.is_(None), person.c.valid_until_ms <= ended_by_ms)
    return connection.execute(chosen.where(*ended).order_by(outsider.c.person_id).limit(limit)).scalars().all()


def erase(connection: Connection, number: int, at_ms: int) -> None:
    """Keep nothing of somebody but the number, the time they had, and who answered for them."""
    set_groups(connection, number, ())
    gone = {"name": "", "mail": None, "department": None, "present": False}
    connection.execute(sa.update(person).where(person.c.id == number).values(gone))
    own = sa.update(outsider).where(outsider.c.person_id == number)
    connection.execute(own.values(company=None, reason="", erased_ms=at_ms))
