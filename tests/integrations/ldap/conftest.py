# SPDX-License-Identifier: EUPL-1.2
"""A server on loopback that says what a test tells it to say, for answers no real server would give."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from integrations.ldap import LdapSettings, ber
from integrations.ldap.settings import Timing

BIND_SUCCEEDED = bytes.fromhex("61070a010004000400")
_BIND_TAG = 0x60
_SEARCH_TAG = 0x63
Answer = Callable[[int, socket.socket], None]


@dataclass
class ScriptedServer:
    """Answers binds with success and hands each search's message id and the connection to `answer`."""

    answer: Answer = lambda _message_id, _connection: None
    bind_answer: bytes | None = None
    connections: int = 0
    searches: int = 0
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := connection.recv(65536):
                self._react(request, connection)

    def _react(self, request: bytes, connection: socket.socket) -> None:
        start = 2 if request[1] < 0x80 else 2 + request[1] - 0x80
        id_end = start + 2 + request[start + 1]
        message_id = int.from_bytes(request[start + 2 : id_end], "big")
        if request[id_end] == _BIND_TAG:
            success = ber.encode(ber.SEQUENCE, ber.encode_integer(message_id) + BIND_SUCCEEDED)
            connection.sendall(self.bind_answer or success)
        elif request[id_end] == _SEARCH_TAG:
            self.searches += 1
            self.answer(message_id, connection)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for one in (self._listener, *self._open):
            one.close()


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.close()
    thread.join(5)


@pytest.fixture
def scripted_settings(scripted: ScriptedServer) -> LdapSettings:
    return LdapSettings(
        servers=(scripted.url,),
        bind_dn="cn=doors,dc=x",
        password=lambda: "do-not-show",
        people_base="ou=people,dc=x",
        groups_base="ou=groups,dc=x",
        timing=Timing(beat_s=0.05, dead_s=0.3, refresh_dead_s=0.3, answer_s=1, refused_wait_s=0.1),
        plain_on_loopback=True,
        mode="syncrepl",
    )
