# SPDX-License-Identifier: EUPL-1.2
"""Whether two entries are one human being: nobody issues a card for themselves, in whichever directory they stand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.service import By
from cardservice.people.store import person

# By what directories call a person for good; a name is no such thing.
_NAMES: Final = (person.c.personnel_number, person.c.login, person.c.mail)


def is_same(connection: Connection, one: int | None, other: int | None) -> bool:
    """Tell whether two row numbers are the same person: one row, or one personnel number, login or mail address.

    Two directories may call two people the same. Then a colleague has to do what they could have done themselves, which
    is the lesser harm.
    """
    if one is None or other is None:
        return False
    if one == other:
        return True
    rows = connection.execute(sa.select(*_NAMES).where(person.c.id.in_((one, other)))).all()
    return any(_agree(values) for values in zip(*rows, strict=True))


def as_holder(connection: Connection, by: By, holder: int | None) -> By:
    """Return the actor, under the holder's row number if they are the same person.

    What nobody may do with a card of their own they may then do with none of that entry's either.
    """
    return replace(by, person=holder) if is_same(connection, by.person, holder) else by


def _agree(values: Sequence[str | None]) -> bool:
    """Tell whether both have it and it is the same; directories differ in capitals, and in blanks around a value."""
    plain = [(value or "").strip().casefold() for value in values]
    return len(plain) > 1 and plain[0] != "" and plain[0] == plain[1]
