# SPDX-License-Identifier: EUPL-1.2
"""Commands about the whole card: version, UID, signature, applications, configuration, format."""

from cardsim.desfire_ciphers import KeyKind
from cardsim.desfire_data import (
    AID_LENGTH,
    FREE_CREATION,
    MAX_KEYS,
    Application,
    CommunicationMode,
    KeySetRules,
)
from cardsim.desfire_memory import DEFAULT_KEY_LENGTH, UID_LENGTH, CardMemory, Chip, blocks
from cardsim.desfire_signature import sign_uid
from cardsim.desfire_state import MASTER_KEY, NATIVE_FRAME, Activation, Handler, Reply, in_frames
from cardsim.desfire_status import DesfireError, DesfireStatus, Instruction

AID_FRAME = 57
EV1_MAX_APPLICATIONS = 28
MAX_DF_NAME = 16
MAX_ATS = 20
# Batch, week and year are the same for all virtual cards so that they identify none.
PRODUCTION = bytes.fromhex("00000000000124")
KEY_SETTINGS_3_FOLLOW, ISO_NAMES = 0x10, 0x20
KEY_SETS = 0x01
MAX_KEY_SETS = 16
MAX_ROLL_KEY = 7


def get_version(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Hardware, software and production data; with a random UID the field of the UID is zero."""
    state.header_only(ins, body, 0)
    hardware, software = card.chip.value
    storage = 0x18 if card.capacity_bytes == 4096 else 0x1A
    data = b"".join(bytes.fromhex(f"040101{version}{storage:02X}05") for version in (hardware, software))
    data += (bytes(UID_LENGTH) if card.configuration.random_uid else card.uid) + PRODUCTION
    return in_frames(state.protect(data), 7, 7, NATIVE_FRAME)


def get_card_uid(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """The real UID, enciphered, for an authenticated reader only."""
    if state.session is None:
        raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)
    state.header_only(ins, body, 0, CommunicationMode.FULL)
    return in_frames(state.protect(card.uid, CommunicationMode.FULL))


def free_memory(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """What is left, in bytes (3, LSB first)."""
    state.header_only(ins, body, 0)
    return in_frames(state.protect(card.free_bytes.to_bytes(3, "little")))


def read_signature(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """The originality signature over the real UID; a card with a random UID tells it enciphered only."""
    session = state.session
    if session is None and card.configuration.random_uid:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    if state.header_only(ins, body, 1, CommunicationMode.FULL) != b"\x00":
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    signature = sign_uid(card.uid)
    if session is not None:
        signature = session.close(signature, CommunicationMode.FULL, status=DesfireStatus.SIGNATURE)
    return Reply([signature], DesfireStatus.SIGNATURE)


def get_application_ids(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """All AIDs, at the PICC level only."""
    state.require_picc_level()
    state.require_listing()
    state.header_only(ins, body, 0)
    aids = b"".join(application.aid for application in card.applications)
    return in_frames(state.protect(aids), AID_FRAME)


def get_df_names(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """One frame for each application with an ISO name: AID, file identifier, name.

    An EV1 that is asked inside a session disables itself with the second frame, as real ones do.
    """
    state.require_picc_level()
    state.require_listing()
    state.header_only(ins, body, 0)
    named = [application for application in card.applications if application.iso_file_id is not None]
    frames = [each.aid + (each.iso_file_id or b"") + each.df_name for each in named] or [b""]
    protection = state.protect(b"".join(frames))[sum(map(len, frames)) :]
    frames[-1] += protection
    fatal = card.chip is Chip.EV1 and state.session is not None and len(frames) > 1
    return Reply(frames, disables_card=fatal)


def create_application(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """AID, KeySett1, KeySett2, [KeySett3, [set version, sets, key size, roll key]], [file identifier, DF name]."""
    state.require_picc_level()
    state.require_creation()
    application = _parse_application(card, state.whole_header(ins, body, AID_LENGTH + 2))
    sets = application.key_set_rules.count if application.key_set_rules else 1
    size = blocks(0) + blocks(len(application.keys) * sets * application.kind.key_length)
    if size > card.free_bytes:
        raise DesfireError(DesfireStatus.OUT_OF_MEMORY)
    if card.chip is Chip.EV1 and len(card.applications) >= EV1_MAX_APPLICATIONS:
        raise DesfireError(DesfireStatus.COUNT_ERROR)
    card.used_bytes += size
    card.applications.append(application)
    return in_frames(state.protect())


def _parse_application(card: CardMemory, description: bytes) -> Application:
    aid, settings, flags = description[:3], description[3], description[4]
    rest = description[5:]
    if aid == bytes(AID_LENGTH) or not 1 <= flags & 0xF <= MAX_KEYS or flags >> 6 == 3:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    kind = KeyKind(flags >> 6)
    keys = [card.configuration.new_key(kind)] * (flags & 0xF)
    application = Application(aid, keys, key_settings=settings)
    if flags & KEY_SETTINGS_3_FOLLOW:
        rest = _take_key_sets(card, application, rest)
    application.files_have_iso_ids = bool(flags & ISO_NAMES)
    if rest or application.files_have_iso_ids:
        _take_names(application, rest)
    _refuse_duplicates(card, application)
    return application


def _take_key_sets(card: CardMemory, application: Application, rest: bytes) -> bytes:
    if card.chip is Chip.EV1:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    if not rest:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    if rest[0] & ~KEY_SETS:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    if not rest[0]:
        return rest[1:]
    if len(rest) < 5:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    version, count, size, roll_key = rest[1:5]
    if not 2 <= count <= MAX_KEY_SETS or size not in (16, 24) or size < application.kind.key_length:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    if roll_key > MAX_ROLL_KEY or roll_key >= len(application.keys):
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    application.key_set_rules = KeySetRules(count, size, roll_key)
    application.set_version = version
    return rest[5:]


def _take_names(application: Application, rest: bytes) -> None:
    """File identifier and DF name of the application itself, whether its files have identifiers or not."""
    if not 2 <= len(rest) <= 2 + MAX_DF_NAME:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    application.iso_file_id, application.df_name = rest[:2], rest[2:]


def _refuse_duplicates(card: CardMemory, new: Application) -> None:
    for there in card.applications:
        same_id = new.iso_file_id is not None and there.iso_file_id == new.iso_file_id
        if there.aid == new.aid or same_id or (new.df_name and there.df_name == new.df_name):
            raise DesfireError(DesfireStatus.DUPLICATE)


def delete_application(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Under the PICC key; under the application's own master key where the card's settings leave that free."""
    if len(body) < AID_LENGTH:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    application = card.find(body[:AID_LENGTH])
    if application is None:
        raise DesfireError(DesfireStatus.APPLICATION_NOT_FOUND)
    if application.is_picc_level:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    if not state.selected.is_picc_level and state.selected is not application:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    if not state.selected.is_picc_level and not card.picc.key_settings & FREE_CREATION:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    state.require_key(MASTER_KEY)
    state.header_only(ins, body, AID_LENGTH)
    answer = state.protect()
    card.applications.remove(application)
    was_selected = state.selected is application
    return Reply([answer], activation=Activation(card.picc) if was_selected else None)


def set_configuration(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Option, then enciphered data: 00 flags, 01 default key and version, 02 ATS."""
    state.require_picc_level()
    state.require_key(MASTER_KEY)
    if not body:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    lengths: dict[int, int | None] = {0x00: 1, 0x01: DEFAULT_KEY_LENGTH + 1, 0x02: None}
    if body[0] not in lengths:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    header, data = state.split(ins, body, 1, CommunicationMode.FULL, lengths[body[0]])
    settings = card.configuration
    if header[0] == 0x00:
        if data[0] & ~0x03:
            raise DesfireError(DesfireStatus.PARAMETER_ERROR)
        settings.format_disabled |= bool(data[0] & 1)
        settings.random_uid |= bool(data[0] & 2)
    elif header[0] == 0x01:
        settings.default_key, settings.default_version = data[:DEFAULT_KEY_LENGTH], data[DEFAULT_KEY_LENGTH]
    else:
        if not 2 <= len(data) <= MAX_ATS or data[0] != len(data):
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        settings.ats = data
    return in_frames(state.protect())


def format_picc(card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Every application goes, and all memory comes back; key, settings and configuration stay."""
    state.require_picc_level()
    state.require_key(MASTER_KEY)
    state.header_only(ins, body, 0)
    if card.configuration.format_disabled:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    card.applications.clear()
    card.used_bytes = 0
    return in_frames(state.protect())


HANDLERS: dict[int, Handler] = {
    Instruction.GET_VERSION: get_version,
    Instruction.GET_CARD_UID: get_card_uid,
    Instruction.FREE_MEMORY: free_memory,
    Instruction.READ_SIGNATURE: read_signature,
    Instruction.GET_APPLICATION_IDS: get_application_ids,
    Instruction.GET_DF_NAMES: get_df_names,
    Instruction.CREATE_APPLICATION: create_application,
    Instruction.DELETE_APPLICATION: delete_application,
    Instruction.SET_CONFIGURATION: set_configuration,
    Instruction.FORMAT_PICC: format_picc,
}
