# SPDX-License-Identifier: EUPL-1.2
"""What holds for every request before any route sees it: a name of its own, and a body of bounded length.

Pure ASGI: a stream of events passes through untouched.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardservice.randomness import random_bytes
from cardservice.web.problems import MEDIA_TYPE, Problem

MAX_BODY: Final = 64 * 1024
# Routes that take more: a whole access model.
LARGER_BODIES: Final[Mapping[str, int]] = {
    "/api/v1/access/what-if": 4 * 1024 * 1024,
    "/access/import": 4 * 1024 * 1024,
    # A list of cards.
    "/batches": 2 * 1024 * 1024,
    "/old-numbers": 2 * 1024 * 1024,
}
REQUEST_ID_HEADER: Final = b"x-request-id"
# No browser takes an answer for another kind of document than it says.
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_GONE: Final[Message] = {"type": "http.disconnect"}

# By the prefix it stands in every line of the log.
request_id: Final[ContextVar[str]] = ContextVar(f"{structlog.contextvars.STRUCTLOG_KEY_PREFIX}request", default="")
"""The name of the request that is being answered: the caller's own, or a new one. It goes with logs and the audit."""


class RequestLimits:
    """ASGI middleware; see the module. Answers 413 (RFC 9110, 15.5.14) to a body that is too long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on within its limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, announced = _heard(scope)
        name = given.decode() if _REQUEST_ID.fullmatch(given) else random_bytes(16).hex()
        token = request_id.set(name)
        try:
            await self._limited(announced, scope, receive, _Answer(send, name.encode()))
        finally:
            request_id.reset(token)

    async def _limited(self, announced: int, scope: Scope, receive: Receive, send: "_Answer") -> None:
        most = LARGER_BODIES.get(scope["path"], MAX_BODY)
        if announced > most:
            await send.refuse(most)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                await send.refuse(most)
                # For the route it is as if the caller had gone: nothing more comes, and nobody hears what it says.
                return _GONE
            return message

        await self._app(scope, counted, send)


class _Answer:
    """Adds to an answer the request's name, and that it is what it says.

    Once a request is refused here, whatever the route says of it is dropped.
    """

    def __init__(self, send: Send, name: bytes) -> None:
        self._send = send
        self._name = name
        self._begun = False
        self._refused = False

    async def __call__(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self._begun = True
            headers = message["headers"] = [*message.get("headers", ()), (REQUEST_ID_HEADER, self._name)]
            if _NOSNIFF[0] not in [name for name, _ in headers]:
                headers.append(_NOSNIFF)
        await self._send(message)

    async def refuse(self, most: int) -> None:
        """Say that the body is too long, unless an answer has begun already: then it is cut off."""
        if not self._begun:
            detail = f"the body may be {most} bytes long"
            problem = Problem(title="too long", status=413, detail=detail, code="too_long").model_dump_json().encode()
            # What is still coming is not read: the connection ends.
            headers = [
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", str(len(problem)).encode()),
                (b"connection", b"close"),
            ]
            await self({"type": "http.response.start", "status": 413, "headers": headers})
            await self({"type": "http.response.body", "body": problem})
        self._refused = True


def _heard(scope: Scope) -> tuple[bytes, int]:
    """Return the name a caller gave its request, if any, and how long it says that the body is; the first counts."""
    given, announced = None, None
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER and given is None:
            given = value
        elif name == b"content-length" and announced is None:
            announced = int(value) if value.isdigit() else 0
    return given or b"", announced or 0
