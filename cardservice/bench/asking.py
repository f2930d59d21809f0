# SPDX-License-Identifier: EUPL-1.2
"""Asks a server as fast as it answers, over some connections: plain sockets, as little work of the client as can be."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Return a request as it goes over the wire."""
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: bench",
        "Content-Type: application/json",
        *headers,
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class Count:
    """One round: answers a second, their latencies in ms, the server's CPU time an answer."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def row(counts: Sequence[Count]) -> dict[str, float]:
    """Return a report's row: the middle of some rounds."""
    return {
        "answers_per_s": statistics.median(one.per_s for one in counts),
        "p50_ms": statistics.median(one.p50_ms for one in counts),
        "p99_ms": statistics.median(one.p99_ms for one in counts),
        "server_cpu_us": statistics.median(one.cpu_us for one in counts),
    }


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that runs."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Return the CPU time the server has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def server(module: str, *arguments: str) -> Iterator[ServerProcess]:
    """Run a module that prints its port and serves."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # ourselves
        try:
            assert process.stdout is not None  # noqa: S101  # asked for
            yield ServerProcess(int(process.stdout.readline()), process.pid)
        finally:
            process.terminate()


class Asker(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(self, number: int, until: float) -> None:
        self.number = number
        self.until = until
        self.answers = 0
        self.latencies: list[float] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, unless it is over."""
        for waiting in (self.ready, self.over):
            if not waiting.done():
                waiting.set_exception(exc or ConnectionError("the server closed the connection"))

    def ask(self) -> None:
        """Send the next question, unless the time is over."""
        self._asked_at = time.perf_counter()
        if self._asked_at >= self.until:
            if not self.over.done():
                self.over.set_result(None)
            return
        self._transport.write(self.question())

    def answered(self) -> None:
        """Count one answer and ask again."""
        self.answers += 1
        self.latencies.append(time.perf_counter() - self._asked_at)
        self.ask()

    def question(self) -> bytes:
        """Return the bytes of one question."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


class Posting(Asker):
    """Requests over HTTP: `request(number, sequence)` makes each; an answer is whole once it `ends_with` this."""

    def __init__(self, number: int, until: float, request: Callable[[int, int], bytes], ends_with: bytes) -> None:
        super().__init__(number, until)
        self._request = request
        self._ends_with = ends_with
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready at once."""
        super().connection_made(transport)
        self.ready.set_result(None)

    def question(self) -> bytes:
        """Return the next request."""
        return self._request(self.number, self.answers)

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer."""
        self._answer += data
        if not self._answer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"answered {self._answer[:400]!r}")
        if self._answer.endswith(self._ends_with):
            self._answer = b""
            self.answered()


async def ask_for(served: ServerProcess, kind: Callable[[int, float], Asker], count: int, seconds: float) -> Count:
    """Ask over `count` connections for `seconds` and return what came of it."""
    loop = asyncio.get_running_loop()
    askers: list[Asker] = []
    for number in range(count):
        _, asker = await loop.create_connection(lambda number=number: kind(number, 0.0), "127.0.0.1", served.port)  # type: ignore[misc]
        async with asyncio.timeout(10):
            await asker.ready
        askers.append(asker)
    began, cpu = time.perf_counter(), served.cpu_s()
    for asker in askers:
        asker.until = began + seconds
        asker.ask()
    async with asyncio.timeout(seconds + 10):
        await asyncio.gather(*(asker.over for asker in askers))
    took, used = time.perf_counter() - began, served.cpu_s() - cpu
    for asker in askers:
        asker.close()
    answers = sum(asker.answers for asker in askers)
    latencies = sorted(latency for asker in askers for latency in asker.latencies)
    return Count(
        per_s=answers / took,
        p50_ms=latencies[len(latencies) // 2] * 1_000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1_000,
        cpu_us=used / answers * 1e6,
    )
