# SPDX-License-Identifier: EUPL-1.2
"""Cards that were not made here are registered as they are: at the level that they prove, and never above it."""

import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from support.bought_token import bought_token, key_digest_of
from unit.cards.encoding.encoder_desk import CardInHand, Desk, key_store, opened

from cardservice.cards import store as cards
from cardservice.cards.encoding.rules import JobKind, JobState, NumberUse, Trouble
from cardservice.cards.encoding.service import EncodingRefused
from cardservice.cards.numbers.rules import Written, read_number
from cardservice.cards.rules import CardState, old_credential, pinned_credential, use_of
from cardservice.database import read
from cardsim.card import VirtualCard
from cardsim.personalise import factory_desfire

UID = bytes.fromhex("04112233445566")
BUILDING = 7


def token(desk: Desk, *, days: int = 365, shown: ec.EllipticCurvePrivateKey | None = None) -> CardInHand:
    begins = datetime.fromtimestamp(desk.clock.now_ms() / 1000, UTC)
    return CardInHand(bought_token(begins, days, shown=shown))


def pinned(hand: CardInHand) -> bytes:
    return pinned_credential(key_digest_of(hand.card))


def registered(desk: Desk, hand: CardInHand, profile: str = "employee", number_use: NumberUse | None = None):
    """The job that was done with a card, and the card that was ordered."""
    card = desk.ordered(profile)
    return desk.run(desk.order(JobKind.REGISTER, card, number_use=number_use), hand.lay_on()), card


def ends_ms(desk: Desk, card: str) -> int | None:
    with read(desk.databases.state) as connection:
        found = cards.find_card(connection, card)
    assert found is not None
    return found.valid_until_ms


def plain(uid: bytes = UID) -> CardInHand:
    """A card of which nobody here knows a key, and whose UID stays."""
    return CardInHand(VirtualCard("plain", "plain", desfire=factory_desfire(uid=uid)))


def test_a_bought_token_is_known_by_its_key(desk):
    """It can be handed out at once, to the end of its certificate at most; what is told of it names no number."""
    hand = token(desk, days=30)
    job, card = registered(desk, hand)
    assert (job.state, job.trouble) == (JobState.DONE, None)
    assert desk.known_as(card) == {pinned(hand)}
    assert desk.state_of(card) is CardState.READY_FOR_PICKUP
    assert ends_ms(desk, card) == (desk.clock.now_ms() // 1000 + 30 * 86_400) * 1000
    assert json.loads(job.found or "") == {"family": None, "level": "card", "uses": ["piv"]}


def test_a_copied_certificate_is_no_token(desk):
    """Anybody can read it off the token; only the key behind it counts."""
    job, card = registered(desk, token(desk, shown=ec.generate_private_key(ec.SECP256R1())))
    assert (job.state, job.trouble) == (JobState.FAILED, Trouble.NOTHING_STABLE)
    assert "does not hold the key" in (job.detail or "")
    assert desk.known_as(card) == set()
    assert desk.state_of(card) is CardState.IN_PRODUCTION


def test_a_token_whose_certificate_has_ended_is_not_registered(desk):
    hand = token(desk, days=1)
    desk.clock.pass_ms(86_401_000)
    job, card = registered(desk, hand)
    assert (job.trouble, desk.known_as(card)) == (Trouble.NOTHING_STABLE, set())
    assert "it was valid until" in (job.detail or "")


def test_one_token_is_never_two_cards(desk):
    hand = token(desk)
    _, first = registered(desk, hand)
    again, second = registered(desk, hand)
    assert (again.state, again.trouble) == (JobState.FAILED, Trouble.KNOWN)
    assert (len(desk.known_as(first)), desk.known_as(second)) == (1, set())


def test_a_token_is_nothing_to_a_card_for_doors_alone(desk):
    """A visitor's card has no certificate: what this one can do is not what was ordered."""
    job, card = registered(desk, token(desk), "visitor")
    assert (job.state, job.trouble, desk.known_as(card)) == (JobState.FAILED, Trouble.USELESS, set())


def test_a_card_of_ours_that_the_register_has_lost_comes_back(desk, tmp_path, encoding_template):
    """After a backup was restored: the numbers that it proves count again, for the uses of the new order."""
    card, hand = desk.encoded("employee")
    numbers = desk.known_as(card)
    with opened(tmp_path / "restored", encoding_template) as restored:
        job, again = registered(restored, hand, "external")
        assert job.state is JobState.DONE, job
        wanted = {key for key in numbers if use_of(key) != "timeclock"}
        assert (len(wanted), restored.known_as(again)) == (3, wanted)
        assert restored.opens(hand) == {"door", "printer", "canteen"}
        assert json.loads(job.found or "")["level"] == "card"


def test_a_card_of_another_city_is_not_ours(desk, tmp_path, encoding_template):
    """Its UID changes with every tap, and its keys are not known here."""
    with opened(tmp_path / "elsewhere", encoding_template) as elsewhere:
        elsewhere.keys = key_store(newest=2)
        _, hand = elsewhere.encoded("employee")
    job, card = registered(desk, hand)
    assert (job.state, job.trouble, desk.known_as(card)) == (JobState.FAILED, Trouble.NOTHING_STABLE, set())


def test_a_bare_number_counts_where_and_until_somebody_says(desk):
    """Refused first; then in one building, for each use of the profile, to the day, at the level of a number."""
    hand = plain()
    refused, card = registered(desk, hand, "external")
    assert (refused.state, refused.trouble, desk.known_as(card)) == (JobState.FAILED, Trouble.NUMBER_ALONE, set())
    until_ms = desk.clock.now_ms() + 86_400_000
    where = NumberUse(BUILDING, until_ms)
    job = desk.run(desk.order(JobKind.REGISTER, card, number_use=where), hand.lay_on())
    assert job.state is JobState.DONE
    number = read_number(UID.hex(), Written.HEX).number()
    assert desk.known_as(card) == {old_credential(use, number, BUILDING) for use in ("door", "printer", "canteen")}
    assert ends_ms(desk, card) == until_ms
    assert json.loads(job.found or "")["level"] == "uid"
    assert UID.hex() not in repr((desk.job(job), job.found)).lower()


def test_what_proves_its_key_never_counts_by_its_number(desk):
    """Who registers it says where its number may count, just in case: it has a key, so the number is nothing."""
    hand = token(desk)
    job, card = registered(desk, hand, number_use=NumberUse(BUILDING, desk.clock.now_ms() + 1000))
    assert (job.state, desk.known_as(card)) == (JobState.DONE, {pinned(hand)})


@pytest.mark.parametrize("make", [token, lambda _: plain()], ids=["token", "number"])
def test_a_card_that_is_pulled_is_registered_when_it_comes_again(desk, make):
    """At each of its commands: nothing is half registered."""
    where = NumberUse(BUILDING, desk.clock.now_ms() + 86_400_000)
    whole = make(desk)
    assert registered(desk, whole, number_use=where)[0].state is JobState.DONE
    for at in range(0, len(whole.sent), 3):
        hand = make(desk) if make is token else plain(b"\x04" + at.to_bytes(6))
        card = desk.ordered("employee")
        job = desk.order(JobKind.REGISTER, card, number_use=where)
        hand.pull(at, carries_out=False)
        pulled = desk.run(job, hand)
        assert (pulled.state, pulled.trouble) == (JobState.WAITING, Trouble.CARD_GONE)
        assert desk.known_as(card) == set()
        assert desk.run(job, hand.lay_on()).state is JobState.DONE
        assert desk.known_as(card)


def test_what_is_no_registration_is_refused(desk):
    """A building and a day belong to a card that is registered; the day lies ahead; a begun card is gone on with."""
    now_ms = desk.clock.now_ms()
    for kind, until_ms in ((JobKind.ENCODE, now_ms + 1), (JobKind.REGISTER, now_ms)):
        with pytest.raises(EncodingRefused, match="to a day that is not over"):
            desk.order(kind, desk.ordered(), number_use=NumberUse(BUILDING, until_ms))
    card = desk.ordered()
    desk.cancel(desk.order(JobKind.ENCODE, card))
    with pytest.raises(EncodingRefused, match="was begun on a blank"):
        desk.order(JobKind.REGISTER, card)
    _, hand = desk.encoded()
    job, _ = registered(desk, hand)
    assert job.trouble is Trouble.KNOWN
