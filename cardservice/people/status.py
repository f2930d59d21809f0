# SPDX-License-Identifier: EUPL-1.2
"""What operations are told of one directory copy, and the sentences that say what is wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cardservice.clock import UNKNOWN_AGE_MS
from cardservice.people.holds.rules import HoldState, Loss, StandingHold

# A copy older than this is worth a sentence, whatever the points accept.
_ALARM_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class DirectoryStatus:
    """What operations and metrics show: counts, age of the last proof, where it came from, and any trouble.

    `connected` says that a proof has come over the connection that stands, `since_ms` since when that, or the trouble,
    lasts. `hold` keeps people whose loss is not believed; `movers` is how many windows count.
    """

    directory: str
    people: int
    groups: int
    age_ms: int
    server: str
    mode: str
    connected: bool
    since_ms: int
    trouble: str | None
    remark: str | None
    hold: StandingHold | None = None
    movers: int = 0

    @property
    def held_removals(self) -> int:
        """Return how many people are kept until an administrator decides: lost and disabled ones."""
        return len(self.hold.people) if self.hold is not None and self.hold.state is HoldState.OPEN else 0

    @property
    def held_since_ms(self) -> int | None:
        """Return since when the oldest of them is, None if nobody is."""
        return self.hold.began_ms if self.hold is not None and self.held_removals else None

    def troubles(self, now_ms: int) -> list[str]:
        """Return what is wrong, one sentence each: which directory, since when, and what follows."""
        name, age_s = f"directory {self.directory}", self.age_ms // 1_000
        since = instant(self.since_ms)
        found = []
        if self.age_ms >= UNKNOWN_AGE_MS:
            found.append(f"{name}: never read completely, not since {since}: {self.trouble or 'still reading'}")
        elif not self.connected:
            found.append(
                f"{name}: not followed since {since}, taps are decided from the copy, which was proved current "
                f"{age_s} s ago: {self.trouble or 'connecting'}"
            )
        elif self.trouble:
            found.append(f"{name}: since {since}: {self.trouble}")
        if self.connected and _ALARM_MS < self.age_ms < UNKNOWN_AGE_MS:
            found.append(f"{name}: not proved current since {instant(now_ms - self.age_ms)}")
        if self.hold is not None and self.held_removals:
            found.append(f"{name}: {hold_sentence(self.hold)}")
        return found


def hold_sentence(hold: StandingHold) -> str:
    """Return what an open hold is about and where it is decided."""
    lost, disabled = hold.count(Loss.LOST), hold.count(Loss.DISABLED)
    parts = ([f"no longer names {lost} people"] if lost else []) + ([f"disables {disabled} people"] if disabled else [])
    return (
        f"since {instant(hold.began_ms)} it {' and '.join(parts)}; too many to believe, they are kept until somebody "
        f"decides on hold {hold.number} (cardservice directory holds)"
    )


def instant(at_ms: int) -> str:
    """Return an instant as people read it."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")
