# SPDX-License-Identifier: EUPL-1.2
"""What an application of a DESFire holds: keys, key sets and files (`desfire_files`)."""

from dataclasses import dataclass, field
from enum import IntEnum

from cardsim.desfire_ciphers import KeyKind

AID_LENGTH = 3
KEY_LENGTH = 16
FREE = 0xE
NEVER = 0xF
MAX_KEYS = 14
MASTER_KEY_CHANGEABLE = 0x01
FREE_LISTING = 0x02
"""Key settings bit 1: directory and settings are readable without the master key."""
FREE_CREATION = 0x04
"""Key settings bit 2: applications (on the card) or files (in an application) are made without the master key."""
SETTINGS_CHANGEABLE = 0x08


class CommunicationMode(IntEnum):
    """How data of a file travel."""

    PLAIN = 0
    MAC = 1
    FULL = 3


@dataclass(frozen=True)
class CardKey:
    """One key; ``value`` has 16 bytes, 24 for three-key DES. A DES key carries its version in its lowest bits."""

    value: bytes = field(repr=False)
    version: int = 0
    kind: KeyKind = KeyKind.AES

    def __post_init__(self) -> None:
        if len(self.value) != self.kind.key_length:
            name = "AES-128" if self.kind is KeyKind.AES else self.kind.name
            raise ValueError(f"a key for {name} has {self.kind.key_length} bytes, got {len(self.value)}")

    @property
    def told_version(self) -> int:
        """What GetKeyVersion answers."""
        if self.kind is KeyKind.AES:
            return self.version
        return sum((octet & 1) << (7 - place) for place, octet in enumerate(self.value[:8]))

    @property
    def is_single_des(self) -> bool:
        """Whether both halves are one DES key."""
        return self.kind is KeyKind.DES and self.value[:8] == self.value[8:]


@dataclass(frozen=True)
class AesKey(CardKey):
    """One AES-128 key; ``value`` has 16 bytes."""


@dataclass(frozen=True)
class AccessRights:
    """Key numbers that may read, write, do both, and change the settings; E is free, F is never."""

    read: int
    write: int
    read_write: int
    change: int

    def encode(self) -> bytes:
        """The two bytes of GetFileSettings, LSB first."""
        number = self.read << 12 | self.write << 8 | self.read_write << 4 | self.change
        return number.to_bytes(2, "little")

    @classmethod
    def decode(cls, octets: bytes) -> "AccessRights":
        """From two bytes, LSB first."""
        number = int.from_bytes(octets, "little")
        return cls(number >> 12, number >> 8 & 0xF, number >> 4 & 0xF, number & 0xF)


@dataclass
class CardFile:
    """What all files have."""

    number: int
    mode: CommunicationMode
    rights: AccessRights
    iso_file_id: bytes | None = field(default=None, kw_only=True)

    def settings(self) -> bytes:
        """Answer of GetFileSettings: type, mode, rights (2, LSB first), and what the type adds."""
        return bytes([self.type_code, self.mode]) + self.rights.encode() + self.details()

    @property
    def type_code(self) -> int:
        """First byte of the settings."""
        raise NotImplementedError

    def details(self) -> bytes:
        """What the type adds to the settings."""
        raise NotImplementedError


@dataclass
class StandardFile(CardFile):
    """A data file of fixed size; with ``backup`` what is written waits for CommitTransaction."""

    content: bytearray = field(repr=False)
    backup: bool = False

    def __init__(  # noqa: PLR0913 - content stands second in all that make such a file
        self,
        number: int,
        content: bytearray,
        mode: CommunicationMode,
        rights: AccessRights,
        backup: bool = False,
        *,
        iso_file_id: bytes | None = None,
    ) -> None:
        super().__init__(number, mode, rights, iso_file_id=iso_file_id)
        self.content = content
        self.backup = backup

    @property
    def type_code(self) -> int:
        """00, or 01 with backup."""
        return int(self.backup)

    def details(self) -> bytes:
        """Size (3, LSB first)."""
        return len(self.content).to_bytes(3, "little")


@dataclass
class ValueFile(CardFile):
    """A counter with limits; ``limited_credit`` is what LimitedCredit may give back now."""

    lower: int
    upper: int
    value: int
    limited_credit: int = 0
    options: int = 0

    @property
    def type_code(self) -> int:
        """02."""
        return 2

    @property
    def limited_credit_enabled(self) -> bool:
        """Option bit 0."""
        return bool(self.options & 1)

    @property
    def free_reading(self) -> bool:
        """Option bit 1: GetValue needs no key."""
        return bool(self.options & 2)

    def details(self) -> bytes:
        """Limits, limited credit (4 each, LSB first) and options."""
        numbers = (self.lower, self.upper, self.limited_credit)
        return b"".join(number.to_bytes(4, "little", signed=True) for number in numbers) + bytes([self.options])


@dataclass
class RecordFile(CardFile):
    """Records of one size, the newest last; a cyclic file drops its oldest."""

    record_size: int
    capacity: int
    cyclic: bool
    records: list[bytes] = field(default_factory=list, repr=False)

    @property
    def type_code(self) -> int:
        """03, cyclic 04."""
        return 4 if self.cyclic else 3

    def details(self) -> bytes:
        """Record size, greatest and present number of records (3 each, LSB first)."""
        numbers = (self.record_size, self.capacity, len(self.records))
        return b"".join(number.to_bytes(3, "little") for number in numbers)


@dataclass
class KeySet:
    """Keys in preparation: initialised, then changed one by one, then final and ready to be rolled to."""

    keys: list[CardKey]
    version: int = 0
    is_final: bool = False


@dataclass(frozen=True)
class KeySetRules:
    """What CreateApplication fixed for an application with key sets."""

    count: int
    max_key_length: int
    roll_key: int


@dataclass
class Application:
    """An application with its keys and files; the AID is kept as sent (LSB first).

    The PICC level is an application with AID 000000, one key and no file.

    Args:
        aid: 3 bytes.
        keys: the keys in force.
        files: by number.
        key_settings: KeySett1.
        key_set_rules: None where the application has the one set only.
        set_version: version of the set in force, which always has number 0.
        prepared_sets: the other sets by their number, where they were initialised or once in force.
        iso_file_id: 2 bytes, least significant first, or None; ``df_name`` needs it.
        df_name: up to 16 bytes.
        files_have_iso_ids: bit 5 of KeySett2; None: as the application itself has one.
    """

    aid: bytes
    keys: list[CardKey]
    files: dict[int, CardFile] = field(default_factory=dict)
    key_settings: int = 0x0B
    key_set_rules: KeySetRules | None = None
    set_version: int = 0
    prepared_sets: dict[int, KeySet] = field(default_factory=dict)
    iso_file_id: bytes | None = None
    df_name: bytes = b""
    files_have_iso_ids: bool | None = None

    def __post_init__(self) -> None:
        if self.files_have_iso_ids is None:
            self.files_have_iso_ids = self.iso_file_id is not None
        if len(self.aid) != AID_LENGTH:
            raise ValueError(f"an AID has 3 bytes, got {len(self.aid)}")
        if not 1 <= len(self.keys) <= MAX_KEYS:
            raise ValueError(f"an application has 1 to 14 keys, got {len(self.keys)}")

    @property
    def is_picc_level(self) -> bool:
        """Whether this is the card itself."""
        return self.aid == bytes(AID_LENGTH)

    @property
    def kind(self) -> KeyKind:
        """The cipher of the keys in force."""
        return self.keys[0].kind

    def told_settings(self) -> bytes:
        """Answer of GetKeySettings."""
        rules = self.key_set_rules
        flags = self.kind << 6 | (0x20 if self.files_have_iso_ids else 0) | (0x10 if rules else 0)
        told = bytes([self.key_settings, flags | len(self.keys)])
        if rules is not None:
            told += bytes([0x01, self.set_version, rules.count, rules.max_key_length, rules.roll_key])
        return told
