# SPDX-License-Identifier: EUPL-1.2
"""The live feed, for systems that watch: what happens at the points of their account.

Outside the demonstration it shows no more of a tap than the record keeps.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse

from cardservice.access.rules import PointRecord, Use
from cardservice.agents.live import LiveFeed
from cardservice.web.gate import Actor, Gate
from cardservice.web.problems import documented
from cardservice.web.streams import Streams, Watching

OPERATION: Final = "live.read"
# What a point's own class says is kept of it.
PointOf = Callable[[str], PointRecord | None]


def live_router(live: LiveFeed, streams: Streams, gate: Gate, point_of: PointOf, *, everything: bool) -> APIRouter:
    """Return the live feed's route. `everything`: also what the record does not keep; for the demonstration alone."""
    router = APIRouter(prefix="/api/v1", responses=documented(401, 403, 429, 503))

    async def events(watching: Watching) -> AsyncIterator[str]:
        async with live.watch() as watch:
            while True:
                event = await watch.next()
                if shows(event, watching.actor, point_of, everything=everything):
                    yield f"data: {json.dumps(event)}\n\n"

    @router.get(
        "/live",
        tags=["live"],
        summary="What happens now, as server-sent events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "One JSON object per event"}},
    )
    async def watch(request: Request, actor: Annotated[Actor, Depends(gate.allows(OPERATION))]) -> StreamingResponse:
        return streams.of_a_program(gate, Watching(request, OPERATION, actor), events)

    return router


def shows(event: Mapping[str, Any], actor: Actor, point_of: PointOf, *, everything: bool) -> bool:
    """Tell whether `actor` is shown an event: of their points, and no more of a tap than the record keeps."""
    code = event.get("point")
    if code is None:
        # How an agent is: about all of its points.
        return actor.points is None
    if not actor.may_use(code):
        return False
    point = point_of(code)
    if everything or point is None or point.journal == "full":
        return True
    if event["kind"] == "tap":
        return point.journal == "refusals" and not event["permit"]
    # How a door is stands in the list of doors too; what a terminal or a PC does tells of a permit.
    return point.use is Use.DOOR and event["kind"] in {"output", "door"}
