# SPDX-License-Identifier: EUPL-1.2
"""What is asked for so often that the framework's way to a route would take longer than its answer.

Such a route is a plain ASGI application and stands behind the limits of every request (`limits.py`), but in front of
the framework. It answers what goes well. What goes wrong it raises, and the framework says it, as of every other route:
the route is there as well, documented as all are, and raises the same again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

_ERROR: Final = "cardservice.error"


class InFront:
    """ASGI application: `app` behind `layers`, the outermost first, and between them the hot `routes`.

    They answer POST at their paths; one that raises has sent nothing yet.
    """

    def __init__(
        self, app: FastAPI, layers: Sequence[Callable[[ASGIApp], ASGIApp]], routes: Mapping[str, ASGIApp]
    ) -> None:
        self.app = app
        self._routes = dict(routes)
        stack: ASGIApp = self._serve
        for layer in reversed(layers):
            stack = layer(stack)
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._stack(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        try:
            await route(scope, receive, send)
        except Exception as error:  # noqa: BLE001  # the framework tells which is whose, and raises what is unexpected
            scope[_ERROR] = error
            await self.app(scope, receive, send)


class DocumentedRoute(APIRoute):
    """The framework's side of a hot route: its description, and what it says of an error."""

    app: Any

    def __init__(self, path: str, endpoint: Any, **described: Any) -> None:
        super().__init__(path, endpoint, methods=["POST"], **described)
        self.app = _fail


async def _fail(scope: Scope, _receive: Receive, _send: Send) -> None:
    error: Exception = scope[_ERROR]
    raise error
