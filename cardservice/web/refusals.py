# SPDX-License-Identifier: EUPL-1.2
"""What a browser shows when the service refuses: a page in the reader's language instead of a document for programs.

A program that asks (an API, a script of ours) gets the problem itself (RFC 9457); only who navigates gets the page.
"""

import json
from typing import Any, Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cardservice.web.i18n import language_of, marked, translated
from cardservice.web.pages import HEADERS, Pages
from cardservice.web.problems import MEDIA_TYPE

# Whoever asks below these is a program, whatever it accepts.
_OF_PROGRAMS: Final = ("/api/", "/access/v1/", "/.well-known/", "/health/", "/metrics", "/openapi.json", "/static/")
_REPLACED: Final = {b"content-type", b"content-length", *(name.lower().encode() for name in HEADERS)}

# By status: what happened, and what to do.
_SAID: Final = {
    400: (marked("The request could not be read"), marked("Please go back and try again.")),
    403: (
        marked("You may not do this"),
        marked("Your roles do not include it. If you need it for your work, ask whoever assigns the roles."),
    ),
    404: (
        marked("There is nothing here"),
        marked("The address is wrong, what stood here is gone, or you may not see it."),
    ),
    409: (
        marked("This does not fit any more"),
        marked("Something has changed meanwhile. Go back, load the page again, and look before you repeat it."),
    ),
    413: (marked("This is too long"), marked("Please go back and send less.")),
    422: (marked("Something in this is not right"), marked("Please go back and check what you entered.")),
    429: (marked("Too many requests"), marked("Please wait a minute, then try again.")),
    500: (
        marked("Something went wrong here"),
        marked("Please try again. If it happens again, tell those who run the service what you did, and when."),
    ),
    503: (
        marked("Not possible at the moment"),
        marked("Please try again in a minute. Doors, PCs and terminals do not depend on this page."),
    ),
}
_OTHERWISE: Final = {4: 400, 5: 500}


class RefusalPages:
    """ASGI application around `app`; outside of everything, so that unexpected errors are shown as well."""

    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self.app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not _navigates(scope):
            await self.app(scope, receive, send)
            return
        started: Message | None = None
        parts: list[bytes] = []

        async def send_page(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and _is_problem(message):
                started = message
            elif started is None:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await self._page(Request(scope), started, b"".join(parts), send)

        await self.app(scope, receive, send_page)

    async def _page(self, request: Request, started: Message, body: bytes, send: Send) -> None:
        status = started["status"]
        title, hint = _SAID.get(status, _SAID[_OTHERWISE.get(status // 100, 500)])
        language = language_of(request)
        page = self._pages.page(
            "refused.html",
            language,
            title=translated(language, title),
            hint=translated(language, hint),
            problem=_problem(body),
            status=status,
        )
        kept = [(name, value) for name, value in started["headers"] if name.lower() not in _REPLACED]
        await send({**started, "headers": [*kept, *page.raw_headers]})
        await send({"type": "http.response.body", "body": page.body})


def _navigates(scope: Scope) -> bool:
    if scope["path"].startswith(_OF_PROGRAMS):
        return False
    headers = dict(scope["headers"])
    return b"hx-request" not in headers and b"text/html" in headers.get(b"accept", b"").lower()


def _is_problem(message: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(MEDIA_TYPE.encode()) for name, value in message["headers"]
    )


def _problem(body: bytes) -> dict[str, Any]:
    """Return what the problem says, for whoever is asked for help."""
    problem: dict[str, Any] = json.loads(body)
    return {"code": problem["code"], "detail": problem["detail"], "faults": problem["faults"]}
