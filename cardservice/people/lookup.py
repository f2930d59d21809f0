# SPDX-License-Identifier: EUPL-1.2
"""Finding one person of the copy by what others know them by; nobody who is kept outside the directories."""

from collections.abc import Set as AbstractSet

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.database import read
from cardservice.errors import Conflict
from cardservice.people.rules import OUTSIDE
from cardservice.people.store import directory_group, person
from cardservice.web.roles import KnownGroup


def person_by_login(engine: Engine, login: str) -> int | None:
    """Return the row number of whoever has this login, None if nobody has.

    Raises:
        Conflict: two people have it.
    """
    return _only(engine, person.c.login == login)


def person_by_stable_id(engine: Engine, stable_id: str) -> int | None:
    """Return the row number of whoever a directory knows by this, None if nobody is.

    Raises:
        Conflict: two directories do, of two people.
    """
    return _only(engine, person.c.stable_id == stable_id)


def person_by_personnel_number(engine: Engine, personnel_number: str) -> int | None:
    """Return the row number of whoever has this personnel number, None if nobody has.

    Raises:
        Conflict: two people have it.
    """
    return _only(engine, person.c.personnel_number == personnel_number)


def groups_called(engine: Engine, names: AbstractSet[str], stable_ids: AbstractSet[str]) -> list[KnownGroup]:
    """Return every group that a directory names now and that has one of these names or stable ids."""
    group = directory_group.c
    wanted = sa.select(group.id, group.directory, group.stable_id, group.name).where(
        group.present, group.directory != OUTSIDE, sa.or_(group.name.in_(names), group.stable_id.in_(stable_ids))
    )
    with read(engine) as connection:
        return [
            KnownGroup(row.id, row.directory, row.stable_id, row.name)
            for row in connection.execute(wanted.order_by(group.id))
        ]


def _only(engine: Engine, condition: sa.ColumnElement[bool]) -> int | None:
    """Return the one person who is present and fits; what two have is nobody's, enabled or not."""
    wanted = sa.select(person.c.id).where(condition, person.c.present, person.c.directory != OUTSIDE)
    with read(engine) as connection:
        rows = connection.execute(wanted.limit(2)).scalars().all()
    if len(rows) > 1:
        raise Conflict("the directory gives this number or login to more than one person")
    return rows[0] if rows else None
