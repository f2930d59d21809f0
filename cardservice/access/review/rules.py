# SPDX-License-Identifier: EUPL-1.2
"""What a review of grants is: bounds, what became of a grant, who owns it, and the sentence that reminds."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cardservice.instants import MAX_INSTANT_MS, instant

DAY_MS: Final = 86_400_000
# Whoever mistypes a deadline must not shut the city before anybody has read of it.
MIN_LEAD_MS: Final = DAY_MS
# From when a review that is not answered is told of, and until when what lapsed in it.
REMIND_MS: Final = 7 * DAY_MS


class Verdict(StrEnum):
    """What somebody says of a grant."""

    KEEP = "keep"
    """It is needed: it ends when it would have ended, or when the owner says."""
    END = "end"
    """It is not needed: it ends now."""
    RENEW = "renew"
    """It lapsed and is needed after all."""


class ItemState(StrEnum):
    """What became of a grant in a review."""

    OPEN = "open"
    KEPT = "kept"
    ENDED = "ended"
    RENEWED = "renewed"
    LAPSED = "lapsed"
    PROLONGED = "prolonged"
    """Nobody answered, but somebody gave it a later end beside the review."""
    DELETED = "deleted"
    ABORTED = "aborted"


ANSWERED: Final[Mapping[Verdict, ItemState]] = {
    Verdict.KEEP: ItemState.KEPT,
    Verdict.END: ItemState.ENDED,
    Verdict.RENEW: ItemState.RENEWED,
}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A grant in a review: where it would have ended (`before_ms`), where the review ends it, where it ends now."""

    before_ms: int | None
    bound_ms: int
    ends_ms: int | None
    verdict: Verdict | None
    deleted: bool
    aborted: bool

    def state(self, now_ms: int) -> ItemState:
        """Return what became of it by now."""
        if self.verdict is not None:
            return ANSWERED[self.verdict]
        if self.deleted:
            return ItemState.DELETED
        if self.aborted:
            return ItemState.ABORTED
        if self.ends_ms is None or self.ends_ms > self.bound_ms:
            return ItemState.PROLONGED
        return ItemState.LAPSED if self.ends_ms <= now_ms else ItemState.OPEN

    def new_end(self, verdict: Verdict, until_ms: int | None, now_ms: int) -> int | None:
        """Return where the grant ends after an answer.

        Raises:
            ValueError: this cannot be said of it now; the sentence says why and what can.
        """
        state = self.state(now_ms)
        if verdict is Verdict.END and state in {ItemState.OPEN, ItemState.PROLONGED}:
            return now_ms if self.ends_ms is None else min(now_ms, self.ends_ms)
        if until_ms is not None and not now_ms < until_ms < MAX_INSTANT_MS:
            raise ValueError(f"its new end must lie in the future, {instant(now_ms)} is now")
        if verdict is Verdict.KEEP and state in {ItemState.OPEN, ItemState.PROLONGED}:
            # An end that somebody set meanwhile beside the review stands.
            old_ms = self.before_ms if self.ends_ms == self.bound_ms else self.ends_ms
            return old_ms if until_ms is None else until_ms
        if verdict is Verdict.RENEW and state is ItemState.LAPSED:
            if until_ms is None and self.before_ms is not None and self.before_ms <= now_ms:
                raise ValueError("it would have ended by now anyway: say until when it is needed")
            return self.before_ms if until_ms is None else until_ms
        raise ValueError(_WHY_NOT[state])


_WHY_NOT: Final[Mapping[ItemState, str]] = {
    ItemState.OPEN: "it has not lapsed: keep or end it",
    ItemState.KEPT: "it was answered: kept",
    ItemState.ENDED: "it was answered: ended",
    ItemState.RENEWED: "it was answered: renewed",
    ItemState.LAPSED: "nobody answered in time and it lapsed: renew it, with a reason",
    ItemState.PROLONGED: "it has not lapsed: keep or end it",
    ItemState.DELETED: "it was deleted",
    ItemState.ABORTED: "the review was aborted",
}


def bound_of(before_ms: int | None, deadline_ms: int) -> int:
    """Return where a grant ends if nobody answers."""
    return deadline_ms if before_ms is None else min(before_ms, deadline_ms)


@dataclass(frozen=True, slots=True)
class Owners:
    """Who answers for what, all by row number: groups of grants and of zones, and the zone around each zone."""

    of_grant: Mapping[int, int]
    of_zone: Mapping[int, int]
    parent: Mapping[int, int | None]

    def of(self, grant: int, zone: int | None) -> int | None:
        """Return the grant's own owner, else that of the nearest zone around it that has one; None: nobody's."""
        own = self.of_grant.get(grant)
        if own is not None:
            return own
        for around in zones_around(zone, self.parent):
            if around in self.of_zone:
                return self.of_zone[around]
        return None


def zones_around(zone: int | None, parent: Mapping[int, int | None]) -> list[int]:
    """Return a zone and those it lies in, innermost first; a circle ends."""
    found: list[int] = []
    while zone is not None and zone not in found:
        found.append(zone)
        zone = parent.get(zone)
    return found


def zones_inside(zone: int, parent: Mapping[int, int | None]) -> frozenset[int]:
    """Return a zone and all that lie in it."""
    return frozenset(inner for inner in parent if zone in zones_around(inner, parent)) | {zone}


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a review is: grants that are still there, how many nobody answered for, and how many of those live on."""

    review: str
    deadline_ms: int
    grants: int
    unanswered: int
    prolonged: int

    def sentence(self, now_ms: int) -> str | None:
        """Return the reminder: a week before and after the deadline, while answers are missing."""
        if not self.unanswered or abs(self.deadline_ms - now_ms) > REMIND_MS:
            return None
        when = instant(self.deadline_ms)
        beside = f"; {self.prolonged} of them were given a later end beside the review" if self.prolonged else ""
        if now_ms >= self.deadline_ms:
            return (
                f"review {self.review}: {self.unanswered} of {self.grants} grants were not answered and ended on {when}"
                f"{beside}; renew what is needed (cardservice access review renew)"
            )
        days = -((now_ms - self.deadline_ms) // DAY_MS)
        left = "1 day left" if days == 1 else f"{days} days left"
        return (
            f"review {self.review}: {self.unanswered} of {self.grants} grants are unanswered, {left}; they end on"
            f" {when}{beside}"
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which grants under review: of one review, of an owner, without owner, those alone that can be answered now.

    They follow the item of the number `after`.
    """

    review: str | None = None
    owner: str | None = None
    nobodys: bool = False
    unanswered: bool = False
    after: int = 0
