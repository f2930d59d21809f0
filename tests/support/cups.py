# SPDX-License-Identifier: EUPL-1.2
"""Documents that can be told apart after printing, and a client of cupsd that asks for what it may not have."""

import http.client
import os
import pwd
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from support.waiting import wait_until

from rig.cups import Printer
from rig.pdf import one_page

INTEGER, BOOLEAN, NAME, KEYWORD, URI, CHARSET, LANGUAGE, MIME = 0x21, 0x22, 0x42, 0x44, 0x45, 0x47, 0x48, 0x49
OPERATION_GROUP, JOB_GROUP, END = 1, 2, 3
SUCCESS_END = 0xFF


def write_pdf(path: Path, text: str) -> Path:
    """Write a PDF of one page that says `text` (ASCII without brackets)."""
    path.write_bytes(one_page(text))
    return path


def texts(printer: Printer) -> list[str]:
    """What the documents say that arrived at a printer, sorted."""
    return sorted(text_of(document) for document in printer.documents())


def text_of(document: Path) -> str:
    said = subprocess.run(["pdftotext", document, "-"], capture_output=True, text=True, timeout=30, check=True)
    return said.stdout.strip()


def wait_for_texts(printer: Printer, expected: Sequence[str]) -> None:
    """Return once as many documents have arrived as are expected; fail unless they are those."""
    wait_until(lambda: len(printer.documents()) >= len(expected))
    assert texts(printer) == sorted(expected)


class Stranger:
    """Somebody on this machine who speaks IPP by hand, proven to be `user` (None: proven to be nobody).

    `says` is the name in the proof; by default the true one.
    """

    def __init__(self, cups_socket: Path, user: str | None, *, says: str | None = None) -> None:
        self._authorization = None if user is None else f"PeerCred {says or user}"
        self._socket = _connect_as(user or "nobody", cups_socket)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(
        self,
        operation: int,
        *attributes: tuple[int, str, object],
        queue: str = "followme",
        job_group: Sequence[tuple[int, str, object]] = (),
        document: bytes = b"",
    ) -> tuple[int, bytes]:
        """Return the status (HTTP's, where that is not 200; else IPP's) and the answer's body."""
        body = _request(operation, queue, attributes, job_group) + document
        headers = {"Host": "localhost", "Content-Type": "application/ipp", "Content-Length": str(len(body))}
        if self._authorization is not None:
            headers["Authorization"] = self._authorization
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket.sendall(f"POST /printers/{queue} HTTP/1.1\r\n{head}\r\n".encode() + body)
        response = http.client.HTTPResponse(self._socket, method="POST")
        response.begin()
        answer = response.read()
        return (struct.unpack_from(">H", answer, 2)[0] if response.status == 200 else response.status), answer


def was_done(status: int) -> bool:
    """Whether an IPP status says so; an HTTP status never does."""
    return status <= SUCCESS_END and status not in range(100, 256)


def job_number(answer: bytes) -> int:
    """The job-id of an answer."""
    at = answer.index(b"job-id") + len(b"job-id") + 2
    return int.from_bytes(answer[at : at + 4], "big")


def _connect_as(user: str, path: Path) -> socket.socket:
    # The kernel notes who connects at this moment (SO_PEERCRED in unix(7)).
    account = pwd.getpwnam(user)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    os.seteuid(account.pw_uid)
    try:
        connection.connect(str(path))
    finally:
        os.seteuid(0)
    return connection


def _request(
    operation: int,
    queue: str,
    attributes: Sequence[tuple[int, str, object]],
    job_group: Sequence[tuple[int, str, object]],
) -> bytes:
    first = [
        (CHARSET, "attributes-charset", "utf-8"),
        (LANGUAGE, "attributes-natural-language", "en"),
        (URI, "printer-uri", f"ipp://localhost/printers/{queue}"),
    ]
    body = struct.pack(">BBHIB", 2, 0, operation, 1, OPERATION_GROUP) + b"".join(
        _attribute(*attribute) for attribute in [*first, *attributes]
    )
    if job_group:
        body += bytes([JOB_GROUP]) + b"".join(_attribute(*attribute) for attribute in job_group)
    return body + bytes([END])


def _attribute(tag: int, name: str, value: object) -> bytes:
    content = struct.pack(">i", value) if tag == INTEGER else bytes([bool(value)]) if tag == BOOLEAN else None
    content = str(value).encode() if content is None else content
    return struct.pack(f">BH{len(name)}sH", tag, len(name), name.encode(), len(content)) + content
