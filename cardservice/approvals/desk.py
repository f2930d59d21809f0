# SPDX-License-Identifier: EUPL-1.2
"""Requests and answers for somebody who may send one twice: each is made once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from cardservice.approvals.service import Approvals, Seen, Verdict, Wish
from cardservice.web.gate import Actor
from cardservice.web.once import Once
from cardservice.web.repeats import asked_by


@dataclass(frozen=True, slots=True)
class ApprovalDesk:
    """The requests, and what makes a change once. Blocks; each may raise what `Approvals` does, and KeyReused."""

    approvals: Approvals
    once: Once
    # Has whoever is compiled from the state store see what an approval changed.
    publish: Callable[[], None]

    def request(self, actor: Actor, key: str, wish: Wish) -> int:
        """Store what somebody asks for; return its number."""
        asked = {"kind": wish.kind, "content": wish.content, "reason": wish.reason, "hours": wish.hours}
        prepared = self.approvals.prepare(actor, wish)

        def request(connection: Connection) -> Seen:
            return self.approvals.request(connection, actor, prepared)

        return self._run(actor, key, ("approvals.request", asked), request)

    def decide(self, actor: Actor, key: str, number: int, verdict: Verdict) -> int:
        """Answer a request; return its number."""
        asked = {"number": number, "approve": verdict.approve, "shown": verdict.shown, "reason": verdict.reason}

        def decide(connection: Connection) -> Seen:
            return self.approvals.decide(connection, actor, number, verdict)

        done = self._run(actor, key, ("approvals.decide", asked), decide)
        self.publish()
        return done

    def withdraw(self, actor: Actor, key: str, number: int) -> int:
        """Take back what one asked for; return its number."""

        def withdraw(connection: Connection) -> Seen:
            return self.approvals.withdraw(connection, actor, number)

        return self._run(actor, key, ("approvals.withdraw", {"number": number}), withdraw)

    def _run(
        self, actor: Actor, key: str, asked: tuple[str, dict[str, Any]], make: Callable[[Connection], Seen]
    ) -> int:
        operation, content = asked
        answer = self.once.run(
            asked_by(actor, key, operation, content), lambda connection: {"number": make(connection).request.number}
        )
        number: int = answer["number"]
        return number
