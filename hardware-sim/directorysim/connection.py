# SPDX-License-Identifier: EUPL-1.2
"""One TCP connection: cuts the byte stream into messages, writes answers no faster than the client reads."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, cast

from directorysim import ber
from directorysim.errors import BerError
from directorysim.messages import Request, decode_message, encode_disconnection
from directorysim.service import Service
from directorysim.session import Session

_LOG: Final = logging.getLogger(__name__)
_CHUNK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """What the server gives each connection."""

    service: Service
    tls: ssl.SSLContext
    opened: Callable[["Connection"], None]
    closed: Callable[["Connection"], None]


class Connection(asyncio.Protocol):
    """The transport side of one LDAP session."""

    def __init__(self, context: ConnectionContext, *, tls_active: bool) -> None:
        self._context = context
        self._limits = context.service.options.limits
        self._session = Session(context.service, self)
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._tls_active = tls_active
        self._upgrade: asyncio.Task[None] | None = None
        self._paused = False
        self._writable = asyncio.Event()
        self._client_reads = True
        self._update_writable()

    @property
    def tls_active(self) -> bool:
        """Whether the connection is encrypted."""
        return self._tls_active

    @property
    def tls_available(self) -> bool:
        """Whether StartTLS is offered; this server always has a certificate."""
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio calls this)."""
        self._transport = cast("asyncio.Transport", transport)
        self._context.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End all operations (asyncio calls this)."""
        del exc
        if self._transport is None:
            return
        self._transport = None
        self._session.close()
        for task in tuple(self._tasks.values()):
            task.cancel()
        self._context.closed(self)

    def data_received(self, data: bytes) -> None:
        """Handle every message that is complete (asyncio calls this)."""
        self._received += data
        self._process()

    def pause_writing(self) -> None:
        """Stop delivering: the client does not read (asyncio calls this)."""
        self._client_reads = False
        self._update_writable()

    def resume_writing(self) -> None:
        """Go on delivering (asyncio calls this)."""
        self._client_reads = True
        self._update_writable()

    def pause(self) -> None:
        """Neither read nor write until `resume`, as a stopped process."""
        self._paused = True
        self._update_writable()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Write what was held back and read on."""
        self._paused = False
        self._update_writable()
        held, self._held, self._held_bytes = self._held, [], 0
        for data in held:
            self.send(data)
        if self._transport is not None:
            self._transport.resume_reading()
            self._process()

    def send(self, data: bytes) -> None:
        """Write messages; a client that lets too many pile up is dropped."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._paused:
            self._held.append(data)
            self._held_bytes += len(data)
            waiting = self._held_bytes
        else:
            self._transport.write(data)
            waiting = self._transport.get_write_buffer_size()
        if waiting > self._limits.max_outgoing_bytes:
            _LOG.warning("a client that does not read is dropped with %d bytes waiting", waiting)
            self.abort()

    def deliver(self, message_id: int, stream: Iterator[bytes], finished: Callable[[], None]) -> None:
        """Write a stream of messages in the background, then call `finished`."""
        task = asyncio.get_running_loop().create_task(self._deliver(stream, finished))
        self._tasks[message_id] = task
        task.add_done_callback(lambda done: self._delivered(message_id, done))

    async def _deliver(self, stream: Iterator[bytes], finished: Callable[[], None]) -> None:
        chunk = bytearray()
        for message in stream:
            chunk += message
            if len(chunk) >= _CHUNK_BYTES:
                await self._writable.wait()
                self.send(bytes(chunk))
                chunk.clear()
                await asyncio.sleep(0)
        await self._writable.wait()
        self.send(bytes(chunk))
        finished()

    def _delivered(self, message_id: int, task: asyncio.Task[None]) -> None:
        if self._tasks.get(message_id) is task:
            del self._tasks[message_id]
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("an answer could not be written", exc_info=task.exception())
            self.abort()

    def cancel(self, message_id: int) -> None:
        """Stop delivering a stream."""
        task = self._tasks.pop(message_id, None)
        if task is not None:
            task.cancel()

    def start_tls(self, answer: bytes) -> None:
        """Write the answer and switch to TLS; bytes that came with the request in the clear end the connection."""
        if self._received or self._transport is None:
            _LOG.warning("bytes follow a StartTLS request in the clear; the connection is dropped")
            self.abort()
            return
        self.send(answer)
        self._transport.pause_reading()
        self._upgrade = asyncio.get_running_loop().create_task(self._switch_to_tls(self._transport))

    async def _switch_to_tls(self, plain: asyncio.Transport) -> None:
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                plain,
                self,
                self._context.tls,
                server_side=True,
                ssl_handshake_timeout=self._limits.tls_handshake_timeout_s,
            )
        except (OSError, asyncio.CancelledError) as error:
            _LOG.info("TLS handshake failed: %s", error)
            plain.abort()
            # asyncio tells a protocol about a lost connection only after the handshake
            self.connection_lost(None)
            return
        if self._transport is None or encrypted is None:
            return
        self._tls_active = True
        self._transport = encrypted
        self._upgrade = None
        if self._paused:
            encrypted.pause_reading()
        self._process()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._upgrade is not None:
            self._upgrade.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _update_writable(self) -> None:
        if self._client_reads and not self._paused:
            self._writable.set()
        else:
            self._writable.clear()

    def _process(self) -> None:
        try:
            while self._may_process() and self._transport is not None:
                data = self._next_message()
                if data is None:
                    return
                message = decode_message(data)
                if message.request is Request.UNBIND:
                    self._transport.close()
                    return
                self._session.handle(message)
        except BerError as error:
            _LOG.info("a client broke the protocol: %s", error)
            self.send(encode_disconnection(str(error)))
            self._received.clear()
            if self._transport is not None:
                self._transport.close()

    def _may_process(self) -> bool:
        """Tell whether requests may be answered: during the switch to TLS that would go out in the clear."""
        open_now = self._transport is not None and not self._transport.is_closing()
        return open_now and not self._paused and self._upgrade is None

    def _next_message(self) -> bytes | None:
        anonymous = self._session.identity is None
        limit = self._limits.anonymous_message_bytes if anonymous else ber.MAX_MESSAGE_BYTES
        length = ber.message_length(self._received, limit_bytes=limit)
        if length is None or len(self._received) < length:
            return None
        data = bytes(self._received[:length])
        del self._received[:length]
        return data
