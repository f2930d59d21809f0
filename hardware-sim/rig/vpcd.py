# SPDX-License-Identifier: EUPL-1.2
"""Carries a card to pcscd's virtual reader driver (vpcd) over its TCP socket.

Every frame is a 2-byte big-endian length and that many bytes. A frame of exactly one byte 00, 01, 02 or 04 is a
control (power off, power on, reset, send the ATR); only the ATR is answered. Every other frame is a command,
also a native one of a single byte such as DESFire's 60. Connecting inserts the card, closing removes it. A card
that stays mute is disconnected and connected again, because the protocol has no way to say nothing.

pcscd looks for a card every 0.4 s by asking for the ATR, and notices a removal only when such a look fails. A
connection that breaks in the middle of a command and is replaced before the next look would go unnoticed: pcscd
would send commands for the old card to the new one, which has no power. Therefore a new card shows itself only
after a look has failed; see `_Line.absence_seen`. Before pcscd switches a card off, on or resets it, it looks too, but
draws no conclusion when that look fails. While a card is on, a look between two regular ones counts for nothing; one
that comes together with a regular one is followed by it at once, so a card stays away for a moment after a failed look.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping

from rig.bank import Bank
from rig.errors import CardError, CardFaultError
from rig.insertion import Insertion

POWER_OFF, POWER_ON, RESET, SEND_ATR = b"\x00", b"\x01", b"\x02", b"\x04"
POWER = frozenset({POWER_OFF, POWER_ON, RESET})
MAX_FRAME = 0xFFFF
"""Longest frame in bytes; the length field has no room for more."""
CONNECT_TIMEOUT_S = 0.25
RETRY_S = 0.05
STAY_AWAY_S = 0.25
"""Longer than pcscd needs from one look to the one that follows at once, shorter than between regular ones."""
REGULAR_S = 0.35
"""A look that comes sooner than this after a regular one is none itself."""
_RECEIVE_BYTES = 2 + MAX_FRAME

_log = logging.getLogger("rig")


def frames(sock: socket.socket) -> Iterator[bytes]:
    """Yield each whole frame (0 to 65,535 bytes) until the other side closes.

    Raises:
        OSError: the connection broke.
    """
    received = bytearray()
    while True:
        while len(received) >= 2 and len(received) >= (end := 2 + int.from_bytes(received[:2], "big")):
            frame = bytes(received[2:end])
            del received[:end]
            yield frame
        # Linux leaves quick-ack mode by itself, and a delayed acknowledgement costs 40 ms an APDU.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        chunk = sock.recv(_RECEIVE_BYTES)
        if not chunk:
            return
        received += chunk


class _Line:
    """The way to one port, used by one session at a time; `change` guards all fields.

    `absence_seen` tells whether pcscd has found the reader empty since it last saw a card, `away_until_s` until when
    (by the monotonic clock) no card may connect.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.change = threading.Condition()
        self.holder: Session | None = None
        self.absence_seen = True
        self.away_until_s = 0.0
        self._looked_s = self._looked_before_s = 0.0
        self._powered = False

    def look(self) -> bool:
        """Note that pcscd looks now; tell whether it draws a conclusion from what it finds."""
        now_s = time.monotonic()
        is_regular = not self._powered or now_s - self._looked_s >= REGULAR_S
        self._looked_before_s, self._looked_s = self._looked_s, now_s
        return is_regular

    def power(self, frame: bytes) -> None:
        """Note that pcscd switches the card: the look just before was for this, not a regular one."""
        self._looked_s = self._looked_before_s
        self._powered = frame != POWER_OFF


class Session(threading.Thread):
    """Keeps one inserted card connected to its port until `stop`; reconnects when pcscd comes back."""

    def __init__(self, reader: str, line: _Line, insertion: Insertion) -> None:
        super().__init__(name=f"vpcd {reader}", daemon=True)
        self._line = line
        self._insertion = insertion
        self._stopped = threading.Event()
        self._busy = False
        self._sock: socket.socket | None = None

    def run(self) -> None:
        """Wait for the line, then connect and serve again and again; the bank stops it when the card goes."""
        with self._line.change:
            self._line.change.wait_for(lambda: self._stopped.is_set() or self._line.holder is None)
            if self._stopped.is_set():
                return
            self._line.holder = self
        while not self._stopped.is_set():
            self._stay_away()
            try:
                self._connect_and_serve()
            except ConnectionRefusedError:
                # Nobody listens, so pcscd is gone and the next one starts with an empty reader.
                self._note_absence(seen=True)
            except (CardError, OSError) as error:
                _log.debug("%s: %s", self.name, error)
            with self._line.change:
                self._line.change.wait_for(self._stopped.is_set, RETRY_S)
        self._release()

    def stop(self) -> None:
        """Take the card away; does not wait for the thread.

        A command in progress gets no answer, at once. An idle connection is closed when vpcd next asks for
        something, which tells whether it was a look; vpcd cannot see the difference to closing now.
        """
        with self._line.change:
            self._stopped.set()
            if self._busy:
                if self._sock is not None:
                    _shut(self._sock)
                self._release()
            self._line.change.notify_all()

    def _stay_away(self) -> None:
        with self._line.change:
            self._line.change.wait_for(self._stopped.is_set, max(0.0, self._line.away_until_s - time.monotonic()))

    def _connect_and_serve(self) -> None:
        with self._at_work():
            atr = self._insertion.power_on()
            self._insertion.power_off()
        if self._stopped.is_set():
            return
        with socket.create_connection(("127.0.0.1", self._line.port), CONNECT_TIMEOUT_S) as sock:
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._line.change:
                self._sock = sock
            try:
                self._serve(sock, atr)
            finally:
                with self._line.change:
                    self._sock = None
                    _shut(sock)

    def _serve(self, sock: socket.socket, atr: bytes) -> None:
        """Answer vpcd until it closes, the card goes, or a look has to fail."""
        after_power, shown = False, False
        for frame in frames(sock):
            look = frame == SEND_ATR and not after_power
            with self._line.change:
                is_regular = look and self._line.look()
                if frame in POWER:
                    self._line.power(frame)
                if self._stopped.is_set() or not (shown or self._line.absence_seen):
                    self._note_absence(seen=is_regular)
                    if is_regular:
                        self._line.away_until_s = time.monotonic() + STAY_AWAY_S
                    return
            after_power = frame in {POWER_ON, RESET}
            if frame == SEND_ATR:
                shown = True
                self._note_absence(seen=False)
                _send(sock, atr)
            elif frame == POWER_OFF:
                self._insertion.power_off()
            elif after_power:
                with self._at_work():
                    atr = self._insertion.power_on()
            elif frame:
                with self._at_work():
                    answer = self._insertion.transmit(frame)
                _send(sock, answer)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Mark that the card is being used, so that `stop` does not wait for it."""
        with self._line.change:
            self._busy = True
        try:
            yield
        finally:
            with self._line.change:
                self._busy = False

    def _note_absence(self, *, seen: bool) -> None:
        with self._line.change:
            if self._line.holder is self:
                self._line.absence_seen = seen

    def _release(self) -> None:
        with self._line.change:
            if self._line.holder is self:
                self._line.holder = None
                self._line.change.notify_all()


def _send(sock: socket.socket, payload: bytes) -> None:
    # vpcd would wait for ever for the body of an empty frame; closing instead gives the client an empty answer.
    if not 1 <= len(payload) <= MAX_FRAME:
        raise CardFaultError(f"the answer has {len(payload)} bytes, a vpcd frame takes 1 to {MAX_FRAME}")
    sock.sendall(len(payload).to_bytes(2, "big") + payload)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class Plug:
    """Connects every card the bank has inserted to the port of its reader.

    Args:
        bank: whose insertions and removals are carried to vpcd.
        ports: TCP port on 127.0.0.1 per reader name.
    """

    def __init__(self, bank: Bank, ports: Mapping[str, int]) -> None:
        self._lines = {reader: _Line(port) for reader, port in ports.items()}
        self._sessions: dict[str, Session] = {}
        bank.observe(self._changed)

    def _changed(self, reader: str, insertion: Insertion | None) -> None:
        # The bank calls this with its lock held, so changes of one reader arrive in their order.
        old = self._sessions.pop(reader, None)
        if old is not None:
            old.stop()
        if insertion is not None:
            session = Session(reader, self._lines[reader], insertion)
            self._sessions[reader] = session
            session.start()
