# SPDX-License-Identifier: EUPL-1.2
"""Taps that a system reports over REST: readers without an agent.

Nobody saw the card but the system: what it reports counts as a UID, or as read by its reader at points its account
vouches for; never as a card that proved itself. The rest is an agent's tap: decided from memory, the line in the
journal on disk before the answer.

The route is a hot one (`web/hot_routes.py`): plain ASGI in front of the framework.
"""

import asyncio
from typing import Annotated, Final, Literal

import pydantic_core
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.types import Receive, Scope, Send

from cardservice.access.rules import Decision, Level
from cardservice.access.sentences import SENTENCES
from cardservice.agents.deciding import Asserted, Tapped
from cardservice.agents.messages import PlaceAnswer, Sentence
from cardservice.agents.taps import TapDesk
from cardservice.randomness import random_bytes
from cardservice.web.gate import Actor, Gate
from cardservice.web.hot_routes import DocumentedRoute
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.requests import CODE_PATTERN, Body

PATH: Final = "/api/v1/taps"
OPERATION: Final = "taps.assert"
_MAX_FAULTS: Final = 10
_LEVELS: Final = {level: level.name.lower() for level in Level}
_TEXTS: Final = {reason: {"de": text.holder_de, "en": text.holder_en} for reason, text in SENTENCES.items()}


class TapBody(Body):
    """A card that was held to a reader: where, and the number that the card has for the use of that point."""

    point: Annotated[str, Field(pattern=CODE_PATTERN, examples=["bauamt.tiefgarage"])]
    number: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$", examples=["0102030405060708090a0b0c"])]


class TapAnswer(BaseModel):
    """What was decided; it is on disk. `text` is for the holder, `answer` what the place of use did, if it did."""

    decision: str
    event: str
    permit: bool
    reason: str
    level: Literal["none", "uid", "reader_attested"]
    text: Sentence
    open_ms: int = Field(description="For how long to open; 0: not at all.")
    answer: PlaceAnswer | None = None


class _Gone(Exception):
    """The client went away before its request had come."""


class RestTaps:
    """Takes taps from systems; used from the event loop."""

    def __init__(self, desk: TapDesk, gate: Gate) -> None:
        self._desk = desk
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is wrong with it is raised as every route does."""
        token, media_type = _heard(scope)
        actor = await self._gate.actor(OPERATION, Request(scope, receive), token)
        try:
            tap = _parsed(media_type, await _body(receive))
        except _Gone:
            return
        answer = await self.answer(actor, tap)
        headers = [_JSON, (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def answer(self, actor: Actor, tap: TapBody) -> bytes:
        """Return the answer, as JSON.

        Raises:
            ApiProblem: 403, not a point of this account.
        """
        actor.require_point(tap.point)
        level = Level.READER_ATTESTED if tap.point in actor.attested_points else Level.UID
        asserted = Asserted(f"rest/{actor.name}/{random_bytes(12).hex()}", tap.point, tap.number, level)
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def deliver(tapped: Tapped, decision: Decision, told: PlaceAnswer | None) -> None:
            if not answered.done():
                answered.set_result(_told(asserted, tapped, decision, told))

        self._desk.answer_asserted(asserted, deliver)
        return await answered


def taps_route(gate: Gate) -> DocumentedRoute:
    """Return what the framework is to know of the route."""

    async def tap(body: TapBody, actor: Annotated[Actor, Depends(gate.allows(OPERATION))]) -> TapAnswer:
        raise NotImplementedError

    return DocumentedRoute(
        PATH,
        tap,
        tags=["taps"],
        summary="Report a card that was held to a reader",
        description="A tap of a reader without an agent. Sent again it is another tap.",
        responses=documented(401, 403, 413, 415, 422, 429),
    )


def _heard(scope: Scope) -> tuple[str | None, bytes]:
    """Return the token of an account and the media type of the body, of each the first."""
    authorization, media_type = None, None
    for name, value in scope["headers"]:
        if name == b"authorization" and authorization is None:
            authorization = value
        elif name == b"content-type" and media_type is None:
            media_type = value
    scheme, _, token = (authorization or b"").decode("latin-1").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None, media_type or b""


async def _body(receive: Receive) -> bytes:
    """Return the whole body; how long it may be is bounded before."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _parsed(media_type: bytes, body: bytes) -> TapBody:
    if media_type != b"application/json" and media_type.partition(b";")[0].strip().lower() != b"application/json":
        raise ApiProblem(415, "wrong_media_type", "Content-Type: application/json")
    try:
        return TapBody.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)[:_MAX_FAULTS]
        raise RequestValidationError([fault | {"loc": ("body", *fault["loc"])} for fault in faults]) from None


def _told(asserted: Asserted, tapped: Tapped, decision: Decision, told: PlaceAnswer | None) -> bytes:
    return pydantic_core.to_json(
        {
            "decision": tapped.decision_id,
            "event": asserted.event,
            "permit": decision.permit,
            "reason": decision.reason.value,
            "level": _LEVELS[tapped.proof.level],
            "text": _TEXTS[decision.reason],
            "open_ms": decision.open_ms,
            "answer": None if told is None else told.model_dump(),
        }
    )


_JSON: Final = (b"content-type", b"application/json")
