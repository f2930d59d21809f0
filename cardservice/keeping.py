# SPDX-License-Identifier: EUPL-1.2
"""For how long what concerns people is kept: the limits, and what the settings may make of them.

A limit may be made shorter freely, down to `least`. Whoever makes it longer than usual says why, and everybody reads
that at /privacy.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DAY_MS: Final = 86_400_000
MAX_REASON: Final = 300


class Limit(NamedTuple):
    """Days: the shortest that can be set, what holds where nothing is set, and the longest."""

    least: int
    usual: int
    most: int


LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "doors": Limit(1, 7, 90),
        "doors_high": Limit(1, 30, 180),
        "workstations": Limit(1, 7, 90),
        "timeclock_taps": Limit(1, 7, 90),
        "canteen_taps": Limit(1, 7, 90),
        "printing": Limit(1, 7, 30),
        "unknown_points": Limit(1, 7, 90),
        # § 16 (2) ArbZG asks for two years; 731 days are two years whichever of them is a leap year.
        "time_bookings": Limit(731, 731, 3_653),
        # Until the month it was in is settled.
        "unbooked_taps": Limit(7, 62, 180),
        "security_log": Limit(7, 90, 365),
        "lookups": Limit(90, 730, 1_096),
        "decisions": Limit(90, 730, 1_096),
        # § 147 (3) AO: receipts for eight years from the end of theirs; as many days whichever are leap years.
        "canteen_books": Limit(2_922, 2_922, 3_653),
        "canteen_requests": Limit(7, 90, 365),
        "leavers": Limit(1, 90, 365),
    }
)


def _days(name: str, what: str) -> Any:
    least, usual, most = LIMITS[name]
    return Field(usual, ge=least, le=most, description=f"Days: {what} ({least} to {most}).")


class RetentionSection(BaseModel):
    """For how many days what concerns people is kept; then it is erased. Longer than usual needs a reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    doors: int = _days("doors", "who was at a door")
    doors_high: int = _days("doors_high", "the same where card and PIN are demanded")
    workstations: int = _days("workstations", "who was at a PC")
    timeclock_taps: int = _days("timeclock_taps", "taps at time clocks in the journal, refusals above all")
    canteen_taps: int = _days("canteen_taps", "taps at tills in the journal, refusals above all")
    printing: int = _days("printing", "taps at printers, and which document was released where")
    unknown_points: int = _days("unknown_points", "taps at readers that belong to no point")
    time_bookings: int = _days("time_bookings", "bookings of the time clock; two years is the least the law allows")
    unbooked_taps: int = _days("unbooked_taps", "taps at a time clock that became no booking")
    security_log: int = _days("security_log", "who signed in, and who asked for which change")
    lookups: int = _days("lookups", "who looked at whose data, and who decided on grants")
    decisions: int = _days("decisions", "who decided, in lists of reviews, requests, holds and keys")
    canteen_requests: int = _days("canteen_requests", "what tills asked for, so that asking twice books once")
    canteen_books: int = _days("canteen_books", "whose a payment or top-up was, from the end of its year")
    leavers: int = _days("leavers", "name and login of people who left, and whose canteen account was whose")
    reasons: dict[str, str] = Field(
        {}, max_length=len(LIMITS), description="Why something is kept for longer than usual, by its name above."
    )

    @model_validator(mode="after")
    def _longer_for_a_reason(self) -> Self:
        unknown = sorted(self.reasons.keys() - LIMITS.keys())
        if unknown:
            raise ValueError(f"reasons: {unknown[0]} is nothing that is kept; allowed are {', '.join(sorted(LIMITS))}")
        for name, reason in self.reasons.items():
            if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
                raise ValueError(f"reasons.{name}: allowed are 1 to {MAX_REASON} printable characters")
        for name, limit in LIMITS.items():
            if self.days(name) > limit.usual and name not in self.reasons:
                raise ValueError(
                    f"{name}: {self.days(name)} days are more than the usual {limit.usual}: say why in "
                    f"[retention.reasons] as {name} = '...', which everybody reads at /privacy, or keep it for less"
                )
        return self

    def days(self, name: str) -> int:
        """Return for how many days something is kept."""
        days: int = getattr(self, name)
        return days

    def kept_ms(self, name: str) -> int:
        """Return the same in milliseconds."""
        return self.days(name) * DAY_MS

    def longer(self) -> dict[str, str]:
        """Return what is kept for longer than usual, and why."""
        return {name: self.reasons[name] for name, limit in LIMITS.items() if self.days(name) > limit.usual}
