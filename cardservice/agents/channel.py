# SPDX-License-Identifier: EUPL-1.2
"""One agent's connection, reduced to what the hub needs: frames in, messages out. Knows no WebSocket."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from pydantic import BaseModel

from cardservice.agents.messages import MAX_MESSAGE_BYTES, encode

# Who sends more before it was let in is no agent.
MAX_EARLY_FRAMES: Final = 16
MAX_EARLY_BYTES: Final = 4_096

Frame = str | bytes


class ChannelClosed(Exception):
    """The other side closed the channel."""


class Channel:
    """Used from the event loop only.

    The wire hands in frames with `received` and says `lost` once; `send` and `close` are its own, never wait, and do
    nothing on a closed connection.
    """

    def __init__(self, send: Callable[[str], None], close: Callable[[], None]) -> None:
        self._send = send
        self._close = close
        self._early: deque[Frame] = deque()
        self._listener: Callable[[Frame], None] | None = None
        self._news = asyncio.Event()
        self._lost = asyncio.Event()

    @property
    def longest_frame(self) -> int:
        """How many bytes one frame may have: few as long as nobody knows who sends it."""
        return MAX_EARLY_BYTES if self._listener is None else MAX_MESSAGE_BYTES

    def received(self, frame: Frame) -> None:
        """Take one frame of the agent."""
        if self._listener is not None:
            self._listener(frame)
        elif len(self._early) >= MAX_EARLY_FRAMES or len(frame) > MAX_EARLY_BYTES:
            self.close()
        else:
            self._early.append(frame)
            self._news.set()

    def lost(self) -> None:
        """The connection is gone."""
        self._lost.set()
        self._news.set()

    async def receive(self) -> Frame:
        """Return the next frame, as long as nobody listens.

        Raises:
            ChannelClosed: the other side closed the channel.
        """
        while not self._early:
            if self._lost.is_set():
                raise ChannelClosed("closed")
            self._news.clear()
            await self._news.wait()
        return self._early.popleft()

    def listen(self, listener: Callable[[Frame], None]) -> None:
        """Hand every frame to `listener` from now on, those that wait first."""
        self._listener = listener
        while self._early:
            listener(self._early.popleft())

    async def until_lost(self) -> None:
        """Return when the connection is gone."""
        await self._lost.wait()

    def send(self, message: BaseModel) -> None:
        """Send one message; nothing happens if the connection is gone."""
        self._send(encode(message))

    def close(self) -> None:
        """End the connection."""
        self._close()
