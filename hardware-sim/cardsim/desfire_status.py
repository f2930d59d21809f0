# SPDX-License-Identifier: EUPL-1.2
"""DESFire instruction and status codes (MF3D(H)x3 data sheet; the status follows SW1 = 91 in wrapped frames)."""

from enum import IntEnum

from cardsim.errors import CardSimError


class Instruction(IntEnum):
    """Commands the virtual DESFire knows."""

    AUTHENTICATE = 0x0A
    CREDIT = 0x0C
    AUTHENTICATE_ISO = 0x1A
    LIMITED_CREDIT = 0x1C
    WRITE_RECORD_NATIVE = 0x3B
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
    GET_ISO_FILE_IDS = 0x61
    GET_KEY_VERSION = 0x64
    GET_APPLICATION_IDS = 0x6A
    GET_VALUE = 0x6C
    GET_DF_NAMES = 0x6D
    FREE_MEMORY = 0x6E
    GET_FILE_IDS = 0x6F
    AUTHENTICATE_EV2_FIRST = 0x71
    AUTHENTICATE_EV2_NON_FIRST = 0x77
    WRITE_RECORD = 0x8B
    WRITE_DATA = 0x8D
    ABORT_TRANSACTION = 0xA7
    AUTHENTICATE_AES = 0xAA
    READ_RECORDS = 0xAB
    READ_DATA = 0xAD
    ADDITIONAL_FRAME = 0xAF
    READ_RECORDS_NATIVE = 0xBB
    READ_DATA_NATIVE = 0xBD
    CREATE_CYCLIC_RECORD_FILE = 0xC0
    CREATE_LINEAR_RECORD_FILE = 0xC1
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
    CLEAR_RECORD_FILE = 0xEB
    GET_FILE_SETTINGS = 0xF5
    FORMAT_PICC = 0xFC


SINCE_EV2 = frozenset(
    {
        Instruction.READ_SIGNATURE,
        Instruction.ROLL_KEY_SET,
        Instruction.INITIALIZE_KEY_SET,
        Instruction.FINALIZE_KEY_SET,
        Instruction.AUTHENTICATE_EV2_FIRST,
        Instruction.AUTHENTICATE_EV2_NON_FIRST,
        Instruction.WRITE_RECORD,
        Instruction.WRITE_DATA,
        Instruction.READ_RECORDS,
        Instruction.READ_DATA,
        Instruction.CHANGE_KEY_EV2,
    }
)
"""Commands that an EV1 answers as unknown."""


class DesfireStatus(IntEnum):
    """Status byte of an answer."""

    OK = 0x00
    NO_CHANGES = 0x0C
    OUT_OF_MEMORY = 0x0E
    ILLEGAL_COMMAND = 0x1C
    INTEGRITY_ERROR = 0x1E
    NO_SUCH_KEY = 0x40
    LENGTH_ERROR = 0x7E
    SIGNATURE = 0x90
    PERMISSION_DENIED = 0x9D
    PARAMETER_ERROR = 0x9E
    APPLICATION_NOT_FOUND = 0xA0
    AUTHENTICATION_ERROR = 0xAE
    ADDITIONAL_FRAME = 0xAF
    BOUNDARY_ERROR = 0xBE
    CARD_INTEGRITY_ERROR = 0xC1
    COMMAND_ABORTED = 0xCA
    CARD_DISABLED = 0xCD
    COUNT_ERROR = 0xCE
    DUPLICATE = 0xDE
    MEMORY_ERROR = 0xEE
    FILE_NOT_FOUND = 0xF0


class DesfireError(CardSimError):
    """Ends a command and the session with a status.

    Args:
        status: the status byte of the answer.
    """

    def __init__(self, status: DesfireStatus) -> None:
        super().__init__(f"DESFire status {status.name}")
        self.status = status
