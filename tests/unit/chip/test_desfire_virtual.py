# SPDX-License-Identifier: EUPL-1.2
"""Every command in every kind of session against the virtual card, which was written without sight of this code."""

from dataclasses import dataclass

import pytest
from unit.chip.virtual import Field

from cardservice.chip.conversation import drive
from cardservice.chip.desfire_application import CardApplication, DataFile
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_des import FACTORY_DES_KEY, DesKey
from cardservice.chip.desfire_formats import (
    AccessRights,
    Family,
    FileType,
    KeySets,
    KeyType,
    NewApplication,
    ValueLimits,
)
from cardservice.chip.desfire_messages import CommMode
from cardservice.chip.errors import (
    ApplicationNotFound,
    AuthenticationRefused,
    FileNotFound,
    IntegrityRefused,
    PermissionDenied,
    StatusError,
)
from cardservice.chip.keys import SoftwareWritableKey
from cardsim.card import VirtualCard
from cardsim.desfire_memory import Chip
from cardsim.personalise import factory_desfire

AID = b"\x11\x22\x33"
RIGHTS = AccessRights(read=1, write=0, read_write=0, change=0)


@dataclass(frozen=True)
class Kind:
    """One kind of authentication, with the cipher and the length of its keys."""

    name: str
    method: str
    key_type: KeyType
    key_bytes: int

    def key(self, filler: int):
        raw = bytes((filler + 2 * i) & 0xFE for i in range(self.key_bytes))
        return SoftwareWritableKey(raw) if self.key_type is KeyType.AES else DesKey(raw)

    @property
    def zero(self):
        raw = bytes(self.key_bytes)
        return SoftwareWritableKey(raw) if self.key_type is KeyType.AES else DesKey(raw)


KINDS = [
    Kind("EV2", "authenticate_ev2_first", KeyType.AES, 16),
    Kind("AES", "authenticate_aes", KeyType.AES, 16),
    Kind("2K3DES", "authenticate_iso", KeyType.DES, 16),
    Kind("3K3DES", "authenticate_iso", KeyType.TKTDES, 24),
    Kind("D40", "authenticate", KeyType.DES, 16),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request) -> Kind:
    return request.param


@pytest.fixture
def field(kind) -> Field:
    """A card with an application of this kind's cipher, three keys, made under the factory's key."""
    field = Field()
    level = drive(CardLevel.select(), field)
    drive(level.authenticate_iso(0, FACTORY_DES_KEY, random_bytes=bytes), field)
    drive(level.create_application(NewApplication(AID, 0x0F, 3, kind.key_type)), field)
    return field


def open_with(field: Field, kind: Kind, key_no: int = 0, key=None) -> CardApplication:
    application = drive(CardApplication.select(AID), field)
    authenticate = getattr(application, kind.method)
    drive(authenticate(key_no, key or kind.zero, random_bytes=lambda count: b"\x6b" * count), field)
    return application


@pytest.mark.parametrize("mode", list(CommMode))
@pytest.mark.parametrize("length", [1, 15, 16, 17, 200])
def test_what_is_written_is_read_back(field, kind, mode, length):
    """Standard files in each mode, in one frame and in several, at an offset too."""
    application = open_with(field, kind)
    content = bytes(i * 7 & 0xFF for i in range(length))
    drive(application.create_std_data_file(DataFile(3, length + 2, mode, RIGHTS)), field)
    drive(application.write_data(3, 2, content, mode=mode), field)
    assert drive(application.read_data(3, 2, length, mode=mode), field) == content
    assert drive(application.read_data(3, 0, 2, mode=mode), field) == bytes(2)


def test_files_can_be_listed_described_changed_and_deleted(field, kind):
    application = open_with(field, kind)
    drive(application.create_std_data_file(DataFile(3, 40, CommMode.PLAIN, RIGHTS)), field)
    drive(application.create_backup_data_file(DataFile(4, 20, CommMode.FULL, RIGHTS)), field)
    assert sorted(drive(application.get_file_ids(), field)) == [3, 4]
    drive(application.change_file_settings(3, CommMode.FULL, AccessRights(2, 2, 0, 0)), field)
    settings = drive(application.get_file_settings(3), field)
    assert (settings.file_type, settings.mode, settings.size_bytes) == (FileType.STANDARD, CommMode.FULL, 40)
    assert settings.rights == AccessRights(2, 2, 0, 0)
    assert drive(application.get_file_settings(4), field).file_type is FileType.BACKUP
    drive(application.delete_file(3), field)
    assert drive(application.get_file_ids(), field) == (4,)


def test_backup_files_count_from_the_commit_on(field, kind):
    """What is aborted, or not committed, was never written."""
    application = open_with(field, kind)
    drive(application.create_backup_data_file(DataFile(4, 20, CommMode.FULL, RIGHTS)), field)
    drive(application.write_data(4, 0, b"lost", mode=CommMode.FULL), field)
    drive(application.abort_transaction(), field)
    assert drive(application.read_data(4, 0, 4, mode=CommMode.FULL), field) == bytes(4)
    drive(application.write_data(4, 0, b"kept", mode=CommMode.FULL), field)
    drive(application.commit_transaction(), field)
    assert drive(application.read_data(4, 0, 4, mode=CommMode.FULL), field) == b"kept"


@pytest.mark.parametrize("mode", list(CommMode))
def test_values_are_credited_and_debited(field, kind, mode):
    application = open_with(field, kind)
    limits = ValueLimits(lower=-10, upper=1000, value=100)
    drive(application.create_value_file(5, limits, mode=mode, rights=RIGHTS), field)
    drive(application.credit(5, 50, mode=mode), field)
    drive(application.commit_transaction(), field)
    drive(application.debit(5, 155, mode=mode), field)
    drive(application.commit_transaction(), field)
    assert drive(application.get_value(5, mode=mode), field) == -5


def test_keys_are_changed_one_by_one(field, kind):
    """First the others, with old and new mixed, then the one that authenticated; the new ones open sessions."""
    application = open_with(field, kind)
    for key_no in (1, 2):
        drive(application.change_key(key_no, kind.key(key_no), old=kind.zero, key_type=kind.key_type), field)
    drive(application.change_key(0, kind.key(8), old=None, key_type=kind.key_type), field)
    assert application.authenticated_key_no is None
    for key_no, filler in ((1, 1), (2, 2), (0, 8)):
        assert open_with(field, kind, key_no, kind.key(filler)).authenticated_key_no == key_no


def test_a_wrong_old_key_is_refused_and_ends_the_session(field, kind):
    application = open_with(field, kind)
    with pytest.raises(IntegrityRefused):
        drive(application.change_key(1, kind.key(1), old=kind.key(5), key_type=kind.key_type), field)
    assert application.authenticated_key_no is None
    assert open_with(field, kind, 1).authenticated_key_no == 1


def test_key_settings_and_versions(field, kind):
    application = open_with(field, kind)
    drive(application.change_key_settings(0x0B), field)
    settings = drive(application.get_key_settings(), field)
    assert (settings.settings, settings.key_count, settings.key_type, settings.key_sets) == (0x0B, 3, kind.key_type, 1)
    assert drive(application.get_key_version(1), field) == 0
    version = drive(application.get_version(), field)
    assert version.family is Family.EV2
    assert drive(application.get_card_uid(), field) == version.uid


def test_refusals_have_their_errors(field, kind):
    application = open_with(field, kind)
    with pytest.raises(FileNotFound):
        drive(application.get_file_settings(9), field)
    application = open_with(field, kind)
    drive(application.create_std_data_file(DataFile(3, 4, CommMode.PLAIN, AccessRights(1, 1, 1, 1))), field)
    with pytest.raises((PermissionDenied, AuthenticationRefused)):
        drive(application.read_data(3, 0, 4, mode=CommMode.PLAIN), field)
    with pytest.raises(AuthenticationRefused):
        open_with(field, kind, 0, kind.key(3))
    with pytest.raises(ApplicationNotFound):
        drive(CardApplication.select(b"\x99\x99\x99"), field)


@pytest.mark.parametrize("name", ["DES", "D40", "EV1", "EV2"])
def test_the_card_level_in_every_kind_of_session(name):
    """Applications, memory, settings, default key, random UID and formatting."""
    field = Field()
    level = drive(CardLevel.select(), field)
    aes = SoftwareWritableKey(b"a card level key")
    if name in {"DES", "D40"}:
        authenticate, key = (level.authenticate_iso if name == "DES" else level.authenticate), FACTORY_DES_KEY
    else:
        drive(level.authenticate(0, FACTORY_DES_KEY, random_bytes=bytes), field)
        drive(level.change_key(0, aes, old=None), field)
        authenticate, key = (level.authenticate_aes if name == "EV1" else level.authenticate_ev2_first), aes
    drive(authenticate(0, key, random_bytes=bytes), field)
    free = drive(level.free_memory(), field)
    drive(level.create_application(NewApplication(AID, 0x0F, 1, key_sets=KeySets(2, 9, 0))), field)
    drive(level.create_application(NewApplication(b"\x01\x02\x03", 0x0F, 1, iso_file_id=0xE110)), field)
    assert set(drive(level.get_application_ids(), field)) == {AID, b"\x01\x02\x03"}
    drive(level.delete_application(b"\x01\x02\x03"), field)
    assert drive(level.get_application_ids(), field) == (AID,)
    assert drive(level.free_memory(), field) < free
    drive(level.change_key_settings(0x09), field)
    assert drive(level.get_key_settings(), field).settings == 0x09
    drive(level.set_default_key(b"some default key"), field)
    drive(level.enable_random_uid(), field)
    assert len(drive(level.get_card_uid(), field)) == 7
    drive(level.format_picc(), field)
    drive(authenticate(0, key, random_bytes=bytes), field)
    assert drive(level.get_application_ids(), field) == ()


def test_many_applications_are_listed_over_several_frames():
    field = Field()
    level = drive(CardLevel.select(), field)
    drive(level.authenticate_iso(0, FACTORY_DES_KEY, random_bytes=bytes), field)
    aids = [bytes((i, 0x20, 0x30)) for i in range(1, 26)]
    for aid in aids:
        drive(level.create_application(NewApplication(aid, 0x0F, 1)), field)
    assert drive(level.get_application_ids(), field) == tuple(aids)


def test_ev1_chips_refuse_what_they_do_not_know():
    """An EV1 chip answers EV2 commands with a refusal, not with silence."""
    field = Field(VirtualCard("test", "test", desfire=factory_desfire(chip=Chip.EV1)))
    level = drive(CardLevel.select(), field)
    assert drive(level.get_version(), field).family is Family.EV1
    with pytest.raises(StatusError):
        drive(level.authenticate_ev2_first(0, SoftwareWritableKey(bytes(16)), random_bytes=bytes), field)
