# SPDX-License-Identifier: EUPL-1.2
"""A real slapd for the measurement, and an administrator who stays signed in from one change to the next."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from cardservice.bench.city import DirectoryAddress
from cardservice.bench.city_program import BenchError
from directorysim import ber
from directorysim.messages import Request, encode_message
from rig.slapd import ADMIN_DN, ADMIN_PASSWORD, READER_DN, READER_PASSWORD, SLAPD, Entry, Slapd

_ANSWER_S: Final = 10.0
_MAX_ANSWER_BYTES: Final = 64 * 1024
_VERSION: Final = 3
_REPLACE: Final = 2
_SIMPLE: Final = 0x80
# draft-behera-ldap-password-policy-10 section 5.3.3: locked until an administrator frees it.
_LOCKED_FOR_GOOD: Final = b"000001010000Z"


@contextmanager
def running_slapd(folder: Path, content: Sequence[Entry]) -> Iterator[tuple[Slapd, DirectoryAddress]]:
    """Run slapd with these entries while the context lasts.

    Raises:
        BenchError: it is not installed.
    """
    if not SLAPD.exists():
        raise BenchError(f"OpenLDAP's server is not installed: there is no {SLAPD} (Debian: apt-get install slapd)")
    slapd = Slapd(folder / "slapd", content)
    slapd.start()
    try:
        yield slapd, DirectoryAddress(slapd.url, slapd.ca_file, READER_DN, READER_PASSWORD)
    finally:
        slapd.stop()


class Administrator:
    """A bound connection (RFC 4511) over loopback; one change under way at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._message = 0

    @classmethod
    async def sign_in(cls, port: int) -> Self:
        """Connect to slapd's plain port on this machine and sign in.

        Raises:
            BenchError: slapd refuses.
        """
        administrator = cls(*await asyncio.open_connection("127.0.0.1", port))
        password = ber.encode(_SIMPLE, ADMIN_PASSWORD.encode())
        administrator._send(Request.BIND, ber.encode_integer(_VERSION), _text(ADMIN_DN), password)
        await administrator.answered()
        return administrator

    def set_disabled(self, dn: str, *, disabled: bool) -> float:
        """Send the change; return when (monotonic seconds). `answered` waits for the answer."""
        values = [ber.encode_octets(_LOCKED_FOR_GOOD)] if disabled else []
        attribute = ber.encode_sequence(_text("pwdAccountLockedTime"), ber.encode_sequence(*values, tag=ber.SET))
        change = ber.encode_sequence(ber.encode_integer(_REPLACE, ber.ENUMERATED), attribute)
        at_s = time.monotonic()
        self._send(Request.MODIFY, _text(dn), ber.encode_sequence(change))
        return at_s

    async def answered(self) -> float:
        """Wait for slapd's answer to what was sent last; return when it came (monotonic seconds).

        Raises:
            BenchError: slapd refused it.
        """
        received = bytearray()
        async with asyncio.timeout(_ANSWER_S):
            while (length := ber.message_length(received, limit_bytes=_MAX_ANSWER_BYTES)) is None or (
                len(received) < length
            ):
                chunk = await self._reader.read(_MAX_ANSWER_BYTES)
                if not chunk:
                    raise BenchError("slapd closed the connection")
                received += chunk
        at_s = time.monotonic()
        result = ber.decode(bytes(received[:length])).children[1].children[0]
        if (code := ber.to_integer(result)) != 0:
            raise BenchError(f"slapd refused the change with result code {code}")
        return at_s

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()

    def _send(self, request: Request, *parts: bytes) -> None:
        self._message += 1
        self._writer.write(encode_message(self._message, ber.encode_sequence(*parts, tag=request)))


def _text(value: str) -> bytes:
    return ber.encode_octets(value.encode())
