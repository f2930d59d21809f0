# SPDX-License-Identifier: EUPL-1.2
"""Carries a card to pcscd's virtual reader driver (vpcd) over its TCP socket.

Every frame is a 2-byte big-endian length and that many bytes. A frame of exactly one byte 00, 01, 02 or 04 is a
control (power off, power on, reset, send the ATR); only the ATR is answered. Every other frame is a command,
also a native one of a single byte such as DESFire's 60. Connecting inserts the card, closing removes it. A card
that stays mute is disconnected and connected again, because the protocol has no way to say nothing.
"""

import logging
import socket
import threading
from collections.abc import Iterator, Mapping

from rig.bank import Bank
from rig.errors import CardError, CardFaultError
from rig.insertion import Insertion

POWER_OFF, POWER_ON, RESET, SEND_ATR = b"\x00", b"\x01", b"\x02", b"\x04"
MAX_FRAME = 0xFFFF
"""Longest frame in bytes; the length field has no room for more."""
CONNECT_TIMEOUT_S = 0.25
RETRY_S = 0.05
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


def serve(sock: socket.socket, insertion: Insertion) -> None:
    """Answer vpcd for one card until vpcd closes or the card goes.

    Raises:
        CardError: the card was removed or broke.
        OSError: the connection broke.
    """
    atr = insertion.power_on()
    insertion.power_off()
    for frame in frames(sock):
        if frame == POWER_OFF:
            insertion.power_off()
        elif frame in {POWER_ON, RESET}:
            atr = insertion.power_on()
        elif frame == SEND_ATR:
            _send(sock, atr)
        elif frame:
            _send(sock, insertion.transmit(frame))


def _send(sock: socket.socket, payload: bytes) -> None:
    # vpcd would wait for ever for the body of an empty frame; closing instead gives the client an empty answer.
    if not 1 <= len(payload) <= MAX_FRAME:
        raise CardFaultError(f"the answer has {len(payload)} bytes, a vpcd frame takes 1 to {MAX_FRAME}")
    sock.sendall(len(payload).to_bytes(2, "big") + payload)


class Session(threading.Thread):
    """Keeps one inserted card connected to its port until `stop`; reconnects when pcscd comes back.

    The listener of vpcd has room for one waiting connection, so a card swapped in quickly may have to try again.
    """

    def __init__(self, reader: str, port: int, insertion: Insertion) -> None:
        super().__init__(name=f"vpcd {reader}", daemon=True)
        self._port = port
        self._insertion = insertion
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._sock: socket.socket | None = None

    def run(self) -> None:
        """Connect and serve, again and again, until stopped; the bank stops it when the card goes."""
        while not self._stopped.is_set():
            try:
                self._connect_and_serve()
            except (CardError, OSError) as error:
                _log.debug("%s: %s", self.name, error)
            self._stopped.wait(RETRY_S)

    def stop(self) -> None:
        """Close the connection at once; does not wait for the thread."""
        with self._guard:
            self._stopped.set()
            if self._sock is not None:
                _shut(self._sock)

    def _connect_and_serve(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), CONNECT_TIMEOUT_S) as sock:
            sock.settimeout(None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._guard:
                if self._stopped.is_set():
                    return
                self._sock = sock
            try:
                serve(sock, self._insertion)
            finally:
                with self._guard:
                    self._sock = None
                    _shut(sock)


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
        self._ports = dict(ports)
        self._sessions: dict[str, Session] = {}
        bank.observe(self._changed)

    def _changed(self, reader: str, insertion: Insertion | None) -> None:
        # The bank calls this with its lock held, so changes of one reader arrive in their order.
        old = self._sessions.pop(reader, None)
        if old is not None:
            old.stop()
        if insertion is not None:
            session = Session(reader, self._ports[reader], insertion)
            self._sessions[reader] = session
            session.start()
