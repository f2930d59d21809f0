# SPDX-License-Identifier: EUPL-1.2
"""Files of the access model that somebody looks at before they take one over: in memory, a few of each, for a while.

A preview is an address, and whoever has to confirm their password first comes back to it: no address has room for a
whole model.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cardservice.clock import Clock
from cardservice.errors import NotFound

MAX_FILE_BYTES: Final = 2 * 1024 * 1024
MAX_OF_ONE: Final = 4
MAX_ALL: Final = 16
KEPT_MS: Final = 60 * 60 * 1_000


@dataclass(frozen=True, slots=True)
class _Laid:
    content: bytes
    at_ms: int


class Shelf:
    """Whose files lie there is said by a row number; nobody finds those of somebody else. For the event loop alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._laid: OrderedDict[tuple[int, str], _Laid] = OrderedDict()

    def lay(self, owner: int, content: bytes) -> str:
        """Keep a file for a while; return its name. The oldest ones go where there are too many."""
        name = mark_of(content)
        self._laid.pop((owner, name), None)
        own = [key for key in self._laid if key[0] == owner]
        for key in own[: max(0, len(own) - MAX_OF_ONE + 1)]:
            del self._laid[key]
        while len(self._laid) >= MAX_ALL:
            self._laid.popitem(last=False)
        self._laid[owner, name] = _Laid(content, self._clock.now_ms())
        return name

    def has(self, owner: int, name: str) -> bool:
        """Tell whether a file is still there."""
        laid = self._laid.get((owner, name))
        return laid is not None and self._clock.now_ms() - laid.at_ms < KEPT_MS

    def take(self, owner: int, name: str) -> bytes:
        """Return a file.

        Raises:
            NotFound: it is not there any more, or never was.
        """
        if not self.has(owner, name):
            self._laid.pop((owner, name), None)
            raise NotFound("this file is not here any more: send it once more")
        return self._laid[owner, name].content


def mark_of(content: bytes) -> str:
    """Return what a file is known by."""
    return hashlib.sha256(content).hexdigest()[:32]
