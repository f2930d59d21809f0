# SPDX-License-Identifier: EUPL-1.2
"""Faults of cards, readers and pcscd through the whole chain: nothing opens by a fault, and the next tap works.

Real parts throughout: OpenLDAP, pcscd with vpcd's readers, the service and the agent as processes.
"""

import itertools
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from faults.readers_city import PIV_HOLDER, PIV_PLACES, PLACES, Place, ReaderCity, reader_city
from faults.readers_pulls import Pull, pull_and_try_again
from faults.readers_swaps import every_swap, swap_all, swap_whenever
from support.waiting import let_run

pytestmark = [pytest.mark.pcscd, pytest.mark.slapd]


@pytest.fixture(scope="module")
def whole_module() -> Iterator[ReaderCity]:
    with tempfile.TemporaryDirectory(prefix="readers-") as folder, reader_city(Path(folder)) as running:
        yield running


@pytest.fixture
def city(whole_module: ReaderCity) -> Iterator[ReaderCity]:
    """The city in order: whatever a test before has broken is mended."""
    yield whole_module
    whole_module.tidy_up()


@pytest.mark.parametrize("chip", ["desfire", "piv"])
def test_a_card_pulled_at_any_command_opens_nothing_and_opens_at_its_next_try(city, chip, scale, dice, report):
    """Whichever command of the conversation the card leaves in, the door stays locked and the same card opens next."""
    places = PLACES if chip == "desfire" else PIV_PLACES
    cards = {place: place.good if chip == "desfire" else place.card(PIV_HOLDER) for place in places}
    commands = city.commands_of_a_tap(places[0], cards[places[0]])
    every = [Pull(*job) for job in itertools.product(range(commands), (True, False), (True, False))]
    some = [Pull(index, executed=dice.random() < 0.5, hasty=dice.random() < 0.5) for index in range(commands)]
    jobs = every * 10 if scale.full else some
    dice.shuffle(jobs)
    opened: list[tuple[Place, Pull]] = []
    for start in range(0, len(jobs), len(places)):
        opened += pull_and_try_again(city, dict(zip(places, jobs[start:], strict=False)), cards)
    report("cards pulled in mid conversation", chip=chip, commands=commands, pulls=len(jobs), opened=len(opened))
    assert opened == []


@dataclass(frozen=True)
class Roles:
    """What lies where when something breaks: cards that were decided, cards that have answered some `commands`."""

    resting: tuple[Place, ...]
    talking: tuple[Place, ...]
    commands: int = 2

    @classmethod
    def dealt(cls, dice: random.Random) -> Self:
        """Four at rest, four that talk, how far is chance as well, and six idle."""
        order = dice.sample(PLACES, len(PLACES))
        return cls(tuple(order[:4]), tuple(order[4:8]), dice.randint(1, 3))


def break_in_the_middle(city: ReaderCity, roles: Roles, fault: Callable[[], None]) -> int:
    """Let cards rest and talk, break something, and see that nothing opens by it; return where the feed was before."""
    idle = [place for place in PLACES if place not in roles.resting + roles.talking]
    before, began = city.last_good(PLACES), city.feed.now()
    for place in roles.resting:
        city.control.insert(place.good, place.reader)
    for place in roles.resting:
        assert city.feed.outcome(place.point, began).outcome == "acted"
        city.feed.locked_again(place.point, began)
    rested = city.last_good(roles.resting)
    for place in roles.talking:
        city.control.insert(place.slow, place.reader)
    city.under_way(roles.talking, roles.commands)
    broken = city.feed.now()
    fault()
    for place in roles.talking:
        seen = city.feed.outcome(place.point, began)
        assert (seen.outcome, bool(seen.permit), seen.released) == ("card_gone", False, False), place
    assert city.feed.since(broken, kind="output", state="released") == []
    after = city.last_good(PLACES)
    assert {place: after[place] for place in idle} == {place: before[place] for place in idle}
    assert {place: after[place] for place in roles.talking} == {place: before[place] for place in roles.talking}
    assert {place: after[place] for place in roles.resting} == rested
    return began


def next_taps_work(city: ReaderCity, began: int, lying: Sequence[Place], *, between: Sequence[Place] = ()) -> None:
    """Nothing was tapped by itself: one tap so far where a card is `lying`, one more `between`; now each card opens."""
    for place in lying:
        city.control.eject(place.reader)
    city.opens_everywhere()
    for place in PLACES:
        taps = len(city.feed.since(began, kind="event", point=place.point))
        assert taps == 1 + (place in lying) + (place in between), place


def test_a_pcscd_killed_or_restarted_opens_nothing_and_the_next_tap_works(city, dice, scale, report):
    """With cards at rest and in mid conversation; what lies there afterwards has to be presented again."""
    rounds = scale.of(1, 20)
    for number in range(rounds):
        roles = Roles.dealt(dice)
        in_order = number % 2 == 1
        began = break_in_the_middle(city, roles, city.pcscd.restart if in_order else city.pcscd.kill)
        if not in_order:
            city.pcscd.restart()
        for place in roles.resting + roles.talking:
            city.present_again(place, began)
        next_taps_work(city, began, roles.resting + roles.talking)
    report("pcscd killed or restarted", times=rounds, next_taps=rounds * len(PLACES))


def test_a_pcscd_that_crashes_again_and_again_takes_no_card_that_lies_there(city, dice, scale, report):
    """Before the agent has seen them again or after: only cards that are presented anew open."""
    crashes = scale.of(3, 100)
    lying = dice.sample(PLACES, 6)
    began = city.feed.now()
    for place in lying:
        city.control.insert(place.good, place.reader)
    for place in lying:
        city.feed.locked_again(place.point, began)
    good, crashing = city.last_good(lying), city.feed.now()
    for _ in range(crashes):
        city.pcscd.kill()
        city.pcscd.restart()
        # pcscd looks for cards every 0.4 s: some crashes meet an agent that has seen the cards, some one that has not.
        let_run(dice, 0.6)
    city.pcscd.until_lying(place.reader for place in lying)
    assert city.last_good(lying) == good
    opened = city.feed.since(crashing, kind="output", state="released")
    next_taps_work(city, began, lying)
    report("pcscd crashed in a row", crashes=crashes, opened=len(opened))
    assert opened == []


def test_a_hanging_pcscd_opens_nothing_and_the_next_tap_works(city, dice, scale, report):
    """SIGSTOP: the agent says so, taps under way end by their own limit, a card exchanged is decided for what it is."""
    rounds = scale.of(1, 5)
    for _ in range(rounds):
        roles = Roles.dealt(dice)
        began = break_in_the_middle(city, roles, city.pcscd.stop)
        city.pcscd.until("down")
        exchanged = roles.resting[0]
        city.control.swap(exchanged.bad, exchanged.reader)
        continued = city.feed.now()
        city.pcscd.go_on()
        seen = city.feed.outcome(exchanged.point, continued)
        assert (seen.outcome, seen.reason, seen.released) == ("shown", exchanged.refusal, False)
        city.pcscd.until("up")
        next_taps_work(city, began, roles.resting + roles.talking, between=[exchanged])
    report("pcscd stopped and continued", times=rounds, next_taps=rounds * len(PLACES))


def test_a_pcscd_that_hesitates_only_delays_the_taps_under_way(city, dice, scale, report):
    """SIGSTOP and SIGCONT within the time a tap may take: every card in mid conversation opens after all."""
    rounds = scale.of(1, 10)
    for _ in range(rounds):
        talking = dice.sample(PLACES, 6)
        began = city.feed.now()
        for place in talking:
            city.control.insert(place.slow, place.reader)
        city.under_way(talking, 1)
        city.pcscd.stop()
        let_run(dice, 0.3)
        city.pcscd.go_on()
        for place in talking:
            seen = city.feed.outcome(place.point, began)
            assert (seen.outcome, seen.reason, seen.released) == ("acted", "granted", True), (place, seen)
            city.feed.locked_again(place.point, began)
            city.control.eject(place.reader)
    report("pcscd stopped for a moment", times=rounds, taps=rounds * 6, opened=rounds * 6)


def test_a_reader_unplugged_and_plugged_in_again_opens_nothing_and_works(city, dice, scale, report):
    """In mid conversation and with a card at rest; other readers go on meanwhile, the lost ones are named."""
    rounds = scale.of(1, 10)
    for _ in range(rounds):
        door = dice.choice([place for place in PLACES if place.point.endswith("aussen")])
        sides = [place for place in PLACES if place.point.split(".")[0] == door.point.split(".")[0]]
        others = [place for place in PLACES if place not in sides]
        roles = Roles(resting=(sides[0], others[0]), talking=(sides[1], others[1]))
        began = break_in_the_middle(city, roles, lambda door=door: city.control.remove_reader(door.reader))
        city.pcscd.until_only(set(city.readers) - {place.reader for place in sides})
        usable = city.whole.agent.metric("cardservice_agent_reader_usable", "reader")
        assert {reader for reader, value in usable.items() if value == 0} == {place.reader for place in sides}
        for place in others[:2]:
            city.present_again(place, began)
        city.opens_everywhere([others[2]])
        plugged = city.feed.now()
        city.control.restore_reader(door.reader)
        for place in roles.resting + roles.talking:
            city.present_again(place, plugged)
        next_taps_work(city, began, roles.resting + roles.talking, between=[others[2]])
    report("readers unplugged and plugged in again", times=rounds, next_taps=rounds * len(PLACES))


def test_two_cards_swapped_between_two_looks_are_each_decided_for_themselves(city, dice, scale, report):
    """No empty moment lies between them: before the first was seen, in its conversation, after its decision."""
    rounds = scale.of(1, 20)
    for _ in range(rounds):
        swap_all(city, every_swap(dice))
    report("cards swapped between two looks", swaps=rounds * len(PLACES))


def test_cards_swapped_at_any_moment_never_lend_each_other_a_right(city, dice, scale, report):
    """A strike is released only for a card that has answered a whole conversation; the last card's tap is its own."""
    rounds = scale.of(1, 60)
    commands = city.commands_of_a_tap(PLACES[0], PLACES[0].good)
    opened = sum(swap_whenever(city, dice, commands) for _ in range(rounds))
    report("cards swapped at any moment", swaps=rounds * len(PLACES), first_had_opened=opened)


def test_a_card_that_lies_there_when_the_agent_starts_has_to_be_presented_again(city, dice):
    """The holder may be gone. Where the setting says that such a card counts, it opens, once."""
    lying = dice.sample(PLACES, 6)
    city.stop_agent()
    began = city.feed.now()
    city.lay(lying)
    city.start_agent()
    for place in lying:
        city.present_again(place, began)
    assert city.feed.since(began, kind="output", state="released") == []
    assert set(city.last_good(PLACES).values()) == {0.0}
    for place in lying:
        city.control.eject(place.reader)
    city.opens_everywhere()
    assert len(city.feed.since(began, kind="event")) == len(PLACES)
    city.stop_agent()
    began = city.feed.now()
    city.lay(lying)
    city.start_agent(found_card="tap")
    for place in lying:
        assert city.feed.outcome(place.point, began).outcome == "acted"
        city.feed.locked_again(place.point, began)
        city.control.eject(place.reader)
    refused = city.tap_all({place: place.bad for place in lying})
    assert {place: seen.reason for place, seen in refused.items()} == {place: place.refusal for place in lying}
    assert len(city.feed.since(began, kind="event")) == 2 * len(lying)


def test_of_two_readers_with_one_name_neither_is_used_until_one_has_another_name(city):
    """Nobody could say which door it is: the log and the metrics name it, all other readers work."""
    twin, other = "bauamt", "serverraum"
    twins = [place for place in PLACES if place.point.split(".")[0] in {twin, other}]
    rest = [place for place in PLACES if place not in twins]
    of_twin, of_other = ([place for place in twins if place.point.startswith(door)] for door in (twin, other))
    faults = city.whole.agent.metric("cardservice_agent_faults_total", "what").get("reader", 0)
    began = city.feed.now()
    city.rename(of_other[0].reader, of_twin[0].reader.removesuffix(" 00 00"))
    city.pcscd.until_only(city.readers - {place.reader for place in twins})
    for place in twins:
        city.control.insert(place.good, place.reader)
    city.opens_everywhere(rest)
    seen = [event for place in twins for event in city.feed.since(began, point=place.point)]
    # A light that goes dark is still of the tap before.
    assert [event for event in seen if event["kind"] != "output" or event["led"] != "off"] == []
    usable = city.whole.agent.metric("cardservice_agent_reader_usable", "reader")
    assert {reader for reader, value in usable.items() if value == 0} == {place.reader for place in twins}
    assert city.whole.agent.metric("cardservice_agent_faults_total", "what")["reader"] == faults + len(of_twin)
    said = city.whole.agent.log.read_text()
    assert all(
        f'"reader": "{place.reader}", "reason": "more than one reader has this name' in said for place in of_twin
    )
    for place in twins:
        city.control.eject(place.reader)
    city.control.remove_reader(of_other[0].reader)
    city.pcscd.until_only(city.readers - {place.reader for place in of_other})
    city.opens_everywhere(of_twin)
    city.control.restore_reader(of_other[0].reader)
    city.pcscd.until_only(city.readers - {place.reader for place in twins})
    city.rename(of_other[0].reader, of_other[0].reader.removesuffix(" 00 00"))
    city.pcscd.until_only(city.readers)
    city.opens_everywhere()
