# SPDX-License-Identifier: EUPL-1.2
"""What takes a card out of use is told to the PCs at once, in a way that names nobody."""

import asyncio

import sqlalchemy as sa
from support.scripted_agent import CardInHand, ScriptedAgent
from support.service import LIMIT_S

from cardservice.agents.messages import SessionsEnd, login_digest
from cardservice.cards.rules import CardState
from cardservice.cards.store import card
from cardservice.changes import append
from cardservice.database import write
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.people.store import person
from city import people

ANNA = people.ANNA.login


async def test_pcs_are_told_whose_card_no_longer_counts(city):
    """After a disable in the directory, and after a suspension by another program; a reinstatement tells nothing."""
    city.enrol(PLACES_AGENT)
    async with city.agent() as doors, city.agent(PLACES_AGENT) as places:
        assert (await tap(city, places)).permit
        await asyncio.to_thread(city.directory.set_disabled, ANNA, disabled=True)
        assert names(await ended(places), ANNA)
        await asyncio.to_thread(city.directory.set_disabled, ANNA, disabled=False)
        await until_permitted(city, places)
        await asyncio.to_thread(put, city, CardState.SUSPENDED)
        message = await ended(places)
        assert names(message, ANNA)
        assert not names(message, "krueger")
        assert ANNA not in message.model_dump_json()
        await asyncio.to_thread(put, city, CardState.ACTIVE)
        await until_permitted(city, places)
        # An agent without a PC has heard of none of it: the next thing it is told is the answer to its tap.
        assert (await doors.tap(city.card("anna"), "haupteingang.aussen")).permit


async def tap(city, places: ScriptedAgent):
    await places.send(places.present("pc.bauamt"))
    return await places.converse(CardInHand(city.card("anna"), "contact"))


async def until_permitted(city, places: ScriptedAgent) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not (await tap(city, places)).permit:
            pass


async def ended(places: ScriptedAgent) -> SessionsEnd:
    async with asyncio.timeout(LIMIT_S):
        while not isinstance(message := await places.receive(), SessionsEnd):
            pass
    return message


def names(message: SessionsEnd, login: str) -> bool:
    return login_digest(message.salt, login) in message.people


def put(city, state: CardState) -> None:
    """Change the state of every card of Anna's as a program beside the service does."""
    with city.files.stores() as databases, write(databases.state) as connection:
        anna = connection.execute(sa.select(person.c.id).where(person.c.login == ANNA)).scalar_one()
        hers = connection.execute(sa.select(card.c.id).where(card.c.person_id == anna)).scalars().all()
        connection.execute(sa.update(card).where(card.c.id.in_(hers)).values(state=state))
        append(connection, "card", hers)
