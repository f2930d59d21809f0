# SPDX-License-Identifier: EUPL-1.2
"""HTTP Strict Transport Security (RFC 6797): a browser that came by TLS once comes by nothing else any more."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_YEAR_S: Final = 31_536_000
HSTS: Final = (b"strict-transport-security", f"max-age={_YEAR_S}".encode())


class Hsts:
    """Says so in every answer of `app`; installed where TLS is spoken, by the service or by a proxy before it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), HSTS]}
            await send(message)

        await self._app(scope, receive, send_with_header if scope["type"] == "http" else send)
