# SPDX-License-Identifier: EUPL-1.2
"""Who is kept outside the directory, for how long, and who may answer for them. Pure; the clock is an argument.

A *sponsor* is somebody of a directory: present, enabled, in their own time. Without one an outsider passes nowhere, and
passes again once the same person is back or another one takes over. Instants are milliseconds since
1970-01-01T00:00:00Z; what begins does so at its instant, what ends has ended at it.
"""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from cardservice.people.rules import OUTSIDE

DAY_MS: Final = 86_400_000
USUAL_MAX_DAYS: Final = 365
USUAL_ERASE_DAYS: Final = 90
SOON_MS: Final = 30 * DAY_MS
MAX_NAME: Final = 200
MAX_GROUPS: Final = 50
MAX_GROUP_NAME: Final = 80


@unique
class Kind(StrEnum):
    """What somebody is here, for whoever reads the list; it decides nothing."""

    EXTERNAL = "external"
    COUNCIL = "council"
    VISITOR = "visitor"


@unique
class State(StrEnum):
    """How an outsider stands at an instant; closed. Only who is `CURRENT` may pass anywhere."""

    CURRENT = "current"
    NOT_YET = "not_yet"
    NO_SPONSOR = "no_sponsor"
    ENDED = "ended"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long somebody is kept at most, and after how many days past the end their name is erased."""

    max_days: int = USUAL_MAX_DAYS
    erase_days: int = USUAL_ERASE_DAYS


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts of somebody's entry: their own, or their sponsor's."""

    directory: str
    present: bool
    enabled: bool
    from_ms: int | None
    until_ms: int | None

    def answers(self, at_ms: int) -> bool:
        """Tell whether they can answer for an outsider at an instant; a lock-out after wrong passwords takes nothing.

        Anybody can cause one.
        """
        return (
            self.directory != OUTSIDE
            and self.present
            and self.enabled
            and (self.from_ms is None or at_ms >= self.from_ms)
            and (self.until_ms is None or at_ms < self.until_ms)
        )


def state_at(own: Standing, sponsor: Standing, at_ms: int) -> State:
    """Return how an outsider stands."""
    if not own.present:
        return State.ERASED
    if own.until_ms is None or at_ms >= own.until_ms:
        return State.ENDED
    if not sponsor.answers(at_ms):
        return State.NO_SPONSOR
    return State.NOT_YET if own.from_ms is not None and at_ms < own.from_ms else State.CURRENT


def objection_to_time(from_ms: int, until_ms: int, now_ms: int, bounds: Bounds) -> str | None:
    """Return why nobody is kept from and until then, None if they are."""
    if until_ms <= now_ms:
        return "the end must lie in the future"
    if from_ms >= until_ms:
        return "the end must lie after the beginning"
    if until_ms > now_ms + bounds.max_days * DAY_MS:
        return f"the end may be {bounds.max_days} days from now at most (outsiders.max_days)"
    return None


def erased_before_ms(now_ms: int, bounds: Bounds) -> int:
    """Return the instant: of whoever ended at it or earlier, nothing but the number stays."""
    return now_ms - bounds.erase_days * DAY_MS
