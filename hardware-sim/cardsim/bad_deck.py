# SPDX-License-Identifier: EUPL-1.2
"""All bad cards in one deck."""

from cardsim.bad_cards import BadCard, unique
from cardsim.bad_certificates import CERTIFICATE_CARDS
from cardsim.bad_conversations import CONVERSATIONS
from cardsim.bad_desfire import DESFIRES
from cardsim.bad_piv import OBJECT_CARDS
from cardsim.bad_standing import STANDINGS
from cardsim.bad_strangers import STRANGERS

BAD_CARDS: tuple[BadCard, ...] = unique(
    STRANGERS + DESFIRES + CONVERSATIONS + CERTIFICATE_CARDS + OBJECT_CARDS + STANDINGS
)
