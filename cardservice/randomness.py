# SPDX-License-Identifier: EUPL-1.2
"""Random bytes of the operating system, fetched in larger pieces.

Each fetch lets another thread run, and getting back costs a tap more than everything else it needs together.
"""

import secrets
import threading
from typing import Final

_PIECE_BYTES: Final = 4_096


class RandomBytes:
    """A stock of random bytes (getrandom(2)), each handed out once; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stock = b""
        self._used = 0

    def take(self, count: int) -> bytes:
        """Return `count` bytes, at most 4,096, that nobody has had before."""
        with self._lock:
            begins = self._used
            if begins + count > len(self._stock):
                self._stock, begins = secrets.token_bytes(_PIECE_BYTES), 0
            self._used = begins + count
            return self._stock[begins : self._used]


random_bytes: Final = RandomBytes().take
