# SPDX-License-Identifier: EUPL-1.2
"""A whole city behind a real service: a directory in a thread, stores, keys, cards, and the service itself.

`CityFiles` is what lies on disk, `DirectoryThread` the directory's double, `ServiceThread` the service with a real
listener in a thread of this process, `ServiceProcess` the same as `cardservice serve`.
"""

import http.client
import json
import secrets
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.command import python_environment
from support.waiting import LIMIT_S, wait_until

from cardservice.agents.service import Agents
from cardservice.app import Service
from cardservice.cards.keystore import CardMaster, create
from cardservice.clock import SystemClock
from cardservice.database import Databases, open_databases, read, upgrade
from cardservice.demo.processes import to_toml
from cardservice.demo.seeding import seed_city
from cardservice.server import Server, listen
from cardservice.settings import Settings, load
from cardsim.deck import load_deck, save_deck
from cardsim.interfaces import Card
from city import deck, people, seed
from directorysim.server import DirectoryServer, ThreadedServer
from integrations.ldap.editor import DirectoryEditor

AGENT = "rathaus"
OTHER_AGENT = "eigener-rechner"
ADMIN_PASSWORD = "admin-canary-3f19"
SERVICE_PASSWORD = "directory-canary-81c2"
PASSPHRASE = "passphrase-canary-77ab"
LIVE_TOKEN = "live-canary-52de"
# Caller -> its token and what it may use.
CALLERS = {
    "till-1": ("till-canary-9b1f", ["canteen"]),
    "payroll": ("payroll-canary-04d7", ["payroll"]),
    "facility": ("facility-canary-c6a2", ["door"]),
    "annexe": ("annexe-canary-77e0", ["door"]),
    "auditor": ("auditor-canary-51bd", ["access"]),
    "reviewer": ("reviewer-canary-77ae", ["review"]),
    "panel": ("panel-canary-1e07", ["tap"]),
    "watcher": (LIVE_TOKEN, ["live"]),
}
# Whoever is not named here may use every point of its uses.
CALLER_POINTS = {"annexe": ["bauamt.aussen"]}
TOP_UPS = "/api/v1/canteen/top-ups"


@dataclass(frozen=True, slots=True)
class DirectoryAddress:
    """What the service needs to know of its directory."""

    url: str
    ca_file: Path
    bind_dn: str = people.SERVICE_DN
    people_base: str = people.PEOPLE
    groups_base: str = people.GROUPS
    password: str = SERVICE_PASSWORD


class DirectoryThread:
    """The directory's double with the demonstration city's people, in a thread; `switches` hangs and closes it."""

    def __init__(self, switches: ThreadedServer) -> None:
        self.switches = switches
        self.address = DirectoryAddress(switches.ldaps_url, switches.ca_file)
        self.editor = DirectoryEditor(
            switches.ldaps_url, switches.ca_file, admin_dn=people.ADMIN_DN, password=ADMIN_PASSWORD
        )

    def set_disabled(self, login: str, *, disabled: bool) -> None:
        """Disable or enable somebody."""
        self.editor.set_disabled(f"uid={login},{people.PEOPLE}", disabled=disabled)


@contextmanager
def directory_in_thread() -> Iterator[DirectoryThread]:
    """Run the directory's double while the context lasts."""
    server = DirectoryServer(
        people.SUFFIX,
        people.entries(SERVICE_PASSWORD),
        admin_dn=people.ADMIN_DN,
        admin_password=ADMIN_PASSWORD,
    )
    with server.run_in_thread() as switches:
        yield DirectoryThread(switches)


@cache
def _sealed_keys() -> bytes:
    """Return the demonstration's key store. To seal one takes long, which is what protects it."""
    names = [(use, what) for use in seed.USES for what in seed.PURPOSES] + [seed.PICC]
    with TemporaryDirectory() as folder:
        create(
            Path(folder) / "keys.json",
            PASSPHRASE.encode(),
            system_id=seed.SYSTEM_ID,
            masters=[CardMaster(use, what, 1, seed.master(use, what)) for use, what in names],
            demonstration=True,
        )
        return (Path(folder) / "keys.json").read_bytes()


@cache
def _migrated_files() -> Mapping[str, bytes]:
    """Return both stores on SQLite as the newest revision begins, by the names of their files."""
    with TemporaryDirectory() as folder:
        with closing(open_databases(f"sqlite:///{folder}")) as databases:
            upgrade(databases)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


class CityFiles:
    """Secrets, key store, card authority, deck and settings of one city in `folder`; stores at `database_url`.

    `changes` are settings by section that differ from the ordinary ones.
    """

    def __init__(
        self,
        folder: Path,
        directory: DirectoryAddress,
        database_url: str | None = None,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._own_database_url = f"sqlite:///{folder / 'db'}"
        self.database_url = database_url or self._own_database_url
        made = deck.build()
        self._piv_ca = x509.load_pem_x509_certificate(made.issuer_pem.encode())
        self.deck_file = folder / "deck.json"
        save_deck(made.descriptions, self.deck_file)
        for name, content in (
            ("keys.secret", PASSPHRASE),
            ("service.secret", directory.password),
            ("piv-ca.pem", made.issuer_pem),
        ):
            (folder / name).write_text(content + "\n")
            (folder / name).chmod(0o600)
        for name, (token, _) in CALLERS.items():
            (folder / f"{name}.token").write_text(token + "\n")
            (folder / f"{name}.token").chmod(0o600)
        (folder / "keys.json").write_bytes(_sealed_keys())
        (folder / "keys.json").chmod(0o600)
        self.config = folder / "cardservice.toml"
        self._sections = self._ordinary(directory)
        self.configure(changes or {})

    def _ordinary(self, directory: DirectoryAddress) -> dict[str, dict[str, Any]]:
        folder = self.folder
        return {
            "": {
                "demonstration": True,
                "callers": [
                    {
                        "name": name,
                        "token_file": f"{folder}/{name}.token",
                        "uses": uses,
                        "points": CALLER_POINTS.get(name, []),
                    }
                    for name, (_, uses) in CALLERS.items()
                ],
            },
            "service": {"port": 0},
            "database": {"url": self.database_url},
            "keys": {"store": f"{folder}/keys.json", "passphrase_file": f"{folder}/keys.secret"},
            "piv": {"trusted_ca_files": [f"{folder}/piv-ca.pem"]},
            "directory": {
                "servers": [directory.url],
                "bind_dn": directory.bind_dn,
                "password_file": f"{folder}/service.secret",
                "ca_file": str(directory.ca_file),
                "people_base": directory.people_base,
                "groups_base": directory.groups_base,
                "dead_s": 0.5,
            },
            "organisation": {"code": "musterstadt", "name": "Stadt Musterstadt"},
        }

    def configure(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the settings file again, with `changes` by section."""
        for section, values in changes.items():
            self._sections.setdefault(section, {}).update(values)
        self.config.write_text(to_toml(self._sections))

    def settings(self) -> Settings:
        """Return what the settings file says."""
        return load(self.config)

    def cards(self) -> dict[str, Card]:
        """Return fresh cards of the deck, by name."""
        return load_deck(self.deck_file)

    @contextmanager
    def stores(self) -> Iterator[Databases]:
        """Open both stores, as another process would."""
        databases = open_databases(self.database_url)
        try:
            yield databases
        finally:
            databases.close()

    def upgrade(self) -> None:
        """Create the stores."""
        if self.database_url == self._own_database_url:
            for name, content in _migrated_files().items():
                (self.folder / "db").mkdir(mode=0o700, exist_ok=True)
                (self.folder / "db" / name).write_bytes(content)
            return
        with self.stores() as databases:
            upgrade(databases)

    def seed(self) -> int:
        """Register doors, rules and cards; the directory must have been read. Returns how many points there are."""
        with self.stores() as databases:
            return seed_city(databases.state, piv_ca=self._piv_ca, agent=AGENT, host_agent=OTHER_AGENT)

    def enrol(self, agent: str) -> Ed25519PrivateKey:
        """Enrol an agent and return its key."""
        key = Ed25519PrivateKey.generate()
        self.enrol_key(agent, key.public_key().public_bytes_raw().hex())
        return key

    def enrol_key(self, agent: str, public_key: str) -> None:
        """Enrol an agent whose key was made elsewhere."""
        with self.stores() as databases:
            Agents(databases.state, SystemClock()).enrol(agent, public_key)

    def lock(self, agent: str, *, locked: bool = True) -> None:
        """Lock an agent, as the command line does."""
        with self.stores() as databases:
            Agents(databases.state, SystemClock()).lock(agent, locked=locked)

    def rows(self, table: sa.Table) -> list[sa.Row[Any]]:
        """Return every row of a table of the record store."""
        with self.stores() as databases, read(databases.record) as connection:
            return list(connection.execute(sa.select(table)))


class HttpSide:
    """What one sees of a service over HTTP. `url` is empty while it does not run."""

    url = ""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    @property
    def agents_url(self) -> str:
        """Where agents connect."""
        return self.url.replace("http", "ws", 1) + "/agents/v1"

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and text of one request."""
        connection = http.client.HTTPConnection(*self.address, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def top_up(self, number: str, cents: int, key: str | None = None) -> httpx2.Response:
        """Put money onto the wallet of whoever has this personnel number, as payroll does."""
        headers = {"Authorization": f"Bearer {CALLERS['payroll'][0]}", "Idempotency-Key": key or uuid.uuid4().hex}
        body = {"personnel_number": number, "amount_cents": cents, "source": "payroll"}
        return httpx2.post(self.url + TOP_UPS, json=body, headers=headers, timeout=20)

    def health(self) -> dict[str, Any]:
        """Return what `/health/ready` says, empty while nobody answers."""
        try:
            state: dict[str, Any] = json.loads(self.get("/health/ready")[1])
        except (OSError, http.client.HTTPException):
            return {}
        return state

    def wait_health(self, done: Callable[[dict[str, Any]], Any], limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Return the first state of which `done` is true."""
        return wait_until(lambda: state if done(state := self.health()) else None, limit_s)

    @contextmanager
    def watching(self) -> Iterator[http.client.HTTPResponse]:
        """Hold the live feed open; it has begun when the context does."""
        connection = http.client.HTTPConnection(*self.address, timeout=15)
        try:
            connection.request("GET", "/api/v1/live", headers={"Authorization": f"Bearer {LIVE_TOKEN}"})
            response = connection.getresponse()
            assert response.status == 200
            assert response.readline() == b": watching\n"
            yield response
        finally:
            connection.close()


class ServiceThread(HttpSide):
    """The service of `files` in a thread, on a port of its own; `start` may follow `stop`."""

    def __init__(self, files: CityFiles) -> None:
        self.files = files
        self.service: Service
        self._server: Server
        self._thread: threading.Thread

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = self.files.settings()
        listener = listen(settings.service.host, settings.service.port)
        self.service = Service(settings)
        self.service.start()
        ready = threading.Event()
        self._server = self.service.server(on_ready=ready.set)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, name="service")
        self._thread.start()
        assert ready.wait(LIMIT_S)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def stop(self) -> None:
        """Stop it in order."""
        self._server.should_exit = True
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), "the server did not end"
        self.service.stop()
        self.url = ""

    def recorded(self) -> None:
        """Return once everything submitted to the record store before is written."""
        self.service.recorder.submit(lambda _connection: None).result(LIMIT_S)


class ServiceProcess(HttpSide):
    """`cardservice serve` in a process of its own; its log goes to `log`."""

    def __init__(self, files: CityFiles, log: Path, **environment: str) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cardservice", "serve", "--config", str(files.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=python_environment(**environment),
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop(signal.SIGKILL)
            raise AssertionError(f"the service did not start: {log.read_text()[-2000:]}")
        self.url = json.loads(line)["url"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait for the end and return the exit code; a second call does nothing."""
        self.process.send_signal(number)
        code = self.process.wait(LIMIT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


def short_name() -> str:
    """Return a name no other test uses."""
    return f"a{secrets.token_hex(4)}"
