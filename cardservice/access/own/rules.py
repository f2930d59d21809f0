# SPDX-License-Identifier: EUPL-1.2
"""What somebody's own cards would be answered, at every point of one use. Pure.

There is no second rule here: every question goes to `decide`. Two of them are asked of a point that is not in the city:
whether a card is in order at all (a point that nobody is granted), and whether there is a grant behind a lockdown (the
same point as on a calm day).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cardservice.access.rules import (
    NEVER_MS,
    REFUSED,
    CardRecord,
    Decision,
    DecisionState,
    Level,
    PointRecord,
    Reason,
    Tap,
    Use,
    decide,
)
from cardservice.access.snapshot import Snapshot
from cardservice.cards.rules import is_piv

# Of several cards the one that comes furthest speaks; what the holder can do something about comes before what is over.
_BEST_FIRST: Final = (
    *(Reason.SECOND_PERSON_NEEDED, Reason.LEVEL_TOO_LOW, Reason.OUTSIDE_SCHEDULE, Reason.NO_GRANT, Reason.BLOCKED),
    Reason.CLOCK_DOUBTFUL,
    *(Reason.LOCKED_DOWN, Reason.PERSON_LOCKED_OUT, Reason.DIRECTORY_STALE),
    *(Reason.PERSON_DISABLED, Reason.PERSON_EXPIRED, Reason.PERSON_NOT_YET_VALID, Reason.PERSON_LEFT),
    Reason.NO_SPONSOR,
    *(Reason.CARD_NOT_YET_VALID, Reason.CARD_NOT_ISSUED, Reason.CARD_SUSPENDED, Reason.CARD_EXPIRED),
    *(Reason.CARD_REVOKED, Reason.NO_HOLDER, Reason.CARD_UNKNOWN, Reason.CARD_UNSUPPORTED),
)
_RANK: Final = {reason: rank for rank, reason in enumerate(_BEST_FIRST)}
# Refusals that end by themselves, or when somebody ends them: not for want of a grant.
_PASSING: Final = frozenset(
    {Reason.OUTSIDE_SCHEDULE, Reason.LOCKED_DOWN, Reason.DIRECTORY_STALE, Reason.CLOCK_DOUBTFUL}
    | {Reason.PERSON_LOCKED_OUT}
)
_UNSUPPORTED: Final = REFUSED[Reason.CARD_UNSUPPORTED]
_NOBODYS: Final = PointRecord(
    code="",
    use=Use.DOOR,
    always=frozenset(),
    timed=(),
    blocks=(),
    level=Level.NONE,
    timed_levels=(),
    freshness_ms=NEVER_MS,
    stale_permits=True,
    granted=Decision(permit=True, reason=Reason.GRANTED),
)


@dataclass(frozen=True, slots=True)
class _OnePoint:
    """The cards of a state, and one point in the place of all of its own."""

    state: DecisionState
    only: PointRecord

    def card(self, credential: bytes) -> CardRecord | None:
        return self.state.card(credential)

    def point(self, _: str) -> PointRecord:
        return self.only


def level_at(point: PointRecord, credential: bytes) -> Level | None:
    """Return what a tap with this credential would prove here, None if the point does not ask such cards.

    Whether the chip answers at that kind of reader, with contacts or without, only the tap itself can tell.
    """
    if is_piv(credential):
        return Level.CARD if "piv" in point.methods else None
    if "desfire" in point.methods:
        return Level.CARD
    return Level.READER_ATTESTED if "attested" in point.methods else None


def own_decisions(
    snapshot: Snapshot, use: Use, credentials: Sequence[bytes], at_ms: int, age_ms: int
) -> Iterator[tuple[PointRecord, Decision]]:
    """Yield every point of `use` with the best answer that one of these credentials, all of one person, gets there.

    A permit is the best; where no credential fits the point, it is what a tap is told too, `card_unsupported`.
    """
    for point in snapshot.points.values():
        if point.use is use:
            yield point, _best(snapshot, point, credentials, at_ms, age_ms)


def is_passing(
    state: DecisionState, point: PointRecord, decision: Decision, credentials: Sequence[bytes], at_ms: int
) -> bool:
    """Tell whether only what passes refuses here (`_PASSING`), so that the point is the person's concern.

    A lockdown refuses everybody before it is asked who has a grant: therefore the same question on a calm day.
    """
    if decision.reason not in _PASSING:
        return False
    calm = replace(point, lockdown=None, stops_locked_out=False, compiled_from_ms=-NEVER_MS, compiled_until_ms=NEVER_MS)
    answer = _best(_OnePoint(state, calm), calm, credentials, at_ms, 0)
    return answer.reason in {Reason.GRANTED, Reason.OUTSIDE_SCHEDULE}


def out_of_use(state: DecisionState, credentials: Sequence[bytes], at_ms: int) -> Reason | None:
    """Return why none of these credentials is of a card in use, by the best of them; None if one is, or there is none.

    Where nobody has a grant, whoever is refused for want of it has a card in order.
    """
    nobodys = _OnePoint(state, _NOBODYS)
    asked = [decide(nobodys, Tap("", credential, Level.CARD), at_ms, 0) for credential in credentials]
    best = min(asked, key=rank, default=None)
    return None if best is None or best.reason is Reason.NO_GRANT else best.reason


def _best(state: DecisionState, point: PointRecord, credentials: Sequence[bytes], at_ms: int, age_ms: int) -> Decision:
    best = _UNSUPPORTED
    for credential in credentials:
        level = level_at(point, credential)
        if level is None:
            continue
        decision = decide(state, Tap(point.code, credential, level), at_ms, age_ms)
        if decision.permit:
            return decision
        best = min(best, decision, key=rank)
    return best


def rank(decision: Decision) -> int:
    """Return how far an answer came, by which the best of several is chosen: the least is the best."""
    return _RANK.get(decision.reason, len(_RANK))
