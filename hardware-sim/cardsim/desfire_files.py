# SPDX-License-Identifier: EUPL-1.2
"""Commands that make, show, change and delete files."""

from cardsim.desfire_data import (
    FREE,
    NEVER,
    AccessRights,
    CardFile,
    CommunicationMode,
    RecordFile,
    StandardFile,
    ValueFile,
)
from cardsim.desfire_memory import CardMemory, blocks
from cardsim.desfire_state import Activation, Handler, Reply, in_frames
from cardsim.desfire_status import DesfireError, DesfireStatus, Instruction

MAX_FILE_NUMBER = 0x1F
PLAIN_TOO = 2
"""Communication settings with bit 1 alone mean plain."""


def get_file_ids(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """The file numbers of the selected application."""
    state.require_application()
    state.require_listing()
    state.header_only(ins, body, 0)
    return in_frames(state.protect(bytes(sorted(state.selected.files))))


def get_iso_file_ids(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """The ISO file identifiers of the selected application."""
    state.require_application()
    state.require_listing()
    state.header_only(ins, body, 0)
    files = state.selected.files.values()
    return in_frames(state.protect(b"".join(file.iso_file_id for file in files if file.iso_file_id)))


def get_file_settings(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Type, mode, rights and what the type adds, of one file."""
    file = state.find_file(body)
    state.require_listing()
    state.header_only(ins, body, 1)
    return in_frames(state.protect(file.settings()))


def change_file_settings(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Mode and rights (3 bytes), enciphered under the change key, plain where changing is free."""
    file = state.find_file(body)
    if file.rights.change == NEVER:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    mode = CommunicationMode.PLAIN
    if file.rights.change != FREE:
        state.require_key(file.rights.change)
        mode = CommunicationMode.FULL
    _, data = state.split(ins, body, 1, mode, 3)
    new_mode, rights = _parse_settings(state, data)
    answer = state.protect(b"", CommunicationMode.PLAIN if mode is CommunicationMode.PLAIN else None)
    file.mode, file.rights = new_mode, rights
    return in_frames(answer)


def create_standard_file(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Number, [ISO file identifier], mode, rights, size (3); a backup file takes its memory twice."""
    common, rest = _open_creation(state, ins, body, 3)
    size = int.from_bytes(rest, "little")
    backup = ins == Instruction.CREATE_BACKUP_DATA_FILE
    if size == 0:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    _take_memory(card, blocks(size) * (2 if backup else 1))
    number, iso, mode, rights = common
    return _add(state, StandardFile(number, bytearray(size), mode, rights, backup, iso_file_id=iso))


def create_value_file(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Number, mode, rights, lower limit, upper limit, value (4 each, signed), options."""
    common, rest = _open_creation(state, ins, body, 13, has_iso_id=False)
    lower, upper, value = (int.from_bytes(rest[at : at + 4], "little", signed=True) for at in (0, 4, 8))
    if not lower <= value <= upper or rest[12] & ~0x03:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    _take_memory(card, blocks(0))
    number, _, mode, rights = common
    return _add(state, ValueFile(number, mode, rights, lower, upper, value, options=rest[12]))


def create_record_file(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Number, [ISO file identifier], mode, rights, record size (3), greatest number of records (3)."""
    common, rest = _open_creation(state, ins, body, 6)
    size, capacity = (int.from_bytes(rest[at : at + 3], "little") for at in (0, 3))
    cyclic = ins == Instruction.CREATE_CYCLIC_RECORD_FILE
    if size == 0 or capacity < (2 if cyclic else 1):
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    _take_memory(card, blocks(size * capacity))
    number, iso, mode, rights = common
    return _add(state, RecordFile(number, mode, rights, size, capacity, cyclic, iso_file_id=iso))


def delete_file(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """The number is free again; the memory is not."""
    file = state.find_file(body)
    state.require_creation()
    state.header_only(ins, body, 1)
    del state.selected.files[file.number]
    state.transaction.pop(file.number, None)
    return in_frames(state.protect())


Common = tuple[int, bytes | None, CommunicationMode, AccessRights]


def _open_creation(
    state: Activation, ins: int, body: bytes, more: int, *, has_iso_id: bool = True
) -> tuple[Common, bytes]:
    """What all files are made from, and the rest of the command; ``more`` is its length."""
    state.require_application()
    state.require_creation()
    iso_length = 2 if has_iso_id and state.selected.files_have_iso_ids else 0
    header = state.header_only(ins, body, 4 + iso_length + more)
    number, iso, settings = header[0], header[1 : 1 + iso_length], header[1 + iso_length : 4 + iso_length]
    if number > MAX_FILE_NUMBER:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    if number in state.selected.files or any(iso == file.iso_file_id for file in state.selected.files.values()):
        raise DesfireError(DesfireStatus.DUPLICATE)
    mode, rights = _parse_settings(state, settings)
    return (number, iso or None, mode, rights), header[4 + iso_length :]


def _parse_settings(state: Activation, settings: bytes) -> tuple[CommunicationMode, AccessRights]:
    rights = AccessRights.decode(settings[1:])
    named = (rights.read, rights.write, rights.read_write, rights.change)
    if settings[0] > CommunicationMode.FULL or any(len(state.selected.keys) <= key < FREE for key in named):
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    return CommunicationMode(0 if settings[0] == PLAIN_TOO else settings[0]), rights


def _take_memory(card: CardMemory, length: int) -> None:
    if length > card.free_bytes:
        raise DesfireError(DesfireStatus.OUT_OF_MEMORY)
    card.used_bytes += length


def _add(state: Activation, file: CardFile) -> Reply:
    state.selected.files[file.number] = file
    return in_frames(state.protect())


HANDLERS: dict[int, Handler] = {
    Instruction.GET_FILE_IDS: get_file_ids,
    Instruction.GET_ISO_FILE_IDS: get_iso_file_ids,
    Instruction.GET_FILE_SETTINGS: get_file_settings,
    Instruction.CHANGE_FILE_SETTINGS: change_file_settings,
    Instruction.CREATE_STD_DATA_FILE: create_standard_file,
    Instruction.CREATE_BACKUP_DATA_FILE: create_standard_file,
    Instruction.CREATE_VALUE_FILE: create_value_file,
    Instruction.CREATE_LINEAR_RECORD_FILE: create_record_file,
    Instruction.CREATE_CYCLIC_RECORD_FILE: create_record_file,
    Instruction.DELETE_FILE: delete_file,
}
