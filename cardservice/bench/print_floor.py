# SPDX-License-Identifier: EUPL-1.2
"""What releasing a document costs at least: the same IPP requests, encoded before the clock starts, one by one.

Plain sockets that are kept open, nothing decoded but the status. The printer itself is asked while cupsd answers, as
the service does it.
"""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cardservice.bench.city_program import BenchError
from integrations.cups import devices, ipp, spooler
from integrations.cups.ipp import Attribute, Operation, Tag

_ANSWER_S: Final = 10.0
_MAX_BYTES: Final = 1024 * 1024
_END_OF_HEAD: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


class KeptSocket:
    """One connection; every request is whole before it is sent."""

    def __init__(self, connection: socket.socket, path: str, headers: Sequence[str]) -> None:
        connection.settimeout(_ANSWER_S)
        self._connection = connection
        self._start = "\r\n".join([f"POST {path} HTTP/1.1", "Content-Type: application/ipp", *headers])

    def request(self, operation: Operation, attributes: Sequence[Attribute], of_job: Attribute | None = None) -> bytes:
        """Encode a request with all its HTTP."""
        body = ipp.encode(operation, 1, attributes, of_job)
        return f"{self._start}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def send(self, request: bytes) -> None:
        """Send it."""
        self._connection.sendall(request)

    def receive(self) -> None:
        """Read one answer to its end.

        Raises:
            BenchError: it says that something was not done.
        """
        data = bytearray()
        while _END_OF_HEAD not in data:
            data += self._more()
        head, _, body = bytes(data).partition(_END_OF_HEAD)
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            while not body.endswith(_LAST_CHUNK):
                body += self._more()
            body = body.partition(b"\r\n")[2]
        else:
            length = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += self._more()
        if not head.startswith(b"HTTP/1.1 200") or body[2] != 0:
            raise BenchError(f"a plain request was refused: {head[:30]!r} {body[:4].hex()}")

    def exchange(self, request: bytes) -> None:
        """Send it and read the answer."""
        self.send(request)
        self.receive()

    def _more(self) -> bytes:
        data = self._connection.recv(_MAX_BYTES)
        if not data:
            raise BenchError("a kept connection was closed")
        return data

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def to_cups(path: Path, user: str) -> KeptSocket:
    """Connect to cupsd."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(str(path))
    return KeptSocket(connection, "/", ["Host: localhost", f"Authorization: PeerCred {user}"])


def to_printer(uri: str) -> KeptSocket:
    """Connect to a printer."""
    parts = urlsplit(uri)
    connection = socket.create_connection((parts.hostname, parts.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return KeptSocket(connection, parts.path, [f"Host: {parts.netloc}"])


class Floor:
    """The requests of one release, ready to be sent."""

    def __init__(self, cups: KeptSocket, printer: KeptSocket, uri: str) -> None:
        self._cups = cups
        self._printer = printer
        self._uri = uri
        self._before: list[bytes] = []
        self._then: list[bytes] = []
        self._device = b""

    def prepare(self, job: int, queue: str, printer: str) -> None:
        """Encode what releases `job` to `printer`."""
        user: Attribute = (Tag.NAME, "requesting-user-name", ["root"])
        waiting, target = f"ipp://localhost/printers/{queue}", f"ipp://localhost/printers/{printer}"
        here: list[Attribute] = [(Tag.URI, "printer-uri", [waiting]), user]
        this: list[Attribute] = [(Tag.URI, "printer-uri", [waiting]), (Tag.INTEGER, "job-id", [job]), user]
        encode = self._cups.request
        self._device = self._printer.request(
            Operation.GET_PRINTER_ATTRIBUTES, [(Tag.URI, "printer-uri", [self._uri]), _wanted(devices.FIELDS)]
        )
        self._before = [
            encode(
                Operation.GET_JOBS,
                [*here, (Tag.KEYWORD, "which-jobs", ["not-completed"]), _wanted(spooler.HELD_FIELDS)],
            ),
            encode(
                Operation.GET_PRINTER_ATTRIBUTES,
                [(Tag.URI, "printer-uri", [target]), user, _wanted(spooler.PRINTER_FIELDS)],
            ),
        ]
        self._then = [
            encode(Operation.GET_JOB_ATTRIBUTES, [*this, _wanted(spooler.FATE_FIELDS)]),
            encode(Operation.RELEASE_JOB, this),
            encode(Operation.MOVE_JOB, this, (Tag.URI, "job-printer-uri", [target])),
        ]

    def release(self) -> None:
        """Send them, each after the answer to the one before."""
        self._printer.send(self._device)
        for request in self._before:
            self._cups.exchange(request)
        self._printer.receive()
        for request in self._then:
            self._cups.exchange(request)


def _wanted(names: Sequence[str]) -> Attribute:
    return (Tag.KEYWORD, "requested-attributes", list(names))
