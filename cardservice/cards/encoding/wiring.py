# SPDX-License-Identifier: EUPL-1.2
"""The routes and pages of encoding put together."""

from collections.abc import Iterator

from fastapi import APIRouter
from sqlalchemy.engine import Engine

from cardservice.cards.encoding.api import encoding_router
from cardservice.cards.encoding.bench import EncodingBench
from cardservice.cards.encoding.desk import EncodingDesk
from cardservice.cards.encoding.pages import encoding_pages
from cardservice.cards.old.service import Zones
from cardservice.clock import Clock
from cardservice.web.gate import Gate
from cardservice.web.once import Once
from cardservice.web.pages import Pages
from cardservice.web.streams import Streams


def encoding_routers(
    bench: EncodingBench, around: tuple[Engine, Clock, Zones], streams: Streams, gate: Gate, pages: Pages
) -> Iterator[APIRouter]:
    """Yield the REST routes and the page."""
    state, clock, zones = around
    desk = EncodingDesk(state, Once(state, clock), clock, bench, zones)
    yield encoding_router(desk, gate)
    yield encoding_pages(desk, streams, gate, pages)
