# SPDX-License-Identifier: EUPL-1.2
"""Jobs at an encoder in one process: cards are made, erased, re-keyed and looked at; others are left alone."""

import json

import pytest
from unit.cards.encoding.encoder_desk import HERE, USES, CardInHand, key_store

from cardservice.cards.encoding.rules import JobKind, JobState, Trouble
from cardservice.cards.encoding.service import EncoderBusy, EncodingRefused
from cardservice.cards.encoding.wording import PLACES
from cardservice.cards.ports import KeyName
from cardservice.cards.rules import CardState
from cardservice.chip import open_reading
from cardservice.chip.conversation import drive
from cardservice.chip.desfire_application import CardApplication
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_des import FACTORY_DES_KEY
from cardservice.chip.desfire_formats import NewApplication
from cardservice.chip.errors import AuthenticationRefused
from cardservice.chip.layout import CardUse
from cardservice.chip.open_reading import read_openly
from cardservice.chip.privacy_scan import Tells, can_be_followed, compare
from cardservice.errors import NotFound

# Every command that changes a card: keys, applications, files, configuration, format.
WRITES = {0xC4, 0xC6, 0xCA, 0xCD, 0x3D, 0x54, 0x5C, 0xDA, 0xFC, 0x56, 0x57, 0x55}


def written(hand: CardInHand) -> set[int]:
    return {apdu[1] for apdu in hand.sent if apdu[0] == 0x90} & WRITES


def test_a_blank_card_becomes_the_card_that_was_ordered(desk):
    """It is produced, known by each use of its profile, and by no other; the job names its last step."""
    card, hand = desk.ordered("employee"), CardInHand()
    job = desk.order(JobKind.ENCODE, card)
    assert (desk.state_of(card), desk.known_as(card), job.state) == (CardState.IN_PRODUCTION, set(), JobState.WAITING)
    done = desk.run(job, hand)
    assert (done.state, done.trouble, done.step, done.steps, done.step_name) == ("done", None, 8, 8, "random_uid")
    assert desk.state_of(card) is CardState.PRODUCED
    assert {desk.tap(hand, use) for use in USES} == desk.known_as(card)
    assert json.loads(done.found or "")["family"] == "DESFire EV2"


def test_a_profile_gets_its_own_uses_alone(desk):
    """A guest of the canteen has nothing on the card that a door could find."""
    card, hand = desk.encoded("canteen_guest")
    assert {use for use in USES if desk.tap(hand, use)} == {"canteen"}
    assert len(desk.known_as(card)) == 1


def test_the_finished_card_tells_nothing_that_is_its_own(desk):
    """Two readings without any key have nothing in common by which this card could be followed."""
    _, hand = desk.encoded("employee")
    readings = []
    for _ in range(2):
        hand.begin()
        readings.append(drive(read_openly(), hand.card.transmit))
    findings = compare(*readings)
    assert not can_be_followed(findings), findings
    assert {one.tells for one in findings} <= {Tells.EVERY_CARD, Tells.SOME_CARDS}


def test_an_erased_card_is_blank_and_known_by_nothing(desk):
    """What was taken back is erased, and its numbers lead nowhere."""
    card, hand = desk.encoded()
    desk.move(card, CardState.REVOKED, reason="damaged")
    desk.move(card, CardState.RETURNED)
    assert desk.run(desk.order(JobKind.ERASE, card), hand.lay_on()).state == "done"
    assert (desk.state_of(card), desk.known_as(card), desk.tap(hand, "canteen")) == (CardState.ERASED, set(), None)
    assert desk.card_level_opens(card, hand)


def test_an_erased_card_is_made_into_another_one(desk):
    """It takes over the blank with its badge number and gets the newest key of the card level, and its own numbers."""
    first, hand = desk.encoded()
    before = desk.tap(hand, "canteen")
    desk.move(first, CardState.REVOKED, reason="damaged")
    desk.move(first, CardState.RETURNED)
    desk.run(desk.order(JobKind.ERASE, first), hand.lay_on())
    desk.keys = key_store(newest=2)
    second = desk.ordered()
    job = desk.order(JobKind.ENCODE, second, blank=first)
    assert desk.run(job, hand.lay_on()).state == "done"
    assert desk.state_of(second) is CardState.PRODUCED
    after = desk.tap(hand, "canteen")
    assert {after} == desk.known_as(second)
    assert after != before
    assert desk.card_level_opens(second, hand)
    assert not desk.card_level_opens(first, hand)


def test_new_keys_leave_the_old_ones_dead(desk):
    """After a rotation the same number is proved with the new keys, and none of the old ones opens anything."""
    card, hand = desk.encoded()
    old, number = desk.keys, desk.tap(hand, "canteen")
    desk.keys = key_store(newest=2)
    desk.move(card, CardState.READY_FOR_PICKUP, CardState.ACTIVE)
    assert desk.run(desk.order(JobKind.REKEY, card), hand.lay_on()).state == "done"
    assert desk.tap(hand, "canteen") == number
    hand.begin()
    application = drive(CardApplication.select(CardUse.CANTEEN.aid), hand.card.transmit)
    for key_no, purpose in ((0, "application_master"), (1, "proof"), (2, "locate")):
        key = old.application_key(KeyName("canteen", purpose, 1), number[1:])
        with pytest.raises(AuthenticationRefused):
            drive(application.authenticate_ev2_first(key_no, key, random_bytes=bytes), hand.card.transmit)


def test_whatever_lies_there_is_told_without_a_key(desk):
    """A probe tells the family, the room and whether it could be encoded; nothing is written, nothing identifies it."""
    hand = CardInHand()
    found = json.loads(desk.run(desk.order(JobKind.PROBE), hand).found or "")
    assert found["family"] == "DESFire EV2"
    assert found["can_be_encoded"] is True
    assert found["free_bytes"] > 1_000
    assert found["uses"] == []
    assert not written(hand)
    assert "uid" not in found
    assert {"UID", "GetVersion: UID"} <= set(found["followed_by"])
    assert {"where", "place", "offset", "bytes", "tells"} == set(found["stable"][0])
    _, ours = desk.encoded("employee")
    known = json.loads(desk.run(desk.order(JobKind.PROBE), ours.lay_on()).found or "")
    assert (known["uses"], known["random_uid"], known["followed_by"]) == (list(USES), True, [])


def test_every_place_of_a_keyless_reading_has_a_word_for_the_page():
    """But for those that tell the type of the chip and nothing more."""
    names = {value for name, value in vars(open_reading).items() if name.isupper() and isinstance(value, str)}
    chip = {open_reading.ATS, open_reading.VERSION_HARDWARE, open_reading.VERSION_SOFTWARE, open_reading.DESFIRE_NAME}
    assert names - chip == set(PLACES)


def test_a_card_of_somebody_else_is_left_alone(desk):
    """A finished card lies there instead of a blank: nothing is written, and the job goes on with the right one."""
    other, finished = desk.encoded()
    card = desk.ordered()
    job = desk.order(JobKind.ENCODE, card)
    refused = desk.run(job, finished.lay_on())
    assert (refused.state, refused.trouble) == (JobState.WAITING, Trouble.OTHER_CARD)
    assert not written(finished)
    assert desk.tap(finished, "canteen") in desk.known_as(other)
    assert desk.run(job, CardInHand()).state is JobState.DONE


@pytest.mark.parametrize("kind", [JobKind.ERASE, JobKind.REKEY])
def test_no_other_card_is_erased_or_rekeyed(desk, kind):
    """Its card level does not open with the badge's key: nothing is written."""
    card, _ = desk.encoded()
    _, other = desk.encoded()
    desk.keys = key_store(newest=2)
    if kind is JobKind.ERASE:
        desk.move(card, CardState.REVOKED, reason="damaged")
        desk.move(card, CardState.RETURNED)
    job = desk.order(kind, card)
    for hand in (other.lay_on(), CardInHand()):
        refused = desk.run(job, hand)
        assert (refused.state, refused.trouble) == (JobState.WAITING, Trouble.OTHER_CARD)
        assert not written(hand)


def test_a_card_with_foreign_applications_is_left_alone(desk):
    """Somebody else's card with the factory's key keeps that key: nothing at all is written."""
    hand = CardInHand()
    hand.begin()
    level = drive(CardLevel.select(), hand.card.transmit)
    drive(level.authenticate_iso(0, FACTORY_DES_KEY, random_bytes=bytes), hand.card.transmit)
    drive(level.create_application(NewApplication(b"\x01\x02\x03", 0x0F, 1)), hand.card.transmit)
    refused = desk.run(desk.order(JobKind.ENCODE, desk.ordered()), hand.lay_on())
    assert (refused.state, refused.trouble) == (JobState.WAITING, Trouble.OCCUPIED)
    assert not written(hand)


def test_another_blank_is_not_taken_for_the_one_that_was_begun(desk):
    """Two cards never get the same keys: the chip that was begun is known again, before and after its key changed."""
    card, begun = desk.ordered("employee"), 0
    for at in range(0, 100, 9):
        first, second = CardInHand(), CardInHand()
        job = desk.order(JobKind.ENCODE, card)
        first.pull(at, carries_out=True)
        if desk.run(job, first).begun_ms is not None:
            begun += 1
            refused = desk.run(job, second)
            assert (refused.state, refused.trouble) == (JobState.INTERRUPTED, Trouble.OTHER_CARD)
            assert not written(second)
        desk.cancel(job)
    assert begun > 5


def test_what_cannot_be_done_is_refused_with_its_reason(desk):
    """Unknown cards, wrong states, cards that were not encoded here, two jobs at one encoder or for one card."""
    with pytest.raises(NotFound, match="no card nobody"):
        desk.order(JobKind.ENCODE, "nobody")
    card = desk.ordered()
    with pytest.raises(EncodingRefused, match="badge number is not known"):
        desk.order(JobKind.ERASE, card)
    with pytest.raises(EncodingRefused, match="is in_production; to rekey it, it is active or"):
        desk.order(JobKind.REKEY, card)
    with pytest.raises(EncodingRefused, match="no blank that was erased here"):
        desk.order(JobKind.ENCODE, card, blank=desk.ordered())
    job = desk.order(JobKind.ENCODE, card)
    with pytest.raises(EncoderBusy, match=HERE.reader):
        desk.order(JobKind.PROBE)
    assert desk.cancel(job).state is JobState.CANCELLED
    with pytest.raises(EncodingRefused, match="nothing to cancel"):
        desk.cancel(job)


def test_a_card_that_was_revoked_meanwhile_is_not_produced(desk):
    """The job fails; the card stays revoked, and no reader knows it."""
    card, hand = desk.ordered(), CardInHand()
    job = desk.order(JobKind.ENCODE, card)
    desk.move(card, CardState.REVOKED, reason="damaged")
    failed = desk.run(job, hand)
    assert (failed.state, failed.trouble) == (JobState.FAILED, Trouble.CARD_CHANGED)
    assert (desk.state_of(card), desk.known_as(card)) == (CardState.REVOKED, set())


def test_a_cancelled_job_sends_nothing_more(desk):
    """Cancelled while it runs: the next step does not begin, and the card is not produced."""
    card, hand = desk.ordered(), CardInHand()
    job = desk.order(JobKind.ENCODE, card)
    exchange = hand.exchange

    def cancel_at_thirty(commands):
        if len(hand.sent) == 30:
            desk.cancel(job)
        return exchange(commands)

    hand.exchange = cancel_at_thirty
    assert desk.run(job, hand).state is JobState.CANCELLED
    assert (desk.state_of(card), desk.known_as(card)) == (CardState.IN_PRODUCTION, set())
    assert 30 < len(hand.sent) < 60
