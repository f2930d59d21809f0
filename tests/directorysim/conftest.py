# SPDX-License-Identifier: EUPL-1.2
"""Servers, clients and OpenLDAP's command-line tools for the tests of the double."""

import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from directorysim import DirectoryServer, Options, ThreadedServer
from tests.directorysim.client import ADMIN, PLAIN, READER, SUFFIX, BareClient, content, port_of

Serve = Callable[..., ThreadedServer]
Connect = Callable[..., BareClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers with `people` people and any Options, and stops them at the end."""
    running = []

    def start(people: int = 5, **options: object) -> ThreadedServer:
        options.setdefault("unlimited_dns", (READER,))
        server = DirectoryServer(
            SUFFIX,
            content(people),
            admin_dn=ADMIN,
            admin_password="adminpw",
            options=Options(**options),
        )
        context = server.run_in_thread()
        running.append(context)
        return context.__enter__()

    yield start
    for context in reversed(running):
        context.__exit__(None, None, None)


@pytest.fixture
def server(serve: Serve) -> ThreadedServer:
    """A server with five people."""
    return serve()


@pytest.fixture
def connect(server: ThreadedServer) -> Iterator[Connect]:
    """Opens bare connections to the server, bound when a name is given."""
    clients: list[BareClient] = []
    passwords = {ADMIN: "adminpw", READER: "doorspw", PLAIN: "plainpw"}

    def open_client(dn: str | None = READER, *, to: ThreadedServer | None = None) -> BareClient:
        client = BareClient(port_of((to or server).ldap_url))
        clients.append(client)
        if dn is not None:
            assert client.bind(dn, passwords[dn]).code == 0
        return client

    yield open_client
    for client in clients:
        client.close()


@dataclass
class Tools:
    """OpenLDAP's command-line tools pointed at one server."""

    url: str
    ca_file: str

    def environment(self) -> dict[str, str]:
        """The environment the tools need to trust the server."""
        return {**os.environ, "LDAPTLS_CACERT": self.ca_file}

    def command(self, tool: str, who: str, *arguments: str) -> list[str]:
        """The command line of a tool for `admin` or `reader`."""
        dn, password = {"admin": (ADMIN, "adminpw"), "reader": (READER, "doorspw"), "plain": (PLAIN, "plainpw")}[who]
        return [tool, "-x", "-H", self.url, "-D", dn, "-w", password, "-o", "ldif_wrap=no", *arguments]

    def run(self, tool: str, who: str, *arguments: str, ldif: str = "") -> subprocess.CompletedProcess[str]:
        """Run a tool to its end."""
        return subprocess.run(
            self.command(tool, who, *arguments),
            input=ldif,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture
def tools(server: ThreadedServer) -> Tools:
    """OpenLDAP's tools for the server; skips loudly where they are not installed."""
    if shutil.which("ldapsearch") is None:
        pytest.skip("needs OpenLDAP's ldap-utils")
    return Tools(server.ldap_url, str(server.ca_file))


class Lines:
    """The output of a running tool, line by line, with a limit on every wait."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, text: str) -> list[str]:
        """Return the lines up to the first that contains `text`."""
        seen: list[str] = []
        while not seen or text not in seen[-1]:
            line = self._lines.get(timeout=15)
            assert line is not None, f"the tool ended; it said {seen}"
            seen.append(line)
        return seen

    def stop(self) -> None:
        """End the tool."""
        self.process.kill()
        self.process.wait(10)
        self._thread.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def watch(tools: Tools) -> Iterator[Callable[..., Lines]]:
    """Starts `ldapsearch` in the background."""
    watchers: list[Lines] = []

    def start(*arguments: str) -> Lines:
        process = subprocess.Popen(
            tools.command("ldapsearch", "reader", "-b", SUFFIX, *arguments),
            env=tools.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watchers.append(Lines(process))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.stop()
