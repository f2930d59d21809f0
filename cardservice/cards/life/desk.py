# SPDX-License-Identifier: EUPL-1.2
"""The life of cards for whoever may send a request twice: done once, and the next tap sees it. Everything blocks."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.cards import store
from cardservice.cards.desk import AgentsServing, step_document
from cardservice.cards.life import service, stock
from cardservice.cards.life.loss import end_cards
from cardservice.cards.life.persons import as_holder
from cardservice.cards.life.service import Gift, Giver
from cardservice.cards.life.undo import Hindrance, hindrances
from cardservice.cards.register import CardLife, CardRegister
from cardservice.cards.service import NewState
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import NotFound
from cardservice.people.register import within
from cardservice.people.store import organisation, person
from cardservice.web.once import Asked, Once
from cardservice.web.reach import Reach

MAX_ORGANISATIONS: Final = 500


class EventLine(NamedTuple):
    """What became of a card, by whom, and what followed; `before` none: it was given."""

    at_ms: int
    before: str | None
    after: str
    reason: str | None
    actor: str
    second_actor: str | None
    uses_ended: int
    certificates_changed: int


@dataclass(frozen=True, slots=True)
class LifeDesk:
    """The state store, the register, what makes a change once, and what has the next tap see it.

    `agents_serving` says which agents have readers that know cards by these uses.
    """

    state: Engine
    register: CardRegister
    once: Once
    clock: Clock
    publish: Callable[[], None]
    agents_serving: AgentsServing

    def give(self, asked: Asked, gift: Gift, giver: Giver) -> dict[str, Any]:
        """Give somebody a card, once; return it as JSON has it. Raises as `service.give`."""
        return self._made(asked, giver, lambda connection, now_ms: service.give(connection, gift, giver, now_ms))

    def replace(self, asked: Asked, reference: str, gift: Gift, giver: Giver) -> dict[str, Any]:
        """Replace a card, once; return the new one. Raises as `service.replace_card`."""
        return self._of(asked, reference, giver, lambda at: service.replace_card(at[0], reference, gift, giver, at[1]))

    def lend(self, asked: Asked, reference: str, gift: Gift, giver: Giver) -> dict[str, Any]:
        """Lend a temporary card for a forgotten one, once; return it. Raises as `service.lend`."""
        return self._of(asked, reference, giver, lambda at: service.lend(at[0], reference, gift, giver, at[1]))

    def hand_back(self, asked: Asked, reference: str, giver: Giver) -> dict[str, Any]:
        """Take a temporary card back, once; return the card that counts again, else itself."""

        def make(at: tuple[Connection, int]) -> str:
            return service.hand_back(at[0], reference, giver, at[1]) or reference

        return self._of(asked, reference, giver, make)

    def step(self, asked: Asked, reference: str, new: NewState, giver: Giver) -> dict[str, Any]:
        """Move a card one step on, once. Raises as `cards.service.change_state`."""

        def make(connection: Connection) -> dict[str, Any]:
            before = self.register.one_in(connection, reference, giver.reaches)
            by = as_holder(connection, giver.by, before.line.person)
            changed = self.register.change(connection, reference, new, giver.reaches, by)
            return step_document(connection, changed, self.agents_serving)

        return self._run(asked, make)

    def report_lost(self, asked: Asked, number: int, giver: Giver) -> dict[str, Any]:
        """Revoke every card of somebody at once; return what ended, and the agents whose readers refuse it now.

        Raises:
            NotFound: nobody within reach has this number.
        """

        def make(connection: Connection) -> dict[str, Any]:
            chosen = sa.select(person.c.id).join(organisation, person.c.organisation_id == organisation.c.id)
            if connection.execute(chosen.where(person.c.id == number, within(giver.reaches))).first() is None:
                raise NotFound(f"there is no person {number}")
            ended = end_cards(connection, number, giver.by, self.clock.now_ms())
            return asdict(ended) | {"agents": self.agents_serving(connection, ended.uses_ended)}

        return self._run(asked, make)

    def history(self, reference: str, reaches: tuple[Reach, ...]) -> list[EventLine]:
        """Return what became of a card, the newest first.

        Raises:
            NotFound: there is none called so within reach.
        """
        self.register.one(reference, reaches)
        with read(self.state) as connection:
            rows = store.events_of(connection, reference, service.MAX_EVENTS)
            return [EventLine(*(getattr(row, name) for name in EventLine._fields)) for row in rows]

    def agents_of(self, life: CardLife) -> list[str]:
        """Return the agents whose readers know a card, or refuse it by now."""
        with read(self.state) as connection:
            return self.agents_serving(connection, life.known_as)

    def hindrances(self, reference: str, giver: Giver) -> tuple[Hindrance, ...]:
        """Return what stands against ending a card's suspension.

        Raises:
            NotFound: there is none called so within reach.
        """
        with read(self.state) as connection:
            self.register.one_in(connection, reference, giver.reaches)
            return hindrances(connection, reference, giver.by, self.clock.now_ms())

    def deliveries(self) -> list[stock.Delivery]:
        """Return the deliveries of blank cards."""
        with read(self.state) as connection:
            return stock.deliveries(connection)

    def organisations(self) -> list[str]:
        """Return the codes of the organisations that blank cards can be delivered to."""
        with read(self.state) as connection:
            chosen = sa.select(organisation.c.code).order_by(organisation.c.code).limit(MAX_ORGANISATIONS)
            return list(connection.execute(chosen).scalars())

    def deliver(self, asked: Asked, code: str, label: str, delivered: int) -> dict[str, Any]:
        """Store a delivery of blank cards to an organisation. Raises as `stock.add`, NotFound without one."""

        def make(connection: Connection) -> dict[str, Any]:
            found = stock.organisation_called(connection, code)
            return {"delivery": stock.add(connection, found, label, delivered, self.clock.now_ms())}

        return self._run(asked, make)

    def void(self, asked: Asked, code: str, delivery: int, count: int) -> dict[str, Any]:
        """Count blank cards as void. Raises as `stock.void`, NotFound without the organisation."""

        def make(connection: Connection) -> dict[str, Any]:
            stock.void(connection, delivery, stock.organisation_called(connection, code), count)
            return {"delivery": delivery}

        return self._run(asked, make)

    def _of(
        self, asked: Asked, reference: str, giver: Giver, make: Callable[[tuple[Connection, int]], str]
    ) -> dict[str, Any]:
        """Do something with a card within reach."""

        def within_reach(connection: Connection, now_ms: int) -> str:
            self.register.one_in(connection, reference, giver.reaches)
            return make((connection, now_ms))

        return self._made(asked, giver, within_reach)

    def _made(self, asked: Asked, giver: Giver, make: Callable[[Connection, int], str]) -> dict[str, Any]:
        def run(connection: Connection) -> Mapping[str, Any]:
            reference = make(connection, self.clock.now_ms())
            return asdict(self.register.one_in(connection, reference, giver.reaches))

        return self._run(asked, run)

    def _run(self, asked: Asked, make: Callable[[Connection], Mapping[str, Any]]) -> dict[str, Any]:
        answer = self.once.run(asked, make)
        self.publish()
        return answer
