# SPDX-License-Identifier: EUPL-1.2
"""The agents, for whoever may look: which are online, what they serve, how they are, when something came from them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access.model.territory import Territory, require
from cardservice.access.store import point
from cardservice.agents.gaps import GapTotals
from cardservice.agents.service import Agents, AgentView
from cardservice.agents.store import agent_event
from cardservice.agents.told import AgentTold
from cardservice.database import Databases, read
from cardservice.errors import NotFound
from cardservice.web.reach import Reach

MAX_AGENTS: Final = 2_000


@dataclass(frozen=True, slots=True)
class ReaderLine:
    """A reader: whether a card lies on it, and when one was read there last, None: not since the agent started."""

    reader: str
    card_present: bool
    last_good_tap_ms: int | None


@dataclass(frozen=True, slots=True)
class AgentLine:
    """One agent. `points` are those it serves; `last_event_ms` is when its last event came, None: none ever did.

    What it says of itself is None until it says so. `since_ms` is when it came or went, `heard_ms` when it said
    something last, `clock_ahead_ms` how far its clock is before the centre's, `pcsc` whether readers can be reached.
    `asked_events` and `lost_events` were acknowledged once and are not here: asked for again, or lost for good.
    """

    agent: str
    online: bool
    locked: bool
    enrolled_ms: int
    last_event_ms: int | None
    points: tuple[str, ...]
    since_ms: int | None = None
    heard_ms: int | None = None
    software: str | None = None
    clock_ahead_ms: int | None = None
    outbox_depth: int | None = None
    pcsc: str | None = None
    readers: tuple[ReaderLine, ...] = ()
    asked_events: int = 0
    lost_events: int = 0


@dataclass(frozen=True, slots=True)
class ServedPoint:
    """A point that an agent serves; `reader` is the name of the reader, "*" for whichever no other point names."""

    code: str
    name: str
    use: str
    reader: str


@dataclass(frozen=True, slots=True)
class Presence:
    """What is known of the agents now: which are connected, what each said last, which events of theirs are missing."""

    online: Callable[[], frozenset[str]]
    told: Callable[[str], AgentTold | None] = lambda _: None
    missing: Callable[[], Iterable[GapTotals]] = tuple


class AgentRegister:
    """Answers for the enrolled agents. Everything blocks."""

    def __init__(self, databases: Databases, agents: Agents, presence: Presence) -> None:
        self._databases, self._agents, self._presence = databases, agents, presence

    def list(self, reaches: tuple[Reach, ...]) -> tuple[AgentLine, ...]:
        """Return the agents by name: those that serve a point within reach, with these points.

        Raises:
            DatabaseUnavailable: a store cannot be read.
        """
        served, whole = self._served(reaches)
        views = [view for view in self._agents.list() if whole or served.get(view.code)][:MAX_AGENTS]
        return self._lines(views, served)

    def one(self, code: str, reaches: tuple[Reach, ...]) -> tuple[AgentLine, tuple[ServedPoint, ...]]:
        """Return an agent and its points within reach, by their codes.

        Raises:
            NotFound: there is none of this name within reach.
            DatabaseUnavailable: a store cannot be read.
        """
        served, whole = self._served(reaches)
        views = [view for view in self._agents.list() if view.code == code and (whole or served.get(code))]
        if not views:
            raise NotFound(f"there is no agent {code!r}")
        return self._lines(views, served)[0], self._points(served.get(code, ()))

    def lock(self, code: str, reaches: tuple[Reach, ...], *, locked: bool) -> AgentLine:
        """Stop trusting an agent, or trust it again; it is cut off within a second.

        Raises:
            NotFound: there is none of this name within reach.
            ApiProblem: 403, it serves points elsewhere too.
            DatabaseUnavailable: nothing was changed.
        """
        served, whole = self._served(reaches)
        if not whole:
            if not served.get(code):
                raise NotFound(f"there is no agent {code!r}")
            everywhere, _ = self._served((Reach(),))
            require(held=everywhere[code] == served[code], what=f"agent {code}, which serves points elsewhere too,")
        self._agents.lock(code, locked=locked)
        return self._lines([view for view in self._agents.list() if view.code == code], served)[0]

    def _served(self, reaches: Sequence[Reach]) -> tuple[Mapping[str, Sequence[str]], bool]:
        """Return agent -> its points within reach, and whether everything is."""
        found: dict[str, tuple[str, ...]] = {}
        with read(self._databases.state) as connection:
            territory = Territory(connection, reaches)
            for one in sorted(territory.points().values(), key=lambda row: str(row.code)):
                if one.agent and territory.holds_point(one.code, one.organisation, one.zone):
                    found[one.agent] = (*found.get(one.agent, ()), one.code)
            return found, territory.everything

    def _lines(self, views: Sequence[AgentView], served: Mapping[str, Sequence[str]]) -> tuple[AgentLine, ...]:
        online = self._presence.online()
        missing = {one.agent: (one.asked, one.lost) for one in self._presence.missing()}
        with read(self._databases.record) as connection:
            found = []
            for view in views:
                line = AgentLine(
                    agent=view.code,
                    online=view.code in online,
                    locked=view.locked,
                    enrolled_ms=view.enrolled_ms,
                    last_event_ms=_last_event_ms(connection, view.code),
                    points=tuple(served.get(view.code, ())),
                )
                asked, lost = missing.get(view.code, (0, 0))
                told = _told(line, self._presence.told(view.code))
                found.append(replace(told, asked_events=asked, lost_events=lost))
            return tuple(found)

    def _points(self, codes: Sequence[str]) -> tuple[ServedPoint, ...]:
        columns = (point.c.code, point.c.name, point.c.use, point.c.reader)
        with read(self._databases.state) as connection:
            rows = connection.execute(sa.select(*columns).where(point.c.code.in_(list(codes))).order_by(point.c.code))
            return tuple(ServedPoint(row.code, row.name, row.use, row.reader or "*") for row in rows)


def _told(line: AgentLine, told: AgentTold | None) -> AgentLine:
    """Return an agent's line with what it said of itself."""
    if told is None:
        return line
    # Whether it is connected now was asked before: of an agent that comes or goes just now, no instant is told.
    since_ms = told.since_ms if told.online is line.online else None
    line = replace(line, since_ms=since_ms, heard_ms=told.heard_ms, software=told.software)
    if told.health is None:
        return line
    health = told.health
    return replace(
        line,
        clock_ahead_ms=told.clock_ahead_ms,
        outbox_depth=health.outbox_depth,
        pcsc=health.pcsc,
        readers=tuple(ReaderLine(one.reader, one.present, one.last_good_tap_ms) for one in health.readers),
    )


def _last_event_ms(connection: Connection, agent: str) -> int | None:
    newest = sa.select(agent_event.c.received_ms).where(agent_event.c.agent == agent)
    newest = newest.order_by(agent_event.c.epoch.desc(), agent_event.c.sequence.desc()).limit(1)
    return connection.execute(newest).scalar()
