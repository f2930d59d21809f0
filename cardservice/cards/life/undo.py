# SPDX-License-Identifier: EUPL-1.2
"""Whether a suspension can be undone, and what stands against it: told before somebody asks for it."""

from enum import StrEnum, unique

from sqlalchemy.engine import Connection

from cardservice.cards import store
from cardservice.cards.life.persons import is_same
from cardservice.cards.life.rules import needs_second
from cardservice.cards.rules import CardState, state_at
from cardservice.cards.service import By
from cardservice.errors import NotFound


@unique
class Hindrance(StrEnum):
    """Why a card is not reinstated; `cards.service.change_state_in` refuses for the same reasons."""

    NOT_SUSPENDED = "not_suspended"
    OVER = "over"
    STOOD_FOR = "stood_for"
    OWN = "own"
    SECOND = "second"


def hindrances(connection: Connection, reference: str, by: By, now_ms: int) -> tuple[Hindrance, ...]:
    """Return what stands against making a suspended card valid again; nothing: it can be done.

    Raises:
        NotFound: no such card.
    """
    found = store.find_card(connection, reference)
    if found is None:
        raise NotFound(f"there is no card {reference}")
    suspended = state_at(CardState(found.state), found.suspended_until_ms, now_ms) is CardState.SUSPENDED
    stands_against = {
        Hindrance.NOT_SUSPENDED: not suspended,
        Hindrance.OVER: found.valid_until_ms is not None and found.valid_until_ms <= now_ms,
        Hindrance.STOOD_FOR: bool(store.in_its_place(connection, found.id)),
        Hindrance.OWN: is_same(connection, by.person, found.person_id),
        Hindrance.SECOND: needs_second(found.profile, CardState.ACTIVE),
    }
    return tuple(one for one, stands in stands_against.items() if stands)
