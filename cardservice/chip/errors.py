# SPDX-License-Identifier: EUPL-1.2
"""Everything that can go wrong between us and a card.

    ChipError
    ├── CardGone                          the card left the field, or the reader stopped answering
    │   ├── CardSilent                    it did not answer in time
    │   └── ReaderFailed                  the reader broke off
    ├── ProtocolError                     an answer is malformed, or not one the standard allows at this place
    │   ├── StatusUnexpected              a success of another kind than the command has
    │   ├── AnswerLengthWrong             too few or too many bytes for the command
    │   ├── AnswerTooLong                 more bytes or parts than we collect at all
    │   ├── LayoutUnknown                 the number file is not laid out as ours
    │   └── TlvMalformed                  a data object cannot be taken apart
    ├── StatusError                       the card refused a command; carries the status word
    │   ├── ApplicationNotFound           91A0, and what cards without DESFire or PIV answer to a SELECT
    │   ├── ObjectNotFound                6A82, 6A88
    │   ├── FileNotFound                  91F0
    │   ├── KeyNotFound                   9140
    │   ├── AuthenticationRefused         91AE: the card does not accept our key, or wants one first
    │   ├── PermissionDenied              919D
    │   ├── IntegrityRefused              911E: the card rejects our MAC or padding
    │   ├── SecurityStatusNotSatisfied    6982
    │   ├── PinRefused                    63Cx; carries the attempts that remain
    │   ├── ReferenceDataBlocked          6983
    │   └── FunctionNotSupported          6A81: not at this interface, or not on this card
    ├── CardNotGenuine                    a proof failed: MAC, RndA' or signature is wrong
    │   ├── MacWrong                      the MAC of an answer
    │   ├── ProofKeyRefused               the card does not accept the proof key of the number it claims
    │   ├── ProofWrong                    it accepted that key and does not hold it
    │   ├── SignatureWrong                the signature of its card authentication key
    │   └── ProofKeyUnknown               the card names a key generation that we do not hold
    ├── CardUnfit                         the card cannot become, or is not, what was asked for; carries the cause
    └── CertificateRefused                the card authentication certificate is not acceptable; carries the cause

None of them is a `ValueError`, so that no broad handler swallows a refusal; `ValueError` stays for arguments that our
own code got wrong. No message contains a key, a PIN or a card's number.
"""

from enum import Enum, unique


class ChipError(Exception):
    """Root of every failure of the card language."""


class CardGone(ChipError):
    """The card was pulled or left the field; PC/SC shows that as an answer without a status word."""


class CardSilent(CardGone):
    """The card did not answer in the time that the point allows."""


class ReaderFailed(CardGone):
    """The reader broke off, or its driver did."""


class ProtocolError(ChipError):
    """An answer that the standard does not allow.

    Attributes:
        where: the command or structure that was being read.
        what: what was wrong, and what would have been allowed.
    """

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what)
        self.where = where
        self.what = what

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class StatusUnexpected(ProtocolError):
    """The status word is a success, but not the one that ends this command."""


class AnswerLengthWrong(ProtocolError):
    """The answer has fewer or more bytes than the command gives."""


class AnswerTooLong(ProtocolError):
    """The answer, or all its parts together, is longer than anything is collected."""


class LayoutUnknown(ProtocolError):
    """The number file is not laid out as `docs/card-layout.md` has it."""


class TlvMalformed(ProtocolError):
    """A data object cannot be taken apart, or does not hold what it has to."""


class StatusError(ChipError):
    """The card refused a command.

    Attributes:
        command: the standard's name of the command.
        sw: the status word SW1 SW2.
        meaning: what the standard says about this status word.
    """

    def __init__(self, command: str, sw: int, meaning: str) -> None:
        super().__init__(command, sw, meaning)
        self.command = command
        self.sw = sw
        self.meaning = meaning

    def __str__(self) -> str:
        return f"{self.command}: {self.sw:04X} ({self.meaning})"


class ApplicationNotFound(StatusError):
    """The card does not hold the application: it is not one of ours, or not the kind of card that was expected."""


class ObjectNotFound(StatusError):
    """The application does not hold the data object or the referenced key."""


class FileNotFound(StatusError):
    """The DESFire application does not hold the file."""


class KeyNotFound(StatusError):
    """The DESFire application does not hold the key number."""


class AuthenticationRefused(StatusError):
    """The card does not accept our key, or wants an authentication before this command."""


class PermissionDenied(StatusError):
    """The access rights do not allow this command in the present session."""


class IntegrityRefused(StatusError):
    """The card rejects the MAC or the padding of our command."""


class SecurityStatusNotSatisfied(StatusError):
    """The card wants a PIN or another authentication first."""


class PinRefused(StatusError):
    """The PIN or PUK was wrong."""

    @property
    def attempts_remaining(self) -> int:
        """How many attempts are left, 0 to 15 (ISO 7816-4 §5.1.3, status word 63Cx)."""
        return self.sw & 0x0F


class ReferenceDataBlocked(StatusError):
    """The PIN or PUK is blocked: no attempts remain."""


class FunctionNotSupported(StatusError):
    """The card does not do this at all, or not at this interface."""


class CardNotGenuine(ChipError):
    """The card failed a proof that only the genuine card can give."""


class MacWrong(CardNotGenuine):
    """The MAC of an answer is wrong."""


class ProofKeyRefused(CardNotGenuine):
    """The card does not accept the proof key of the number it claims."""


class ProofWrong(CardNotGenuine):
    """The card accepted the proof key of its number and does not hold it itself."""


class SignatureWrong(CardNotGenuine):
    """The signature is not one of the key in the card authentication certificate."""


class ProofKeyUnknown(CardNotGenuine):
    """The card names a generation of its proof key that we do not hold.

    Attributes:
        generation: 1 to 255, as the card claims it.
    """

    def __init__(self, generation: int) -> None:
        super().__init__(generation)
        self.generation = generation

    def __str__(self) -> str:
        return f"no proof key of generation {self.generation} is known, so the card cannot be proved"


@unique
class UnfitCause(Enum):
    """Why a card was not taken. The values are stable."""

    CHIP = "chip"
    """The chip lacks what our layout needs: EV2 authentication and key sets."""
    KEY = "key"
    """A key on it is none of those that it could have: of the factory, of the badge, of the planned generations."""
    KEY_SETS = "key_sets"
    """The application was made with one key set: its keys are replaced one by one."""
    OCCUPIED = "occupied"
    """The card holds applications that are not ours."""
    LEFTOVERS = "leftovers"
    """Something is still there that should be gone: an application after erasing, a key after its replacement."""
    CONTENT = "content"
    """An application does not hold what was written to it."""


class CardUnfit(ChipError):
    """The card cannot become, or is not, what was asked for.

    Attributes:
        cause: the one reason, as a closed enumeration.
        detail: one sentence for people; names no card and no key.
    """

    def __init__(self, cause: UnfitCause, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail

    def __str__(self) -> str:
        return f"card not taken ({self.cause.value}): {self.detail}"


@unique
class CertificateCause(Enum):
    """Why a card authentication certificate was refused. The values are stable."""

    UNREADABLE = "unreadable"
    ISSUER_UNKNOWN = "issuer_unknown"
    ISSUER_NOT_A_CA = "issuer_not_a_ca"
    ISSUER_NOT_VALID = "issuer_not_valid"
    SIGNATURE_ALGORITHM = "signature_algorithm"
    SIGNATURE_WRONG = "signature_wrong"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    CRITICAL_EXTENSION = "critical_extension"
    IS_A_CA = "is_a_ca"
    EXTENDED_KEY_USAGE = "extended_key_usage"
    KEY_USAGE = "key_usage"
    KEY_TYPE = "key_type"
    CARD_UUID_MISSING = "card_uuid_missing"
    CARD_UUID_CONFLICT = "card_uuid_conflict"


class CertificateRefused(ChipError):
    """The card authentication certificate is not acceptable.

    Attributes:
        cause: the one reason, as a closed enumeration.
        detail: one sentence for the log; names no person and no card.
    """

    def __init__(self, cause: CertificateCause, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail

    def __str__(self) -> str:
        return f"card authentication certificate refused ({self.cause.value}): {self.detail}"
