# SPDX-License-Identifier: EUPL-1.2
"""What the PIV application holds and is asked for, as values (SP 800-73-4 Part 1 §3 and appendix A, Part 2 §3)."""

import uuid
import zlib
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum, unique
from typing import Final

from cardservice.chip.errors import ProtocolError
from cardservice.chip.tlv import Tlv, build, descend, only, parse

PIV_AID: Final = bytes.fromhex("A000000308000010000100")
MAX_CERTIFICATE_BYTES: Final = 65_536
REFERENCE_BYTES: Final = 8
RETIRED_KEYS: Final = 20
FASC_N_OUTSIDE_FEDERAL: Final = bytes.fromhex("D4E739DA739CED39CE739D836858210842108421C84210C3EB")
"""Agency, system and credential all nines: the holder belongs to no federal agency (TIG SCEPACS §2.1)."""

_RID: Final = PIV_AID[:5]
_PIX: Final = PIV_AID[5:]
_GSC_RID: Final = bytes.fromhex("A000000116")
_OTHER_MAKER_JAVA_CARD: Final = bytes.fromhex("FF02")
_CERTIFICATE_PLAIN: Final = b"\x00"
_CERTIFICATE_GZIP: Final = b"\x01"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_FASC_N_BYTES: Final = 25
_GUID_BYTES: Final = 16
_MAX_TEXT_BYTES: Final = 256
_MAX_TEMPLATE_MEMBERS: Final = 64


@unique
class Slot(IntEnum):
    """Key references (SP 800-73-4 Part 1, table 4b)."""

    AUTHENTICATION = 0x9A
    MANAGEMENT = 0x9B
    SIGNATURE = 0x9C
    KEY_MANAGEMENT = 0x9D
    CARD_AUTHENTICATION = 0x9E


@unique
class Reference(IntEnum):
    """References of secrets (SP 800-73-4 Part 1, table 4a)."""

    PIN = 0x80
    PUK = 0x81


@unique
class ObjectId(IntEnum):
    """Tags of data objects (SP 800-73-4 Part 1, table 3); `retired_certificate` has those of retired keys."""

    DISCOVERY = 0x7E
    BIOMETRIC_TEMPLATES = 0x7F61
    CARD_AUTHENTICATION_CERTIFICATE = 0x5FC101
    CHUID = 0x5FC102
    FINGERPRINTS = 0x5FC103
    AUTHENTICATION_CERTIFICATE = 0x5FC105
    SECURITY_OBJECT = 0x5FC106
    CAPABILITIES = 0x5FC107
    FACIAL_IMAGE = 0x5FC108
    PRINTED_INFORMATION = 0x5FC109
    SIGNATURE_CERTIFICATE = 0x5FC10A
    KEY_MANAGEMENT_CERTIFICATE = 0x5FC10B
    KEY_HISTORY = 0x5FC10C
    IRIS_IMAGES = 0x5FC121
    MESSAGING_SIGNER_CERTIFICATE = 0x5FC122
    PAIRING_CODE = 0x5FC123


CERTIFICATE_OF: Final = {
    Slot.AUTHENTICATION: ObjectId.AUTHENTICATION_CERTIFICATE,
    Slot.SIGNATURE: ObjectId.SIGNATURE_CERTIFICATE,
    Slot.KEY_MANAGEMENT: ObjectId.KEY_MANAGEMENT_CERTIFICATE,
    Slot.CARD_AUTHENTICATION: ObjectId.CARD_AUTHENTICATION_CERTIFICATE,
}


def retired_certificate(number: int) -> int:
    """The tag of the certificate of the retired key management key 1 to 20 (key references 82 to 95)."""
    if not 1 <= number <= RETIRED_KEYS:
        raise ValueError(f"retired key {number}, allowed are 1 to {RETIRED_KEYS}")
    return 0x5FC10C + number


def container_tag(object_id: int) -> int:
    """The tag around an object's content: its own for discovery object and biometric templates, 53 for all others."""
    return object_id if object_id in {ObjectId.DISCOVERY, ObjectId.BIOMETRIC_TEMPLATES} else 0x53


@dataclass(frozen=True, slots=True)
class ReferenceData:
    """A PIN or PUK in the 8 bytes in which it travels; the value is not in the repr."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.value) != REFERENCE_BYTES:
            raise ValueError(f"reference data have {REFERENCE_BYTES} bytes")

    @classmethod
    def pin(cls, digits: str) -> "ReferenceData":
        """A PIN of 6 to 8 digits, padded with FF (Part 2 §2.4.3); `ValueError` for another, which is not repeated."""
        if not (6 <= len(digits) <= REFERENCE_BYTES and digits.isascii() and digits.isdigit()):
            raise ValueError("a PIN has 6 to 8 decimal digits")
        return cls(digits.encode("ascii").ljust(REFERENCE_BYTES, b"\xff"))

    @classmethod
    def puk(cls, value: bytes) -> "ReferenceData":
        """A PUK of any 8 bytes (Part 2 §2.4.3)."""
        return cls(value)


@dataclass(frozen=True, slots=True)
class ApplicationProperties:
    """The application property template that SELECT answers with (Part 2 §3.1.1, table 3).

    Attributes:
        label: what the application calls itself; None where it does not.
        url: where its specification is; None where it does not say.
        algorithms: algorithm identifiers it says it supports; empty where it says nothing.
    """

    label: str | None = None
    url: str | None = None
    algorithms: frozenset[int] = frozenset()

    @classmethod
    def from_bytes(cls, template: bytes) -> "ApplicationProperties":
        """Reads `61 …`.

        Raises:
            ProtocolError: it is malformed, or of another application than PIV.
        """
        members = parse(descend(template, 0x61))
        if len(members) > _MAX_TEMPLATE_MEMBERS:
            raise ProtocolError("SELECT", f"{len(members)} properties, at most {_MAX_TEMPLATE_MEMBERS} are allowed")
        if not only(members, 0x4F).endswith(_PIX):
            raise ProtocolError("SELECT", "the selected application is not PIV")
        for authority in _values(members, 0x79):
            if descend(authority, 0x4F) != _RID:
                raise ProtocolError("SELECT", "its tags are allocated by another authority than NIST")
        return cls(_text(members, 0x50), _text(members, 0x5F50), _algorithms(members))


@dataclass(frozen=True, slots=True)
class Discovery:
    """The discovery object (Part 1 §3.3.2): which PINs the application takes.

    Attributes:
        policy: both bytes of the PIN usage policy as a number; bit 0x4000 stands for the PIV PIN.
    """

    policy: int

    @classmethod
    def from_bytes(cls, content: bytes) -> "Discovery":
        """Reads what is inside `7E`; raises `ProtocolError` for another application or a policy of other length."""
        members = parse(content)
        if only(members, 0x4F) != PIV_AID:
            raise ProtocolError("discovery object", "it names another application than PIV")
        policy = only(members, 0x5F2F)
        if len(policy) != 2:
            raise ProtocolError("discovery object", f"a PIN usage policy of {len(policy)} bytes, 2 are expected")
        return cls(int.from_bytes(policy, "big"))


@dataclass(frozen=True, slots=True)
class Chuid:
    """The card holder unique identifier (Part 1 §3.1.2), unsigned: everybody reads it, nobody may believe it.

    Attributes:
        guid: the card's UUID; not in the repr.
        expires: the card's last day.
    """

    guid: uuid.UUID = field(repr=False)
    expires: date

    def __bytes__(self) -> bytes:
        expires = self.expires.strftime("%Y%m%d").encode("ascii")
        members = ((0x30, FASC_N_OUTSIDE_FEDERAL), (0x34, self.guid.bytes), (0x35, expires), (0x3E, b""), (0xFE, b""))
        return b"".join(bytes(build(tag, value)) for tag, value in members)

    @classmethod
    def from_bytes(cls, content: bytes) -> "Chuid":
        """Reads what is inside `53`; optional members are passed over.

        Raises:
            ProtocolError: a mandatory member is missing, doubled or of another length, or the date is none.
        """
        members = parse(content)
        fasc_n, guid, expires = (only(members, tag) for tag in (0x30, 0x34, 0x35))
        if (len(fasc_n), len(guid)) != (_FASC_N_BYTES, _GUID_BYTES):
            raise ProtocolError("CHUID", f"FASC-N has {_FASC_N_BYTES} bytes and GUID {_GUID_BYTES}")
        return cls(uuid.UUID(bytes=guid), _day(expires))


def capability_container(card_uuid: uuid.UUID) -> bytes:
    """The content of the card capability container (Part 1 §3.1.1, appendix A); its identifier is the UUID's."""
    identifier = _GSC_RID + _OTHER_MAKER_JAVA_CARD + card_uuid.bytes[:14]
    filled = ((0xF0, identifier), (0xF1, b"\x21"), (0xF2, b"\x21"), (0xF3, b""), (0xF4, b"\x00"), (0xF5, b"\x10"))
    empty = ((tag, b"") for tag in (0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE))
    return b"".join(bytes(build(tag, value)) for tag, value in (*filled, *empty))


def wrap_certificate(certificate: bytes) -> bytes:
    """The content of a certificate object, `70 ‖ 71 ‖ FE`, not compressed (Part 1, appendix A)."""
    return b"".join(bytes(build(tag, value)) for tag, value in ((0x70, certificate), (0x71, b"\x00"), (0xFE, b"")))


def unwrap_certificate(content: bytes) -> bytes:
    """The DER certificate out of a certificate object `70 ‖ 71 ‖ FE`, decompressed if `71` says so.

    Raises:
        ProtocolError: `70` or `71` is not there exactly once, the compression is unknown, the gzip stream is broken,
            or it holds more than 65,536 bytes (SP 800-73-4 Part 1, appendix A).
    """
    objects = parse(content)
    certificate, cert_info = only(objects, 0x70), only(objects, 0x71)
    if cert_info == _CERTIFICATE_PLAIN:
        return certificate
    if cert_info == _CERTIFICATE_GZIP:
        return _gunzip(certificate)
    raise ProtocolError("certificate object", "CertInfo is neither 00 (plain) nor 01 (gzip)")


def _gunzip(compressed: bytes) -> bytes:
    decompressor = zlib.decompressobj(wbits=_GZIP_WINDOW)
    try:
        certificate = decompressor.decompress(compressed, MAX_CERTIFICATE_BYTES)
    except zlib.error as error:
        raise ProtocolError("certificate object", "the gzip stream is broken") from error
    if not decompressor.eof or decompressor.unused_data:
        detail = f"the gzip stream is cut short, has a tail, or holds more than {MAX_CERTIFICATE_BYTES} bytes"
        raise ProtocolError("certificate object", detail)
    return certificate


def _values(members: tuple[Tlv, ...], tag: int) -> list[bytes]:
    return [member.value for member in members if member.tag == tag]


def _text(members: tuple[Tlv, ...], tag: int) -> str | None:
    values = _values(members, tag)
    if not values:
        return None
    value = only(members, tag)
    if len(value) > _MAX_TEXT_BYTES:
        raise ProtocolError("SELECT", f"a text of {len(value)} bytes, at most {_MAX_TEXT_BYTES} are allowed")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError("SELECT", f"property {tag:X} is not UTF-8") from error


def _algorithms(members: tuple[Tlv, ...]) -> frozenset[int]:
    named = [value for group in _values(members, 0xAC) for value in _values(parse(group), 0x80)]
    if any(len(value) != 1 for value in named):
        raise ProtocolError("SELECT", "an algorithm identifier has one byte")
    return frozenset(value[0] for value in named)


def _day(text: bytes) -> date:
    # Narrower than `strptime`, which takes digits of other scripts and fewer of them.
    if len(text) != 8 or not text.isdigit():
        raise ProtocolError("CHUID", "the expiration date is not YYYYMMDD")
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError as error:
        raise ProtocolError("CHUID", "the expiration date is no day of the calendar") from error
