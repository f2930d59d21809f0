# SPDX-License-Identifier: EUPL-1.2
"""Makes the applets of an employee card from its parameters (docs/card-layout.md)."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from cardsim.an10922 import diversify
from cardsim.desfire import DesfireApplet
from cardsim.desfire_data import (
    AID_LENGTH,
    KEY_LENGTH,
    AccessRights,
    AesKey,
    Application,
    CommunicationMode,
    KeySetRules,
    StandardFile,
)
from cardsim.desfire_memory import DEFAULT_KEY_LENGTH, CardMemory, Chip, Configuration, factory_fresh
from cardsim.errors import PersonalisationError
from cardsim.piv import PivApplet
from cardsim.piv_keys import PivSlot
from cardsim.piv_objects import CERTIFICATES, data_objects
from cardsim.piv_reference import REFERENCE_LENGTH, ReferenceData, padded_pin

LAYOUT = 0x01
FILE_NUMBER = 1
NUMBER_LENGTH = 12
MAX_SYSTEM_ID_LENGTH = 16
APPLICATION_MASTER_KEY = 0
LOCATE_KEY = 2
FILE_RIGHTS = AccessRights(
    read=LOCATE_KEY,
    write=APPLICATION_MASTER_KEY,
    read_write=APPLICATION_MASTER_KEY,
    change=APPLICATION_MASTER_KEY,
)
PICC_KEY_SETTINGS = 0x09
KEY_SETS = KeySetRules(count=2, max_key_length=KEY_LENGTH, roll_key=APPLICATION_MASTER_KEY)
BADGE_NUMBER_LENGTH = 12
DEFAULT_EXPIRY = date(2032, 12, 31)


@dataclass(frozen=True)
class UseKeys:
    """One use with the master keys of its issuer; the card gets keys diversified from them."""

    aid_as_sent: bytes
    application_master: bytes = field(repr=False)
    proof_master: bytes = field(repr=False)
    locate_key: bytes = field(repr=False)
    generation: int
    number: bytes


@dataclass(frozen=True)
class CardKeys:
    """One use with the keys exactly as the card holds them."""

    aid_as_sent: bytes
    application_key: bytes = field(repr=False)
    proof_key: bytes = field(repr=False)
    locate_key: bytes = field(repr=False)
    generation: int
    number: bytes


def derive_card_keys(system_id: bytes, use: UseKeys) -> CardKeys:
    """Diversify the masters of one use for one card: M = number ‖ AID as sent ‖ system id.

    Raises:
        PersonalisationError: if a length is not allowed.
    """
    if not 1 <= len(system_id) <= MAX_SYSTEM_ID_LENGTH:
        raise PersonalisationError(f"the system id has 1 to 16 bytes, got {len(system_id)}")
    _check_identity(use.aid_as_sent, use.number, use.generation)
    _check_keys(use.application_master, use.proof_master, use.locate_key)
    diversification_input = use.number + use.aid_as_sent + system_id
    return CardKeys(
        aid_as_sent=use.aid_as_sent,
        application_key=diversify(master=use.application_master, diversification_input=diversification_input),
        proof_key=diversify(master=use.proof_master, diversification_input=diversification_input),
        locate_key=use.locate_key,
        generation=use.generation,
        number=use.number,
    )


def derive_picc_key(system_id: bytes, *, picc_master: bytes, badge_number: bytes) -> bytes:
    """The PICC key of one card: M = badge number ‖ 00 00 00 ‖ system id.

    Raises:
        PersonalisationError: if a length is not allowed.
    """
    if not 1 <= len(system_id) <= MAX_SYSTEM_ID_LENGTH:
        raise PersonalisationError(f"the system id has 1 to 16 bytes, got {len(system_id)}")
    if len(badge_number) != BADGE_NUMBER_LENGTH:
        raise PersonalisationError(f"a badge number has {BADGE_NUMBER_LENGTH} bytes, got {len(badge_number)}")
    _check_keys(picc_master)
    return diversify(master=picc_master, diversification_input=badge_number + bytes(AID_LENGTH) + system_id)


def use_application(keys: CardKeys, *, one_key_set: bool = False) -> Application:
    """The application of one use: three keys and file 1, and a second key set unless the card is an older one.

    Raises:
        PersonalisationError: if a length is not allowed.
    """
    _check_identity(keys.aid_as_sent, keys.number, keys.generation)
    _check_keys(keys.application_key, keys.proof_key, keys.locate_key)
    content = bytearray(bytes([LAYOUT, keys.generation]) + keys.number)
    return Application(
        aid=keys.aid_as_sent,
        keys=[AesKey(keys.application_key), AesKey(keys.proof_key), AesKey(keys.locate_key)],
        files={FILE_NUMBER: StandardFile(FILE_NUMBER, content, CommunicationMode.FULL, FILE_RIGHTS)},
        key_set_rules=None if one_key_set else KEY_SETS,
        set_version=0 if one_key_set else keys.generation,
    )


def desfire_with(
    applications: Sequence[Application], *, uid: bytes | None = None, picc_key: bytes | None = None
) -> DesfireApplet:
    """A DESFire with these applications and a random UID; real UID and PICC key are drawn where they are not given.

    Raises:
        PersonalisationError: if lengths are wrong or an AID is used twice.
    """
    master = secrets.token_bytes(KEY_LENGTH) if picc_key is None else picc_key
    default_key = secrets.token_bytes(KEY_LENGTH).ljust(DEFAULT_KEY_LENGTH, b"\x00")
    settings = Configuration(random_uid=True, default_key=default_key)
    try:
        picc = Application(bytes(AID_LENGTH), [AesKey(master)], key_settings=PICC_KEY_SETTINGS)
        memory = CardMemory(picc, list(applications), uid or new_uid(), configuration=settings)
    except ValueError as error:
        raise PersonalisationError(str(error)) from error
    return DesfireApplet(memory)


def factory_desfire(*, chip: Chip = Chip.EV2, capacity_bytes: int = 8192, uid: bytes | None = None) -> DesfireApplet:
    """A DESFire as it leaves the factory: a DES master key of zeros, its real UID on the air.

    Raises:
        PersonalisationError: if a length or the capacity is wrong.
    """
    try:
        return DesfireApplet(factory_fresh(uid or new_uid(), chip=chip, capacity_bytes=capacity_bytes))
    except ValueError as error:
        raise PersonalisationError(str(error)) from error


def new_uid() -> bytes:
    """A UID of 7 bytes; 04 is the maker's number of NXP."""
    return b"\x04" + secrets.token_bytes(6)


def personalise_desfire(system_id: bytes, uses: Sequence[UseKeys]) -> DesfireApplet:
    """The DESFire of a card with one application per use.

    Raises:
        PersonalisationError: if a length is wrong or an AID is used twice.
    """
    return desfire_with([use_application(derive_card_keys(system_id, use)) for use in uses])


def personalise_piv(
    card_uuid: UUID, *, pin: str, puk: str, slots: Mapping[int, PivSlot], expires: date = DEFAULT_EXPIRY
) -> PivApplet:
    """The PIV application of a card; ``puk`` has 8 ASCII characters, slots are numbered 9A, 9C, 9D, 9E.

    Raises:
        PersonalisationError: if the PIN, the PUK or a slot number is not allowed.
    """
    unknown = set(slots) - set(CERTIFICATES)
    if unknown:
        raise PersonalisationError(f"slots are 9A, 9C, 9D and 9E, got {min(unknown):02X}")
    if len(puk) != REFERENCE_LENGTH or not puk.isascii():
        raise PersonalisationError("a PUK has 8 ASCII characters")
    try:
        pin_reference, puk_reference = ReferenceData(padded_pin(pin)), ReferenceData(puk.encode("ascii"))
        objects = data_objects(card_uuid, expires, slots)
    except ValueError as error:
        raise PersonalisationError(str(error)) from error
    return PivApplet(objects, dict(slots), pin_reference, puk_reference)


def _check_identity(aid_as_sent: bytes, number: bytes, generation: int) -> None:
    if len(aid_as_sent) != AID_LENGTH or aid_as_sent == bytes(AID_LENGTH):
        raise PersonalisationError("an AID has 3 bytes and is not 000000")
    if len(number) != NUMBER_LENGTH:
        raise PersonalisationError(f"the number of a use has 12 bytes, got {len(number)}")
    if not 1 <= generation <= 0xFF:
        raise PersonalisationError(f"the generation is 1 to 255, got {generation}")


def _check_keys(*keys: bytes) -> None:
    for key in keys:
        if len(key) != KEY_LENGTH:
            raise PersonalisationError(f"an AES-128 key has 16 bytes, got {len(key)}")
