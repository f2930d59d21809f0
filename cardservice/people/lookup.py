# SPDX-License-Identifier: EUPL-1.2
"""Finding one person of the copy by what others know them by."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.database import read
from cardservice.errors import Conflict
from cardservice.people.store import person


def login_of(engine: Engine, number: int) -> str | None:
    """Return the login of the person with this row number, None if there is none or they left."""
    with read(engine) as connection:
        return connection.execute(sa.select(person.c.login).where(person.c.id == number, person.c.present)).scalar()


def dn_by_login(engine: Engine, login: str) -> tuple[int, str] | None:
    """Return row number and DN of whoever has this login and may work here, None if nobody has or two have."""
    with read(engine) as connection:
        known = sa.and_(person.c.login == login, person.c.present, person.c.enabled)
        rows = connection.execute(sa.select(person.c.id, person.c.dn).where(known).limit(2)).all()
    return (rows[0].id, rows[0].dn) if len(rows) == 1 else None


def person_by_login(engine: Engine, login: str) -> int | None:
    """Return the row number of whoever has this login, None if nobody has.

    Raises:
        Conflict: two people have it.
    """
    return _only(engine, person.c.login == login)


def person_by_personnel_number(engine: Engine, personnel_number: str) -> int | None:
    """Return the row number of whoever has this personnel number, None if nobody has.

    Raises:
        Conflict: two people have it.
    """
    return _only(engine, person.c.personnel_number == personnel_number)


def _only(engine: Engine, condition: sa.ColumnElement[bool]) -> int | None:
    with read(engine) as connection:
        rows = connection.execute(sa.select(person.c.id).where(condition, person.c.present).limit(2)).all()
    if len(rows) > 1:
        raise Conflict("the directory gives this number or login to more than one person")
    return rows[0].id if rows else None
