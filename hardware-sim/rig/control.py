# SPDX-License-Identifier: EUPL-1.2
"""Moves the cards from outside: a UNIX socket (mode 0600) that takes one JSON object per line.

`{"op": "insert", "card": "alice", "reader": "Door 1 00 00"}` is answered by `{"ok": true}` or
`{"ok": false, "error": "..."}`. Commands are carried out one after the other.
"""

import json
import os
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rig.errors import ControlError, RequestError, RigError

MAX_REQUEST_BYTES = 4096
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_CLIENTS = 32
SEND_TIMEOUT_S = 2.0
CLIENT_TIMEOUT_S = 30.0
_TOO_LONG = f"a command has at most {MAX_REQUEST_BYTES} bytes"

Execute = Callable[[Mapping[str, Any]], dict[str, Any]]


class ControlServer:
    """Answers commands in the thread that calls `run`.

    Args:
        path: where the socket appears; its folder must be private.
        execute: carries out one command; a `RigError` becomes an answer.
    """

    def __init__(self, path: Path, execute: Execute) -> None:
        self._path = path
        self._execute = execute
        self._running = True
        self._clients: dict[socket.socket, bytearray] = {}
        self._selector = selectors.PollSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old_umask = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(old_umask)
        self._listener.listen(MAX_CLIENTS)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def watch(self, fd: int, ready: Callable[[], None]) -> None:
        """Call `ready()` from `run` whenever a file descriptor can be read."""
        self._selector.register(fd, selectors.EVENT_READ, ready)

    def unwatch(self, fd: int) -> None:
        """Stop watching a file descriptor."""
        self._selector.unregister(fd)

    def run(self) -> None:
        """Serve until `stop` or the command "quit"; closes everything at the end."""
        try:
            while self._running:
                for key, _events in self._selector.select():
                    key.data()
        finally:
            self._close()

    def stop(self) -> None:
        """Let `run` return; call it from `run`'s own callbacks."""
        self._running = False

    def _accept(self) -> None:
        client, _address = self._listener.accept()
        if len(self._clients) >= MAX_CLIENTS:
            client.close()
            return
        client.settimeout(SEND_TIMEOUT_S)
        self._clients[client] = bytearray()
        self._selector.register(client, selectors.EVENT_READ, lambda: self._receive(client))

    def _receive(self, client: socket.socket) -> None:
        received = self._clients[client]
        try:
            chunk = client.recv(MAX_REQUEST_BYTES)
            received += chunk
            while self._running and b"\n" in received:
                line, _newline, rest = bytes(received).partition(b"\n")
                received[:] = rest
                client.sendall(_encode(self._answer(line)))
            if len(received) > MAX_REQUEST_BYTES:
                client.sendall(_encode(_refusal(_TOO_LONG)))
                chunk = b""
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(client)

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = _decode(line)
            if request == {"op": "quit"}:
                self.stop()
                return {"ok": True}
            return {"ok": True, **self._execute(request)}
        except RigError as error:
            return _refusal(str(error))
        except OSError as error:
            return _refusal(f"the operating system refused: {error.strerror}")

    def _drop(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        del self._clients[client]
        client.close()

    def _close(self) -> None:
        for client in list(self._clients):
            self._drop(client)
        self._selector.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)


class RigClient:
    """A connection to a rig's control socket; every method waits for the answer.

    Args:
        path: the control socket.
        timeout_s: seconds to wait for an answer.

    Raises:
        ControlError: here and in every method: the rig cannot be reached, or it refused; its words are kept.
    """

    def __init__(self, path: Path | str, *, timeout_s: float = CLIENT_TIMEOUT_S) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout_s)
        self._received = bytearray()
        try:
            self._sock.connect(str(path))
        except OSError as error:
            self._sock.close()
            raise ControlError(f"no rig answers at {path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the rig goes on."""
        self._sock.close()

    def call(self, op: str, **fields: str | int | bool) -> dict[str, Any]:
        """Send one command and return its answer without "ok"."""
        try:
            self._sock.sendall(_encode({"op": op, **fields}))
            answer = json.loads(self._read_line())
        except (OSError, ValueError) as error:
            raise ControlError(f"{op}: the rig gave no answer: {error}") from error
        if not isinstance(answer, dict) or answer.pop("ok", None) is not True:
            raise ControlError(f"{op}: {answer.get('error') if isinstance(answer, dict) else 'no object'}")
        return answer

    def insert(self, card: str, reader: str) -> None:
        """Put a card into an empty reader."""
        self.call("insert", card=card, reader=reader)

    def insert_pulled(self, card: str, reader: str, n_apdus: int, *, executed: bool = True) -> None:
        """Put a card into an empty reader that vanishes again in its n-th APDU, its command carried out or not."""
        self.call("insert", card=card, reader=reader, pull_after=n_apdus, executed=executed)

    def eject(self, reader: str) -> str:
        """Take the card out of a reader and return its name."""
        return str(self.call("eject", reader=reader)["card"])

    def swap(self, card: str, reader: str) -> str:
        """Replace the card in a reader and return the name of the old one."""
        return str(self.call("swap", card=card, reader=reader)["card"])

    def pull_after(self, reader: str, n_apdus: int, *, executed: bool = True) -> None:
        """Let the card vanish in the n-th APDU from now, its command carried out or not."""
        self.call("pull_after", reader=reader, n_apdus=n_apdus, executed=executed)

    def stays(self, reader: str) -> list[tuple[str, int]]:
        """The last cards in a reader, the newest at the end, and how many commands each has answered there."""
        return [(card, answered) for card, answered in self.call("stays", reader=reader)["stays"]]

    def remove_reader(self, reader: str) -> None:
        """Unplug the device a reader belongs to."""
        self.call("remove_reader", reader=reader)

    def restore_reader(self, reader: str) -> None:
        """Plug the device of a reader in again."""
        self.call("restore_reader", reader=reader)

    def rename_reader(self, reader: str, name: str) -> None:
        """Let pcscd show the device of a reader under another name; the rig keeps its own."""
        self.call("rename_reader", reader=reader, name=name)

    def kill_pcscd(self) -> None:
        """Let pcscd crash."""
        self.call("kill_pcscd")

    def restart_pcscd(self) -> None:
        """End pcscd if it runs and start it again; returns when it serves clients."""
        self.call("restart_pcscd")

    def state(self) -> dict[str, Any]:
        """Readers with state, event counter and card; pcscd; the names of the deck."""
        return self.call("state")

    def quit(self) -> None:
        """Stop the rig."""
        self.call("quit")

    def _read_line(self) -> bytes:
        while b"\n" not in self._received:
            if len(self._received) > MAX_ANSWER_BYTES:
                raise ValueError(f"longer than {MAX_ANSWER_BYTES} bytes")
            chunk = self._sock.recv(65536)
            if not chunk:
                raise ConnectionError("the connection was closed")
            self._received += chunk
        line, _newline, rest = bytes(self._received).partition(b"\n")
        self._received[:] = rest
        return line


def _decode(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_REQUEST_BYTES:
        raise RequestError(_TOO_LONG)
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RequestError("the line is not JSON") from error
    if not isinstance(request, dict):
        raise RequestError("a command is a JSON object")
    return request


def _encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode("utf-8") + b"\n"


def _refusal(reason: str) -> dict[str, Any]:
    return {"ok": False, "error": reason}
