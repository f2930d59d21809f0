# SPDX-License-Identifier: EUPL-1.2
"""Short ways to give and change cards, for tests of their life."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from cardservice.cards import service as cards
from cardservice.cards.life import service
from cardservice.cards.life.service import Gift, Giver
from cardservice.cards.rules import CardState
from cardservice.cards.service import By, Effects, NewState
from cardservice.cards.store import card, card_event
from cardservice.database import Databases, read, write
from cardservice.web.reach import EVERYWHERE

NOW_MS = 1_795_392_000_000
DAY_MS = 86_400_000


class CardDesk:
    """Somebody who gives cards: a person, or a system without a number."""

    def __init__(self, databases: Databases, person: int | None = None) -> None:
        self.state = databases.state
        self.giver = Giver(By("desk", person), (EVERYWHERE,))
        self.now_ms = NOW_MS
        self._made = 0

    def gift(self, person: int, profile: str = "employee", **values: Any) -> Gift:
        """Return a card with a door number that no other has."""
        self._made += 1
        return Gift(person, profile, {"door": self._made.to_bytes(12)}, **values)

    def give(self, person: int, profile: str = "employee", **values: Any) -> str:
        with write(self.state) as connection:
            return service.give(connection, self.gift(person, profile, **values), self.giver, self.now_ms)

    def order(self, person: int, profile: str = "employee") -> str:
        """Give a card that has to be produced."""
        with write(self.state) as connection:
            return service.give(connection, Gift(person, profile), self.giver, self.now_ms)

    def replace(self, reference: str, *, produced: bool = True) -> str:
        gift = self.gift(0) if produced else Gift(0, "employee")
        return self._linked(service.replace_card, reference, gift)

    def lend(self, reference: str) -> str:
        return self._linked(service.lend, reference, self.gift(0))

    def hand_back(self, reference: str) -> str | None:
        with write(self.state) as connection:
            return service.hand_back(connection, reference, self.giver, self.now_ms)

    def step(self, reference: str, state: CardState, reason: str | None = None, **values: Any) -> Effects:
        new = NewState(state, reason, values.pop("until_ms", None))
        by = By("desk", self.giver.by.person, **values)
        return cards.change_state(self.state, reference, new, self.now_ms, by)

    def now(self, reference: str) -> tuple[str, str | None]:
        """Return state and reason."""
        row = self.row(reference)
        return row.state, row.state_reason

    def row(self, reference: str) -> Any:
        with read(self.state) as connection:
            return connection.execute(sa.select(card).where(card.c.reference == reference)).one()

    def events(self, reference: str) -> list[Any]:
        """Return what became of a card, the oldest first."""
        with read(self.state) as connection:
            chosen = sa.select(card_event).join(card).where(card.c.reference == reference)
            return list(connection.execute(chosen.order_by(card_event.c.id)))

    def _linked(self, make: Callable[..., str], reference: str, gift: Gift) -> str:
        with write(self.state) as connection:
            return make(connection, reference, gift, self.giver, self.now_ms)
