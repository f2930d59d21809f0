# SPDX-License-Identifier: EUPL-1.2
"""A pcscd that says of its readers whatever it likes: its side of pcsc-lite's protocols 4.4 and 4.5, on a socket.

Names of any bytes, readers that come and go, states and answers to reset without sense; lengths stay within the
protocol, since libpcsclite trusts its daemon with those.
"""

import contextlib
import itertools
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ESTABLISH, RELEASE, VERSION, READERS_STATE, WAIT, STOP_WAITING = 0x01, 0x02, 0x11, 0x12, 0x13, 0x14
# Since 4.5 (pcsc-lite 2.3): how many readers came or went so far.
READER_EVENTS = 0x15
MAX_READERS = 16
_HEADER = struct.Struct("=II")
# Name, event counter, state, sharing, answer to reset, its length, protocol.
_READER = struct.Struct("=128sIIi33s3xII")
NAMES = (
    b"Reader A",
    b"Reader B 00 00",
    b"x" * 127,
    "Leser für Türen".encode(),
    "Türöffner \U0001f6aa".encode() * 5,
    b"\x1b[31mred\x1b[0m\r\nlevel=error",
    b"*",
    b" ",
    b"%s%n{0}",
    b"\\\\?PnP?\\Notification",
)
# Latin-1, noise, a surrogate, and a name that was cut within a letter, which is what a long one comes to.
NOT_UTF8 = (b"Leser f\xfcr T\xfcren", b"\xff", b"\xed\xa0\x80", (b"x" * 126 + "ü".encode())[:127])


class HostilePcscd:
    """Answers each look at the readers anew, by chance; `not_utf8` adds names no text can be made of."""

    def __init__(self, dice: random.Random, *, not_utf8: bool) -> None:
        self.looks = 0
        self._dice = dice
        self._names = NAMES + (NOT_UTF8 if not_utf8 else ())
        self._present: list[bytes] = [*self._names[:2], *self._names[-1:]]
        self._contexts = itertools.count(1)

    def serve(self, connection: socket.socket) -> None:
        """Serve one client until it goes."""
        with contextlib.suppress(OSError, EOFError), connection:
            while True:
                size, command = _HEADER.unpack(_read(connection, _HEADER.size))
                connection.sendall(self._answer(command, _read(connection, size)))

    def _answer(self, command: int, body: bytes) -> bytes:
        if command == ESTABLISH:
            return struct.pack("=III", 0, next(self._contexts), 0)
        if command in {READERS_STATE, WAIT}:
            self.looks += 1
            return self._readers()
        if command == STOP_WAITING:
            return struct.pack("=II", 0, 0)
        if command == READER_EVENTS:
            return struct.pack("=II", self._dice.getrandbits(32), 0)
        # The request with its own result, which is success already.
        return body

    def _readers(self) -> bytes:
        dice = self._dice
        # Long enough for a client to follow its readers, seldom long enough to get used to them.
        if dice.random() < 0.1:
            self._present = dice.choices(self._names, k=dice.choice((0, 1, 2, 3, MAX_READERS)))
        said = [self._reader(name) for name in self._present]
        return b"".join(said).ljust(MAX_READERS * _READER.size, b"\x00")

    def _reader(self, name: bytes) -> bytes:
        dice = self._dice
        atr = dice.randbytes(dice.choice((0, 1, 2, 32, 33)))
        state = dice.choice((0x0002, 0x0004, 0x0014, 0x0034, 0xFFFF, 0, dice.getrandbits(16)))
        counted, protocol = dice.getrandbits(dice.choice((4, 32))), dice.choice((0, 1, 2))
        return _READER.pack(name, counted, state, 0, atr, len(atr), protocol)


def _read(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = connection.recv(count - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


@contextmanager
def hostile_pcscd(path: Path, dice: random.Random, *, not_utf8: bool = False) -> Iterator[HostilePcscd]:
    """Serve on the Unix socket `path`, which must be short, while the context lasts."""
    daemon = HostilePcscd(dice, not_utf8=not_utf8)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        threading.Thread(target=_accept, args=(listener, daemon), daemon=True).start()
        yield daemon


def _accept(listener: socket.socket, daemon: HostilePcscd) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=daemon.serve, args=(connection,), daemon=True).start()
