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


def is_reference(data: bytes) -> bool:
    """Whether it is any 8 bytes: all that section 2.4.3 asks of a PUK."""
    return len(data) == REFERENCE_LENGTH


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
        if self.remaining > self.retries:
            raise ValueError(f"at most {self.retries} retries can remain, got {self.remaining}")

    def require_open(self) -> None:
        """Refuse before anything is compared.

        Raises:
            ApduError: 6983 if the counter is at zero.
        """
        if self.remaining == 0:
            raise ApduError(StatusWord.AUTHENTICATION_METHOD_BLOCKED)

    def matches(self, presented: bytes) -> bool:
        """Compare and count: down when it is wrong, up to the full number when it is right.

        Raises:
            ApduError: 6983 if the counter is at zero.
        """
        self.require_open()
        if not hmac.compare_digest(self.value, presented):
            self.remaining -= 1
            return False
        self.remaining = self.retries
        return True

    def failure(self) -> ApduError:
        """63Cx with the tries that are left."""
        return ApduError(StatusWord.VERIFICATION_FAILED | self.remaining)

    def replace(self, value: bytes) -> None:
        """Set a new secret of 8 bytes and fill the counter up."""
        self.value = value
        self.remaining = self.retries
