# SPDX-License-Identifier: EUPL-1.2
"""Finding one person of the copy by what others know them by."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.database import read
from cardservice.errors import Conflict
from cardservice.people.store import person


def dn_by_login(engine: Engine, login: str) -> tuple[int, str] | None:
    """Return row number and DN of whoever has this login, None if nobody has or they are disabled.

    Raises:
        Conflict: two people have it.
    """
    found = _only(engine, person.c.login == login)
    return (found.id, found.dn) if found is not None and found.enabled else None


def person_by_login(engine: Engine, login: str) -> int | None:
    """Return the row number of whoever has this login, None if nobody has.

    Raises:
        Conflict: two people have it.
    """
    return _row_number(_only(engine, person.c.login == login))


def person_by_personnel_number(engine: Engine, personnel_number: str) -> int | None:
    """Return the row number of whoever has this personnel number, None if nobody has.

    Raises:
        Conflict: two people have it.
    """
    return _row_number(_only(engine, person.c.personnel_number == personnel_number))


def _only(engine: Engine, condition: sa.ColumnElement[bool]) -> sa.Row[int, str, bool] | None:
    """Return the one person who is present and fits; what two have is nobody's, enabled or not."""
    wanted = sa.select(person.c.id, person.c.dn, person.c.enabled).where(condition, person.c.present)
    with read(engine) as connection:
        rows = connection.execute(wanted.limit(2)).all()
    if len(rows) > 1:
        raise Conflict("the directory gives this number or login to more than one person")
    return rows[0] if rows else None


def _row_number(found: sa.Row[int, str, bool] | None) -> int | None:
    return None if found is None else found.id
