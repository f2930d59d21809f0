# SPDX-License-Identifier: EUPL-1.2
"""What a refused card did, for administrators: one closed list of codes, each for one thing that can be told apart.

The holder reads the sentence of the reason (`access/sentences.py`), of which there are fewer: whoever tries to get past
a door learns nothing of how far they came. What each code means stands in docs/bad-cards.md.
"""

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Final

from cardservice.chip import errors as chip


@unique
class CardDetail(StrEnum):
    """What a card did. The values are stable: they stand in the journal."""

    CARD_REMOVED = "card_removed"
    CARD_SILENT = "card_silent"
    READER_FAILED = "reader_failed"
    CLASS_NOT_SUPPORTED = "class_not_supported"
    COMMAND_UNKNOWN = "command_unknown"
    APPLICATION_MISSING = "application_missing"
    KEY_MISSING = "key_missing"
    FILE_MISSING = "file_missing"
    FILE_REFUSED = "file_refused"
    FILE_LENGTH = "file_length"
    LAYOUT_UNKNOWN = "layout_unknown"
    GENERATION_UNKNOWN = "generation_unknown"
    LOCATE_REFUSED = "locate_refused"
    LOCATE_WRONG = "locate_wrong"
    MAC_WRONG = "mac_wrong"
    PROOF_REFUSED = "proof_refused"
    PROOF_WRONG = "proof_wrong"
    SIGNATURE_WRONG = "signature_wrong"
    STATUS_UNEXPECTED = "status_unexpected"
    ANSWER_LENGTH = "answer_length"
    ANSWER_TOO_LONG = "answer_too_long"
    ANSWER_MALFORMED = "answer_malformed"
    TLV_MALFORMED = "tlv_malformed"
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_UNREADABLE = "certificate_unreadable"
    CERTIFICATE_ISSUER_UNKNOWN = "certificate_issuer_unknown"
    CERTIFICATE_ISSUER_NOT_A_CA = "certificate_issuer_not_a_ca"
    CERTIFICATE_ISSUER_NOT_VALID = "certificate_issuer_not_valid"
    CERTIFICATE_SIGNATURE_ALGORITHM = "certificate_signature_algorithm"
    CERTIFICATE_SIGNATURE_WRONG = "certificate_signature_wrong"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_CRITICAL_EXTENSION = "certificate_critical_extension"
    CERTIFICATE_IS_A_CA = "certificate_is_a_ca"
    CERTIFICATE_EXTENDED_KEY_USAGE = "certificate_extended_key_usage"
    CERTIFICATE_KEY_USAGE = "certificate_key_usage"
    CERTIFICATE_KEY_TYPE = "certificate_key_type"
    CERTIFICATE_CARD_UUID_MISSING = "certificate_card_uuid_missing"
    CERTIFICATE_CARD_UUID_CONFLICT = "certificate_card_uuid_conflict"


# The first that fits: whoever stands for more comes after those in it.
_BY_KIND: Final[tuple[tuple[type[chip.ChipError], CardDetail], ...]] = (
    (chip.CardSilent, CardDetail.CARD_SILENT),
    (chip.ReaderFailed, CardDetail.READER_FAILED),
    (chip.CardGone, CardDetail.CARD_REMOVED),
    (chip.StatusUnexpected, CardDetail.STATUS_UNEXPECTED),
    (chip.AnswerLengthWrong, CardDetail.ANSWER_LENGTH),
    (chip.AnswerTooLong, CardDetail.ANSWER_TOO_LONG),
    (chip.LayoutUnknown, CardDetail.LAYOUT_UNKNOWN),
    (chip.TlvMalformed, CardDetail.TLV_MALFORMED),
    (chip.ProtocolError, CardDetail.ANSWER_MALFORMED),
    (chip.MacWrong, CardDetail.MAC_WRONG),
    (chip.ProofKeyRefused, CardDetail.PROOF_REFUSED),
    (chip.ProofWrong, CardDetail.PROOF_WRONG),
    (chip.ProofKeyUnknown, CardDetail.GENERATION_UNKNOWN),
    (chip.SignatureWrong, CardDetail.SIGNATURE_WRONG),
    # The other proofs have errors of their own.
    (chip.CardNotGenuine, CardDetail.LOCATE_WRONG),
    (chip.KeyNotFound, CardDetail.KEY_MISSING),
    (chip.FileNotFound, CardDetail.FILE_MISSING),
    (chip.PermissionDenied, CardDetail.FILE_REFUSED),
    (chip.ObjectNotFound, CardDetail.CERTIFICATE_MISSING),
    (chip.ApplicationNotFound, CardDetail.APPLICATION_MISSING),
)
# Status words that say what kind of card it is, whichever command was refused with them.
_BY_STATUS: Final[Mapping[int, CardDetail]] = {
    0x6D00: CardDetail.CLASS_NOT_SUPPORTED,
    0x6E00: CardDetail.CLASS_NOT_SUPPORTED,
    0x911C: CardDetail.COMMAND_UNKNOWN,
    0x91BE: CardDetail.FILE_LENGTH,
}
_READ: Final = "READ_DATA"


def detail_of(error: chip.ChipError) -> CardDetail:
    """Return the code of what went wrong in a tap's conversation."""
    if isinstance(error, chip.CertificateRefused):
        return CardDetail(f"certificate_{error.cause.value}")
    if isinstance(error, chip.StatusError) and error.sw in _BY_STATUS:
        return _BY_STATUS[error.sw]
    if isinstance(error, chip.AuthenticationRefused):
        # While the file is read it is not the key that is refused, but what the key may do.
        return CardDetail.FILE_REFUSED if error.command == _READ else CardDetail.LOCATE_REFUSED
    return next((detail for kind, detail in _BY_KIND if isinstance(error, kind)), CardDetail.STATUS_UNEXPECTED)
