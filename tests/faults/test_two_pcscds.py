# SPDX-License-Identifier: EUPL-1.2
"""More readers than one pcscd takes: twenty-four on two, each with an agent; one failing leaves the other alone.

Real parts throughout: OpenLDAP, both pcscds with vpcd's readers, the service and both agents as processes.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from faults.readers_feed import is_present_again
from faults.readers_sites import DECK, Gate, Site, Sites, two_sites
from support.waiting import let_run

from city.deck import CityCard

pytestmark = [pytest.mark.pcscd, pytest.mark.slapd]


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with tempfile.TemporaryDirectory(prefix="two-") as folder, two_sites(Path(folder)) as running:
        yield running


def all_decided(sites: Sites, first: int) -> int:
    """Tap at all readers of both pcscds at once; return how many doors opened."""
    one, other = sites.both
    cards = {one: one.dealt(first), other: other.dealt(first * 5 + 7)}
    before = {site: site.last_good() for site in cards}
    began = sites.feed.now()
    for site, dealt in cards.items():
        site.insert(dealt)
    opened = 0
    for site, dealt in cards.items():
        opened += sum(seen.released for seen in sites.check(site, dealt, began).values())
        good = site.last_good()
        assert all(good[gate] > before[site][gate] for gate in dealt)
    return opened


def test_twenty_four_readers_on_two_pcscds_are_served_at_once(sites, scale, report):
    """Every kind of card at every reader: each is decided for what it is, wherever the others are."""
    rounds = scale.of(1, 3 * len(DECK))
    opened = sum(all_decided(sites, number) for number in range(rounds))
    taps = rounds * sum(len(site.gates) for site in sites.both)
    assert taps == rounds * 24
    assert 0 < opened < taps
    report("24 readers on two pcscds", taps=taps, opened=opened)


def test_a_killed_pcscd_leaves_the_readers_of_the_other_alone(sites, dice, scale, report):
    """Killed in the middle of taps everywhere: the other's twelve are all right, then and while it is away."""
    rounds = scale.of(1, 30)
    for number in range(rounds):
        lost, left = dice.sample(sites.both, 2)
        cards, others = lost.dealt(number), left.dealt(number + 5)
        before, began = lost.last_good(), sites.feed.now()
        lost.insert(cards)
        left.insert(others)
        let_run(dice, 0.5)
        lost.pcscd.kill()
        left.pcscd.until_only(gate.reader for gate in left.gates)
        sites.check(left, others, began)
        again = sites.feed.now()
        others = left.dealt(number)
        left.insert(others)
        sites.check(left, others, again)
        lost.pcscd.restart()
        seen_again(sites, cards, again)
        nothing_wrong(sites, lost, cards, before, began)
        lost.take_away(cards)
        all_decided(sites, number)
    report("one of two pcscds killed", kills=rounds, taps_at_the_other=2 * rounds * 12)


def seen_again(sites: Sites, cards: Mapping[Gate, CityCard], since: int) -> None:
    """Each card that lies there after the restart: asked for again, or decided if the agent had not seen it before."""
    for gate in cards:
        sites.feed.first(
            lambda event, gate=gate: (
                event.get("point") == gate.point
                and (event.get("outcome") in {"acted", "shown"} or is_present_again(event))
            ),
            since,
        )


def nothing_wrong(
    sites: Sites, site: Site, cards: Mapping[Gate, CityCard], before: Mapping[Gate, float], began: int
) -> None:
    """Taps that met the end of pcscd: broken off, or decided for what they are; only those count as good."""
    good = site.last_good()
    for gate, card in cards.items():
        decided, position = 0, began
        for _ in sites.feed.since(began, kind="event", point=gate.point):
            seen = sites.feed.outcome(gate.point, position)
            position = seen.position + 1
            if seen.outcome == "card_gone":
                assert (bool(seen.permit), seen.released) == (False, False), (gate, card)
                continue
            decided += 1
            assert seen.reason in gate.reasons(card), (gate, card, seen)
            assert seen.released == (seen.reason == "granted"), (gate, card, seen)
        assert decided <= 1, (gate, card)
        assert (good[gate] > before[gate]) == (decided == 1), (gate, card)
