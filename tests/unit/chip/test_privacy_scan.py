# SPDX-License-Identifier: EUPL-1.2
"""What a reader without a key learns from a card twice alike, and what a card in the reader is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.chip.card_double import Wire
from unit.chip.hostile import Script, scripts
from unit.chip.virtual import Field, plan

from cardservice.chip import open_reading as places
from cardservice.chip.conversation import MAX_EXCHANGES, drive
from cardservice.chip.desfire_formats import Family
from cardservice.chip.desfire_personalise import personalise
from cardservice.chip.errors import CardGone
from cardservice.chip.layout import CardUse
from cardservice.chip.open_reading import OpenReading, Place, read_openly
from cardservice.chip.privacy_scan import Finding, Tells, can_be_followed, compare
from cardservice.chip.probe import ReachableLevel, conclude, probe
from cardsim.card import VirtualCard
from cardsim.desfire_memory import Chip
from cardsim.personalise import factory_desfire

UID = Place(places.UID)


def twice(field: Field) -> tuple[Finding, ...]:
    field.activate()
    first = drive(read_openly(), field)
    field.activate()
    return compare(first, drive(read_openly(), field))


def ours(*uses: CardUse) -> Field:
    field = Field()
    drive(personalise(plan(*uses)), field)
    return field


def test_a_card_of_ours_cannot_be_followed():
    """Beyond the chip's type it shows what every card of the layout shows, or what a group of them shows."""
    findings = twice(ours())
    assert not can_be_followed(findings)
    some = {str(finding.place) for finding in findings if finding.tells is Tells.SOME_CARDS}
    assert some == {
        "GetVersion: production",
        "free memory",
        *(f"{name} of application F5C10{use}" for name in ("key settings", "key set versions") for use in (1, 4)),
    }


def test_two_cards_of_ours_show_the_same_where_it_matters():
    """The check of the classes: what is called the same on every card is the same on another card as well."""
    one, other = ours(), ours()
    readings = []
    for field in (one, other):
        field.activate()
        readings.append(drive(read_openly(), field))
    on_every = {f.place for f in twice(one) if f.tells is Tells.EVERY_CARD}
    assert on_every
    for place in on_every:
        assert readings[0].values[place] == readings[1].values[place], str(place)


def test_a_card_before_its_last_step_can_be_followed_by_its_uid():
    """A factory-fresh card shows its real identifier, in the air and in GetVersion."""
    findings = twice(Field())
    assert {str(f.place) for f in findings if f.tells is Tells.ONE_CARD} >= {"UID", "GetVersion: UID"}
    assert can_be_followed(findings)


def test_only_stable_bytes_are_reported():
    """Runs of equal bytes with their offset; places that changed altogether, or were read once, are silent."""
    chuid, other = Place(places.PIV_CHUID), Place(places.PIV_CERTIFICATE)
    first = OpenReading({UID: b"\x08\x01\x02\x03", chuid: b"abXdef", other: b"gone"})
    second = OpenReading({UID: b"\x08\x09\x02\x07", chuid: b"abYdeZ"})
    findings = compare(first, second)
    assert [(str(f.place), f.offset, f.value) for f in findings] == [("PIV CHUID", 0, b"ab"), ("PIV CHUID", 3, b"de")]
    assert {f.tells for f in findings} == {Tells.ONE_CARD}


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_every_equal_byte_is_in_a_finding_and_no_other(before, after):
    """Whatever was read: the runs are exactly the positions where both readings agree."""
    chuid = Place(places.PIV_CHUID)
    covered = set()
    for finding in compare(OpenReading({chuid: before}), OpenReading({chuid: after})):
        end = finding.offset + len(finding.value)
        assert before[finding.offset : end] == after[finding.offset : end] == finding.value
        covered |= set(range(finding.offset, end))
    assert covered == {i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a == b}


def test_the_chip_s_type_is_no_finding():
    """ATS and the first two parts of GetVersion name the type; zeros tell nothing about anybody."""
    reading = OpenReading(
        {
            Place(places.ATS): b"\x80",
            Place(places.VERSION_HARDWARE): bytes(7),
            Place(places.VERSION_SOFTWARE): bytes(7),
            Place(places.VERSION_UID): bytes(7),
        }
    )
    assert [(f.place.name, f.tells) for f in compare(reading, reading)] == [(places.VERSION_UID, Tells.EVERY_CARD)]


@pytest.mark.parametrize(
    ("place", "value", "tells"),
    [
        (Place(places.APPLICATION_LIST), "01C1F504C1F5", Tells.SOME_CARDS),
        (Place(places.APPLICATION_LIST), "01C1F5010203", Tells.ONE_CARD),
        (Place(places.PICC_KEY_SETTINGS), "0981", Tells.EVERY_CARD),
        (Place(places.PICC_KEY_SETTINGS), "0F01", Tells.ONE_CARD),
        (Place(places.KEY_VERSION, b"\x01\xc1\xf5", 0), "05", Tells.ONE_CARD),
        (Place(places.FILE_CONTENT, b"\x01\xc1\xf5", 1), "0102", Tells.ONE_CARD),
        (Place(places.FILES, b"\x01\x02\x03"), "02", Tells.ONE_CARD),
        (Place(places.PIV_CERTIFICATE), "5303", Tells.ONE_CARD),
    ],
)
def test_what_could_tell_a_card_is_called_so(place, value, tells):
    """What the layout does not fix, and no group is known to share, may belong to one card."""
    reading = OpenReading({place: bytes.fromhex(value)})
    assert [finding.tells for finding in compare(reading, reading)] == [tells]


def test_the_bytes_are_not_shown():
    reading = OpenReading({UID: b"\x04secret"})
    assert "secret" not in repr(reading) + repr(compare(reading, reading))


@settings(max_examples=60, deadline=None)
@given(scripts)
def test_a_keyless_reading_survives_any_card(script):
    """It ends within what a driver allows, with a reading or because the card left."""
    wire = Wire(Script(script))
    try:
        reading = wire.run(read_openly())
    except CardGone:
        return
    assert len(wire.batches) < MAX_EXCHANGES
    conclude(reading)
    compare(reading, reading)


def test_a_card_that_never_ends_its_lists_does_not_keep_the_reader():
    """A card that lists many applications and files is asked about a few of them."""
    wire = Wire(Script([b"\x01\x02\x03" * 80 + b"\x91\x00"]))
    wire.run(read_openly())
    assert len(wire.batches) < MAX_EXCHANGES


def test_a_card_of_ours_is_recognised():
    """Its uses are named although it lists none of them, and the level it could reach is a proof."""
    field = ours(CardUse.DOOR, CardUse.PRINTER)
    field.activate()
    found = drive(probe(), field)
    assert (found.family, found.uses) == (Family.EV2, (CardUse.DOOR, CardUse.PRINTER))
    assert (found.random_uid, found.level, found.has_piv) == (True, ReachableLevel.CARD, False)
    assert found.can_be_personalised


@pytest.mark.parametrize(("chip", "can"), [(Chip.EV1, False), (Chip.EV2, True), (Chip.EV3, True)])
def test_a_blank_card_reaches_no_more_than_its_uid(chip, can):
    found = drive(probe(), Field(VirtualCard("test", "test", desfire=factory_desfire(chip=chip))))
    assert (found.family, found.random_uid, found.level) == (Family[chip.name], False, ReachableLevel.UID)
    assert (found.uses, found.can_be_personalised) == ((), can)


def test_a_piv_card_reaches_a_proof_by_its_certificate():
    """Only where the card authentication certificate can be read over this interface."""
    reading = OpenReading({Place(places.PIV_TEMPLATE): b"\x61\x00", Place(places.PIV_CERTIFICATE): b"\x53\x00"})
    assert (conclude(reading).has_piv, conclude(reading).level) == (True, ReachableLevel.CARD)
    without = OpenReading({Place(places.PIV_TEMPLATE): b"\x61\x00"})
    assert (conclude(without).has_card_authentication, conclude(without).level) == (False, ReachableLevel.NONE)


def test_a_card_that_says_nothing_reaches_nothing():
    found = drive(probe(), Script([b"\x6d\x00"]))
    assert (found.version, found.family, found.uid, found.level) == (None, None, None, ReachableLevel.NONE)
    assert not found.can_be_personalised


@given(st.binary(min_size=1, max_size=10))
def test_a_random_uid_is_told_by_its_form(uid):
    """Four bytes that begin with 08 or 80; anything else is taken for a fixed one."""
    random = conclude(OpenReading({UID: uid})).random_uid
    assert random is (len(uid) == 4 and uid[0] in {0x08, 0x80})
