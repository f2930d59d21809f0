# SPDX-License-Identifier: EUPL-1.2
"""What DESFire commands carry and answer, as values: versions, key settings, applications, files, access rights.

MF3ICD40 data sheet §4 (numbers least significant byte first); KeySett3 and the key sets as liblogicalaccess'
`desfireev2iso7816commands.cpp` writes them and proxmark3's `cmdhfmfdes.c` reads them.
"""

from dataclasses import dataclass, field
from enum import Enum, IntEnum, unique
from typing import Final

from cardservice.chip.desfire_messages import CommMode
from cardservice.chip.errors import ProtocolError

AID_BYTES: Final = 3
UID_BYTES: Final = 7
KEY_COUNT_MAX: Final = 14
KEY_SETS_MAX: Final = 16
FREE: Final = 0x0E
NEVER: Final = 0x0F

_VERSION_BYTES: Final = frozenset({28, 29})
_HAS_KEY_SETT3: Final = 0x10
_HAS_FILE_IDS: Final = 0x20
_KEY_SETS_ON: Final = 0x01
_NXP: Final = 0x04


@unique
class Family(Enum):
    """Which DESFire a chip is; the values are for people."""

    D40 = "DESFire (MF3ICD40)"
    EV1 = "DESFire EV1"
    EV2 = "DESFire EV2"
    EV3 = "DESFire EV3"
    LIGHT = "DESFire Light"
    DUOX = "DESFire DUOX"
    OTHER = "another chip that speaks DESFire"


# By hardware type and major version, as proxmark3 tells them apart (`cmdhfmfdes.c`, getCardType; AN12343 §2).
_FAMILIES: Final = {
    (0x01, 0x00): Family.D40,
    (0x01, 0x01): Family.EV1,
    (0x01, 0x12): Family.EV2,
    (0x01, 0x22): Family.EV2,
    (0x81, 0x42): Family.EV2,
    (0x01, 0x33): Family.EV3,
    (0x81, 0x43): Family.EV3,
    (0x01, 0xA0): Family.DUOX,
    (0x08, 0x30): Family.LIGHT,
}
_WITH_KEY_SETS: Final = frozenset({Family.EV2, Family.EV3, Family.DUOX})


@dataclass(frozen=True, slots=True)
class ChipVersion:
    """The answer to GetVersion: hardware (7) ‖ software (7) ‖ UID (7) ‖ batch and production date (7 or 8).

    Attributes:
        hardware: vendor, type, subtype, major, minor, storage, protocol.
        software: the same of the software.
        uid: the real identifier, zeros where random UID is on; not in the repr.
        production: batch number, week and year.
    """

    hardware: bytes
    software: bytes
    uid: bytes = field(repr=False)
    production: bytes = field(repr=False)

    @classmethod
    def from_bytes(cls, answer: bytes) -> "ChipVersion":
        """Reads all three frames joined; raises `ProtocolError` for another length."""
        if len(answer) not in _VERSION_BYTES:
            raise ProtocolError("GET_VERSION", f"{len(answer)} bytes, 28 or 29 are expected")
        return cls(answer[:7], answer[7:14], answer[14:21], answer[21:])

    @property
    def family(self) -> Family:
        """Which DESFire it says it is: a claim, which the originality signature can support."""
        if self.hardware[0] != _NXP:
            return Family.OTHER
        return _FAMILIES.get((self.hardware[1], self.hardware[3]), Family.OTHER)

    @property
    def storage_bytes(self) -> int:
        """How much it can store; exact where bit 0 of the size is clear, else at least that (AN12343 §2)."""
        return 1 << min(self.hardware[5] >> 1, 32)

    @property
    def has_key_sets(self) -> bool:
        """Whether it knows EV2 authentication and several key sets: what our layout needs."""
        return self.family in _WITH_KEY_SETS


@unique
class KeyType(IntEnum):
    """Ciphers of keys, as KeySett2 and ChangeKey of the card level name them in their upper two bits."""

    DES = 0
    TKTDES = 1
    AES = 2


@dataclass(frozen=True, slots=True)
class KeySettings:
    """The answer to GetKeySettings.

    Attributes:
        settings: KeySett1.
        key_count: how many keys the level has, 1 to 14.
        key_type: their cipher.
        key_sets: how many key sets an application has; 1 where it was made without KeySett3.
    """

    settings: int
    key_count: int
    key_type: KeyType
    key_sets: int = 1

    @classmethod
    def from_bytes(cls, answer: bytes) -> "KeySettings":
        """Reads KeySett1 ‖ KeySett2 [‖ AKSVersion ‖ NoKeySets ‖ MaxKeySize ‖ AppKeySetSett]; else `ProtocolError`."""
        if len(answer) not in {2, 3, 6, 7}:
            raise ProtocolError("GET_KEY_SETTINGS", f"{len(answer)} bytes, 2 to 7 are expected")
        second = answer[1]
        if second >> 6 > KeyType.AES:
            raise ProtocolError("GET_KEY_SETTINGS", f"cipher {second >> 6}, allowed are 0 to 2")
        sets = answer[-3] if len(answer) > 3 else 1
        if not 1 <= sets <= KEY_SETS_MAX:
            raise ProtocolError("GET_KEY_SETTINGS", f"{sets} key sets, allowed are 1 to {KEY_SETS_MAX}")
        return cls(answer[0], second & 0x0F, KeyType(second >> 6), sets)


@dataclass(frozen=True, slots=True)
class KeySets:
    """The key sets of a new application.

    Attributes:
        count: how many, 2 to 16.
        active_version: the version of set 0, which is in force.
        roll_key_no: the key that may roll.
    """

    count: int
    active_version: int
    roll_key_no: int

    def __post_init__(self) -> None:
        if not (2 <= self.count <= KEY_SETS_MAX and 0 <= self.active_version <= 0xFF and 0 <= self.roll_key_no <= 7):
            raise ValueError("2 to 16 key sets, a version of one byte, a roll key of 0 to 7")


@dataclass(frozen=True, slots=True)
class NewApplication:
    """The parameters of CreateApplication.

    Attributes:
        aid: 3 bytes as sent.
        settings: KeySett1.
        key_count: 1 to 14.
        key_type: the cipher of all its keys.
        key_sets: more than one key set, or None.
        iso_file_id: its ISO 7816-4 file identifier, or None.
        iso_name: its DF name, up to 16 bytes; only with a file identifier.
    """

    aid: bytes
    settings: int
    key_count: int
    key_type: KeyType = KeyType.AES
    key_sets: KeySets | None = None
    iso_file_id: int | None = None
    iso_name: bytes = b""

    def __post_init__(self) -> None:
        if len(self.aid) != AID_BYTES or not 1 <= self.key_count <= KEY_COUNT_MAX or len(self.iso_name) > 16:
            raise ValueError("an application has 3 bytes of AID, 1 to 14 keys and a DF name of up to 16 bytes")
        if self.iso_name and self.iso_file_id is None:
            raise ValueError("a DF name needs a file identifier")

    def __bytes__(self) -> bytes:
        second = self.key_count | self.key_type << 6
        key_sets = b""
        if self.key_sets is not None:
            second |= _HAS_KEY_SETT3
            size = 24 if self.key_type is KeyType.TKTDES else 16
            sets = self.key_sets
            key_sets = bytes((_KEY_SETS_ON, sets.active_version, sets.count, size, sets.roll_key_no))
        iso = b""
        if self.iso_file_id is not None:
            second |= _HAS_FILE_IDS
            iso = self.iso_file_id.to_bytes(2, "little") + self.iso_name
        return self.aid + bytes((self.settings, second)) + key_sets + iso


@dataclass(frozen=True, slots=True)
class AccessRights:
    """Which key may do what with a file: 0 to 13, `FREE` (14) or `NEVER` (15)."""

    read: int
    write: int
    read_write: int
    change: int

    def __post_init__(self) -> None:
        if not all(0 <= key <= NEVER for key in (self.read, self.write, self.read_write, self.change)):
            raise ValueError("an access right is a key number, 14 (free) or 15 (never)")

    def __bytes__(self) -> bytes:
        return bytes((self.read_write << 4 | self.change, self.read << 4 | self.write))

    @classmethod
    def from_bytes(cls, encoded: bytes) -> "AccessRights":
        """Reads the two bytes of a file's settings; raises `ProtocolError` for another length."""
        if len(encoded) != 2:
            raise ProtocolError("GET_FILE_SETTINGS", f"access rights of {len(encoded)} bytes, 2 are expected")
        low, high = encoded
        return cls(read=high >> 4, write=high & 0x0F, read_write=low >> 4, change=low & 0x0F)


@dataclass(frozen=True, slots=True)
class ValueLimits:
    """What a value file holds, in its own unit, signed 32 bits."""

    lower: int
    upper: int
    value: int
    limited_credit: bool = False

    def __bytes__(self) -> bytes:
        numbers = (self.lower, self.upper, self.value)
        return b"".join(one.to_bytes(4, "little", signed=True) for one in numbers) + bytes((self.limited_credit,))


@unique
class FileType(IntEnum):
    """The kinds of files."""

    STANDARD = 0
    BACKUP = 1
    VALUE = 2
    LINEAR_RECORD = 3
    CYCLIC_RECORD = 4
    TRANSACTION_MAC = 5


@dataclass(frozen=True, slots=True)
class FileSettings:
    """The answer to GetFileSettings.

    Attributes:
        file_type: what kind of file it is.
        mode: how its content travels.
        rights: who may do what.
        size_bytes: of standard and backup files; 0 for others.
        rest: what follows for the other kinds, as the card encodes it.
    """

    file_type: FileType
    mode: CommMode
    rights: AccessRights
    size_bytes: int
    rest: bytes = b""

    @classmethod
    def from_bytes(cls, answer: bytes) -> "FileSettings":
        """Reads type ‖ option ‖ access rights (2) ‖ what the type has; raises `ProtocolError` for anything else."""
        if not 4 <= len(answer) <= 64:
            raise ProtocolError("GET_FILE_SETTINGS", f"{len(answer)} bytes, 4 to 64 are expected")
        if answer[0] > FileType.TRANSACTION_MAC:
            raise ProtocolError("GET_FILE_SETTINGS", f"file type {answer[0]}, allowed are 0 to 5")
        file_type, mode = FileType(answer[0]), answer[1] & 0x03
        rights, rest = AccessRights.from_bytes(answer[2:4]), answer[4:]
        size = 0
        if file_type in {FileType.STANDARD, FileType.BACKUP}:
            if len(rest) < 3:
                raise ProtocolError("GET_FILE_SETTINGS", "the size of a data file is missing")
            size, rest = int.from_bytes(rest[:3], "little"), rest[3:]
        return cls(file_type, CommMode(0 if mode == 2 else mode), rights, size, rest)
