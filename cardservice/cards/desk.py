# SPDX-License-Identifier: EUPL-1.2
"""Changing a card's state for somebody who may send a request twice: it is done once, and the next tap sees it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.engine import Connection

from cardservice.cards.life.persons import as_holder
from cardservice.cards.life.service import Giver
from cardservice.cards.register import CardRegister
from cardservice.cards.service import By, NewState
from cardservice.web.gate import Actor
from cardservice.web.once import Asked, Once


@dataclass(frozen=True, slots=True)
class CardDesk:
    """The register, what makes a change once, and what has the next tap see it."""

    register: CardRegister
    once: Once
    publish: Callable[[], None]

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
            return asdict(self.register.change(connection, reference, new, giver.reaches, by))

        answer = self.once.run(asked, make)
        self.publish()
        return answer


def giver_of(actor: Actor, operation: str) -> Giver:
    """Return somebody as the one who changes cards by an operation."""
    return Giver(By(actor.name, actor.person, operation=operation), actor.reaches)
