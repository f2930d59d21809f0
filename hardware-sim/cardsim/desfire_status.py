# SPDX-License-Identifier: EUPL-1.2
"""DESFire instruction and status codes (MF3D(H)x3 data sheet; the status follows SW1 = 91 in wrapped frames)."""

from enum import IntEnum

from cardsim.errors import CardSimError


class Instruction(IntEnum):
    """Commands the virtual DESFire knows."""

    WRITE_DATA_NATIVE = 0x3D
    GET_KEY_SETTINGS = 0x45
    GET_CARD_UID = 0x51
    SELECT_APPLICATION = 0x5A
    GET_VERSION = 0x60
    GET_KEY_VERSION = 0x64
    GET_APPLICATION_IDS = 0x6A
    GET_FILE_IDS = 0x6F
    AUTHENTICATE_EV2_FIRST = 0x71
    AUTHENTICATE_EV2_NON_FIRST = 0x77
    WRITE_DATA = 0x8D
    READ_DATA = 0xAD
    ADDITIONAL_FRAME = 0xAF
    READ_DATA_NATIVE = 0xBD
    GET_FILE_SETTINGS = 0xF5


class DesfireStatus(IntEnum):
    """Status byte of an answer."""

    OK = 0x00
    ILLEGAL_COMMAND = 0x1C
    INTEGRITY_ERROR = 0x1E
    NO_SUCH_KEY = 0x40
    LENGTH_ERROR = 0x7E
    PERMISSION_DENIED = 0x9D
    APPLICATION_NOT_FOUND = 0xA0
    AUTHENTICATION_ERROR = 0xAE
    ADDITIONAL_FRAME = 0xAF
    BOUNDARY_ERROR = 0xBE
    COMMAND_ABORTED = 0xCA
    FILE_NOT_FOUND = 0xF0


class DesfireError(CardSimError):
    """Ends a command and the session with a status.

    Args:
        status: the status byte of the answer.
    """

    def __init__(self, status: DesfireStatus) -> None:
        super().__init__(f"DESFire status {status.name}")
        self.status = status
