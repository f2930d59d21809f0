# SPDX-License-Identifier: EUPL-1.2
"""Bad data objects and answers of PIV cards, at a door that accepts PIV without contacts.

SP 800-73-4 part 1 section 3 (objects) and part 2 section 3.2.4 (GENERAL AUTHENTICATE).
"""

from cardsim import tlv
from cardsim.bad_cards import VICTIM, BadCard, Description, Maker, Town, issued_piv, uuid_of
from cardsim.personalise import DEFAULT_EXPIRY
from cardsim.piv_objects import CERTIFICATES, CHUID, chuid

CERTIFICATE_9E = CERTIFICATES[0x9E].hex().upper()
CHUID_TAG = CHUID.hex().upper()
GET_DATA, GET_RESPONSE, GENERAL_AUTHENTICATE = "CB", "C0", "87"
DEPTH = 120
HUGE_LENGTH = "5384FFFFFFFF70"


def _with_chuid(content: bytes) -> Maker:
    def describe(town: Town, name: str) -> Description:
        return issued_piv(town, name, objects={CHUID_TAG: content.hex()})

    return describe


def _chuid_without_guid() -> bytes:
    return tlv.encode(b"\x53", tlv.encode(b"\x35", b"20321231") + tlv.encode(b"\x3e", b"") + tlv.encode(b"\xfe", b""))


def _with_certificate_object(content: bytes) -> Maker:
    def describe(town: Town, name: str) -> Description:
        return issued_piv(town, name, objects={CERTIFICATE_9E: content.hex()})

    return describe


def _nested(depth: int) -> bytes:
    """Data objects inside data objects: constructed tags all the way down."""
    content = b""
    for _ in range(depth):
        content = tlv.encode(b"\x70", tlv.encode(b"\x30", content))
    return tlv.encode(b"\x53", content)


def _answering(ins: str, **change: object) -> Maker:
    def describe(town: Town, name: str) -> Description:
        return {**issued_piv(town, name), "fault": {"kind": "tampered", "ins": ins, **change}}

    return describe


def _without_contactless(town: Town, name: str) -> Description:
    return {**issued_piv(town, name), "piv_contactless": False}


OBJECT_CARDS = (
    BadCard(
        "piv-off",
        "a reader that waits for an application the card does not show",
        "PIV answers behind the contacts only, as the city personalises it for employees",
        "card_unsupported",
        "application_missing",
        _without_contactless,
        piv=True,
    ),
    BadCard(
        "chuid-of-another",
        "CHUID is a free-reading, copyable identifier: whoever believes it opens to a copy",
        "a genuine card that is on no record, with the victim's GUID in its CHUID",
        "card_unknown",
        "card_unknown",
        _with_chuid(chuid(uuid_of(VICTIM), DEFAULT_EXPIRY)),
        None,
        piv=True,
    ),
    BadCard(
        "chuid-without-guid",
        "a missing identifier is taken for an empty one that matches",
        "a genuine card that is on no record, whose CHUID has no GUID",
        "card_unknown",
        "card_unknown",
        _with_chuid(_chuid_without_guid()),
        None,
        piv=True,
    ),
    BadCard(
        "no-certificate",
        "an unfinished card",
        "6A82 where the 9E certificate is asked for",
        "card_unsupported",
        "certificate_missing",
        _with_certificate_object(b""),
        piv=True,
    ),
    BadCard(
        "deep-tlv",
        "a recursive parser runs out of stack",
        f"{DEPTH} data objects inside each other in place of the certificate",
        "card_garbled",
        "tlv_malformed",
        _with_certificate_object(_nested(DEPTH // 2)),
        piv=True,
    ),
    BadCard(
        "huge-length",
        "a parser that allocates what a length field promises",
        "a data object that promises 4 GiB and holds one byte",
        "card_garbled",
        "tlv_malformed",
        _with_certificate_object(bytes.fromhex(HUGE_LENGTH)),
        piv=True,
    ),
    BadCard(
        "indefinite-length",
        "a length without end, which BER knows and PIV does not",
        "length byte 80 in the certificate's object",
        "card_garbled",
        "tlv_malformed",
        _with_certificate_object(bytes.fromhex("538070820102030000")),
        piv=True,
    ),
    BadCard(
        "endless-response",
        "an endless answer fills memory or holds the reader for ever",
        "255 bytes and 61FF to GET DATA and to every GET RESPONSE after it",
        "card_garbled",
        "answer_too_long",
        _answering(GET_DATA + GET_RESPONSE, answer="00" * 255 + "61FF"),
        piv=True,
    ),
    BadCard(
        "empty-signature",
        "a reader that takes 9000 for a signature",
        "9000 without data to GENERAL AUTHENTICATE",
        "card_garbled",
        "tlv_malformed",
        _answering(GENERAL_AUTHENTICATE, answer="9000"),
        piv=True,
    ),
    BadCard(
        "flipped-signature",
        "a reader that does not check the signature it asked for",
        "one bit of the signature is turned over",
        "card_not_genuine",
        "signature_wrong",
        _answering(GENERAL_AUTHENTICATE, flip=30),
        piv=True,
    ),
    BadCard(
        "refused-signature",
        "a key that is not there or wants a PIN",
        "6982 to GENERAL AUTHENTICATE",
        "card_garbled",
        "status_unexpected",
        _answering(GENERAL_AUTHENTICATE, answer="6982"),
        piv=True,
    ),
)
