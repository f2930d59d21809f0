# SPDX-License-Identifier: EUPL-1.2
"""The deck of bad cards at real doors: OpenLDAP, pcscd, the service and an agent as processes; nothing opens to it."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from e2e.bad_cards_city import GOOD, GOOD_PIV, SIDES, BadCardCity, Tapped, bad_card_city, waves
from support.canaries import found_in, secrets

from cardservice.access.rules import Reason
from cardservice.agents.card_details import CardDetail
from cardsim.bad_cards import number_of
from cardsim.bad_deck import BAD_CARDS

pytestmark = [pytest.mark.pcscd, pytest.mark.slapd]

WAVES_BETWEEN_GOOD_CARDS = 2
LIMIT_S = 300.0


@dataclass
class Held:
    """All cards have been held to the doors: what was seen, and what the journal says of it."""

    city: BadCardCity
    bad: dict[str, tuple[str, Tapped]] = field(default_factory=dict)
    good: list[Tapped] = field(default_factory=list)
    journal: dict[str, dict[str, Any]] = field(default_factory=dict)
    took_s: float = 0.0

    def hold_good_cards(self) -> None:
        """A good card at every reader, a PIV card among them."""
        cards = dict(zip(SIDES, (GOOD_PIV, *GOOD), strict=False))
        self.good += self.city.hold(cards).values()


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    with tempfile.TemporaryDirectory(prefix="deck-") as folder, bad_card_city(Path(folder)) as city:
        all_of_them = Held(city)
        began_s = time.monotonic()
        all_of_them.hold_good_cards()
        for number, wave in enumerate(waves(BAD_CARDS), start=1):
            seen = city.hold(wave)
            all_of_them.bad.update({card: (point, seen[card]) for point, card in wave.items()})
            if number % WAVES_BETWEEN_GOOD_CARDS == 0:
                all_of_them.hold_good_cards()
        all_of_them.hold_good_cards()
        all_of_them.took_s = time.monotonic() - began_s
        all_of_them.journal = city.journal()
        yield all_of_them


@pytest.mark.parametrize("card", BAD_CARDS, ids=lambda card: card.name)
def test_a_bad_card_stays_outside_and_everybody_is_told_the_right_reason(held, card):
    """No strike moves; the holder gets the reason of the catalogue, administrators its detail."""
    point, seen = held.bad[card.name]
    assert (seen.permit, seen.released, seen.outcome) == (
        False,
        False,
        "card_gone" if card.reason == "card_gone" else "shown",
    )
    line = held.journal[seen.event]
    assert (seen.reason, line["reason"], line["permit"]) == (card.reason, card.reason, False)
    assert held.city.detail(card, point, line) == card.detail


def test_good_cards_open_before_between_and_after_the_bad_ones(held):
    """At every reader: nothing that a bad card did is left behind."""
    rounds = 2 + len(list(waves(BAD_CARDS))) // WAVES_BETWEEN_GOOD_CARDS
    assert len(held.good) == rounds * len(SIDES)
    assert {(seen.permit, seen.reason, seen.outcome, seen.released) for seen in held.good} == {
        (True, "granted", "acted", True)
    }


def test_the_whole_deck_takes_less_than_a_minute(held):
    assert held.took_s < LIMIT_S


def test_no_key_and_no_number_of_any_card_is_in_a_log(held):
    """At level debug, whatever the cards did."""
    numbers = {number_of(card.name).hex() for card in BAD_CARDS}
    assert found_in(held.city.logs(), secrets(held.city.deck_file) | numbers) == set()


def test_the_codes_of_the_catalogue_are_those_of_the_service():
    """Every code of the journal is in the closed list; the others are reasons, or states of cards."""
    of_chips = {card.detail for card in BAD_CARDS if card.on_record is None or card.on_record.state == "active"}
    assert {card.reason for card in BAD_CARDS} <= {reason.value for reason in Reason}
    assert of_chips <= {detail.value for detail in CardDetail} | {reason.value for reason in Reason}
