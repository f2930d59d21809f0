# SPDX-License-Identifier: EUPL-1.2
"""Short ways to write down bookings and instants in tests."""

from datetime import datetime
from zoneinfo import ZoneInfo

from cardservice.timeclock.rules import Booking, Kind

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, *, second: bool = False) -> int:
    """The instant of "2026-03-16 08:01" (or with seconds) in Berlin; `second`: the later of two."""
    return int(datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=int(second)).timestamp() * 1_000)


def came(text: str, **which: bool) -> Booking:
    return Booking(Kind.IN, at(text, **which), "pforte")


def went(text: str, **which: bool) -> Booking:
    return Booking(Kind.OUT, at(text, **which), "pforte")


def paused(text: str, **which: bool) -> Booking:
    return Booking(Kind.BREAK_START, at(text, **which), "pforte")


def resumed(text: str, **which: bool) -> Booking:
    return Booking(Kind.BREAK_END, at(text, **which), "pforte")
