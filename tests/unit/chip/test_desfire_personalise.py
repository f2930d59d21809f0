# SPDX-License-Identifier: EUPL-1.2
"""From a factory-fresh card to one of ours, from anywhere in between, and back to stock."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.chip.card_double import Wire
from unit.chip.hostile import Script, scripts
from unit.chip.virtual import PICC_KEY, USES, Field, keys, number, plan, pulled_everywhere, tap

from cardservice.chip.conversation import MAX_EXCHANGES, drive
from cardservice.chip.desfire_application import CardApplication
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_des import FACTORY_DES_KEY
from cardservice.chip.desfire_erase import erase
from cardservice.chip.desfire_formats import Family, NewApplication
from cardservice.chip.desfire_layout import Step, write_number
from cardservice.chip.desfire_personalise import CardPlan, personalise
from cardservice.chip.errors import AuthenticationRefused, CardUnfit, ChipError, StatusError, UnfitCause
from cardservice.chip.keys import SoftwareWritableKey
from cardservice.chip.layout import CardUse, NumberFile
from cardsim.card import VirtualCard
from cardsim.desfire_memory import Chip
from cardsim.personalise import factory_desfire


def finished() -> Field:
    field = Field()
    drive(personalise(plan()), field)
    field.activate()
    return field


def is_finished(field: Field) -> bool:
    """Both uses can be tapped, and the card's identifier is random."""
    numbers = [tap(field, use) for use in USES]
    return numbers == [number(use) for use in USES] and len(field.card.transmit(bytes.fromhex("FFCA000000"))) == 4 + 2


def test_a_factory_fresh_card_becomes_one_of_ours():
    """Every use can be tapped afterwards; the result names chip, identifier and originality signature."""
    field = Field()
    done = drive(personalise(plan()), field)
    assert (done.version.family, len(done.uid), len(done.originality or b"")) == (Family.EV2, 7, 56)
    assert is_finished(field)
    assert done.uid.hex() not in repr(done)


def test_the_steps_can_be_named():
    """The progress tells each step once, numbered to its total, before the first command of it."""
    told: list[Step] = []
    drive(personalise(plan(), progress=told.append), Field())
    assert [(step.number, step.name, step.use) for step in told] == [
        (1, "chip", None),
        (2, "card_key", None),
        (3, "configuration", None),
        (4, "application", CardUse.DOOR),
        (5, "application", CardUse.CANTEEN),
        (6, "random_uid", None),
    ]
    assert {step.total for step in told} == {6}


def test_a_card_with_every_use_stays_within_a_conversation():
    """Five applications, even when each has to be made anew, need fewer exchanges than a driver allows."""
    field, everything = Field(), plan(*CardUse)
    wire = Wire(field)
    wire.run(personalise(everything))
    other = CardPlan(PICC_KEY, tuple(plan(*CardUse, generation=2).applications))
    field.activate()
    again = Wire(field)
    again.run(personalise(other))
    assert max(len(wire.batches), len(again.batches)) < MAX_EXCHANGES


def test_a_card_pulled_at_any_command_is_finished_the_next_time():
    """Pulled before or after the card carries a command out: the same conversation begun again finishes the card."""

    def work(field: Field) -> None:
        drive(personalise(plan()), field)

    assert pulled_everywhere(Field, work, is_finished) > 100


def test_a_finished_card_is_taken_as_it_is():
    """Nothing is deleted or written again: personalising twice costs checks only."""
    field = finished()
    drive(personalise(plan()), field)
    instructions = {apdu[1] for apdu in field.sent}
    assert not instructions & {0xCA, 0xDA, 0xCD, 0x3D, 0xC4, 0xFC}
    assert is_finished(field)


def test_an_application_with_other_keys_is_made_anew():
    """A card of ours that holds an unfinished or older application gets the planned one."""
    field = finished()
    drive(personalise(plan(*USES, generation=2)), field)
    assert tap(field, CardUse.DOOR, 2) == number(CardUse.DOOR)


@pytest.mark.parametrize("state", ["stock", "aes"])
def test_stock_with_an_aes_key_is_taken(state):
    """After erasing (our key), and with an AES key of zeros."""
    field = Field()
    if state == "stock":
        drive(personalise(plan()), field)
        drive(erase(PICC_KEY), field)
    else:
        level = drive(CardLevel.select(), field)
        drive(level.authenticate_iso(0, FACTORY_DES_KEY, random_bytes=bytes), field)
        drive(level.change_key(0, SoftwareWritableKey(bytes(16)), old=None), field)
    field.activate()
    drive(personalise(plan()), field)
    assert is_finished(field)


def test_a_card_of_another_badge_is_not_touched():
    """Its card level opens with none of our keys; no command but authentications was sent."""
    field = finished()
    with pytest.raises(CardUnfit) as unfit:
        drive(personalise(CardPlan(SoftwareWritableKey(b"another badge's."), plan().applications)), field)
    assert unfit.value.cause is UnfitCause.KEY
    assert {apdu[1] for apdu in field.sent} <= {0x5A, 0x60, 0xAF, 0x3C, 0x45, 0x71, 0x1A, 0x0A}


def test_stock_with_a_key_of_an_earlier_generation_gets_the_new_one():
    """The badge's former key opens the card level once more, and never again."""
    field, following = Field(), SoftwareWritableKey(b"its next PICCkey")
    drive(personalise(plan()), field)
    drive(erase(PICC_KEY), field)
    renewed = CardPlan(following, plan().applications, former_picc=(PICC_KEY,))
    drive(personalise(renewed), field)
    assert is_finished(field)
    with pytest.raises(CardUnfit):
        drive(erase(PICC_KEY), field)
    with pytest.raises(ValueError, match="at most 2"):
        CardPlan(following, plan().applications, former_picc=(PICC_KEY,) * 3)


def test_a_card_with_foreign_applications_is_not_touched():
    """Somebody else's applications are neither deleted nor joined."""
    field = Field()
    level = drive(CardLevel.select(), field)
    drive(level.authenticate_iso(0, FACTORY_DES_KEY, random_bytes=bytes), field)
    drive(level.create_application(NewApplication(b"\x01\x02\x03", 0x0F, 1)), field)
    with pytest.raises(CardUnfit) as unfit:
        drive(personalise(plan()), field)
    assert unfit.value.cause is UnfitCause.OCCUPIED


def test_a_chip_without_key_sets_is_not_touched():
    """EV1 knows neither EV2 authentication nor key sets; its key stays that of the factory."""
    field = Field(VirtualCard("test", "test", desfire=factory_desfire(chip=Chip.EV1)))
    with pytest.raises(CardUnfit, match="EV1") as unfit:
        drive(personalise(plan()), field)
    assert unfit.value.cause is UnfitCause.CHIP
    level = drive(CardLevel.select(), field)
    drive(level.authenticate_iso(0, FACTORY_DES_KEY, random_bytes=bytes), field)


def test_the_card_shows_nobody_what_it_holds():
    """Listing needs the card level's key; the default key of new applications is not that of the factory."""
    field = finished()
    level = drive(CardLevel.select(), field)
    with pytest.raises(StatusError):
        drive(level.get_application_ids(), field)
    drive(level.authenticate_ev2_first(0, PICC_KEY, random_bytes=bytes), field)
    drive(level.create_application(NewApplication(b"\x09\x09\x09", 0x0F, 1)), field)
    application = drive(CardApplication.select(b"\x09\x09\x09"), field)
    with pytest.raises(AuthenticationRefused):
        drive(application.authenticate_ev2_first(0, SoftwareWritableKey(bytes(16)), random_bytes=bytes), field)


def test_a_card_has_each_use_once_and_at_least_one():
    with pytest.raises(ValueError, match="one for each use"):
        CardPlan(PICC_KEY, ())
    with pytest.raises(ValueError, match="one for each use"):
        plan(CardUse.DOOR, CardUse.DOOR)


def test_erasing_leaves_stock_of_ours():
    """Nothing is left, the card level keeps the badge's key, and a tap finds no card of ours."""
    field = finished()
    told: list[Step] = []
    drive(erase(PICC_KEY, progress=told.append), field)
    assert [(step.number, step.total, step.name) for step in told] == [
        (1, 3, "card_key"),
        (2, 3, "erase"),
        (3, 3, "check"),
    ]
    with pytest.raises(StatusError):
        tap(field, CardUse.DOOR)


def test_erasing_can_be_interrupted_anywhere():
    """Pulled at any command, erasing again ends in the same state."""

    def work(field: Field) -> None:
        drive(erase(PICC_KEY), field)

    def is_stock(field: Field) -> bool:
        field.activate()
        level = drive(CardLevel.select(), field)
        drive(level.authenticate_ev2_first(0, PICC_KEY, random_bytes=bytes), field)
        return drive(level.get_application_ids(), field) == ()

    assert pulled_everywhere(finished, work, is_stock) > 10


def test_a_card_of_another_badge_is_not_erased():
    field = finished()
    with pytest.raises(CardUnfit) as unfit:
        drive(erase(SoftwareWritableKey(b"another badge's.")), field)
    assert unfit.value.cause is UnfitCause.KEY
    assert is_finished(field)


@settings(max_examples=80, deadline=None)
@given(scripts)
def test_arbitrary_answers_never_look_like_a_finished_card(script):
    """Whatever a card says, personalising and erasing end with the module's errors, within bounds."""
    for conversation in (personalise(plan()), erase(PICC_KEY)):
        with pytest.raises(ChipError):
            drive(conversation, Script(script))


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 60), bit=st.integers(0, 30 * 8 - 1))
def test_a_changed_bit_never_makes_a_card_that_only_looks_finished(position, bit):
    """Whatever single bit a relay changes in the answers: an error, or a card that taps as planned."""
    field, count = Field(), iter(range(1000))

    def relay(apdu: bytes) -> bytes:
        answer = bytearray(field(apdu))
        if next(count) == position:
            answer[bit // 8 % len(answer)] ^= 1 << bit % 8
        return bytes(answer)

    try:
        drive(personalise(plan()), relay)
    except ChipError:
        return
    assert is_finished(field)


def test_a_number_file_with_other_content_is_noticed():
    """An application that opens with our keys and holds another number is not called finished."""
    field = finished()
    application = drive(CardApplication.select(CardUse.DOOR.aid), field)
    drive(application.authenticate_ev2_first(0, keys(1, CardUse.DOOR).master, random_bytes=bytes), field)
    drive(write_number(application, NumberFile(1, bytes([9]) * 12)), field)
    with pytest.raises(CardUnfit) as unfit:
        drive(personalise(plan()), field)
    assert unfit.value.cause is UnfitCause.CONTENT


def test_what_is_there_after_erasing_is_noticed():
    """A card on which an application appears again before it is looked at is not stock."""
    field, erased = finished(), []

    def meddling(apdu: bytes) -> bytes:
        if apdu[1] == 0x5A and erased:
            erased.clear()
            level = drive(CardLevel.select(), field)
            drive(level.authenticate_ev2_first(0, PICC_KEY, random_bytes=bytes), field)
            drive(level.create_application(NewApplication(CardUse.DOOR.aid, 0x0F, 1)), field)
        if apdu[1] == 0xFC:
            erased.append(apdu)
        return field(apdu)

    with pytest.raises(CardUnfit) as unfit:
        drive(erase(PICC_KEY), meddling)
    assert unfit.value.cause is UnfitCause.LEFTOVERS


def test_no_error_shows_a_key_or_a_number():
    """Plans and errors keep what is secret out of their texts."""
    shown = repr(plan()) + str(CardUnfit(UnfitCause.KEY, "x"))
    assert number(CardUse.DOOR).hex() not in shown
    assert "badge's key" not in shown
