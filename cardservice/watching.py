# SPDX-License-Identifier: EUPL-1.2
"""What is watched as it happens put together: the live feed of systems, the pages of taps and of doors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastapi import APIRouter
from sqlalchemy.engine import Engine

from cardservice.access.rules import PointRecord
from cardservice.access.snapshot import Snapshot
from cardservice.agents.api import live_router
from cardservice.agents.live import LiveFeed
from cardservice.agents.live_taps import LiveTaps
from cardservice.clock import Clock
from cardservice.doors.desk import Desk, desk_pages
from cardservice.doors.desk_board import Boards
from cardservice.doors.desk_lockdowns import lockdown_pages
from cardservice.doors.desk_locks import lock_pages
from cardservice.doors.service import Doors
from cardservice.live.pages import live_pages
from cardservice.live.service import LiveView
from cardservice.web.gate import Gate, PointsWithin
from cardservice.web.pages import Pages
from cardservice.web.streams import Streams


@dataclass(frozen=True, slots=True)
class Watched:
    """What pages and systems watch. `snapshot` returns the city as it is now; `everything`: see `agents/api.py`."""

    feed: LiveFeed
    taps: LiveTaps
    doors: Doors
    streams: Streams
    snapshot: Callable[[], Snapshot]
    points_within: PointsWithin
    state: Engine
    clock: Clock
    everything: bool


def watching_routers(watched: Watched, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """Yield the live feed, and the pages of taps and doors as they are now."""
    snapshot, streams = watched.snapshot, watched.streams

    def point_of(code: str) -> PointRecord | None:
        return snapshot().point(code)

    yield live_router(watched.feed, streams, gate, point_of, everything=watched.everything)
    yield live_pages(LiveView(watched.taps, snapshot, watched.state, watched.points_within), streams, gate, pages)
    boards = Boards(watched.doors, snapshot, watched.state, watched.clock)
    desk = Desk(watched.doors, boards, streams, gate, pages)
    yield desk_pages(desk)
    yield lockdown_pages(desk)
    yield lock_pages(desk)
