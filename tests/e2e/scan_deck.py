# SPDX-License-Identifier: EUPL-1.2
"""The cards of a deck, and `blank`, as it leaves the factory."""

from pathlib import Path

from cardsim import deck
from cardsim.card import VirtualCard
from cardsim.interfaces import Card
from cardsim.personalise import factory_desfire


def load_deck(path: Path) -> dict[str, Card]:
    return {**deck.load_deck(path), "blank": VirtualCard("blank", "blank", desfire=factory_desfire())}
