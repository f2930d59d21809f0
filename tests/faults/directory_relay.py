# SPDX-License-Identifier: EUPL-1.2
"""A wire between the service and its directory that a test can cut: it swallows, or resets connection after connection.

TLS goes through untouched, so that the service talks to the real server and checks its real certificate.
"""

import contextlib
import random
import selectors
import socket
import struct
import threading
import time

_LOOK_S = 0.02
_RECEIVE_BYTES = 65_536
# Closing with this sends a reset instead of an orderly end.
_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Passes on whatever arrives at `port` to `target` on this machine; one thread for each connection."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()
        self._passing = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._dice: random.Random | None = None
        self._longest_s = 0.0
        self._accepting = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._accepting.start()

    def swallow(self) -> None:
        """Take connections and bytes, pass on nothing from now on."""
        with self._passing:
            self._open.clear()

    def pass_on(self) -> None:
        """Be an ordinary wire again; what was swallowed arrives late, as it does after a network trouble."""
        self._dice = None
        self._open.set()

    def storm(self, dice: random.Random, longest_s: float) -> None:
        """Reset what is open, and every connection from now on after at most `longest_s`."""
        self._longest_s = longest_s
        self._dice = dice

    def close(self) -> None:
        """End all connections."""
        self._ended.set()
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended.is_set():
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), name="relay-one", daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            _reset(client)
            return
        with client, server, contextlib.suppress(OSError):
            if self._pump(client, server):
                _reset(client)

    def _pump(self, client: socket.socket, server: socket.socket) -> bool:
        """Carry bytes both ways; True if the connection is to end with a reset."""
        dies_at_s: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while not self._ended.is_set():
                if not self._open.wait(_LOOK_S):
                    continue
                dice = self._dice
                if dice is not None and dies_at_s is None:
                    dies_at_s = time.monotonic() + dice.uniform(0, self._longest_s)
                if dies_at_s is not None and time.monotonic() >= dies_at_s:
                    return True
                for key, _ in selector.select(_LOOK_S):
                    if not self._pass(key.fileobj, key.data):
                        return False
        return False

    def _pass(self, source: socket.socket, sink: socket.socket) -> bool:
        """Carry what has arrived, unless everything is swallowed; False at the end of the connection."""
        with self._passing:
            if not self._open.is_set():
                return True
            data = source.recv(_RECEIVE_BYTES)
            sink.sendall(data)
            return bool(data)


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()
