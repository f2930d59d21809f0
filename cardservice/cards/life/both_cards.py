# SPDX-License-Identifier: EUPL-1.2
"""A forgotten card comes back without a colleague: by both cards and the PIN, never by a tap of its own alone.

Whether both cards proved themselves and the PIN was right is for whoever calls to know. The temporary card ends;
that it comes back to the stock is for the desk to see.
"""

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.cards import store
from cardservice.cards.rules import CardState
from cardservice.cards.service import By, NewState, change_state_in
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict

# A temporary card whose shift is over still shows who stands there; one that somebody suspended or ended does not.
_SHOWN: Final = frozenset({CardState.ACTIVE, CardState.EXPIRED})
_FORGOTTEN: Final = (CardState.SUSPENDED, "forgotten")
_BY: Final = By("both cards and the PIN")


class BothCards:
    """The state store, and what has the next tap see a change. Everything blocks; cards are row numbers."""

    def __init__(self, state: Engine, clock: Clock, publish: Callable[[], None]) -> None:
        self._state = state
        self._clock = clock
        self._publish = publish

    def belong_together(self, temporary: int, main: int) -> bool:
        """Tell whether one stands in for the other, which counts again once it is handed back."""
        with read(self._state) as connection:
            return _pair(connection, temporary, main) is not None

    def hand_back(self, temporary: int, main: int) -> bool:
        """End the temporary card and let the forgotten one count again; False: they do not belong together any more."""
        try:
            with write(self._state) as connection:
                _hand_back(connection, temporary, main, self._clock.now_ms())
        except Conflict:
            return False
        self._publish()
        return True


def _hand_back(connection: Connection, temporary: int, main: int, now_ms: int) -> None:
    """Make both steps, or neither: the desk helps where the forgotten card is over itself, or is being replaced."""
    found = _pair(connection, temporary, main, locked=True)
    if found is None:
        raise Conflict("these cards do not belong together any more")
    lent, forgotten = found
    if lent.state == CardState.ACTIVE:
        change_state_in(connection, lent.reference, NewState(CardState.REVOKED, "replaced"), now_ms, _BY)
    change_state_in(connection, forgotten.reference, NewState(CardState.ACTIVE), now_ms, _BY)


def _pair(
    connection: Connection, temporary: int, main: int, *, locked: bool = False
) -> tuple[sa.Row[Any], sa.Row[Any]] | None:
    chosen = sa.select(store.card).where(store.card.c.id.in_((temporary, main))).order_by(store.card.c.id)
    rows = {row.id: row for row in connection.execute(chosen.with_for_update() if locked else chosen)}
    lent, forgotten = rows.get(temporary), rows.get(main)
    if lent is None or forgotten is None or lent.stands_in_for_id != main or lent.state not in _SHOWN:
        return None
    if (forgotten.state, forgotten.state_reason) != _FORGOTTEN or forgotten.person_id != lent.person_id:
        return None
    return lent, forgotten
