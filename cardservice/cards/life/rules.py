# SPDX-License-Identifier: EUPL-1.2
"""What cards are given for, for how long, and what two people do together. Pure; the clock is an argument."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

DAY_MS: Final = 86_400_000
TEMPORARY: Final = "temporary"
_CITY: Final = ZoneInfo("Europe/Berlin")
_SHIFT_ENDS: Final = time(23, 59)
_ALL: Final = frozenset({"door", "timeclock", "printer", "canteen", "piv"})
_IN_THE_HOUSE: Final = frozenset({"door", "printer"})


@dataclass(frozen=True, slots=True)
class Profile:
    """What a card is for.

    `uses` may know it, for at most `days` (None: to the end of a shift); `second_for` are the states that take two
    people to reach, and `badge` is the layout that is printed on it.
    """

    name: str
    uses: frozenset[str]
    days: int | None
    second_for: frozenset[str] = frozenset()
    badge: str = "standard"


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Profile("employee", _ALL, 1826),
            Profile("trainee", _ALL, 1096),
            Profile("external", frozenset({"door", "printer", "canteen"}), 366),
            # Whoever sits on the council is an office-holder: nobody makes such a card valid alone.
            Profile("council_member", _IN_THE_HOUSE, 1826, frozenset({"active"}), "council"),
            Profile("visitor", frozenset({"door"}), 1, badge="visitor"),
            Profile("canteen_guest", frozenset({"canteen"}), 31, badge="visitor"),
            Profile(TEMPORARY, _ALL, None, badge="visitor"),
        )
    }
)


def needs_second(profile: str | None, state: str) -> bool:
    """Tell whether a card given for this takes two people to become that."""
    found = PROFILES.get(profile or "")
    return found is not None and state in found.second_for


def shift_end_ms(now_ms: int) -> int:
    """Return when the shift ends in which an instant lies: 23:59 in the city, of the next day if that has passed."""
    here = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(_CITY)
    end = datetime.combine(here.date(), _SHIFT_ENDS, _CITY)
    if end <= here:
        end = datetime.combine(here.date() + timedelta(days=1), _SHIFT_ENDS, _CITY)
    return int(end.timestamp() * 1_000)


def ends_ms(profile: Profile, from_ms: int) -> int:
    """Return when a card given for this ends if nobody says otherwise; nobody may say later."""
    return shift_end_ms(from_ms) if profile.days is None else from_ms + profile.days * DAY_MS
