# SPDX-License-Identifier: EUPL-1.2
"""Asking, deciding and withdrawing: each request gets one answer, and what follows from it happens once.

Every function that changes something runs in the caller's transaction of the state store. The journal's line is the
last thing before the commit: a decision nobody wrote down is taken back with everything that followed from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from sqlalchemy.engine import Connection, Engine

from cardservice.approvals import store
from cardservice.approvals.kinds import ContentRefused, Kind, by_name
from cardservice.approvals.ports import KeepStep, Step
from cardservice.approvals.rules import (
    HOUR_MS,
    MAX_HOURS,
    MAX_REASON,
    Answer,
    Content,
    Refusal,
    Request,
    State,
    Who,
    canonical,
    refusal,
    withdrawal_refusal,
)
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import Conflict, NotFound
from cardservice.web.gate import Actor
from cardservice.web.lists import MAX_NUMBER
from cardservice.web.problems import ApiProblem

# More than one person has open at a time; whoever decides is not to be buried.
MAX_OPEN: Final = 20
_SAID: Final[Mapping[Refusal, str]] = {
    Refusal.OWN: "nobody decides on their own request",
    Refusal.FOREIGN: "only whoever asked can withdraw the request",
    Refusal.DECIDED: "the request has its answer already",
    Refusal.EXPIRED: "the request has expired; it can be made anew",
    Refusal.CHANGED: "this is not what was shown; read the request again",
}


class NotDecided(Conflict):
    """A request that somebody may not decide on, or withdraw, now; it stays as it is."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(_SAID[why])
        self.code = why.value
        self.why = why


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for; without an answer within `hours` it is over."""

    kind: str
    content: Content
    reason: str
    hours: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A wish that was looked at: its kind exists, its content is accepted, and its asker may ask for it."""

    kind: str
    content: Content
    reason: str
    hours: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What somebody says to a request they were shown: `shown` is the digest they saw."""

    approve: bool
    shown: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as somebody sees it: its state now, whether it is theirs, and whether they may decide on it now."""

    request: Request
    kind: Kind
    state: State
    own: bool
    may_decide: bool


class Approvals:
    """The requests of all kinds. Everything blocks and may raise DatabaseUnavailable."""

    def __init__(self, state: Engine, clock: Clock, kinds: Sequence[Kind], keep: KeepStep) -> None:
        self._state, self._clock, self._keep = state, clock, keep
        self._kinds = by_name(kinds)

    def prepare(self, actor: Actor, wish: Wish) -> Prepared:
        """Return what somebody asks for as it can be stored; before any transaction, since a kind may look things up.

        Raises:
            ApiProblem: 403, their roles do not let them ask for this.
            ContentRefused: there is no such kind, or the content is none of it.
            Conflict: no reason, or an end too late.
        """
        _require_reason(wish.reason)
        if not 1 <= wish.hours <= MAX_HOURS:
            raise Conflict(f"hours: 1 to {MAX_HOURS}")
        kind = self._kinds.get(wish.kind)
        if kind is None:
            raise ContentRefused(f"kind: allowed are {', '.join(sorted(self._kinds))}")
        content = _accepted(kind, wish.content)
        if not kind.may_ask(content, actor):
            raise ApiProblem(403, "foreign_role", "none of your roles may ask for this")
        return Prepared(kind.name, content, wish.reason, wish.hours)

    def request(self, connection: Connection, actor: Actor, wish: Prepared) -> Seen:
        """Store what somebody asks for.

        Raises:
            Conflict: too many of theirs are open.
        """
        asker, now_ms = _who(actor), self._clock.now_ms()
        if store.count_open(connection, asker.person, now_ms) >= MAX_OPEN:
            raise Conflict(f"{MAX_OPEN} of your requests are open; withdraw one, or wait for an answer")
        ends_ms = now_ms + wish.hours * HOUR_MS
        new = Request(0, wish.kind, wish.content, wish.reason, asker, now_ms, ends_ms, State.OPEN, None)
        made = replace(new, number=store.add(connection, new))
        self._keep(Step("asked", made.number, made.kind, asker.person, asker.login, wish.reason))
        return self._seen(made, actor)

    def decide(self, connection: Connection, actor: Actor, number: int, verdict: Verdict) -> Seen:
        """Approve a request, and carry it out, or reject it.

        Raises:
            NotFound: there is none that they may see.
            ApiProblem: 403, their roles do not let them decide on it.
            NotDecided: it is their own, has an answer, is over, or is not what they were shown.
            Conflict: a rejection without a reason, or it cannot be carried out now: it stays open.
        """
        if not verdict.approve:
            _require_reason(verdict.reason or "")
        seen, decider, now_ms = self._shown(connection, actor, number), _who(actor), self._clock.now_ms()
        request = seen.request
        why = refusal(request, decider, verdict.shown, now_ms)
        if why is not None:
            raise NotDecided(why)
        if not seen.kind.may_decide(request.content, actor):
            raise ApiProblem(403, "foreign_role", "none of your roles may decide on this")
        state = State.APPROVED if verdict.approve else State.REJECTED
        given = Answer(decider, now_ms, verdict.reason if not verdict.approve else None)
        return self._answer(connection, actor, request, (state, given))

    def withdraw(self, connection: Connection, actor: Actor, number: int) -> Seen:
        """Take back what one asked for.

        Raises:
            NotFound: there is none that they may see.
            NotDecided: it is not theirs, has an answer or is over.
        """
        seen, asker, now_ms = self._shown(connection, actor, number), _who(actor), self._clock.now_ms()
        why = withdrawal_refusal(seen.request, asker, now_ms)
        if why is not None:
            raise NotDecided(why)
        return self._answer(connection, actor, seen.request, (State.WITHDRAWN, Answer(asker, now_ms, None)))

    def one(self, actor: Actor, number: int) -> Seen:
        """Return a request that somebody asked for or has the role to decide on.

        Raises:
            NotFound: there is none that they may see.
        """
        with read(self._state) as connection:
            return self._shown(connection, actor, number)

    def list(self, actor: Actor, state: State | None = None, after: int = 0, limit: int = 100) -> Sequence[Seen]:
        """Return what somebody may see, the newest first; `after` is the number to go on below, 0: the newest."""
        kinds = {name for name, kind in self._kinds.items() if kind.approves & actor.roles}
        wanted = store.Wanted(kinds, _who(actor).person, state, self._clock.now_ms())
        found: list[Seen] = []
        before = after or MAX_NUMBER
        with read(self._state) as connection:
            while len(found) < limit and (rows := store.newest(connection, wanted, before=before)):
                fitting = (self._seen(row, actor) for row in rows if self._may_see(row, actor))
                found += islice(fitting, limit - len(found))
                before = rows[-1].number
        return found

    def _answer(self, connection: Connection, actor: Actor, request: Request, end: tuple[State, Answer]) -> Seen:
        state, given = end
        if not store.answer(connection, request.number, state, given):
            # Somebody was a moment faster.
            raise NotDecided(Refusal.DECIDED)
        answered = replace(request, state=state, answer=given)
        if state is State.APPROVED:
            self._kinds[request.kind].carry_out(connection, answered)
        self._keep(Step(state.value, request.number, request.kind, given.by.person, given.by.login, given.reason))
        return self._seen(answered, actor)

    def _shown(self, connection: Connection, actor: Actor, number: int) -> Seen:
        found = store.one(connection, number)
        if found is None or not self._may_see(found, actor):
            raise NotFound(f"there is no request {number} that you may see")
        return self._seen(found, actor)

    def _may_see(self, request: Request, actor: Actor) -> bool:
        kind = self._kinds.get(request.kind)
        return kind is not None and (actor.person == request.asked_by.person or kind.may_decide(request.content, actor))

    def _seen(self, request: Request, actor: Actor) -> Seen:
        kind, now_ms, who = self._kinds[request.kind], self._clock.now_ms(), _who(actor)
        may = kind.may_decide(request.content, actor) and refusal(request, who, request.digest, now_ms) is None
        return Seen(request, kind, request.state_at(now_ms), who.person == request.asked_by.person, may)


def _who(actor: Actor) -> Who:
    """Return the person who asks; an account of a system neither asks nor decides."""
    return Who(actor.own, actor.name)


def _accepted(kind: Kind, content: Content) -> Content:
    try:
        canonical(content)
        accepted: dict[str, Any] = dict(kind.accept(content))
        canonical(accepted)
    except ValueError as error:
        raise ContentRefused(f"content: {error}") from None
    return accepted


def _require_reason(text: str) -> None:
    if not text.strip() or len(text) > MAX_REASON or not text.isprintable():
        raise Conflict(f"reason: 1 to {MAX_REASON} printable characters")
