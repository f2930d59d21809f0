# SPDX-License-Identifier: EUPL-1.2
"""The REST routes of webhooks, for administrators."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from cardservice.web.gate import Gate
from cardservice.web.requests import PROBLEMS, Body
from cardservice.webhooks.rules import EVENT_TYPES, MAX_URL, NAME
from cardservice.webhooks.service import Webhooks, WebhookView

_PATTERN: Final = f"^{NAME.pattern}$"
Name = Annotated[str, Path(pattern=_PATTERN, examples=["leitstelle"])]


class NewWebhook(Body):
    """Where to send what; `url` begins with https:// and is no internal address unless the settings allow it."""

    name: Annotated[str, Field(pattern=_PATTERN, examples=["leitstelle"])]
    url: Annotated[str, Field(max_length=MAX_URL, examples=["https://receiver.example.org/hooks"])]
    events: Annotated[list[str], Field(min_length=1, max_length=len(EVENT_TYPES), examples=[["door.alarm_begun"]])]


class WebhookSecret(BaseModel):
    """What the receiver verifies signatures with; it is shown this once."""

    name: str
    secret: str = Field(examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"])


class WebhookList(BaseModel):
    """All webhooks, by name."""

    webhooks: list[WebhookView]


def _may(gate: Gate, what: str) -> list[Any]:
    return [Depends(gate.allows(f"webhooks.{what}"))]


def webhooks_router(webhooks: Webhooks, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], responses=PROBLEMS)

    @router.get("", summary="Who is told of what, and how that goes", dependencies=_may(gate, "list"))
    async def webhooks_list() -> WebhookList:
        return WebhookList(webhooks=await asyncio.to_thread(webhooks.list))

    @router.post(
        "",
        summary="Have events sent to a receiver; the answer holds the secret",
        status_code=201,
        dependencies=_may(gate, "add"),
    )
    async def webhooks_add(body: NewWebhook) -> WebhookSecret:
        secret = await asyncio.to_thread(webhooks.add, body.name, body.url, body.events)
        return WebhookSecret(name=body.name, secret=secret)

    @router.delete(
        "/{name}",
        summary="Send it nothing any more, and forget what waits",
        status_code=204,
        dependencies=_may(gate, "remove"),
    )
    async def webhooks_remove(name: Name) -> None:
        await asyncio.to_thread(webhooks.remove, name)

    @router.post(
        "/{name}/enable", summary="Begin anew with what waits", status_code=204, dependencies=_may(gate, "enable")
    )
    async def webhooks_enable(name: Name) -> None:
        await asyncio.to_thread(webhooks.enable, name)

    @router.post(
        "/{name}/disable", summary="Send it nothing for now", status_code=204, dependencies=_may(gate, "disable")
    )
    async def webhooks_disable(name: Name) -> None:
        await asyncio.to_thread(webhooks.disable, name)

    @router.post(
        "/{name}/rotate",
        summary="Make a new secret; for a day the one before signs beside it",
        dependencies=_may(gate, "rotate"),
    )
    async def webhooks_rotate(name: Name) -> WebhookSecret:
        return WebhookSecret(name=name, secret=await asyncio.to_thread(webhooks.rotate, name))

    @router.post(
        "/{name}/test", summary="Send an event that says nothing", status_code=202, dependencies=_may(gate, "test")
    )
    async def webhooks_test(name: Name) -> None:
        await asyncio.to_thread(webhooks.test, name)

    return router
