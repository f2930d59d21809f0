# SPDX-License-Identifier: EUPL-1.2
"""The live feed, for those who watch."""

import hmac
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Request
from fastapi.responses import StreamingResponse

from cardservice.agents.live import LiveFeed, TooManyWatchers

_KEEP_ALIVE_S = 10.0


def live_router(live: LiveFeed, token: str | None) -> APIRouter:
    """Return the live feed's route: server-sent events, for whoever holds `token`."""
    router = APIRouter(prefix="/api/v1")

    @router.get(
        "/live",
        tags=["live"],
        summary="What happens now, as server-sent events",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "One JSON object per event"},
            401: {"description": "No token, or a wrong one"},
            503: {"description": "Too many watch already"},
        },
    )
    async def watch(
        request: Request, authorization: Annotated[str | None, Header(max_length=300)] = None
    ) -> StreamingResponse:
        expected = f"Bearer {token}" if token else None
        if expected is None or not hmac.compare_digest((authorization or "").encode(), expected.encode()):
            raise HTTPException(401, "the live feed needs the token of service.live_token_file")
        if live.full:
            raise HTTPException(503, "too many watch already", headers={"Retry-After": "5"})
        return StreamingResponse(
            _events(live, request), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return router


async def _events(live: LiveFeed, request: Request) -> AsyncIterator[str]:
    try:
        async with live.watch() as watch:
            yield ": watching\n\n"
            while not live.closed and not await request.is_disconnected():
                event = await watch.next(_KEEP_ALIVE_S)
                yield ": still here\n\n" if event is None else f"data: {json.dumps(event)}\n\n"
    except TooManyWatchers:
        yield "event: full\ndata: {}\n\n"
