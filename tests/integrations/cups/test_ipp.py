# SPDX-License-Identifier: EUPL-1.2
"""Encoding against bytes of RFC 8010's appendix, and decoding of whatever a hostile peer may send."""

import asyncio
import contextlib
import struct
import threading
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.cups import ipp
from integrations.cups.connection import MAX_DECODED_HERE_BYTES, Address, Connection, NoAnswer, Refused, decoded
from integrations.cups.ipp import MalformedIpp, Operation, Tag

HEAD = b"\x02\x00\x00\x00\x00\x00\x00\x07"
END = b"\x03"


def attribute(tag: int, name: bytes, value: bytes) -> bytes:
    return struct.pack(">BH", tag, len(name)) + name + struct.pack(">H", len(value)) + value


def test_a_request_is_encoded_as_rfc_8010_shows():
    """Appendix A.1's beginning, byte by byte: version, operation, request, group, charset."""
    encoded = ipp.encode(Operation.GET_JOBS, 0x123, [(Tag.INTEGER, "limit", [50])])
    assert encoded.startswith(
        b"\x02\x00\x00\x0a\x00\x00\x01\x23\x01\x47\x00\x12attributes-charset\x00\x05utf-8\x48\x00\x1b"
    )
    assert encoded.endswith(b"\x21\x00\x05limit\x00\x04\x00\x00\x00\x32\x03")


def test_several_values_share_one_name_and_a_job_attribute_its_own_group():
    encoded = ipp.encode(
        Operation.MOVE_JOB, 1, [(Tag.KEYWORD, "a", ["x", "y"])], (Tag.URI, "job-printer-uri", ["ipp://p"])
    )
    assert b"\x44\x00\x01a\x00\x01x\x44\x00\x00\x00\x01y\x02\x45\x00\x0fjob-printer-uri" in encoded


def test_a_value_that_is_too_long_is_not_sent():
    with pytest.raises(ValueError, match="too long"):
        ipp.encode(Operation.GET_JOBS, 1, [(Tag.NAME, "x", ["ü" * 512])])


def test_jobs_and_printers_are_read():
    """Groups apart, several values, text with a language, negative numbers; collections passed over."""
    collection = (
        attribute(0x34, b"media-col", b"")
        + attribute(0x4A, b"", b"x")
        + attribute(0x34, b"", b"")
        + attribute(0x37, b"", b"")
        + attribute(0x37, b"", b"")
    )
    data = (
        HEAD
        + b"\x01"
        + attribute(0x47, b"attributes-charset", b"utf-8")
        + b"\x02"
        + attribute(0x21, b"job-id", struct.pack(">i", 7))
        + collection
        + attribute(0x36, b"job-name", b"\x00\x02de\x00\x04T\xc3\xbcr")
        + b"\x02"
        + attribute(0x21, b"job-id", struct.pack(">i", -1))
        + b"\x04"
        + attribute(0x44, b"reasons", b"a")
        + attribute(0x44, b"", b"b")
        + attribute(0x22, b"accepting", b"\x01")
        + END
    )
    response = ipp.decode(data)
    assert (response.status, response.number, response.successful) == (0, 7, True)
    first, second = response.jobs
    assert (ipp.number(first, "job-id"), ipp.text(first, "job-name")) == (7, "Tür")
    assert ipp.number(second, "job-id") == -1
    (printer,) = response.printers
    assert (printer["reasons"], ipp.flag(printer, "accepting")) == (["a", "b"], True)
    assert (ipp.number(printer, "accepting"), ipp.text(printer, "accepting"), ipp.flag(first, "job-id")) == (
        None,
        "",
        False,
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD + attribute(0x21, b"x", b"\0\0\0\1") + END,
        HEAD + b"\x02" + b"\x21\xff\xff",
        HEAD + b"\x02" + attribute(0x21, b"x", b"\0\0\1") + END,
        HEAD + b"\x02" + b"\x44\x00\x01x\xff\xffab" + END,
        HEAD + b"\x02" + attribute(0x36, b"x", b"\0") + END,
        HEAD + b"\x02" + attribute(0x34, b"x", b"") + END,
        HEAD + b"\x02" + attribute(0x34, b"x", b"") + b"\x02" + END,
        HEAD + b"\x02" * (ipp.MAX_GROUPS + 1) + END,
    ],
)
def test_what_is_no_response_is_one_error(data):
    with pytest.raises(MalformedIpp):
        ipp.decode(data)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_no_bytes_bring_anything_but_a_response_or_the_error(tail):
    """Neither another error nor an endless loop."""
    for data in (tail, HEAD + b"\x02" + tail, HEAD + b"\x02" + attribute(0x34, b"c", b"") + tail):
        try:
            response = ipp.decode(data)
        except MalformedIpp:
            continue
        assert 0 <= response.status <= 0xFFFF


async def test_a_long_answer_is_read_beside_the_event_loop(monkeypatch):
    """A short one is read here, for a thread costs more; what is none is the same error from both."""
    job = b"\x02" + attribute(0x21, b"job-id", b"\0\0\0\1")
    short, long = HEAD + job + END, HEAD + job * (MAX_DECODED_HERE_BYTES // len(job) + 1) + END
    really_decode, threads = ipp.decode, []

    def watched(data: bytes) -> ipp.Response:
        threads.append(threading.get_ident())
        return really_decode(data)

    monkeypatch.setattr(ipp, "decode", watched)
    assert len((await decoded(short)).jobs) == 1
    assert len((await decoded(long)).jobs) == MAX_DECODED_HERE_BYTES // len(job) + 1
    here = threading.get_ident()
    assert [thread == here for thread in threads] == [True, False]
    for broken in (short[:-1], long[:-1]):
        with pytest.raises(MalformedIpp):
            await decoded(broken)


class Server:
    """Answers requests on a unix socket with the same bytes; closes after `answers` of them (0: stays silent)."""

    def __init__(self, path: Path, answer: bytes, answers: int = 1) -> None:
        self.address = Address(socket=path)
        self.connections = 0
        self._answer = answer
        self._answers = answers
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.address.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._open)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(asyncio.current_task())
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(self._answers):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(4)
                writer.write(self._answer)
            if self._answers == 0:
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def answered(folder: Path, answer: bytes, *, answers: int = 1, limit_s: float = 2.0) -> bytes:
    async with Server(folder / "s", answer, answers) as server:
        connection = Connection(server.address, limit_s)
        try:
            return await connection.ask("/", b"ping")
        finally:
            await connection.close()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"Content-Length: 4\r\n\r\npong", b"pong"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 0\r\n\r\n", b""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\npo\r\n2;x=y\r\nng\r\n0\r\n\r\n", b"pong"),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n0\r\nA: b\r\n\r\n", b""),
    ],
)
async def test_answers_are_read_to_their_end(tmp_path, answer, body):
    assert await answered(tmp_path, answer) == body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        OK + b"\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 99999999\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\npong",
        OK + b"X: " + b"x" * 20_000 + b"\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\npoXX",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 10,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5,
    ],
)
async def test_what_is_no_answer_is_one_error(tmp_path, answer):
    with pytest.raises(NoAnswer):
        await answered(tmp_path, answer)


async def test_silence_is_given_up(tmp_path):
    with pytest.raises(NoAnswer):
        await answered(tmp_path, b"", answers=0, limit_s=0.05)


async def test_a_refusal_is_told_apart_from_silence(tmp_path):
    with pytest.raises(Refused, match="401"):
        await answered(tmp_path, b"HTTP/1.1 401 Unauthorized\r\n\r\n")


async def test_a_connection_is_kept_and_made_anew_when_it_was_closed(tmp_path):
    """Two answers on one connection; after the server has closed it, the next request finds out and gets another."""
    async with Server(tmp_path / "s", OK + b"Content-Length: 0\r\n\r\n", answers=2) as server:
        connection = Connection(server.address, 2.0)
        for _ in range(2):
            assert await connection.ask("/", b"ping") == b""
        assert server.connections == 1
        with pytest.raises(NoAnswer):
            # Closed in this very moment: whether it was served nobody knows, so it is not repeated here.
            await connection.ask("/", b"ping")
        assert await connection.ask("/", b"ping") == b""
        assert server.connections == 2
        await connection.close()
        with pytest.raises(NoAnswer, match="closed"):
            await connection.ask("/", b"ping")
