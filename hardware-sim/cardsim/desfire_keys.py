# SPDX-License-Identifier: EUPL-1.2
"""Commands about keys: settings, versions, changes, key sets.

The set in force always has number 0; RollKeySet turns the numbers, so that of two sets the old one becomes 1, which
has to be initialised before it can be rolled to again. A set that is initialised begins with the keys in force (with
zeros where its kind is another).
"""

from dataclasses import dataclass, field

from cardsim.desfire_ciphers import KeyKind
from cardsim.desfire_data import (
    FREE,
    MASTER_KEY_CHANGEABLE,
    NEVER,
    SETTINGS_CHANGEABLE,
    AesKey,
    Application,
    CardKey,
    CommunicationMode,
    KeySet,
    KeySetRules,
)
from cardsim.desfire_memory import CardMemory
from cardsim.desfire_session import SecureSession
from cardsim.desfire_state import MASTER_KEY, Activation, Handler, Reply, in_frames
from cardsim.desfire_status import DesfireError, DesfireStatus, Instruction

NUMBER_MASK = 0x3F
SET_FOLLOWS = 0x40
ALL_SETS = 0x80
IN_FORCE = 0


def get_key_settings(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Key settings, number and kind of the keys, and what is fixed about key sets."""
    state.require_listing()
    state.header_only(ins, body, 0)
    return in_frames(state.protect(state.selected.told_settings()))


def change_key_settings(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """One enciphered byte, under the master key, for as long as bit 3 allows it."""
    if not state.selected.key_settings & SETTINGS_CHANGEABLE:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    state.require_key(MASTER_KEY)
    _, data = state.split(ins, body, 0, CommunicationMode.FULL, 1)
    state.selected.key_settings = data[0] & 0x0F if state.selected.is_picc_level else data[0]
    return in_frames(state.protect())


def get_key_version(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """The version byte of one key, in the active set or in a named one; or the versions of all sets."""
    length = 2 if body and body[0] & SET_FOLLOWS else 1
    header = state.header_only(ins, body, length)
    application, number = state.selected, header[0] & NUMBER_MASK
    if length == 2 and header[1] & ALL_SETS:
        return in_frames(state.protect(_set_versions(application)))
    keys = application.keys if length == 1 else _keys_of_set(application, header[1])
    if number >= len(keys):
        raise DesfireError(DesfireStatus.NO_SUCH_KEY)
    return in_frames(state.protect(bytes([keys[number].told_version])))


def _set_versions(application: Application) -> bytes:
    rules = _key_set_rules(application)
    told = bytearray(rules.count)
    told[0] = application.set_version
    for number, prepared in application.prepared_sets.items():
        told[number] = prepared.version
    return bytes(told)


def _key_set_rules(application: Application) -> KeySetRules:
    if application.key_set_rules is None:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    return application.key_set_rules


def _keys_of_set(application: Application, number: int) -> list[CardKey]:
    if number == IN_FORCE:
        return application.keys
    if number >= _key_set_rules(application).count or number not in application.prepared_sets:
        raise DesfireError(DesfireStatus.NO_SUCH_KEY)
    return application.prepared_sets[number].keys


def change_key(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Change a key of the active set; at the PICC level the number's high bits choose the kind."""
    if not body:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    application = state.selected
    kind = application.kind
    if application.is_picc_level:
        if body[0] >> 6 == 3:
            raise DesfireError(DesfireStatus.PARAMETER_ERROR)
        kind = KeyKind(body[0] >> 6)
    return _change(state, _Change(ins, body[:1], body[1:], body[0] & NUMBER_MASK, application.keys, kind))


def change_key_ev2(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Change a key of any set that is active or in preparation."""
    if len(body) < 2:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    application, set_number = state.selected, body[0]
    if set_number == IN_FORCE:
        kind = KeyKind(min(body[1] >> 6, 2)) if application.is_picc_level else application.kind
        return _change(state, _Change(ins, body[:2], body[2:], body[1] & NUMBER_MASK, application.keys, kind))
    keys = _keys_of_set(application, set_number)
    if application.prepared_sets[set_number].is_final:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    return _change(state, _Change(ins, body[:2], body[2:], body[1] & NUMBER_MASK, keys, keys[0].kind, is_active=False))


@dataclass(frozen=True)
class _Change:
    """One ChangeKey command, before its data are opened."""

    ins: int
    header: bytes
    rest: bytes = field(repr=False)
    number: int
    keys: list[CardKey]
    kind: KeyKind
    is_active: bool = True

    def new_key(self, session: SecureSession, *, of_another: bool) -> CardKey:
        """The key that the data hold."""
        size = self.kind.key_length
        versioned = self.kind is KeyKind.AES
        length = size + (1 if versioned else 0)
        data, checksum = session.open_key(self.ins, self.header, self.rest, length, of_another=of_another)
        value, version = data[:size], data[size] if versioned else 0
        if of_another:
            value = bytes(a ^ b for a, b in zip(value, self.keys[self.number].value, strict=True))
            if checksum != session.key_checksum(value):
                raise DesfireError(DesfireStatus.INTEGRITY_ERROR)
        return AesKey(value, version) if versioned else CardKey(value, 0, self.kind)


def _change(state: Activation, change: _Change) -> Reply:
    if change.number >= len(change.keys):
        raise DesfireError(DesfireStatus.NO_SUCH_KEY)
    session = state.session
    if session is None:
        raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)
    _authorise(state, change.number)
    of_another = not change.is_active or change.number != session.key_number
    change.keys[change.number] = change.new_key(session, of_another=of_another)
    if of_another:
        return in_frames(state.protect())
    return Reply([b""], ends_session=True)


def _authorise(state: Activation, number: int) -> None:
    """Who may change a key: key settings bit 0 for the master key, the high half for the others."""
    settings, rule = state.selected.key_settings, state.selected.key_settings >> 4
    if state.selected.is_picc_level or number == MASTER_KEY:
        if not settings & MASTER_KEY_CHANGEABLE:
            raise DesfireError(DesfireStatus.PERMISSION_DENIED)
        state.require_key(MASTER_KEY)
    elif rule == NEVER:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    elif rule == FREE:
        state.require_key(number)
    else:
        # The key that changes the others is itself changed by the master key.
        state.require_key(MASTER_KEY if number == rule else rule)


def initialize_key_set(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Set number and kind: the set begins anew."""
    rules, number = _prepare(state, body)
    _, kind = state.header_only(ins, body, 2)
    if kind > KeyKind.AES or KeyKind(kind).key_length > rules.max_key_length:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    chosen, keys = KeyKind(kind), state.selected.keys
    if chosen is not state.selected.kind:
        zeros = bytes(chosen.key_length)
        keys = [AesKey(zeros) if chosen is KeyKind.AES else CardKey(zeros, 0, chosen)] * len(keys)
    state.selected.prepared_sets[number] = KeySet(list(keys))
    return in_frames(state.protect())


def finalize_key_set(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """Set number and version: the set is ready to be rolled to."""
    _, number = _prepare(state, body)
    _, version = state.header_only(ins, body, 2)
    prepared = state.selected.prepared_sets.get(number)
    if prepared is None or prepared.is_final:
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    prepared.version, prepared.is_final = version, True
    return in_frames(state.protect())


def _prepare(state: Activation, body: bytes) -> tuple[KeySetRules, int]:
    state.require_application()
    rules = _key_set_rules(state.selected)
    if not body:
        raise DesfireError(DesfireStatus.LENGTH_ERROR)
    change_key_number = state.selected.key_settings >> 4
    state.require_key(MASTER_KEY, *([change_key_number] if change_key_number < FREE else []))
    if body[0] >= rules.count or body[0] == IN_FORCE:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    return rules, body[0]


def roll_key_set(_card: CardMemory, state: Activation, ins: int, body: bytes) -> Reply:
    """A final set comes into force, under the roll key; the old set is gone and the session with it."""
    state.require_application()
    application = state.selected
    rules = _key_set_rules(application)
    state.require_key(rules.roll_key)
    number = state.header_only(ins, body, 1)[0]
    if number >= rules.count or number == IN_FORCE:
        raise DesfireError(DesfireStatus.PARAMETER_ERROR)
    prepared = application.prepared_sets.get(number)
    if prepared is None or not prepared.is_final or not _may_follow(prepared.keys[0].kind, application.kind):
        raise DesfireError(DesfireStatus.PERMISSION_DENIED)
    _turn(application, rules.count, number)
    return Reply([b""], ends_session=True)


def _may_follow(new: KeyKind, old: KeyKind) -> bool:
    """AES may follow DES; nothing weaker follows AES."""
    return new is old or new is KeyKind.AES


def _turn(application: Application, count: int, number: int) -> None:
    """The set with this number becomes 0, and the others keep their order in the circle."""
    there: dict[int, KeySet] = {
        **application.prepared_sets,
        IN_FORCE: KeySet(application.keys, application.set_version),
    }
    turned = {(place - number) % count: key_set for place, key_set in there.items()}
    now = turned.pop(IN_FORCE)
    application.keys, application.set_version, application.prepared_sets = now.keys, now.version, turned


HANDLERS: dict[int, Handler] = {
    Instruction.GET_KEY_SETTINGS: get_key_settings,
    Instruction.CHANGE_KEY_SETTINGS: change_key_settings,
    Instruction.GET_KEY_VERSION: get_key_version,
    Instruction.CHANGE_KEY: change_key,
    Instruction.CHANGE_KEY_EV2: change_key_ev2,
    Instruction.INITIALIZE_KEY_SET: initialize_key_set,
    Instruction.FINALIZE_KEY_SET: finalize_key_set,
    Instruction.ROLL_KEY_SET: roll_key_set,
}
