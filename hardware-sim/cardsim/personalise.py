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
    StandardFile,
)
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
PICC_KEY_SETTINGS = 0x0F
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


def use_application(keys: CardKeys) -> Application:
    """The application of one use: three keys and file 1.

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
    )


def desfire_with(
    applications: Sequence[Application], *, uid: bytes | None = None, picc_master: bytes | None = None
) -> DesfireApplet:
    """A DESFire with these applications; UID and PICC master key are drawn where they are not given.

    Raises:
        PersonalisationError: if lengths are wrong or an AID is used twice.
    """
    master = secrets.token_bytes(KEY_LENGTH) if picc_master is None else picc_master
    real_uid = b"\x04" + secrets.token_bytes(6) if uid is None else uid
    try:
        picc = Application(bytes(AID_LENGTH), [AesKey(master)], key_settings=PICC_KEY_SETTINGS)
        return DesfireApplet(picc, list(applications), real_uid)
    except ValueError as error:
        raise PersonalisationError(str(error)) from error


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
