# SPDX-License-Identifier: EUPL-1.2
"""An administrator of a directory who stays signed in from one change to the next (RFC 4511)."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cardservice.bench.city_program import BenchError
from directorysim import ber
from directorysim.messages import Request, encode_message

_ANSWER_S: Final = 10.0
_MAX_ANSWER_BYTES: Final = 64 * 1024
_VERSION: Final = 3
_REPLACE: Final = 2
_SIMPLE: Final = 0x80


@dataclass(frozen=True, slots=True)
class Account:
    """Where an administrator signs in, and as whom; with `ca_file` over TLS."""

    host: str
    port: int
    name: str
    password: str = field(repr=False)
    ca_file: Path | None = None


@asynccontextmanager
async def signed_in(account: Account) -> "AsyncIterator[Administrator]":
    """Connect and sign in; disconnect when the context ends.

    Raises:
        BenchError: the server refuses.
    """
    tls = ssl.create_default_context(cafile=account.ca_file) if account.ca_file else None
    reader, writer = await asyncio.open_connection(account.host, account.port, ssl=tls)
    try:
        administrator = Administrator(reader, writer)
        await administrator.sign_in(account.name, account.password)
        yield administrator
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


class Administrator:
    """A connection to a server on this machine; one question under way at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._message = 0

    async def add(self, dn: str, attributes: Mapping[str, Sequence[str]]) -> None:
        """Add an entry.

        Raises:
            BenchError: the server refused it.
        """
        values = [_attribute(name, some) for name, some in attributes.items()]
        self._send(Request.ADD, _text(dn), ber.encode_sequence(*values))
        await self.answered()

    def replace(self, dn: str, attribute: str, values: Sequence[str]) -> float:
        """Send the change; return when (monotonic seconds, right before). `answered` waits for the answer."""
        change = ber.encode_sequence(ber.encode_integer(_REPLACE, ber.ENUMERATED), _attribute(attribute, values))
        at_s = time.monotonic()
        self._send(Request.MODIFY, _text(dn), ber.encode_sequence(change))
        return at_s

    async def answered(self) -> float:
        """Wait for the answer to what was sent last; return when it came (monotonic seconds).

        Raises:
            BenchError: the server refused it.
        """
        received = bytearray()
        async with asyncio.timeout(_ANSWER_S):
            while (length := ber.message_length(received, limit_bytes=_MAX_ANSWER_BYTES)) is None or (
                len(received) < length
            ):
                chunk = await self._reader.read(_MAX_ANSWER_BYTES)
                if not chunk:
                    raise BenchError("the directory closed the connection")
                received += chunk
        at_s = time.monotonic()
        result = ber.decode(bytes(received[:length])).children[1].children[0]
        if (code := ber.to_integer(result)) != 0:
            raise BenchError(f"the directory refused a change with result code {code}")
        return at_s

    async def sign_in(self, name: str, password: str) -> None:
        """Say who it is.

        Raises:
            BenchError: the server refuses.
        """
        self._send(Request.BIND, ber.encode_integer(_VERSION), _text(name), ber.encode(_SIMPLE, password.encode()))
        await self.answered()

    def _send(self, request: Request, *parts: bytes) -> None:
        self._message += 1
        self._writer.write(encode_message(self._message, ber.encode_sequence(*parts, tag=request)))


def _text(value: str) -> bytes:
    return ber.encode_octets(value.encode())


def _attribute(name: str, values: Sequence[str]) -> bytes:
    return ber.encode_sequence(_text(name), ber.encode_sequence(*map(_text, values), tag=ber.SET))
