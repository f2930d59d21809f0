# SPDX-License-Identifier: EUPL-1.2
"""PIN and PUK with their retry counters (SP 800-73-4 part 2 sections 2.4.3 and 3.2)."""

import hmac
from dataclasses import dataclass, field

from cardsim.apdu import ApduError, StatusWord

REFERENCE_LENGTH = 8
PADDING = b"\xff"


def padded_pin(pin: str) -> bytes:
    """A PIN of 6 to 8 digits as 8 bytes padded with FF.

    Raises:
        ValueError: for any other PIN; the message does not repeat it.
    """
    if not (6 <= len(pin) <= 8 and pin.isascii() and pin.isdigit()):
        raise ValueError("a PIN has 6 to 8 decimal digits")
    return pin.encode("ascii").ljust(REFERENCE_LENGTH, PADDING)


def is_padded_pin(data: bytes) -> bool:
    """Whether 8 bytes are a PIN of 6 to 8 digits padded with FF."""
    digits = data.rstrip(PADDING)
    return len(data) == REFERENCE_LENGTH and len(digits) >= 6 and digits.isdigit()


@dataclass
class ReferenceData:
    """A secret of 8 bytes with its retry counter, which survives power cycles."""

    value: bytes = field(repr=False)
    retries: int = 3
    remaining: int = -1

    def __post_init__(self) -> None:
        if len(self.value) != REFERENCE_LENGTH:
            raise ValueError(f"reference data have 8 bytes, got {len(self.value)}")
        if not 1 <= self.retries <= 15:
            raise ValueError(f"1 to 15 retries are allowed, got {self.retries}")
        if self.remaining < 0:
            self.remaining = self.retries

    def verify(self, presented: bytes) -> None:
        """Compare and count.

        Raises:
            ApduError: 6983 if blocked, 63Cx with the remaining tries if wrong.
        """
        if self.remaining == 0:
            raise ApduError(StatusWord.AUTHENTICATION_METHOD_BLOCKED)
        if not hmac.compare_digest(self.value, presented):
            self.remaining -= 1
            raise ApduError(StatusWord.VERIFICATION_FAILED | self.remaining)
        self.remaining = self.retries

    def replace(self, value: bytes) -> None:
        """Set a new secret of 8 bytes and fill the counter up."""
        self.value = value
        self.remaining = self.retries
