# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench channel`: durable decisions a second over agent channels, next to a bare FastAPI no-op.

Both on one server process, as `serve` runs it: the same port, uvicorn, httptools, uvloop. On one side agents that
report numbers their readers have read, at points that keep every tap: parse, decide, chain into the journal, flush to
the disk, answer. On the other `POST /noop` with a body parsed by pydantic, answered with a constant. The client is the
same on both sides: plain sockets, one question under way on each connection, as little work as can be.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cardservice.agents.messages import (
    CardRead,
    Challenge,
    EventId,
    Hello,
    decode_from_centre,
    encode,
    hello_signing_input,
)
from cardservice.bench.asking import Asker, Count, Posting, ask_for, post, row, server
from cardservice.bench.channel_server import AGENT_SEED, CREDENTIALS, POINT
from cardservice.bench.report import Figure, Ratio, Report

ROUNDS: Final = 5
SECONDS: Final = 2.0
CONNECTIONS: Final = (16, 64)
GOALS: Final = {16: 2.0, 64: 4.0}
_UPGRADE: Final = (
    b"GET /agents/v1 HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
AT_MS: Final = 1_790_000_000_123
_BODY: Final = json.dumps({"point": "door-17", "number": "0102030405060708090a0b0c", "at_ms": AT_MS}).encode()
_NOOP: Final = post("/noop", _BODY)
_noop: Final = partial(Posting, request=lambda _number, _sequence: _NOOP, ends_with=b'{"ok":true}')
_server: Final = partial(server, "cardservice.bench.channel_server")


def run(rounds: int = ROUNDS, seconds: float = SECONDS, connections: Sequence[int] = CONNECTIONS) -> Report:
    """Measure both sides in turn; medians over the rounds."""
    report = Report("channel", libraries=("fastapi", "picows", "pydantic", "uvicorn", "uvloop", "websockets"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _server(folder, str(max(connections))) as served:
        # The first tap of a person makes a key for their part of the journal; that happens once in a lifetime.
        uvloop.run(ask_for(served, _Taps, max(connections), seconds * rounds))
        for count in connections:
            decisions: list[Count] = []
            noops: list[Count] = []
            for _ in range(rounds):
                noops.append(uvloop.run(ask_for(served, _noop, count, seconds)))
                decisions.append(uvloop.run(ask_for(served, _Taps, count, seconds)))
            for name, counts in (("FastAPI no-op", noops), ("durable decision", decisions)):
                report.rows.append({"case": f"{name}, {count} connections"} | row(counts))
            ratio = statistics.median(one.per_s for one in decisions) / statistics.median(one.per_s for one in noops)
            report.ratios.append(
                Ratio(f"durable decisions, {count} connections", ratio, GOALS.get(count, 1.0), at_least=True)
            )
    report.rows += _bare_echoes(rounds, seconds, connections)
    return report


def _bare_echoes(rounds: int, seconds: float, connections: Sequence[int]) -> list[dict[str, Figure]]:
    """Measure what the WebSocket alone allows: through picows, as agents are served, and through uvicorn and ASGI."""
    counts: dict[str, list[Count]] = {}
    with _server("echo", "picows") as picows, _server("echo", "websockets") as websockets:
        for count in connections:
            for _ in range(rounds):
                for name, served in (("picows", picows), ("websockets over ASGI", websockets)):
                    case = f"bare echo, {name}, {count} connections"
                    counts.setdefault(case, []).append(uvloop.run(ask_for(served, _Echo, count, seconds)))
    return [{"case": case} | row(rows) for case, rows in counts.items()]


class _Socket(Asker):
    """A WebSocket (RFC 6455) with as little in it as can be."""

    def __init__(self, number: int, until: float) -> None:
        super().__init__(number, until)
        self._buffer = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport.write(_UPGRADE)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise ConnectionError(f"no WebSocket: {head[:80]!r}")
            self._upgraded, self._buffer = True, rest
            self.upgraded()
        while (frame := self._frame()) is not None:
            self.take(frame)

    def upgraded(self) -> None:
        """Go on from the handshake."""

    def take(self, frame: bytes) -> None:
        """Take one message of the server."""
        raise NotImplementedError

    def _frame(self) -> bytes | None:
        """Return the payload of the next whole frame of the server (RFC 6455 §5.2: never masked)."""
        if len(self._buffer) < 4:
            return None
        length, begins = self._buffer[1] & 0x7F, 2
        if length == 126:
            length, begins = int.from_bytes(self._buffer[2:4]), 4
        if len(self._buffer) < begins + length:
            return None
        payload, self._buffer = self._buffer[begins : begins + length], self._buffer[begins + length :]
        return payload


class _Echo(_Socket):
    """The bare echo."""

    def upgraded(self) -> None:
        self.ready.set_result(None)

    def question(self) -> bytes:
        return _ECHOED

    def take(self, frame: bytes) -> None:
        self.answered()


class _Taps(_Socket):
    """An agent with a reader that reads cards by itself."""

    def __init__(self, number: int, until: float) -> None:
        super().__init__(number, until)
        self._agent = f"bench-{number}"
        self._epoch = time.time_ns() // 1_000
        self._sequence = 0

    def question(self) -> bytes:
        self._sequence += 1
        number = CREDENTIALS[(self.number * 7_919 + self._sequence) % len(CREDENTIALS)]
        event = EventId.model_construct(agent=self._agent, epoch=self._epoch, sequence=self._sequence)
        read = CardRead.model_construct(event=event, point=f"{POINT}{self.number}", number=number, at_ms=AT_MS)
        return _masked(encode(read).encode())

    def take(self, frame: bytes) -> None:
        if b'"type":"decision"' in frame:
            if b'"reason":"overloaded"' in frame:
                raise ConnectionError("overloaded")
            self.answered()
        elif b'"type":"challenge"' in frame:
            challenge = decode_from_centre(frame)
            assert isinstance(challenge, Challenge)  # noqa: S101  # as it says
            self._transport.write(_masked(encode(self._hello(challenge.nonce)).encode()))
        elif b'"type":"welcome"' in frame:
            if not self.ready.done():
                self.ready.set_result(None)
        else:
            raise ConnectionError(f"unexpected: {frame[:200]!r}")

    def _hello(self, nonce: str) -> Hello:
        key = Ed25519PrivateKey.from_private_bytes(AGENT_SEED)
        signature = key.sign(hello_signing_input(nonce, self._agent, self._epoch)).hex()
        return Hello(agent=self._agent, epoch=self._epoch, signature=signature, software="bench")


def _masked(payload: bytes) -> bytes:
    """Return one text frame of a client, masked with zeros: a mask must be there, it need not cost the client time."""
    assert 126 <= len(payload) < 65_536  # noqa: S101  # ours
    return b"\x81\xfe" + len(payload).to_bytes(2) + bytes(4) + payload


_ECHOED: Final = _masked(b"x" * 180)
