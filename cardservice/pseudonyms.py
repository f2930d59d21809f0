# SPDX-License-Identifier: EUPL-1.2
"""One number per person and use: nobody without the use's secret can tell that two of them are the same person."""

import hashlib
import hmac
from typing import Final

PSEUDONYM_LENGTH: Final = 32


def pseudonym_of(secret: bytes, person: int) -> str:
    """Return the 32 hexadecimal digits by which one use knows `person` (a row number); `secret` is that use's own."""
    return hmac.new(secret, str(person).encode(), hashlib.sha256).hexdigest()[:PSEUDONYM_LENGTH]
