# SPDX-License-Identifier: EUPL-1.2
"""A bad network between agents and centre: a proxy that knows WebSocket frames (RFC 6455, section 5.2).

It copies frames as they are, masks included, and on the way repeats agents' events, drops the centre's
acknowledgements, delays, and lets every connection end badly: cut in the middle of a frame, reset, closed, or silent
while both sides still believe in it.
"""

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from websockets.speedups import apply_mask

MAX_FRAME_BYTES: Final = 1024 * 1024
MAX_HEAD_BYTES: Final = 64 * 1024
# Frames held back for a late repetition; a longer list would say nothing more.
MAX_HELD_BACK: Final = 16
CLOSE_S: Final = 1.0
_TEXT, _FIN, _MASKED = 0x1, 0x80, 0x80
# Closing with this leaves nothing to linger: the other side gets a reset (RFC 9293, RST).
_RESET = struct.pack("ii", 1, 0)
End = Literal["cut_to_centre", "cut_to_agent", "reset", "close", "silence"]
# Silence is the rarest: it takes both sides long to notice.
ENDS: Final[dict[End, int]] = {"cut_to_centre": 3, "cut_to_agent": 3, "reset": 2, "close": 1, "silence": 1}


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad the network is: shares of 1, seconds, and after how many frames a connection ends at the latest."""

    repeated_events: float = 0.2
    dropped_acks: float = 0.15
    delayed_frames: float = 0.02
    longest_delay_s: float = 0.1
    most_frames: int = 1_500


FAIR: Final = Weather(repeated_events=0, dropped_acks=0, delayed_frames=0, most_frames=0)


class FaultProxy:
    """One listening port in front of the centre at (host, port). `counts` says what was done to the traffic."""

    def __init__(self, centre: tuple[str, int], weather: Weather, dice: random.Random) -> None:
        self.centre = centre
        self.weather = weather
        self.counts: Counter[str] = Counter()
        self.dice = dice
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._links: set[asyncio.Task[None]] = set()
        self._listening = threading.Event()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), name="proxy")

    def start(self) -> None:
        """Listen; `url` says where."""
        self._thread.start()
        assert self._listening.wait(10), "the proxy does not listen"

    def change(self, weather: Weather) -> None:
        """End every connection; those that follow meet this weather."""

        def apply() -> None:
            self.weather = weather
            for link in self._links:
                link.cancel()

        self._loop.call_soon_threadsafe(apply)

    def stop(self) -> None:
        """End every connection and the proxy."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the proxy did not end"
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=MAX_HEAD_BYTES)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/agents/v1"
        self._listening.set()
        await self._stopping.wait()
        server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: it may be cancelled without asyncio's server calling that an error.
        task = asyncio.create_task(self._carry(reader, writer))
        self._links.add(task)
        task.add_done_callback(self._links.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        async with _closing(writer):
            try:
                centre_reader, centre_writer = await asyncio.open_connection(*self.centre, limit=MAX_HEAD_BYTES)
            except OSError:
                return
            async with _closing(centre_writer):
                await _Link(self, (reader, writer), (centre_reader, centre_writer)).run()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Ended(Exception):
    """The connection is over."""


class _Link:
    """One connection through the proxy, from the HTTP request to its bad end."""

    def __init__(self, proxy: FaultProxy, agent: Stream, centre: Stream) -> None:
        self._weather = proxy.weather
        self._counts = proxy.counts
        self._dice = proxy.dice
        self._agent = agent
        self._centre = centre
        self._held_back: list[bytes] = []
        self._silent = False
        # Many connections live shortly, a few long; in fair weather for ever.
        most = self._weather.most_frames
        self._frames_left = int(most * self._dice.random() ** 3) if most else -1
        self._end: End = self._dice.choices([*ENDS], [*ENDS.values()])[0]

    async def run(self) -> None:
        """Carry both directions until one of them is over; in silence, until both are."""
        both = {
            asyncio.create_task(self._carry(self._agent, self._centre, to_centre=True)),
            asyncio.create_task(self._carry(self._centre, self._agent, to_centre=False)),
        }
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if self._silent:
                await asyncio.wait(both)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _carry(self, source: Stream, target: Stream, *, to_centre: bool) -> None:
        reader, writer = source[0], target[1]
        with contextlib.suppress(_Ended, asyncio.IncompleteReadError, OSError):
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            while True:
                frame, kind = await _next_frame(reader)
                await self._meet_the_end(frame, writer, to_centre=to_centre)
                await self._pass_on(frame, kind, writer)
        while self._silent and await _heard(reader):
            self._counts["swallowed"] += 1

    async def _pass_on(self, frame: bytes, kind: str, writer: asyncio.StreamWriter) -> None:
        weather, dice = self._weather, self._dice
        if dice.random() < weather.delayed_frames:
            self._counts["delayed"] += 1
            await asyncio.sleep(dice.uniform(0, weather.longest_delay_s))
        if kind == "event.ack" and dice.random() < weather.dropped_acks:
            self._counts["dropped"] += 1
            return
        writer.write(frame)
        if kind == "event" and dice.random() < weather.repeated_events:
            self._repeat(frame, writer)
        elif kind == "card.present" and self._held_back:
            writer.write(self._held_back.pop(0))
        await writer.drain()

    def _repeat(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        """Send the frame again, at once or behind the next taps."""
        self._counts["repeated"] += 1
        if self._dice.random() < 0.5 or len(self._held_back) == MAX_HELD_BACK:
            writer.write(frame)
        else:
            self._held_back.append(frame)

    async def _meet_the_end(self, frame: bytes, writer: asyncio.StreamWriter, *, to_centre: bool) -> None:
        """Let the connection end with this frame, if its time has come."""
        if self._silent:
            raise _Ended
        if self._frames_left < 0:
            return
        if self._frames_left > 0:
            self._frames_left -= 1
            return
        if self._end == ("cut_to_agent" if to_centre else "cut_to_centre"):
            return
        self._frames_left = -1
        self._counts[self._end] += 1
        if self._end == "silence":
            self._silent = True
        elif self._end == "reset":
            for _, ended in (self._agent, self._centre):
                ended.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif self._end != "close":
            writer.write(frame[: self._dice.randrange(1, len(frame))])
            await writer.drain()
        raise _Ended


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close in the end, by force if the other side does not read."""
    try:
        yield
    finally:
        writer.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()


async def _heard(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(64 * 1024)
    except OSError:
        return b""


async def _next_frame(reader: asyncio.StreamReader) -> tuple[bytes, str]:
    """Return the next frame as it came, and the type of the message in it (empty if there is none)."""
    head = await reader.readexactly(2)
    length = head[1] & 0x7F
    if length > 125:
        extended = await reader.readexactly(2 if length == 126 else 8)
        head, length = head + extended, int.from_bytes(extended, "big")
    assert length <= MAX_FRAME_BYTES, f"a frame of {length} bytes"
    mask = await reader.readexactly(4) if head[1] & _MASKED else b""
    payload = await reader.readexactly(length)
    kind = ""
    if head[0] == _FIN | _TEXT:
        kind = json.loads(apply_mask(payload, mask) if mask else payload)["type"]
    return head + mask + payload, kind


@contextmanager
def fault_proxy(centre: tuple[str, int], weather: Weather, dice: random.Random) -> Iterator[FaultProxy]:
    """Run the proxy in a thread while the context lasts."""
    proxy = FaultProxy(centre, weather, dice)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
