# SPDX-License-Identifier: EUPL-1.2
"""A card that is pulled at every single command: no half card ever opens anything, no key is lost, every one is ended.

Each command is cut off once before and once after the card carries it out; afterwards a new runner, which knows nothing
but what is stored, goes on, as after a restart of the service.
"""

from collections.abc import Callable

from unit.cards.encoding.encoder_desk import CardInHand, Desk, key_store

from cardservice.cards.encoding.rules import JobKind, JobState
from cardservice.cards.encoding.service import Job
from cardservice.cards.rules import CardState

Prepared = tuple[str, CardInHand, Job]


def pulled_everywhere(desk: Desk, prepare: Callable[[], Prepared], check: Callable[[Prepared, int], None]) -> int:
    """Pull at each command in turn; `check` looks at what is left, and ends it. Return how often it was pulled."""
    whole = prepare()
    assert desk.run(whole[2], whole[1]).state is JobState.DONE
    commands = len(whole[1].sent)
    for at in range(commands):
        for carries_out in (False, True):
            made = prepare()
            _, hand, job = made
            hand.pull(at, carries_out=carries_out)
            stopped = desk.run(job, hand)
            assert stopped.state in {JobState.WAITING, JobState.INTERRUPTED}, (at, carries_out)
            assert stopped.trouble == "card_gone", (at, carries_out)
            check(made, at)
    return 2 * commands


def test_an_encoding_pulled_at_every_command_opens_nothing_and_is_resumed(desk):
    """In production until the last step; the card level's key comes from what is stored, or is the factory's still."""
    resumed = 0

    def prepare() -> Prepared:
        card = desk.ordered()
        return card, CardInHand(), desk.order(JobKind.ENCODE, card)

    def check(made: Prepared, _: int) -> None:
        nonlocal resumed
        card, hand, job = made
        assert (desk.state_of(card), desk.known_as(card), desk.opens(hand)) == (CardState.IN_PRODUCTION, set(), set())
        assert desk.card_level_opens(card, hand) or hand.has_the_factory_key()
        done = desk.run(job, hand.lay_on())
        assert (done.state, desk.state_of(card)) == (JobState.DONE, CardState.PRODUCED)
        assert {desk.tap(hand, "canteen")} == desk.known_as(card)
        assert desk.card_level_opens(card, hand)
        resumed += 1

    assert pulled_everywhere(desk, prepare, check) == resumed > 60


def test_a_half_made_card_is_erased_or_still_blank(desk):
    """Whatever was pulled: another job erases it under the stored badge's key, or it was never begun."""
    outcomes = set()

    def prepare() -> Prepared:
        card = desk.ordered()
        return card, CardInHand(), desk.order(JobKind.ENCODE, card)

    def check(made: Prepared, _: int) -> None:
        card, hand, job = made
        ours = desk.card_level_opens(card, hand)
        desk.cancel(job)
        erased = desk.run(desk.order(JobKind.ERASE, card), hand.lay_on())
        outcomes.add((ours, erased.state))
        assert (erased.state is JobState.DONE) is ours
        if not ours:
            desk.cancel(erased)
        # Either way the same card becomes the ordered one after all.
        assert desk.run(desk.order(JobKind.ENCODE, card), hand.lay_on()).state is JobState.DONE

    pulled_everywhere(desk, prepare, check)
    assert outcomes == {(True, JobState.DONE), (False, JobState.WAITING)}


def test_an_erasing_pulled_at_every_command_is_resumed(desk):
    """The card opens nothing any more from the start, its key is known throughout, and it ends erased."""

    def prepare() -> Prepared:
        card, hand = desk.encoded()
        desk.move(card, CardState.REVOKED, reason="damaged")
        desk.move(card, CardState.RETURNED)
        return card, hand.lay_on(), desk.order(JobKind.ERASE, card)

    def check(made: Prepared, _: int) -> None:
        card, hand, job = made
        assert desk.state_of(card) is CardState.RETURNED
        assert desk.opens(hand) == set()
        assert desk.card_level_opens(card, hand)
        assert desk.run(job, hand.lay_on()).state is JobState.DONE
        assert (desk.state_of(card), desk.tap(hand, "canteen")) == (CardState.ERASED, None)
        assert desk.card_level_opens(card, hand)

    assert pulled_everywhere(desk, prepare, check) > 10


def test_new_keys_pulled_at_every_command_are_resumed(desk):
    """Whenever the card was pulled, the stored generations name the one in force, and going on ends it."""
    before, after = key_store(newest=1), key_store(newest=2)

    def prepare() -> Prepared:
        desk.keys = before
        card, hand = desk.encoded()
        desk.keys = after
        desk.move(card, CardState.READY_FOR_PICKUP, CardState.ACTIVE)
        return card, hand.lay_on(), desk.order(JobKind.REKEY, card)

    def check(made: Prepared, at: int) -> None:
        card, hand, job = made
        assert desk.card_level_opens(card, hand)
        assert desk.tap(hand, "canteen") in {*desk.known_as(card), None}, at
        assert desk.run(job, hand.lay_on()).state is JobState.DONE
        assert {desk.tap(hand, "canteen")} == desk.known_as(card)
        desk.keys = before
        assert desk.tap(hand, "canteen") is None, "the old keys still prove it"

    assert pulled_everywhere(desk, prepare, check) > 40
