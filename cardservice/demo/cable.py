# SPDX-License-Identifier: EUPL-1.2
"""The cable between the agents and the service: a TCP relay on loopback that can be pulled out and put back."""

import asyncio
import contextlib
import threading
from typing import Final

from cardservice.demo.processes import DemoError

_CHUNK: Final = 64 * 1024
_CLOSE_S: Final = 2.0
_START_S: Final = 10.0


class Cable:
    """Relays connections to `port` of this machine; runs in a thread of its own."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._plugged = True
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self.port = 0

    @property
    def plugged(self) -> bool:
        """Whether anything goes through."""
        return self._plugged

    def start(self) -> None:
        """Begin to relay; `port` is where from then on.

        Raises:
            DemoError: it did not begin.
        """
        self._thread.start()
        if not self._ready.wait(_START_S):
            raise DemoError(f"the network between agents and service did not begin within {_START_S:.0f} s")

    def pull(self) -> None:
        """Cut every connection and let nobody through."""
        self._plugged = False
        self._loop.call_soon_threadsafe(self._cut)

    def plug(self) -> None:
        """Let connections through again."""
        self._plugged = True

    def close(self) -> None:
        """End the relay."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._relay, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._cut()
        server.close()
        # Their connections are gone, so they end by themselves.
        if ending := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.wait(ending, timeout=_CLOSE_S))
        self._loop.close()

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._plugged:
            writer.transport.abort()
            return
        # Known from now on: a cable that is pulled while the other end is being reached cuts this one too.
        self._open.add(writer)
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._open.discard(writer)
            writer.transport.abort()
            return
        self._open.add(there)
        try:
            if writer.is_closing():
                return
            ways = [
                asyncio.ensure_future(_pour(reader, there)),
                asyncio.ensure_future(_pour(there_reader, writer)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            self._open -= {writer, there}
            writer.transport.abort()
            there.transport.abort()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
