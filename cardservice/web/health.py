# SPDX-License-Identifier: EUPL-1.2
"""`/health/live`, `/health/ready` and `/metrics`: what operations look at."""

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from cardservice.metrics import Metrics


class DirectoryHealth(BaseModel):
    """One directory copy: how current (`age_ms` None: never read completely), from where.

    `since_ms` is since when it is followed (`connected`), or since when the trouble lasts. `remark` is what is special
    about a connection that works.
    """

    directory: str
    connected: bool
    server: str
    mode: str
    since_ms: int
    age_ms: int | None
    people: int
    groups: int
    held_removals: int
    held_since_ms: int | None
    trouble: str | None
    remark: str | None


class Health(BaseModel):
    """The state of the service: `degraded` says in plain sentences what does not work and since when.

    The directories stand in the order of the settings.
    """

    status: Literal["ready", "degraded", "not_ready"]
    degraded: list[str]
    snapshot_revision: int
    credentials: int
    points: int
    agents_online: list[str]
    directories: list[DirectoryHealth]


def health_router(health: Callable[[], Health], metrics: Metrics) -> APIRouter:
    """Return the routes; `health` is asked at each request and also brings the gauges up to date."""
    router = APIRouter()

    @router.get("/health/live", tags=["health"], summary="The process answers")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get(
        "/health/ready",
        tags=["health"],
        summary="Taps can be answered",
        responses={503: {"model": Health, "description": "Taps cannot be answered"}},
    )
    async def ready(response: Response) -> Health:
        state = health()
        if state.status == "not_ready":
            response.status_code = 503
        return state

    @router.get("/metrics", tags=["health"], summary="Prometheus metrics", response_class=Response)
    async def metrics_page() -> Response:
        health()
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
