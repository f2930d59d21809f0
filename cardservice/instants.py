# SPDX-License-Identifier: EUPL-1.2
"""Instants as people read and write them."""

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

# The end of the year 9999: no calendar here goes on.
MAX_INSTANT_MS: Final = 253_402_300_800_000
_WALL_CLOCK: Final = ZoneInfo("Europe/Berlin")


def instant(at_ms: int) -> str:
    """Return an instant as people read it: as date and time, as a number where no calendar has it."""
    if not 0 <= at_ms < MAX_INSTANT_MS:
        return f"{at_ms} ms after 1970"
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")


def instant_of(text: str) -> int:
    """Return the instant that somebody wrote down: a day means its end; without an offset it is German time.

    Raises:
        ValueError: it is none, or one beyond all use.
        OverflowError: the same.
    """
    written = datetime.fromisoformat(text)
    if len(text) == len("2027-03-31"):
        written = datetime.combine(written.date() + timedelta(days=1), time(0))
    if written.tzinfo is None:
        written = written.replace(tzinfo=_WALL_CLOCK)
    at_ms = int(written.timestamp() * 1_000)
    if not 0 <= at_ms < MAX_INSTANT_MS:
        raise ValueError("out of bounds")
    return at_ms
