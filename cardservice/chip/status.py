# SPDX-License-Identifier: EUPL-1.2
"""From status words to errors: one table for ISO 7816-4, one for DESFire."""

from collections.abc import Mapping
from typing import Final

from cardservice.chip.errors import (
    ApplicationNotFound,
    AuthenticationRefused,
    FileNotFound,
    FunctionNotSupported,
    IntegrityRefused,
    KeyNotFound,
    ObjectNotFound,
    PermissionDenied,
    PinRefused,
    ReferenceDataBlocked,
    SecurityStatusNotSatisfied,
    StatusError,
)

SUCCESS: Final = 0x9000
DESFIRE_OK: Final = 0x9100
DESFIRE_ADDITIONAL_FRAME: Final = 0x91AF
DESFIRE_SIGNATURE: Final = 0x9190

_Meaning = tuple[type[StatusError], str]

_ISO: Final[Mapping[int, _Meaning]] = {
    0x6300: (StatusError, "verification failed"),
    0x6700: (StatusError, "wrong length"),
    0x6882: (StatusError, "secure messaging not supported"),
    0x6884: (StatusError, "command chaining not supported"),
    0x6982: (SecurityStatusNotSatisfied, "security status not satisfied"),
    0x6983: (ReferenceDataBlocked, "authentication method blocked"),
    0x6985: (StatusError, "conditions of use not satisfied"),
    0x6A80: (StatusError, "incorrect parameters in the data field"),
    0x6A81: (FunctionNotSupported, "function not supported"),
    0x6A82: (ObjectNotFound, "file, application or data object not found"),
    0x6A86: (StatusError, "incorrect parameters P1-P2"),
    0x6A88: (ObjectNotFound, "referenced data not found"),
    0x6D00: (StatusError, "instruction not supported"),
    0x6E00: (StatusError, "class not supported"),
    0x6F00: (StatusError, "no precise diagnosis"),
}

_DESFIRE: Final[Mapping[int, _Meaning]] = {
    0x910C: (StatusError, "no changes done"),
    0x910E: (StatusError, "out of memory"),
    0x911C: (StatusError, "illegal command code"),
    0x911E: (IntegrityRefused, "integrity error: MAC or padding not accepted"),
    0x9140: (KeyNotFound, "no such key"),
    0x917E: (StatusError, "length error"),
    0x919D: (PermissionDenied, "permission denied"),
    0x919E: (StatusError, "parameter error"),
    0x91A0: (ApplicationNotFound, "application not found"),
    0x91A1: (StatusError, "application integrity error"),
    0x91AE: (AuthenticationRefused, "authentication error"),
    0x91BE: (StatusError, "boundary error"),
    0x91C1: (StatusError, "card integrity error"),
    0x91CA: (StatusError, "command aborted"),
    0x91CD: (StatusError, "card disabled"),
    0x91CE: (StatusError, "count error"),
    0x91DE: (StatusError, "duplicate error"),
    0x91EE: (StatusError, "memory error"),
    0x91F0: (FileNotFound, "file not found"),
    0x91F1: (StatusError, "file integrity error"),
}

_UNLISTED: Final[_Meaning] = (StatusError, "status word without a meaning here")


def iso_refusal(command: str, sw: int) -> StatusError:
    """The error for a status word other than 9000 (ISO 7816-4 §5.1.3; 63Cx means a refused PIN)."""
    if sw & 0xFFF0 == 0x63C0:
        return PinRefused(command, sw, "verification failed, attempts are counted")
    error, meaning = _ISO.get(sw, _UNLISTED)
    return error(command, sw, meaning)


def desfire_refusal(command: str, sw: int) -> StatusError:
    """The error for the status word of a wrapped DESFire command; a card that knows no DESFire answers with ISO's."""
    if sw not in _DESFIRE:
        return iso_refusal(command, sw)
    error, meaning = _DESFIRE[sw]
    return error(command, sw, meaning)
