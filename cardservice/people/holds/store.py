# SPDX-License-Identifier: EUPL-1.2
"""Tables of holds and of the people in them. A hold's row stays; who was in it is forgotten with its end."""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import STATE, RowNumber, row_id
from cardservice.people.holds.rules import STANDING, HoldState, Loss, StandingHold
from cardservice.people.store import person

directory_hold = sa.Table(
    "directory_hold",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("directory", sa.String(40), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("began_ms", sa.BigInteger, nullable=False),
    # Which server said it, and where it stood then.
    sa.Column("server", sa.Text, nullable=False),
    sa.Column("cookie", sa.Text),
    # How many are kept; once the hold no longer stands, how many were kept last.
    sa.Column("lost", sa.Integer, nullable=False),
    sa.Column("disabled", sa.Integer, nullable=False),
    # The caller of the API or the command line; None where nobody decided.
    sa.Column("decided_by", sa.Text),
    sa.Column("settled_ms", sa.BigInteger),
    sa.CheckConstraint(
        "state IN ('open', 'rejected', 'confirmed', 'applied', 'over', 'replaced')",
        name="state",
    ),
)

directory_hold_person = sa.Table(
    "directory_hold_person",
    STATE,
    sa.Column("person_id", sa.ForeignKey("person.id"), primary_key=True),
    sa.Column("hold_id", sa.ForeignKey("directory_hold.id"), nullable=False),
    sa.Column("loss", sa.String(10), nullable=False),
    sa.CheckConstraint("loss IN ('lost', 'disabled')", name="loss"),
)


def load_standing(connection: Connection, directory: str) -> StandingHold | None:
    """Return the hold of a directory that stands, None if there is none."""
    row = connection.execute(
        sa.select(directory_hold).where(directory_hold.c.directory == directory, directory_hold.c.state.in_(STANDING))
    ).first()
    if row is None:
        return None
    members = connection.execute(
        sa.select(person.c.stable_id, directory_hold_person.c.loss)
        .join(directory_hold_person, directory_hold_person.c.person_id == person.c.id)
        .where(directory_hold_person.c.hold_id == row.id)
    )
    people = {member.stable_id: Loss(member.loss) for member in members}
    return StandingHold(row.id, HoldState(row.state), row.began_ms, people)


def state_of(connection: Connection, number: int) -> HoldState:
    """Return what became of a hold."""
    return HoldState(
        connection.execute(sa.select(directory_hold.c.state).where(directory_hold.c.id == number)).scalar_one()
    )


def lock_state(connection: Connection, number: int) -> HoldState:
    """Return what became of a hold; nobody else decides on it before this transaction ends."""
    wanted = sa.select(directory_hold.c.state).where(directory_hold.c.id == number).with_for_update()
    return HoldState(connection.execute(wanted).scalar_one())


def find(connection: Connection, number: int, *, lock: bool = False) -> sa.Row[Any] | None:
    """Return a hold's row; with `lock`, nobody else decides on it before this transaction ends."""
    wanted = sa.select(directory_hold).where(directory_hold.c.id == number)
    return connection.execute(wanted.with_for_update() if lock else wanted).first()


def open_hold(connection: Connection, **values: Any) -> int:
    """Add an open hold that keeps nobody yet; return its number."""
    opened = sa.insert(directory_hold).values(state=HoldState.OPEN.value, lost=0, disabled=0, **values)
    return row_id(connection.execute(opened))


def keep(connection: Connection, number: int, people: Mapping[int, Loss]) -> None:
    """Put people (row numbers) into a hold; whoever is in another leaves that one."""
    if not people:
        return
    release(connection, people)
    rows = [{"person_id": row, "hold_id": number, "loss": loss.value} for row, loss in people.items()]
    connection.execute(sa.insert(directory_hold_person), rows)


def release(connection: Connection, people: Iterable[int]) -> None:
    """Take people (row numbers) out of whatever hold they are in."""
    rows = [{"row_number": row} for row in people]
    if rows:
        gone = sa.delete(directory_hold_person).where(directory_hold_person.c.person_id == sa.bindparam("row_number"))
        connection.execute(gone, rows)


def update(connection: Connection, number: int, **values: Any) -> None:
    """Change columns of a hold's row."""
    connection.execute(sa.update(directory_hold).where(directory_hold.c.id == number).values(**values))


def list_standing(connection: Connection) -> list[sa.Row[Any]]:
    """Return the rows of all holds that stand, the oldest first."""
    wanted = sa.select(directory_hold).where(directory_hold.c.state.in_(STANDING)).order_by(directory_hold.c.id)
    return list(connection.execute(wanted))


def list_people(connection: Connection, number: int, limit: int) -> list[sa.Row[Any]]:
    """Return name, login, department and loss of people in a hold, by name, at most `limit`."""
    wanted = (
        sa.select(person.c.name, person.c.login, person.c.department, directory_hold_person.c.loss)
        .join(directory_hold_person, directory_hold_person.c.person_id == person.c.id)
        .where(directory_hold_person.c.hold_id == number)
        .order_by(person.c.name, person.c.id)
        .limit(limit)
    )
    return list(connection.execute(wanted))
