# SPDX-License-Identifier: EUPL-1.2
"""DESFire commands apart from selection and authentication: version, directories, settings, files, UID."""

from collections.abc import Callable
from dataclasses import dataclass

from cardsim.desfire_crypto import BLOCK, MAC_LENGTH
from cardsim.desfire_data import Application, CommunicationMode, StandardFile
from cardsim.desfire_state import Activation
from cardsim.desfire_status import DesfireError, DesfireStatus, Instruction

UID_LENGTH = 7
NATIVE_FRAME = 59
AID_FRAME = 57
LONG_FRAME = 256
DATA_HEADER = 7

# Vendor NXP, DESFire, version 33.0 / 3.0 (EV3), 8 KiB, ISO 14443-4.
HARDWARE_VERSION = bytes.fromhex("04010133001A05")
SOFTWARE_VERSION = bytes.fromhex("04010103001A05")
# Batch, week and year are the same for all virtual cards so that they identify none.
PRODUCTION = bytes.fromhex("00000000000124")


@dataclass(frozen=True)
class CardContent:
    """What commands may see of the whole card."""

    uid: bytes
    picc: Application
    applications: list[Application]


@dataclass(frozen=True)
class Reply:
    """Protected data of a successful answer and the sizes of its frames; the last size repeats."""

    data: bytes
    frame_sizes: tuple[int, ...] = (NATIVE_FRAME,)

    def frames(self) -> list[bytes]:
        """The data cut into frames; at least one."""
        frames, rest, sizes = [], self.data, list(self.frame_sizes)
        while True:
            size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
            frames.append(rest[:size])
            rest = rest[size:]
            if not rest:
                return frames


Handler = Callable[[CardContent, Activation, int, bytes], Reply]


def get_version(_card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """Hardware, software and production data; the UID field is zero because the card has a random UID."""
    state.header_only(ins, body, 0, CommunicationMode.MAC)
    data = HARDWARE_VERSION + SOFTWARE_VERSION + bytes(UID_LENGTH) + PRODUCTION
    return Reply(state.protect(data, CommunicationMode.MAC), (7, 7, NATIVE_FRAME))


def get_application_ids(card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """All AIDs, at the PICC level only."""
    if not state.selected.is_picc_level:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    state.require_listing()
    state.header_only(ins, body, 0, CommunicationMode.MAC)
    aids = b"".join(application.aid for application in card.applications)
    return Reply(state.protect(aids, CommunicationMode.MAC), (AID_FRAME,))


def get_file_ids(_card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """The file numbers of the selected application."""
    state.require_application()
    state.require_listing()
    state.header_only(ins, body, 0, CommunicationMode.MAC)
    return Reply(state.protect(bytes(sorted(state.selected.files)), CommunicationMode.MAC))


def get_file_settings(_card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """Type, mode, rights and size of one file."""
    file = state.find_file(body)
    state.require_listing()
    state.header_only(ins, body, 1, CommunicationMode.MAC)
    return Reply(state.protect(file.settings(), CommunicationMode.MAC))


def get_key_settings(_card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """Key settings and number of AES keys of the selected level."""
    state.require_listing()
    state.header_only(ins, body, 0, CommunicationMode.MAC)
    settings = bytes([state.selected.key_settings, 0x80 | len(state.selected.keys)])
    return Reply(state.protect(settings, CommunicationMode.MAC))


def get_key_version(_card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """The version byte of one key."""
    number = state.header_only(ins, body, 1, CommunicationMode.MAC)[0]
    if number >= len(state.selected.keys):
        raise DesfireError(DesfireStatus.NO_SUCH_KEY)
    version = bytes([state.selected.keys[number].version])
    return Reply(state.protect(version, CommunicationMode.MAC))


def get_card_uid(card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """The real UID, enciphered, for an authenticated reader only."""
    if state.session is None:
        raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)
    state.header_only(ins, body, 0, CommunicationMode.FULL)
    return Reply(state.protect(card.uid, CommunicationMode.FULL))


def read_data(_card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """Bytes of a standard file; length 0 reads to its end."""
    file = state.find_file(body)
    mode = state.granted_mode(file, file.rights.read, file.rights.read_write)
    header = state.header_only(ins, body, DATA_HEADER, mode)
    offset, length = _offset_and_length(header)
    if offset >= len(file.content):
        raise DesfireError(DesfireStatus.BOUNDARY_ERROR)
    end = offset + length if length else len(file.content)
    _check_end(file, end)
    frame = LONG_FRAME if ins == Instruction.READ_DATA else NATIVE_FRAME
    return Reply(state.protect(bytes(file.content[offset:end]), mode), (frame,))


def write_data(_card: CardContent, state: Activation, ins: int, body: bytes) -> Reply:
    """Write bytes of a standard file."""
    if len(body) != write_length(state, body):
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    file, mode = _writable(state, body)
    header, data = state.split(ins, body, DATA_HEADER, mode)
    offset, length = _offset_and_length(header)
    if len(data) != length:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    file.content[offset : offset + length] = data
    return Reply(state.protect(b"", mode))


def write_length(state: Activation, body: bytes) -> int:
    """The length of a whole WriteData body, known from its first frame.

    Raises:
        DesfireError: where the write would be refused anyway.
    """
    file, mode = _writable(state, body)
    if len(body) < DATA_HEADER:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    offset, length = _offset_and_length(body[:DATA_HEADER])
    if length == 0:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    _check_end(file, offset + length)
    if mode is CommunicationMode.FULL:
        return DATA_HEADER + (length // BLOCK + 1) * BLOCK + MAC_LENGTH
    return DATA_HEADER + length + (MAC_LENGTH if mode is CommunicationMode.MAC else 0)


def _writable(state: Activation, body: bytes) -> tuple[StandardFile, CommunicationMode]:
    file = state.find_file(body)
    return file, state.granted_mode(file, file.rights.write, file.rights.read_write)


def _offset_and_length(header: bytes) -> tuple[int, int]:
    return int.from_bytes(header[1:4], "little"), int.from_bytes(header[4:7], "little")


def _check_end(file: StandardFile, end: int) -> None:
    if end > len(file.content):
        raise DesfireError(DesfireStatus.BOUNDARY_ERROR)


HANDLERS: dict[int, Handler] = {
    Instruction.GET_VERSION: get_version,
    Instruction.GET_APPLICATION_IDS: get_application_ids,
    Instruction.GET_FILE_IDS: get_file_ids,
    Instruction.GET_FILE_SETTINGS: get_file_settings,
    Instruction.GET_KEY_SETTINGS: get_key_settings,
    Instruction.GET_KEY_VERSION: get_key_version,
    Instruction.GET_CARD_UID: get_card_uid,
    Instruction.READ_DATA: read_data,
    Instruction.READ_DATA_NATIVE: read_data,
    Instruction.WRITE_DATA: write_data,
    Instruction.WRITE_DATA_NATIVE: write_data,
}
