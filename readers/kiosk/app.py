# SPDX-License-Identifier: EUPL-1.2
"""The routes of the kiosk pages.

No request is logged, and nothing a page shows or sends is kept here: a PIN goes on to whoever asked for it. Another
site's page can neither read nor change anything: foreign host names are refused (DNS rebinding), changes and feeds are
for our own pages alone.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from readers import __version__
from readers.kiosk.pages import STATIC_FILES, list_page, terminal_page
from readers.kiosk.terminals import Terminal, Terminals
from readers.kiosk.texts import LANGUAGES

MAX_BODY_BYTES: Final = 256
_BODY_WITHIN_S: Final = 5.0
_PIN: Final = re.compile(r"[0-9]{4,12}")
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _SafeHeaders:
    """Puts the same headers on every response, refusals included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _Kiosk:
    """What the routes do; `is_ending` says that the server stops and no feed may hold it up."""

    def __init__(self, terminals: Terminals, is_ending: Callable[[], bool]) -> None:
        self._terminals = terminals
        self._is_ending = is_ending

    async def index(self, _: Request) -> Response:
        names = self._terminals.names()
        if len(names) == 1:
            return RedirectResponse(f"/{next(iter(names))}", 303)
        return HTMLResponse(list_page(names))

    async def page(self, request: Request) -> Response:
        point = request.path_params["point"]
        terminal = self._terminals.of(point)
        if terminal is None:
            # The centre may name it later: the list looks again by itself.
            return HTMLResponse(list_page(self._terminals.names()), 404)
        return HTMLResponse(terminal_page(point, terminal.screen, __version__))

    async def events(self, request: Request) -> Response:
        _only_our_page(request)
        terminal = self._terminal(request)
        if terminal.is_full:
            raise HTTPException(503, "too many pages watch this terminal")
        return StreamingResponse(self._feed(terminal), media_type="text/event-stream")

    async def choice(self, request: Request) -> Response:
        _only_our_page(request)
        terminal, body = self._terminal(request), await _body(request)
        key = body.get("key")
        if "key" not in body or not (key is None or key in terminal.screen.keys):
            raise HTTPException(422, "key: none of this terminal")
        if not terminal.screen.choose(key):
            raise HTTPException(409, "nothing can be chosen now")
        return Response(status_code=204)

    async def language(self, request: Request) -> Response:
        _only_our_page(request)
        terminal, body = self._terminal(request), await _body(request)
        wanted = next((language for language in LANGUAGES if language == body.get("language")), None)
        if wanted is None:
            raise HTTPException(422, f"language: {' or '.join(LANGUAGES)}")
        terminal.screen.speak(wanted)
        return Response(status_code=204)

    async def pin(self, request: Request) -> Response:
        _only_our_page(request)
        terminal, body = self._terminal(request), await _body(request)
        ask, pin = body.get("ask"), body.get("pin")
        if type(ask) is not int or "pin" not in body:
            raise HTTPException(422, "ask and pin: both are needed")
        if pin is not None and not (isinstance(pin, str) and _PIN.fullmatch(pin)):
            raise HTTPException(422, "pin: 4 to 12 digits")
        if not terminal.screen.enter_pin(ask, pin):
            raise HTTPException(409, "this is not asked now")
        return Response(status_code=204)

    def _terminal(self, request: Request) -> Terminal:
        terminal = self._terminals.of(request.path_params["point"])
        if terminal is None:
            raise HTTPException(404, "no such terminal here")
        return terminal

    async def _feed(self, terminal: Terminal) -> AsyncIterator[str]:
        async with contextlib.aclosing(terminal.watch()) as states:
            async for state in states:
                if self._is_ending():
                    return
                yield f"data: {json.dumps({**state, 'version': __version__})}\n\n"


async def _static(request: Request) -> Response:
    found = STATIC_FILES.get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    media_type, content = found
    return Response(content, media_type=media_type)


def _only_our_page(request: Request) -> None:
    """Refuse what another site's page caused; browsers that do not say so cannot send our kind of body from there."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "only the terminal's own page may do this")


async def _body(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "application/json")
    content = b""
    try:
        async with asyncio.timeout(_BODY_WITHIN_S):
            async for part in request.stream():
                content += part
                if len(content) > MAX_BODY_BYTES:
                    raise HTTPException(413, f"more than {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        raise HTTPException(408) from None
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise HTTPException(400, "not JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "not a JSON object")
    return body


def make_app(terminals: Terminals, is_ending: Callable[[], bool]) -> Starlette:
    """Return the application that serves the pages of `terminals`."""
    kiosk = _Kiosk(terminals, is_ending)
    app = Starlette(
        routes=[
            Route("/", kiosk.index),
            Route("/static/{name}", _static),
            Route("/{point}", kiosk.page),
            Route("/{point}/events", kiosk.events),
            Route("/{point}/choice", kiosk.choice, methods=["POST"]),
            Route("/{point}/pin", kiosk.pin, methods=["POST"]),
            Route("/{point}/language", kiosk.language, methods=["POST"]),
        ],
        middleware=[
            Middleware(_SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"], www_redirect=False),
        ],
    )
    app.router.redirect_slashes = False
    return app
