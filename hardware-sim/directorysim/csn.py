# SPDX-License-Identifier: EUPL-1.2
"""Change sequence numbers: the server's clock, strictly rising, in OpenLDAP's notation."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_SUFFIX: Final = "Z#000000#000#000000"
_FORMAT: Final = "%Y%m%d%H%M%S.%f"
_CSN: Final = re.compile(r"\d{14}\.\d{6}Z#[0-9a-f]{6}#[0-9a-f]{3}#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Stamp:
    """When and by whom an entry is changed; `time` is a generalized time to the second."""

    csn: str
    time: str
    actor: str


def is_own_csn(text: str) -> bool:
    """Tell whether `text` is a change sequence number of this server (server id 000)."""
    return text.endswith(_SUFFIX) and is_csn(text)


def is_csn(text: str) -> bool:
    """Tell whether `text` is a change sequence number of any server."""
    if _CSN.fullmatch(text) is None:
        return False
    try:
        _instant_of(text)
    except ValueError:
        return False
    return True


def _instant_of(csn: str) -> datetime:
    return datetime.strptime(csn[: -len(_SUFFIX)], _FORMAT).replace(tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


class CsnClock:
    """Hands out stamps whose sequence numbers rise strictly, even when the wall clock steps back."""

    def __init__(self, now: Callable[[], datetime] = _now) -> None:
        self._now = now
        self._last = datetime.min.replace(tzinfo=UTC)

    def stamp(self, actor: str) -> Stamp:
        """Return the next stamp."""
        self._last = max(self._now(), self._last + timedelta(microseconds=1))
        digits = self._last.strftime(_FORMAT)
        return Stamp(digits + _SUFFIX, digits[:14] + "Z", actor)

    def move_past(self, csn: str) -> None:
        """Make every later stamp newer than `csn`, which satisfies `is_own_csn`."""
        self._last = max(self._last, _instant_of(csn))
