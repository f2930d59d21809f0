# SPDX-License-Identifier: EUPL-1.2
"""One kept HTTP/1.1 connection for IPP (RFC 8010 section 4): one request at a time, everything bounded.

`asyncio`'s streams instead of an HTTP library: a request is one write and an answer two reads, over a unix socket whose
peer proves its user by the kernel's word.
"""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from integrations.cups import ipp
from integrations.cups.ipp import MAX_RESPONSE_BYTES

_MAX_HEAD_BYTES: Final = 16 * 1024
_MAX_INTERIM: Final = 3
_MAX_CHUNKS: Final = 100_000
# What is longer takes milliseconds to read, in which nobody else's tap would get on.
MAX_DECODED_HERE_BYTES: Final = 32 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"


class NoAnswer(Exception):
    """Nothing came back that is an answer; what was asked may or may not have been done."""


class Refused(Exception):
    """The server answered with an HTTP status other than 200; nothing was done."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect: a unix socket, or host and port with or without TLS."""

    socket: Path | None = None
    host: str = "localhost"
    port: int = 631
    tls: bool = False


@dataclass(slots=True)
class Connection:
    """Opened when first needed, kept, and opened anew when the server has closed it.

    `authorization` is sent with every request; `limit_s` bounds one request with its answer.
    """

    address: Address
    limit_s: float
    authorization: str | None = None
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    _closed: bool = False
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, path: str, request: bytes) -> bytes:
        """Send one IPP request and return the body of its answer.

        Raises:
            NoAnswer: the connection could not be made or broke, or the answer is late or not HTTP.
            Refused: an HTTP status other than 200.
        """
        async with self._turn:
            if self._closed:
                raise NoAnswer("closed")
            try:
                async with asyncio.timeout(self.limit_s):
                    reader, writer = await self._open()
                    writer.write(self._head(path, len(request)) + request)
                    status, body, keep = await _answer(reader)
            except BaseException as error:
                # What comes next on this connection would answer the request that was given up.
                self._drop()
                if isinstance(error, OSError | EOFError | ValueError | asyncio.LimitOverrunError):
                    raise NoAnswer(type(error).__name__) from None
                raise
            if not keep or status != 200:
                self._drop()
        if status != 200:
            raise Refused(f"HTTP status {status}")
        return body

    async def close(self) -> None:
        """Disconnect for good, once what is under way has ended."""
        async with self._turn:
            self._closed = True
            streams = self._streams
            self._drop()
            if streams is not None:
                with contextlib.suppress(OSError):
                    await streams[1].wait_closed()

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and (self._streams[0].at_eof() or self._streams[1].is_closing()):
            self._drop()
        if self._streams is None:
            here = self.address
            if here.socket is not None:
                self._streams = await asyncio.open_unix_connection(here.socket, limit=_MAX_HEAD_BYTES)
            else:
                secure = _unverified() if here.tls else None
                self._streams = await asyncio.open_connection(here.host, here.port, ssl=secure, limit=_MAX_HEAD_BYTES)
        return self._streams

    def _head(self, path: str, length: int) -> bytes:
        here = self.address
        host = "localhost" if here.socket is not None else f"{here.host}:{here.port}"
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {host}",
            "Content-Type: application/ipp",
            f"Content-Length: {length}",
        ]
        if self.authorization is not None:
            lines.append(f"Authorization: {self.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


async def decoded(body: bytes) -> ipp.Response:
    """Read the body of an answer; a long one (everybody's waiting jobs) in a thread, beside the event loop.

    Raises:
        MalformedIpp: it is none.
    """
    if len(body) <= MAX_DECODED_HERE_BYTES:
        return ipp.decode(body)
    return await asyncio.to_thread(ipp.decode, body)


def _unverified() -> ssl.SSLContext:
    """Printers sign their own certificates. Whoever poses as one can only say that it is in order or is not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Return status, body, and whether the connection may be kept; interim answers (1xx) are passed over."""
    for _ in range(_MAX_INTERIM):
        status, headers = _parse_head(await reader.readuntil(_END_OF_HEAD))
        if status >= 200:
            break
    else:
        raise ValueError("too many interim answers")
    if status != 200:
        return status, b"", False
    keep = headers.get("connection", "").lower() != "close"
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return status, await _chunks(reader), keep
    return status, await reader.readexactly(_length(headers.get("content-length", ""), 10)), keep


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    if not version.startswith("HTTP/1.") or len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise ValueError("not HTTP")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(code), headers


def _length(digits: str, base: int) -> int:
    if not digits.isascii() or not digits.isalnum() or len(digits) > 8:
        raise ValueError("no length")
    length = int(digits, base)
    if length > MAX_RESPONSE_BYTES:
        raise ValueError("the answer is too long")
    return length


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body (RFC 9112 section 7.1)."""
    body = bytearray()
    for _ in range(_MAX_CHUNKS):
        line = await reader.readuntil(b"\r\n")
        size = _length(line.partition(b";")[0].strip().decode("latin-1"), 16)
        if len(body) + size > MAX_RESPONSE_BYTES:
            raise ValueError("the answer is too long")
        body += await reader.readexactly(size)
        if size == 0:
            await _trailer(reader)
            return bytes(body)
        if await reader.readexactly(2) != b"\r\n":
            raise ValueError("a chunk does not end where it says")
    raise ValueError("too many chunks")


async def _trailer(reader: asyncio.StreamReader) -> None:
    for _ in range(_MAX_INTERIM):
        if await reader.readuntil(b"\r\n") == b"\r\n":
            return
    raise ValueError("too many trailers")
