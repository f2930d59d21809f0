# SPDX-License-Identifier: EUPL-1.2
"""What the agents said of themselves last, in memory: since when they are here or away, their program, readers, outbox.

Of nobody's card: a reader says whether something lies on it. A service that was just started knows of nobody.
"""

from dataclasses import dataclass, replace

from cardservice.agents.messages import Health


@dataclass(frozen=True, slots=True)
class AgentTold:
    """One agent. `since_ms` is when it came or went, `heard_ms` when something of what stands here came last.

    `clock_ahead_ms` is how far its clock is before the centre's, less the way of the message; None: it does not say.
    """

    online: bool
    since_ms: int
    heard_ms: int
    software: str
    clock_ahead_ms: int | None = None
    health: Health | None = None


class AgentsTold:
    """Written in the event loop, read from any thread. Holds enrolled agents alone: nobody else gets so far."""

    def __init__(self) -> None:
        self._told: dict[str, AgentTold] = {}

    def of(self, agent: str) -> AgentTold | None:
        """Return what an agent said, None if it has not connected since the service started."""
        return self._told.get(agent)

    def came(self, agent: str, software: str, at_ms: int) -> None:
        """An agent was let in; what it said before tells nothing any more."""
        self._told[agent] = AgentTold(online=True, since_ms=at_ms, heard_ms=at_ms, software=software)

    def went(self, agent: str, at_ms: int) -> None:
        """Its connection ended; what it said last stays."""
        if agent in self._told:
            self._told[agent] = replace(self._told[agent], online=False, since_ms=at_ms)

    def said(self, agent: str, health: Health, at_ms: int) -> None:
        """It told how it is."""
        if agent in self._told:
            ahead_ms = None if health.at_ms is None else health.at_ms - at_ms
            self._told[agent] = replace(self._told[agent], heard_ms=at_ms, health=health, clock_ahead_ms=ahead_ms)
