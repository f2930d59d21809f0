# SPDX-License-Identifier: EUPL-1.2
"""Which losses are believed, and what becomes of those that are not. Pure.

A *loss* is somebody whom the directory no longer names (`lost`) or names as disabled (`disabled`) while the copy has
them as they were. More than max(20, 2 %) losses in one *step*, or the loss of everybody, are not believed: they are
kept in a *hold*. A step is what a directory says between two proofs that the copy equals it. A directory has one hold
at most. Whoever is in it is no new loss, however often the directory says so again: the same set is the same hold.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cardservice.people.rules import RemovalGuard


class Loss(StrEnum):
    """What the directory says of somebody and the copy does not believe yet."""

    LOST = "lost"
    DISABLED = "disabled"


class HoldState(StrEnum):
    """The life of a hold. The first three stand: they keep people."""

    OPEN = "open"
    """An administrator has to decide."""
    REJECTED = "rejected"
    """The directory is wrong: whoever is in it stays as they were, and no alarm is raised about them."""
    CONFIRMED = "confirmed"
    """The directory is right; the running service has yet to apply it."""
    APPLIED = "applied"
    """Confirmed, and done."""
    OVER = "over"
    """The directory took it all back by itself."""
    REPLACED = "replaced"
    """More people are concerned since: another hold keeps them together."""


STANDING = (HoldState.OPEN, HoldState.REJECTED, HoldState.CONFIRMED)


@dataclass(frozen=True, slots=True)
class StandingHold:
    """The one hold of a directory: its number, whom it keeps (by stable id), and since when."""

    number: int
    state: HoldState
    began_ms: int
    people: Mapping[str, Loss]

    def count(self, loss: Loss) -> int:
        """Return how many people are kept for this reason."""
        return sum(1 for kind in self.people.values() if kind is loss)


@dataclass(frozen=True, slots=True)
class Told:
    """What one change says of people who are present in the copy, by stable id.

    `disabled` are named as disabled and enabled in the copy, `named` are named in whatever state. `complete`: whoever
    is not in `removed` is there. `total` is how many are present.
    """

    removed: AbstractSet[str]
    disabled: AbstractSet[str]
    named: AbstractSet[str]
    complete: bool
    total: int


@dataclass(frozen=True, slots=True)
class Weighed:
    """What is believed of a change: whom the copy gives up and disables, and whom the hold keeps afterwards.

    `opened`: somebody is kept who was not kept before.
    """

    gone: AbstractSet[str] = frozenset()
    disabled: AbstractSet[str] = frozenset()
    held: Mapping[str, Loss] = field(default_factory=dict)
    opened: bool = False


def weigh(told: Told, hold: StandingHold | None, this_step: AbstractSet[str], guard: RemovalGuard) -> Weighed:
    """Decide about one change; `this_step` are the losses that were believed since the last proof.

    Losses that are too many are kept. A full read that misses more people than the open hold has is weighed as a whole:
    what already looks wrong is not believed bit by bit. What the directory says of somebody singly is believed, even
    of somebody who is kept.
    """
    held = _without_those_who_are_back(told, hold)
    kept_lost = {one for one, loss in held.items() if loss is Loss.LOST}
    lost = told.removed - kept_lost if told.complete else told.removed
    disabled = {one for one in told.disabled if held.get(one) is not Loss.DISABLED}
    losses = this_step | lost | disabled
    everybody = 1 < told.total == len(kept_lost | lost | disabled)
    if everybody or not guard.allows(len(losses), told.total):
        return _keeping(held, lost, disabled)
    in_doubt = told.complete and hold is not None and hold.state is HoldState.OPEN
    if in_doubt and not guard.allows(len(losses | kept_lost), told.total):
        return replace(_keeping(held, lost, set()), disabled=disabled)
    return Weighed(lost, disabled, {one: loss for one, loss in held.items() if one not in lost})


def _keeping(held: Mapping[str, Loss], lost: AbstractSet[str], disabled: AbstractSet[str]) -> Weighed:
    """Return what keeps these people beside those who are kept already."""
    new = {one: Loss.LOST for one in lost if held.get(one) is not Loss.LOST} | dict.fromkeys(disabled, Loss.DISABLED)
    return Weighed(held={**held, **new}, opened=bool(new))


def _without_those_who_are_back(told: Told, hold: StandingHold | None) -> dict[str, Loss]:
    """Return whom the hold keeps, less those whom the directory names again, or names as enabled."""

    def is_back(one: str, loss: Loss) -> bool:
        if loss is Loss.LOST:
            return one in told.named or (told.complete and one not in told.removed)
        return one in told.named and one not in told.disabled

    return {} if hold is None else {one: loss for one, loss in hold.people.items() if not is_back(one, loss)}
