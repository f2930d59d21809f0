# SPDX-License-Identifier: EUPL-1.2
"""The directory server: content, ports, certificate and fault switches in one object."""

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from directorysim.control import ControlSocket
from directorysim.dn import Dn, parse_dn
from directorysim.errors import ConfigurationError, DnError, OperationError
from directorysim.ldif import read_ldif
from directorysim.listeners import Listeners
from directorysim.passwords import hash_password
from directorysim.service import Service
from directorysim.settings import Options, TlsFiles
from directorysim.store import Directory
from directorysim.tls import make_tls, server_context

_THREAD_TIMEOUT_S: Final = 30.0

Value: TypeAlias = str | bytes
EntryContent: TypeAlias = Mapping[str, Value | Sequence[Value]]
Entries: TypeAlias = Iterable[tuple[str, EntryContent]] | Path
_T = TypeVar("_T")


class DirectoryServer:
    """An LDAP server on 127.0.0.1 with its content in memory.

    `entries` is a list of (name, attributes) or the path of an LDIF file; parents may come after children.

    Raises:
        ConfigurationError: the content or a name is not valid.
        LdifError: the file is not LDIF content.
    """

    def __init__(
        self,
        suffix: str,
        entries: Entries,
        *,
        admin_dn: str,
        admin_password: str,
        options: Options | None = None,
    ) -> None:
        self._options = options or Options()
        if not admin_password:
            raise ConfigurationError("the administrator's password is empty")
        try:
            admin = parse_dn(admin_dn)
            self._directory = Directory(parse_dn(suffix), session_log_size=self._options.session_log_size)
            self._service = Service(
                self._directory,
                admin_dn=admin,
                admin_password=hash_password(admin_password.encode()),
                options=self._options,
            )
        except DnError as error:
            raise ConfigurationError(f"suffix, administrator or a name without limits: {error}") from error
        if not admin.key or not self._directory.suffix.key:
            raise ConfigurationError("suffix and administrator need a name that is not empty")
        _load(self._directory, entries, admin.text)
        self._temporary: Path | None = None
        self._tls: TlsFiles | None = self._options.tls
        self._listeners: Listeners | None = None
        self._ports = (self._options.ldap_port, self._options.ldaps_port)
        self._control: ControlSocket | None = None

    async def start(self) -> None:
        """Open the ports and the control socket.

        Raises:
            OSError: a port is taken or the run directory cannot be written.
            ConfigurationError: the certificate cannot be used.
        """
        if self._listeners is not None:
            raise ConfigurationError("the server is running already")
        run_dir = self._make_run_dir()
        try:
            self._tls = self._options.tls or make_tls(run_dir)
            self._listeners = Listeners(
                self._service, server_context(self._tls), ldap_port=self._ports[0], ldaps_port=self._ports[1]
            )
            self._listeners.accept()
            self._ports = self._listeners.ports
            self._control = ControlSocket(run_dir / "control.sock", self.command)
            await self._control.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything; a later `start` keeps content and ports, and has lost its session log, as slapd has."""
        if self._control is not None:
            await self._control.stop()
            self._control = None
        if self._listeners is not None:
            await self._listeners.close()
            self._listeners = None
        self._directory.forget_session_log()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    @property
    def ldap_url(self) -> str:
        """The ldap:// address; StartTLS is offered on it."""
        return f"ldap://127.0.0.1:{self._ports[0]}"

    @property
    def ldaps_url(self) -> str:
        """The ldaps:// address."""
        return f"ldaps://127.0.0.1:{self._ports[1]}"

    @property
    def ca_file(self) -> Path:
        """The PEM file of the CA that clients must trust.

        Raises:
            ConfigurationError: the server has not been started.
        """
        if self._tls is None:
            raise ConfigurationError("there is no certificate before the server is started")
        return self._tls.ca

    @property
    def control_path(self) -> Path:
        """The control socket.

        Raises:
            ConfigurationError: the server is not running.
        """
        if self._control is None:
            raise ConfigurationError("there is no control socket while the server is not running")
        return self._control.path

    @property
    def context_csn(self) -> str:
        """The change sequence number of the latest change."""
        return self._directory.context_csn

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return self._running().connection_count

    def pause(self) -> None:
        """Accept, but never answer: a hung server."""
        self._running().pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self._running().resume()

    def drop_connections(self) -> None:
        """Reset every connection."""
        self._running().drop_connections()

    def refuse(self) -> None:
        """Close the ports; connections that are there stay."""
        self._running().refuse()

    def accept(self) -> None:
        """Undo `refuse`, on the same ports.

        Raises:
            OSError: a port has been taken by somebody else.
        """
        self._running().accept()

    def forget_session_log(self) -> None:
        """Lose the log of changes: the next consumer with an older cookie gets a present phase."""
        self._directory.forget_session_log()

    def command(self, name: str) -> Mapping[str, object]:
        """Carry out a command of the control socket and return what it reports.

        Raises:
            ConfigurationError: there is no such command.
        """
        commands: dict[str, Callable[[], None]] = {
            "pause": self.pause,
            "resume": self.resume,
            "drop_connections": self.drop_connections,
            "refuse": self.refuse,
            "accept": self.accept,
            "forget_session_log": self.forget_session_log,
            "status": lambda: None,
        }
        if name not in commands:
            raise ConfigurationError(f"unknown command; allowed are {', '.join(commands)}")
        commands[name]()
        running = self._running()
        return {
            "paused": running.paused,
            "accepting": running.accepting,
            "connections": running.connection_count,
            "entries": len(self._directory),
            "context_csn": self._directory.context_csn,
        }

    @contextmanager
    def run_in_thread(self) -> Iterator["ThreadedServer"]:
        """Run the server in its own thread and event loop until the block ends.

        Raises:
            OSError: a port is taken or the run directory cannot be written.
        """
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="directorysim", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.start(), loop).result(_THREAD_TIMEOUT_S)
            try:
                yield ThreadedServer(self, loop)
            finally:
                asyncio.run_coroutine_threadsafe(self.stop(), loop).result(_THREAD_TIMEOUT_S)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_THREAD_TIMEOUT_S)
            loop.close()

    def _running(self) -> Listeners:
        if self._listeners is None:
            raise ConfigurationError("the server is not running")
        return self._listeners

    def _make_run_dir(self) -> Path:
        if self._options.run_dir is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="directorysim-"))
            return self._temporary
        self._options.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._options.run_dir


class ThreadedServer:
    """A running server used from another thread: the same switches, carried out in the server's own thread."""

    def __init__(self, server: DirectoryServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self.ldap_url = server.ldap_url
        self.ldaps_url = server.ldaps_url

    @property
    def ca_file(self) -> Path:
        """The PEM file of the CA that clients must trust; a restart without given files makes a new one."""
        return self._server.ca_file

    @property
    def control_path(self) -> Path:
        """The control socket."""
        return self._server.control_path

    @property
    def context_csn(self) -> str:
        """The change sequence number of the latest change."""
        return self._call(lambda: self._server.context_csn)

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return self._call(lambda: self._server.connection_count)

    def pause(self) -> None:
        """Accept, but never answer: a hung server."""
        self._call(self._server.pause)

    def resume(self) -> None:
        """Undo `pause`."""
        self._call(self._server.resume)

    def drop_connections(self) -> None:
        """Reset every connection."""
        self._call(self._server.drop_connections)

    def refuse(self) -> None:
        """Close the ports; connections that are there stay."""
        self._call(self._server.refuse)

    def accept(self) -> None:
        """Undo `refuse`, on the same ports."""
        self._call(self._server.accept)

    def forget_session_log(self) -> None:
        """Lose the log of changes: the next consumer with an older cookie gets a present phase."""
        self._call(self._server.forget_session_log)

    def restart(self) -> None:
        """Stop and start again with the same content and ports."""
        asyncio.run_coroutine_threadsafe(self._restart(), self._loop).result(_THREAD_TIMEOUT_S)

    async def _restart(self) -> None:
        await self._server.stop()
        await self._server.start()

    def _call(self, function: Callable[[], _T]) -> _T:
        async def carry_out() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(carry_out(), self._loop).result(_THREAD_TIMEOUT_S)


def _values(given: Value | Sequence[Value]) -> tuple[bytes, ...]:
    many = [given] if isinstance(given, str | bytes) else given
    return tuple(value.encode() if isinstance(value, str) else value for value in many)


def _load(directory: Directory, entries: Entries, actor: str) -> None:
    records = read_ldif(entries) if isinstance(entries, Path) else entries
    parsed: list[tuple[Dn, dict[str, tuple[bytes, ...]]]] = []
    for text, content in records:
        try:
            dn = parse_dn(text)
        except DnError as error:
            raise ConfigurationError(f"entry {text}: {error}") from error
        parsed.append((dn, {name: _values(given) for name, given in content.items()}))
    parsed.sort(key=lambda record: len(record[0].rdn_keys))
    for dn, attributes in parsed:
        try:
            directory.load(dn, attributes, actor=actor)
        except OperationError as error:
            raise ConfigurationError(f"entry {dn.text}: {error}") from error
    directory.finish_loading()
