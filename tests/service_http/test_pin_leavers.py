# SPDX-License-Identifier: EUPL-1.2
"""A running service forgets the PIN of whoever has no card any more."""

import sqlalchemy as sa
from support.pin_desk import pins_of
from support.waiting import wait_until

from cardservice import changes
from cardservice.cards.pin.store import holder_pin
from cardservice.cards.rules import CardState
from cardservice.cards.store import card
from cardservice.database import read, write


def verifiers(city):
    """Whose PIN is stored."""
    with city.files.stores() as databases, read(databases.state) as connection:
        return list(connection.execute(sa.select(holder_pin.c.person_id)).scalars())


def test_it_goes_as_soon_as_the_last_card_is_revoked(make_city):
    """In another program, as the command line does it: the service learns of it from the change log."""
    city = make_city()
    with pins_of(city.files) as pins:
        person = pins.find("schmidt").person
        pins.set(person, "830519")
    assert verifiers(city) == [person]
    with city.files.stores() as databases, write(databases.state) as connection:
        theirs = card.c.person_id == person
        connection.execute(sa.update(card).where(theirs).values(state=CardState.REVOKED.value))
        changes.append(connection, "card", connection.execute(sa.select(card.c.id).where(theirs)).scalars())
    wait_until(lambda: verifiers(city) == [])
