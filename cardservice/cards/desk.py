# SPDX-License-Identifier: EUPL-1.2
"""Changing a card's state for somebody who may send a request twice: it is done once, and the next tap sees it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.engine import Connection

from cardservice.cards.life.persons import as_holder
from cardservice.cards.life.service import Giver
from cardservice.cards.register import CardLife, CardRegister
from cardservice.cards.service import By, NewState
from cardservice.web.gate import Actor
from cardservice.web.once import Asked, Once

AgentsServing = Callable[[Connection, Sequence[str]], list[str]]


@dataclass(frozen=True, slots=True)
class CardDesk:
    """The register, what makes a change once, and what has the next tap see it.

    `agents_serving` says which agents have readers that know cards by these uses.
    """

    register: CardRegister
    once: Once
    publish: Callable[[], None]
    agents_serving: AgentsServing

    def change(self, asked: Asked, reference: str, new: NewState, giver: Giver) -> dict[str, Any]:
        """Move a card to another state, once; return it as JSON has it. Blocks.

        Raises:
            NotFound: there is none called so within reach.
            Conflict: the life cycle does not allow the step, a reason or an end does not fit, or the key was used.
            DatabaseUnavailable: nothing was changed.
        """

        def make(connection: Connection) -> dict[str, Any]:
            before = self.register.one_in(connection, reference, giver.reaches)
            by = as_holder(connection, giver.by, before.line.person)
            changed = self.register.change(connection, reference, new, giver.reaches, by)
            return step_document(connection, changed, self.agents_serving)

        answer = self.once.run(asked, make)
        self.publish()
        return answer


def step_document(connection: Connection, changed: CardLife, agents_serving: AgentsServing) -> dict[str, Any]:
    """Return a card that has just made a step as JSON has it: with what followed, and which agents that concerns."""
    document = asdict(changed)
    if changed.effects is not None:
        document["effects"]["agents"] = agents_serving(connection, changed.effects.uses_ended)
    return document


def giver_of(actor: Actor, operation: str) -> Giver:
    """Return somebody as the one who changes cards by an operation."""
    return Giver(By(actor.name, actor.person, operation=operation), actor.reaches)
