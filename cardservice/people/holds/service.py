# SPDX-License-Identifier: EUPL-1.2
"""What an administrator sees of holds and decides on them, in whatever program; the running service carries it out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import structlog
from sqlalchemy.engine import Engine

from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import Conflict, DatabaseUnavailable, NotFound
from cardservice.people.holds import store
from cardservice.people.holds.rules import HoldState, Loss
from cardservice.people.status import instant

MAX_PEOPLE: Final = 1_000
_log = structlog.get_logger()


class Verdict(StrEnum):
    """What an administrator says of a hold."""

    CONFIRM = "confirm"
    """The directory is right: whoever is still in it is lost or disabled."""
    REJECT = "reject"
    """The directory is wrong: they stay as they are until it takes that back, or says more."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, who gave it (a caller of the API, or the command line) and when.

    `although_rejected` confirms a hold that was rejected before.
    """

    verdict: Verdict
    by: str
    at_ms: int
    although_rejected: bool = False


@dataclass(frozen=True, slots=True)
class HoldView:
    """One hold as a list shows it: how many people it keeps and why, and what the directory was when it began."""

    number: int
    directory: str
    state: HoldState
    began_ms: int
    server: str
    cookie: str | None
    lost: int
    disabled: int
    decided_by: str | None
    settled_ms: int | None


@dataclass(frozen=True, slots=True)
class HeldPerson:
    """Somebody in a hold, for the administrator who decides. Never to be logged."""

    name: str
    login: str | None
    department: str | None
    loss: Loss


def list_holds(engine: Engine) -> list[HoldView]:
    """Return every hold that keeps people, the oldest first.

    Raises:
        DatabaseUnavailable: the state store cannot be read.
    """
    with read(engine) as connection:
        return [_view(row) for row in store.list_standing(connection)]


def list_held(engine: Engine, number: int) -> list[HeldPerson]:
    """Return who is in a hold, by name, at most 1,000.

    Raises:
        NotFound: there is no such hold.
        DatabaseUnavailable: the state store cannot be read.
    """
    with read(engine) as connection:
        if store.find(connection, number) is None:
            raise _unknown(number)
        rows = store.list_people(connection, number, MAX_PEOPLE)
    return [HeldPerson(row.name, row.login, row.department, Loss(row.loss)) for row in rows]


def decide(engine: Engine, number: int, decision: Decision) -> HoldView:
    """Decide on a hold, once; the running service carries it out within a second, or at its next start.

    Confirming applies to whoever is still in the hold then: whom the directory names again meanwhile is not.

    Raises:
        NotFound: there is no such hold.
        Conflict: it was decided, or is over.
        DatabaseUnavailable: the state store cannot be written.
    """
    with write(engine) as connection:
        row = store.find(connection, number, lock=True)
        if row is None:
            raise _unknown(number)
        allowed = {HoldState.OPEN}
        if decision.verdict is Verdict.CONFIRM and decision.although_rejected:
            allowed.add(HoldState.REJECTED)
        if row.state not in allowed:
            raise Conflict(_settled(_view(row)))
        state = HoldState.CONFIRMED if decision.verdict is Verdict.CONFIRM else HoldState.REJECTED
        store.update(connection, number, state=state.value, decided_by=decision.by, settled_ms=decision.at_ms)
        changed = store.find(connection, number)
        if changed is None:
            raise _unknown(number)
    return _view(changed)


def describe_hold(hold: HoldView, people: Sequence[HeldPerson]) -> str:
    """Return a hold as an administrator reads it, with those of its people that are given."""
    says = {
        HoldState.OPEN: "waits for a decision",
        HoldState.REJECTED: f"rejected by {hold.decided_by}: they stay as they were",
        HoldState.CONFIRMED: f"confirmed by {hold.decided_by}: the running service is to apply it",
    }
    cookie = "" if hold.cookie is None else f", position {hold.cookie}"
    first = (
        f"hold {hold.number}: directory {hold.directory}, since {instant(hold.began_ms)}: {hold.lost} people no longer "
        f"named, {hold.disabled} disabled; {says.get(hold.state, hold.state)}\n  said by {hold.server or 'no server'}"
        f"{cookie}"
    )
    rows = [f"  {one.loss:8}  {one.login or '-'}  {one.name}  {one.department or ''}".rstrip() for one in people]
    return "\n".join((first, *rows))


class HoldDesk:
    """The holds for the API of the running service, whose copies are told by `look` to carry out what was decided."""

    def __init__(self, engine: Engine, clock: Clock, look: Callable[[], None]) -> None:
        self._engine, self._clock, self._look = engine, clock, look

    def list(self) -> list[HoldView]:
        """Return every hold that keeps people; raises as `list_holds`."""
        return list_holds(self._engine)

    def decide(self, number: int, verdict: Verdict, *, by: str, although_rejected: bool = False) -> HoldView:
        """Decide on a hold and have that carried out; raises as `decide`."""
        decision = Decision(verdict, by, self._clock.now_ms(), although_rejected)
        decided = decide(self._engine, number, decision)
        try:
            self._look()
        except DatabaseUnavailable as error:
            # It is decided and stored; whoever looks next carries it out.
            _log.warning("directory.decision_waits", error=str(error))
        return decided


def _unknown(number: int) -> NotFound:
    return NotFound(f"there is no hold {number}")


def _settled(hold: HoldView) -> str:
    """Say why nothing can be decided on this hold."""
    by, at = hold.decided_by, instant(hold.settled_ms or hold.began_ms)
    says = {
        HoldState.REJECTED: f"was rejected by {by} at {at}; it can be confirmed all the same, if that is said",
        HoldState.CONFIRMED: f"was confirmed by {by} at {at}",
        HoldState.APPLIED: f"was confirmed by {by} at {at}",
        HoldState.OVER: f"is over since {at}: the directory took it back by itself",
        HoldState.REPLACED: f"is no longer the whole of it since {at}: more people are kept; look at the holds again",
    }
    return f"hold {hold.number} {says[hold.state]}"


def _view(row: Any) -> HoldView:
    return HoldView(
        number=row.id,
        directory=row.directory,
        state=HoldState(row.state),
        began_ms=row.began_ms,
        server=row.server,
        cookie=row.cookie,
        lost=row.lost,
        disabled=row.disabled,
        decided_by=row.decided_by,
        settled_ms=row.settled_ms,
    )
