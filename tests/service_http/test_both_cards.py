# SPDX-License-Identifier: EUPL-1.2
"""The temporary card, the forgotten one and the PIN at one reader: the forgotten card counts again, the whole way."""

import pytest
import sqlalchemy as sa
from support.pin_desk import SAFE, VAULT, add_points, pins_of
from support.scripted_agent import CardInHand, ScriptedAgent, response
from support.service import AGENT
from support.waiting import wait_until

from cardservice import changes
from cardservice.agents.messages import CardApdus, CardOpen, DecisionMessage, PinAsk, PinEntered, SessionsEnd
from cardservice.cards.rules import CardState
from cardservice.cards.service import NewState, change_state_in
from cardservice.cards.store import card
from cardservice.clock import SystemClock
from cardservice.database import read, write
from cardservice.people.store import person

PIN, WRONG = "830519274617", "830519274618"
MAIN, TEMPORARY = "anna", "mehmet"


class House:
    """A city where Anna's card is at home, and Mehmet's former card is lent to her."""

    def __init__(self, city) -> None:
        self.city = city
        add_points(city.files, AGENT)
        with pins_of(city.files) as pins:
            pins.set(pins.find("schmidt").person, PIN)
        with city.files.stores() as databases, write(databases.state) as connection:
            anna, mehmet = (self._card_of(connection, login) for login in ("schmidt", "yilmaz"))
            now_ms = SystemClock().now_ms()
            change_state_in(connection, anna.reference, NewState(CardState.SUSPENDED, "forgotten"), now_ms)
            lent = {"person_id": anna.person_id, "profile": "temporary", "stands_in_for_id": anna.id}
            connection.execute(sa.update(card).where(card.c.id == mehmet.id).values(lent))
            changes.append(connection, "card", [mehmet.id])
            self.main, self.temporary = anna.id, mehmet.id
        known = city.service.service.city
        known.catch_up()
        wait_until(lambda: {SAFE, VAULT} <= known.snapshot.points.keys())

    @staticmethod
    def _card_of(connection, login: str):
        return connection.execute(sa.select(card).join(person).where(person.c.login == login)).first()

    def states(self) -> tuple[str, str]:
        with self.city.files.stores() as databases, read(databases.state) as connection:
            rows = {row.id: row.state for row in connection.execute(sa.select(card))}
        return rows[self.temporary], rows[self.main]

    async def hold(
        self, agent: ScriptedAgent, name: str, pin: str | None = None, point: str = SAFE
    ) -> tuple[str, bool]:
        """Hold a card to a point; return the reason, and whether the PIN was asked for."""
        hand, was_asked = CardInHand(self.city.card(name)), False
        await agent.send(agent.present(point, pin_pad=True))
        while not isinstance(message := await agent.receive(), DecisionMessage):
            if isinstance(message, CardApdus):
                await agent.send(response(message, hand.answers(message.apdus)))
            elif isinstance(message, PinAsk):
                was_asked = True
                await agent.send(PinEntered(event=message.event, ask=message.ask, pin=pin))
            else:
                assert isinstance(message, CardOpen | SessionsEnd), message
        return message.reason, was_asked


@pytest.fixture
def house(make_city) -> House:
    return House(make_city())


async def test_both_cards_and_the_pin_bring_the_forgotten_one_back(house):
    """Alone it is refused, before and after; with the temporary one before it, it asks for the PIN, and opens."""
    async with house.city.agent() as agent:
        assert await house.hold(agent, MAIN) == ("card_suspended", False)
        assert await house.hold(agent, TEMPORARY, PIN) == ("granted", True)
        assert house.states() == ("active", "suspended")
        assert await house.hold(agent, MAIN, PIN) == ("granted", True)
        assert house.states() == ("revoked", "active")
        assert await house.hold(agent, TEMPORARY) == ("card_revoked", False)
        assert await house.hold(agent, MAIN, PIN) == ("granted", True)


async def test_nothing_less_brings_it_back(house):
    """The wrong PIN, none, the other order, another reader: it stays suspended."""
    async with house.city.agent() as agent:
        for pin, reason in ((WRONG, "pin_wrong"), (None, "pin_needed")):
            assert await house.hold(agent, TEMPORARY, PIN) == ("granted", True)
            assert await house.hold(agent, MAIN, pin) == (reason, True)
            assert await house.hold(agent, MAIN, PIN) == ("card_suspended", False)
        assert await house.hold(agent, TEMPORARY, PIN, VAULT) == ("granted", True)
        assert await house.hold(agent, MAIN, PIN) == ("card_suspended", False)
    assert house.states() == ("active", "suspended")
