# SPDX-License-Identifier: EUPL-1.2
"""The cable between agents and service: pulled, nothing goes through it, whatever was under way."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from cardservice.demo import cable as module
from cardservice.demo.cable import Cable
from cardservice.demo.processes import DemoError


class Echo:
    """A server that sends everything back, and notes it; one connection after the other."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.received = b""

    def serve(self) -> None:
        """Serve until the listener is shut."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):
                while chunk := connection.recv(1024):
                    self.received += chunk
                    connection.sendall(chunk)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Echo(listener)
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.fixture
def cable(echo: Echo) -> Iterator[Cable]:
    cable = Cable(echo.port)
    cable.start()
    yield cable
    cable.close()


def says_back(connection: socket.socket) -> bytes:
    """What comes back over a connection; nothing if it is cut."""
    connection.settimeout(10)
    try:
        connection.sendall(b"hello")
        return connection.recv(5)
    except ConnectionError:
        return b""


def test_what_is_open_is_cut_and_later_ones_get_through_again(cable: Cable) -> None:
    with socket.create_connection(("127.0.0.1", cable.port)) as before:
        assert says_back(before) == b"hello"
        cable.pull()
        assert says_back(before) == b""
    with socket.create_connection(("127.0.0.1", cable.port)) as while_pulled:
        assert says_back(while_pulled) == b""
    cable.plug()
    with socket.create_connection(("127.0.0.1", cable.port)) as after:
        assert says_back(after) == b"hello"


@pytest.mark.parametrize("plugged_again", [False, True])
def test_a_connection_being_opened_is_cut_as_well(
    cable: Cable, echo: Echo, monkeypatch: pytest.MonkeyPatch, plugged_again: bool
) -> None:
    """Pulled after the near end was taken and before the far end is reached, it lets nothing through, not even late."""
    really_open = asyncio.open_connection
    sent = threading.Event()

    async def pulled_meanwhile(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await asyncio.to_thread(sent.wait, 10)
        cable.pull()
        # Pulling has asked the loop for the cut; this comes after it.
        cut = asyncio.Event()
        asyncio.get_running_loop().call_soon(cut.set)
        await cut.wait()
        if plugged_again:
            cable.plug()
        return await really_open(host, port)

    monkeypatch.setattr(module.asyncio, "open_connection", pulled_meanwhile)
    with socket.create_connection(("127.0.0.1", cable.port)) as connection:
        connection.sendall(b"secret")
        sent.set()
        assert says_back(connection) == b""
    monkeypatch.undo()
    cable.plug()
    with socket.create_connection(("127.0.0.1", cable.port)) as after:
        assert says_back(after) == b"hello"
    # Both went to the same far end, one after the other.
    assert echo.received == b"hello"


def test_a_cable_that_does_not_begin_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START_S", 0.01)
    monkeypatch.setattr(Cable, "_run", lambda _: None)
    cable = Cable(1)
    with pytest.raises(DemoError, match="did not begin"):
        cable.start()
    cable._loop.close()
