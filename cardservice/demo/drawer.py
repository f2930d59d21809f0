# SPDX-License-Identifier: EUPL-1.2
"""The cards of the drawer and who holds them."""

from cardservice.demo.processes import NotPossible
from city import deck, people


def card_of(card_id: str) -> deck.CityCard:
    """Return a card.

    Raises:
        NotPossible: there is none of this name.
    """
    card = next((card for card in deck.CARDS if card.card_id == card_id), None)
    if card is None:
        raise NotPossible("no_such_card", f"there is no card {card_id!r} in the drawer")
    return card


def holder_of(card_id: str) -> people.Citizen:
    """Return whose a card is.

    Raises:
        NotPossible: there is no such card, or it is nobody's.
    """
    login = card_of(card_id).login
    holder = next((citizen for citizen in people.CITIZENS if citizen.login == login), None)
    if holder is None:
        raise NotPossible("no_holder", f"the card {card_id!r} is nobody's")
    return holder
