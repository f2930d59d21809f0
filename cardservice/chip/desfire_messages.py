# SPDX-License-Identifier: EUPL-1.2
"""DESFire commands before they are protected, and the port to what protects them.

`Messaging` is what the families of chips differ by: `desfire_messaging` has that of EV2, `desfire_ev1` that of EV1 and
of the first DESFire.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

from cardservice.chip.keys import KeyToWrite


class Ins(IntEnum):
    """Instruction codes, named as NXP names the commands.

    MF3ICD40 data sheet §4, MF2DL(H)x0 data sheet table 19 (EV2 commands of DESFire Light); key sets and 3C as the
    clients of the RfidResearchGroup (proxmark3, `protocols.h`) and liblogicalaccess (`desfireev2commands.hpp`) agree.
    """

    AUTHENTICATE = 0x0A
    CREDIT = 0x0C
    AUTHENTICATE_ISO = 0x1A
    READ_SIGNATURE = 0x3C
    WRITE_DATA_NATIVE = 0x3D
    GET_KEY_SETTINGS = 0x45
    GET_CARD_UID = 0x51
    CHANGE_KEY_SETTINGS = 0x54
    ROLL_KEY_SET = 0x55
    INITIALIZE_KEY_SET = 0x56
    FINALIZE_KEY_SET = 0x57
    SELECT_APPLICATION = 0x5A
    SET_CONFIGURATION = 0x5C
    CHANGE_FILE_SETTINGS = 0x5F
    GET_VERSION = 0x60
    GET_KEY_VERSION = 0x64
    GET_APPLICATION_IDS = 0x6A
    GET_VALUE = 0x6C
    FREE_MEMORY = 0x6E
    GET_FILE_IDS = 0x6F
    AUTHENTICATE_EV2_FIRST = 0x71
    AUTHENTICATE_EV2_NON_FIRST = 0x77
    WRITE_DATA = 0x8D
    ABORT_TRANSACTION = 0xA7
    AUTHENTICATE_AES = 0xAA
    READ_DATA = 0xAD
    ADDITIONAL_FRAME = 0xAF
    READ_DATA_NATIVE = 0xBD
    CHANGE_KEY = 0xC4
    CHANGE_KEY_EV2 = 0xC6
    COMMIT_TRANSACTION = 0xC7
    CREATE_APPLICATION = 0xCA
    CREATE_BACKUP_DATA_FILE = 0xCB
    CREATE_VALUE_FILE = 0xCC
    CREATE_STD_DATA_FILE = 0xCD
    DELETE_APPLICATION = 0xDA
    DEBIT = 0xDC
    DELETE_FILE = 0xDF
    GET_FILE_SETTINGS = 0xF5
    FORMAT_PICC = 0xFC


class CommMode(IntEnum):
    """Communication mode of a command; the values are those of the file settings."""

    PLAIN = 0x00
    MAC = 0x01
    FULL = 0x03


@dataclass(frozen=True, slots=True)
class Message:
    """One command before it is protected.

    Attributes:
        ins: the instruction code.
        mode: how header and data travel.
        header: parameters that are never enciphered.
        data: what mode `FULL` enciphers.
        answer_bytes: how long the plain answer is. EV1 pads enciphered answers with zeros, so it must be known there.
        ends_session: the card forgets the session with this command, and answers without a MAC.
    """

    ins: Ins
    mode: CommMode
    header: bytes = b""
    data: bytes = field(default=b"", repr=False)
    answer_bytes: int = 0
    ends_session: bool = False


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A ChangeKey (C4) or ChangeKeyEV2 (C6) before it is protected.

    Attributes:
        ins: the instruction code.
        header: what names the key: its number, for C6 after that of the key set.
        new: the key to write.
        old: the key that is there; None where the key that authenticated is the one that is changed.
        version: the version of the new key, 0 to 255; None for DES keys, whose bytes contain it.
    """

    ins: Ins
    header: bytes
    new: KeyToWrite
    old: KeyToWrite | None
    version: int | None

    @property
    def ends_session(self) -> bool:
        """Whether the key that authenticated is changed: the card then forgets the session."""
        return self.old is None

    def encipher_with(self, encipher: Callable[[bytes, bytes], bytes]) -> bytes:
        """What `encipher` makes of the key data and of the new key's bytes.

        The key data are new [⊕ old] ‖ [version] (AN12196 §5.16; MF2DL(H)x0 data sheet §11.6.1).
        """
        version = b"" if self.version is None else bytes((self.version,))
        old = self.old
        if old is None:
            return self.new.wrap_for_change(lambda new: encipher(new + version, new))
        return old.wrap_for_change(
            lambda old_bytes: self.new.wrap_for_change(lambda new: encipher(_xor(new, old_bytes) + version, new))
        )


class Sealed(NamedTuple):
    """A command as it travels: what follows the instruction byte, and how to read the answer's data."""

    body: bytes
    reveal: Callable[[bytes], bytes]


class Messaging(Protocol):
    """How the commands of a session are protected; each `seal` is one command, to be sent at once and in order."""

    def seal(self, message: Message) -> Sealed:
        """Protects a command. Its `reveal` raises `CardNotGenuine` and `ProtocolError`."""
        ...

    def seal_key(self, change: KeyChange) -> Sealed:
        """Protects a change of a key."""
        ...


class Unsecured:
    """`Messaging` before any authentication: nothing is protected."""

    def seal(self, message: Message) -> Sealed:
        """See `Messaging.seal`."""
        return Sealed(message.header + message.data, lambda answer: answer)

    def seal_key(self, change: KeyChange) -> Sealed:
        """Raises `ValueError`: a key is never changed in the open."""
        raise ValueError(f"{change.ins.name} needs an authentication first")


def _xor(left: bytes, right: bytes) -> bytes:
    if len(left) != len(right):
        raise ValueError("old and new key differ in length")
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
