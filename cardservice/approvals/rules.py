# SPDX-License-Identifier: EUPL-1.2
"""A request that somebody else has to approve: what it is, and who may decide on it until when. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

Content = Mapping[str, Any]
HOUR_MS: Final = 3_600_000
USUAL_HOURS: Final = 24
MAX_HOURS: Final = 7 * 24
MAX_CONTENT_BYTES: Final = 16 * 1024
MAX_REASON: Final = 200


@unique
class State(StrEnum):
    """What became of a request. `EXPIRED` stands in no table: it is what an open one is after its end."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@unique
class Refusal(StrEnum):
    """Why somebody may not decide on a request, or withdraw it, now."""

    OWN = "own_request"
    FOREIGN = "foreign_request"
    DECIDED = "already_decided"
    EXPIRED = "expired"
    CHANGED = "changed_meanwhile"


@dataclass(frozen=True, slots=True)
class Who:
    """A person: row number and login."""

    person: int
    login: str

    def is_same(self, other: "Who") -> bool:
        """Tell whether both are one person: two directories may each have a row of theirs."""
        return self.person == other.person or self.login.casefold() == other.login.casefold()


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request ended: who decided, when, and why, if they said so."""

    by: Who
    at_ms: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `state` is as it is stored; `answer` is None while it is open."""

    number: int
    kind: str
    content: Content
    reason: str
    asked_by: Who
    asked_ms: int
    expires_ms: int
    state: State
    answer: Answer | None

    @property
    def digest(self) -> str:
        """What an answer rests on: SHA-256 of everything that is shown to whoever decides."""
        asked = [self.number, self.kind, self.content, self.reason, self.asked_by.person, self.asked_by.login]
        return hashlib.sha256(canonical([*asked, self.asked_ms, self.expires_ms]).encode()).hexdigest()

    def state_at(self, now_ms: int) -> State:
        """Return what it is at an instant."""
        over = self.state is State.OPEN and now_ms >= self.expires_ms
        return State.EXPIRED if over else self.state


def canonical(value: Any) -> str:
    """Return the one text of what JSON can say: keys sorted, no spaces.

    Raises:
        ValueError: longer than 16 KiB, or JSON cannot say it.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError("not what JSON can say") from error
    if len(text.encode()) > MAX_CONTENT_BYTES:
        raise ValueError(f"longer than {MAX_CONTENT_BYTES} bytes")
    return text


def refusal(request: Request, decider: Who, shown: str, now_ms: int) -> Refusal | None:
    """Return why `decider` may not decide now on what they were shown (a digest), None if they may."""
    if decider.is_same(request.asked_by):
        return Refusal.OWN
    state = request.state_at(now_ms)
    if state is not State.OPEN:
        return Refusal.EXPIRED if state is State.EXPIRED else Refusal.DECIDED
    return None if shown == request.digest else Refusal.CHANGED


def withdrawal_refusal(request: Request, asker: Who, now_ms: int) -> Refusal | None:
    """Return why `asker` may not withdraw a request now, None if they may: it is theirs and nobody has decided."""
    if asker.person != request.asked_by.person:
        return Refusal.FOREIGN
    state = request.state_at(now_ms)
    if state is State.OPEN:
        return None
    return Refusal.EXPIRED if state is State.EXPIRED else Refusal.DECIDED
