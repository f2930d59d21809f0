# SPDX-License-Identifier: EUPL-1.2
"""The control socket: one JSON object per line in, one per line out, for the owner of the process only.

A request is `{"command": "pause"}`; the answer is `{"ok": true, ...}` or `{"ok": false, "error": "..."}`.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from directorysim.errors import DirectorySimError

_LOG: Final = logging.getLogger(__name__)
_MAX_LINE_BYTES: Final = 4_096
_MAX_CLIENTS: Final = 8
_BACKLOG: Final = 8


class ControlSocket:
    """A UNIX socket of mode 0600 that hands the named command to `command`."""

    def __init__(self, path: Path, command: Callable[[str], Mapping[str, object]]) -> None:
        self.path = path
        self._command = command
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        """Bind and listen; a socket left behind by an earlier run is replaced.

        Raises:
            OSError: the path cannot be bound.
        """
        self.path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(self.path))
            # before listen() nobody can connect, so there is no moment with a wider mode
            self.path.chmod(0o600)
            self._server = await asyncio.start_unix_server(
                self._serve, sock=listening, limit=_MAX_LINE_BYTES, backlog=_BACKLOG
            )
        except BaseException:
            listening.close()
            raise

    async def stop(self) -> None:
        """Close the socket and its clients, and remove the path."""
        if self._server is not None:
            self._server.close()
        for writer in self._clients.values():
            writer.transport.abort()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= _MAX_CLIENTS:
            writer.close()
            return
        self._clients[task] = writer
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError) as error:
            _LOG.info("control connection ends: %s", error)
        finally:
            del self._clients[task]
            writer.close()

    def _answer(self, line: bytes) -> Mapping[str, object]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "not a line of JSON"}
        name = request.get("command") if isinstance(request, dict) else None
        if not isinstance(name, str):
            return {"ok": False, "error": 'not of the form {"command": "..."}'}
        try:
            return {"ok": True, **self._command(name)}
        except (DirectorySimError, OSError) as error:
            return {"ok": False, "error": str(error)}
