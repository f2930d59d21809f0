# SPDX-License-Identifier: EUPL-1.2
"""The layout page read twice: cards made by the virtual card's own encoder are cards of ours, and ours are theirs."""

import pytest
from unit.chip.virtual import PICC_KEY, USES, Field, keys, number, plan, tap

from cardservice.chip.conversation import drive
from cardservice.chip.desfire_application import CardApplication
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_formats import FileType, KeyType
from cardservice.chip.desfire_layout import NUMBER_FILE, application_of
from cardservice.chip.desfire_personalise import personalise
from cardservice.chip.desfire_rollover import RolloverPlan, replace_keys, roll_over
from cardservice.chip.keys import SoftwareWritableKey
from cardservice.chip.layout import CardUse
from cardsim.card import VirtualCard
from cardsim.personalise import CardKeys, desfire_with, use_application


def raw(key: SoftwareWritableKey) -> bytes:
    return key.wrap_for_change(lambda plain: plain)


def card_of_the_other_encoder(*, one_key_set: bool) -> Field:
    """The plan's card, made by the virtual card's own encoder in one go."""
    applications = []
    for use in USES:
        ours = keys(1, use)
        secret = (raw(ours.master), raw(ours.proof), raw(ours.locate))
        applications.append(use_application(CardKeys(use.aid, *secret, 1, number(use)), one_key_set=one_key_set))
    return Field(VirtualCard("other", "other", desfire=desfire_with(applications, picc_key=raw(PICC_KEY))))


def test_a_card_of_the_other_encoder_is_finished():
    """Personalising it writes nothing, and every use can be tapped."""
    field = card_of_the_other_encoder(one_key_set=False)
    drive(personalise(plan()), field)
    assert not {apdu[1] for apdu in field.sent} & {0xCA, 0xDA, 0xCD, 0x3D, 0xC4}
    assert [tap(field, use) for use in USES] == [number(use) for use in USES]


@pytest.mark.parametrize(("one_key_set", "change"), [(False, roll_over), (True, replace_keys)])
def test_cards_of_the_other_encoder_get_new_keys(one_key_set, change):
    """Those with two key sets roll; those made before have their keys replaced one by one."""
    field, door = card_of_the_other_encoder(one_key_set=one_key_set), CardUse.DOOR
    drive(change(RolloverPlan(door, number(door), keys(1, door), keys(2, door))), field)
    assert tap(field, door, 2) == number(door)


def test_a_card_of_ours_is_as_the_page_says():
    """Key settings, keys, file and access rights of both levels, asked of the card."""
    field = Field()
    drive(personalise(plan()), field)
    field.activate()
    level = drive(CardLevel.select(), field)
    drive(level.authenticate_ev2_first(0, PICC_KEY, random_bytes=bytes), field)
    of_card = drive(level.get_key_settings(), field)
    assert (of_card.settings, of_card.key_type) == (0x09, KeyType.AES)
    assert drive(level.get_application_ids(), field) == (b"\x01\xc1\xf5", b"\x04\xc1\xf5")
    application = drive(CardApplication.select(CardUse.DOOR.aid), field)
    settings = drive(application.get_key_settings(), field)
    assert (settings.settings, settings.key_count, settings.key_sets) == (0x0B, 3, 2)
    assert drive(application.get_key_set_versions(), field)[0] == 1
    assert [drive(application.get_key_version(no), field) for no in range(3)] == [0, 0, 0]
    assert drive(application.get_file_ids(), field) == (1,)
    file = drive(application.get_file_settings(1), field)
    assert (file.file_type, file.mode, file.size_bytes) == (FileType.STANDARD, NUMBER_FILE.mode, 14)
    assert (file.rights.read, file.rights.write, file.rights.read_write, file.rights.change) == (2, 0, 0, 0)


def test_the_parameters_are_those_of_the_page():
    """CreateApplication and CreateStdDataFile, byte for byte."""
    assert bytes(application_of(CardUse.PRINTER, 5)).hex().upper() == "03C1F5" + "0B93" + "0105021000"
    assert bytes(NUMBER_FILE).hex().upper() == "01" + "03" + "0020" + "0E0000"
