# SPDX-License-Identifier: EUPL-1.2
"""Old numbers for whoever may send a request twice: brought in once, ended once, and the next tap sees it. Blocks."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.engine import Connection, Engine

from cardservice.cards.life.service import Giver
from cardservice.cards.old.service import Left, OldCards, OldList, Understood, Zones
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.web.once import Asked, Once


@dataclass(frozen=True, slots=True)
class OldDesk:
    """The state store, what makes a change once, the zones, and what has the next tap see a change."""

    state: Engine
    once: Once
    clock: Clock
    publish: Callable[[], None]
    zones: Zones

    def look(self, sent: OldList, giver: Giver) -> Understood:
        """Return how a list is understood. Raises as `OldCards.look_at`."""
        with read(self.state) as connection:
            return self._cards(connection, giver).look_at(sent)

    def bring_in(self, asked: Asked, sent: OldList, giver: Giver) -> int:
        """Have the old cards of a list count; return how many. Raises as `OldCards.bring_in`."""
        return self._changed(asked, lambda connection: self._cards(connection, giver).bring_in(sent))

    def left(self, giver: Giver) -> list[Left]:
        """Return what is left in each building."""
        with read(self.state) as connection:
            return self._cards(connection, giver).left()

    def end(self, asked: Asked, building: str, giver: Giver) -> int:
        """Have no old card count in a building any more; return how many there were. Raises as `OldCards.end`."""
        return self._changed(asked, lambda connection: self._cards(connection, giver).end(building))

    def _cards(self, connection: Connection, giver: Giver) -> OldCards:
        return OldCards(connection, giver, self.zones(connection), self.clock.now_ms())

    def _changed(self, asked: Asked, make: Callable[[Connection], int]) -> int:
        done = int(self.once.run(asked, lambda connection: {"cards": make(connection)})["cards"])
        self.publish()
        return done
