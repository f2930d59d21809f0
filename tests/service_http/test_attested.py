# SPDX-License-Identifier: EUPL-1.2
"""A number a reader has decoded by itself: believed where the point says so, at its own level, and nowhere else."""

import sqlalchemy as sa

from cardservice import changes
from cardservice.access.rules import Level
from cardservice.access.store import point_class
from cardservice.agents.messages import CardRead, DecisionMessage
from cardservice.database import write
from city import seed

DOOR = "bauamt.aussen"


def accept(city, methods: str, level: int) -> None:
    """Let every class of point take numbers read by its readers, from `level` on."""
    with city.files.stores() as databases, write(databases.state) as connection:
        connection.execute(sa.update(point_class).values(methods=methods, level=level))
        changes.append(connection, "access", [0])
    city.service.service.city.catch_up()


async def read_at(agent, number: bytes, point: str = DOOR) -> DecisionMessage:
    event = agent.present(point).event
    await agent.send(CardRead(event=event, point=point, number=number.hex(), at_ms=1))
    decision = await agent.expect(DecisionMessage)
    assert decision.event == event
    return decision


async def test_it_opens_where_the_point_takes_it_and_only_with_a_right(make_city):
    """The level says what was proved; the right is the person's; a point that demands a proven card stays shut."""
    city = make_city()
    accept(city, "attested,desfire", Level.READER_ATTESTED)
    async with city.agent() as agent:
        permitted = await read_at(agent, seed.number("anna", "door"))
        assert (permitted.permit, permitted.reason, permitted.level) == (True, "granted", "reader_attested")
        assert (await read_at(agent, seed.number("sabine", "door"))).reason == "no_grant"
        assert (await read_at(agent, seed.number("anna", "printer"))).reason == "card_unknown"
        assert (await read_at(agent, bytes(5))).reason == "card_unsupported"
        # The same points still ask the cards themselves.
        assert (await agent.tap(city.card("anna"), DOOR)).level == "card"
    accept(city, "attested,desfire", Level.CARD)
    async with city.agent() as agent:
        assert (await read_at(agent, seed.number("anna", "door"))).reason == "level_too_low"


async def test_elsewhere_it_is_worth_nothing(city):
    """An agent cannot spare itself the proof of a card: where the point does not take read numbers, none counts."""
    async with city.agent() as agent:
        refused = await read_at(agent, seed.number("anna", "door"))
        assert (refused.permit, refused.reason, refused.level) == (False, "card_unsupported", "none")
