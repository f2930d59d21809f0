# SPDX-License-Identifier: EUPL-1.2
"""PIV data objects (SP 800-73-4 part 1, sections 3 and 4.1 and appendix A)."""

from collections.abc import Mapping
from datetime import date
from uuid import UUID

from cardsim import tlv
from cardsim.piv_keys import (
    CARD_AUTHENTICATION,
    DIGITAL_SIGNATURE,
    KEY_MANAGEMENT,
    PIV_AUTHENTICATION,
    PivSlot,
)

DISCOVERY = bytes.fromhex("7E")
CCC = bytes.fromhex("5FC107")
CHUID = bytes.fromhex("5FC102")
CERTIFICATES = {
    PIV_AUTHENTICATION: bytes.fromhex("5FC105"),
    DIGITAL_SIGNATURE: bytes.fromhex("5FC10A"),
    KEY_MANAGEMENT: bytes.fromhex("5FC10B"),
    CARD_AUTHENTICATION: bytes.fromhex("5FC101"),
}
BIOMETRIC_TEMPLATES = bytes.fromhex("7F61")
FINGERPRINTS, SECURITY_OBJECT = bytes.fromhex("5FC103"), bytes.fromhex("5FC106")
FACE, PRINTED = bytes.fromhex("5FC108"), bytes.fromhex("5FC109")
KEY_HISTORY, IRISES = bytes.fromhex("5FC10C"), bytes.fromhex("5FC121")
MESSAGING_SIGNER, PAIRING_CODE = bytes.fromhex("5FC122"), bytes.fromhex("5FC123")
RETIRED_CERTIFICATES = tuple(b"\x5f\xc1" + bytes([last]) for last in range(0x0D, 0x21))
"""Certificates of the retired key management keys 82 to 95, in this order."""

# Part 1 table 2: readable at the contactless interface without a virtual contact interface, and only with the PIN.
FREE_AT_CONTACTLESS = frozenset(
    {DISCOVERY, CHUID, CERTIFICATES[CARD_AUTHENTICATION], BIOMETRIC_TEMPLATES, MESSAGING_SIGNER}
)
BEHIND_THE_PIN = frozenset({FINGERPRINTS, FACE, PRINTED, IRISES, PAIRING_CODE})

# Part 1 appendix A gives the least each container holds; most of ours hold more.
_USUAL_CAPACITY = 4096
_LARGE = {FACE: 12_710, IRISES: 7106}
STANDARD_OBJECTS = frozenset(
    {DISCOVERY, CCC, CHUID, SECURITY_OBJECT, KEY_HISTORY, *CERTIFICATES.values(), *RETIRED_CERTIFICATES}
    | FREE_AT_CONTACTLESS
    | BEHIND_THE_PIN
)

APPLICATION_ID = bytes.fromhex("A000000308000010000100")
# Agency, system and credential of nines: the holder belongs to no federal agency.
FASC_N = bytes.fromhex("D4E739DA739CED39CE739D836858210842108421C84210C3EB")
GSC_RID = bytes.fromhex("A000000116")


def data_objects(card_uuid: UUID, expires: date, slots: Mapping[int, PivSlot]) -> dict[bytes, bytes]:
    """All objects of a card by their tag, as GET DATA returns them."""
    objects = {DISCOVERY: discovery(), CCC: capability_container(card_uuid), CHUID: chuid(card_uuid, expires)}
    for number, slot in slots.items():
        objects[CERTIFICATES[number]] = certificate_object(slot.certificate)
    return objects


def capacity_of(tag: bytes) -> int | None:
    """Bytes an object of part 1 may have, None for a tag that part 1 does not name."""
    return _LARGE.get(tag, _USUAL_CAPACITY) if tag in STANDARD_OBJECTS else None


def discovery() -> bytes:
    """AID and PIN usage policy: only the PIV PIN."""
    return tlv.encode(DISCOVERY, tlv.encode(b"\x4f", APPLICATION_ID) + tlv.encode(b"\x5f\x2f", b"\x40\x00"))


def chuid(card_uuid: UUID, expires: date) -> bytes:
    """Card holder unique identifier without a signature."""
    fields = (
        tlv.encode(b"\x30", FASC_N)
        + tlv.encode(b"\x34", card_uuid.bytes)
        + tlv.encode(b"\x35", expires.strftime("%Y%m%d").encode("ascii"))
        + tlv.encode(b"\x3e", b"")
        + tlv.encode(b"\xfe", b"")
    )
    return tlv.encode(b"\x53", fields)


def capability_container(card_uuid: UUID) -> bytes:
    """Card capability container; its card identifier takes 14 bytes of the card's UUID."""
    identifier = GSC_RID + b"\xff\x02" + card_uuid.bytes[:14]
    fields = tlv.encode(b"\xf0", identifier) + tlv.encode(b"\xf1", b"\x21") + tlv.encode(b"\xf2", b"\x21")
    fields += tlv.encode(b"\xf3", b"") + tlv.encode(b"\xf4", b"\x00") + tlv.encode(b"\xf5", b"\x10")
    for tag in (0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE):
        fields += tlv.encode(bytes([tag]), b"")
    return tlv.encode(b"\x53", fields)


def certificate_object(certificate: bytes) -> bytes:
    """A certificate (DER), not compressed, no error detection code."""
    fields = tlv.encode(b"\x70", certificate) + tlv.encode(b"\x71", b"\x00") + tlv.encode(b"\xfe", b"")
    return tlv.encode(b"\x53", fields)
