# SPDX-License-Identifier: EUPL-1.2
"""Starts the demonstration city part by part, each as it would run in earnest, and stops all of it.

    directorysim (LDAP) <- cardservice serve <- WebSocket - agent - readers - virtual cards

Directory, service, rig and agent are programs of their own. Where no pcscd can be had, rig and agent run inside this
process, and `pcsc` is False.
"""

import asyncio
import base64
import http.client
import json
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast
from urllib.parse import urlsplit

from cryptography import x509

from cardservice.agents.service import Agents
from cardservice.cards.keystore import CardMaster, create
from cardservice.clock import SystemClock
from cardservice.database import open_databases, upgrade
from cardservice.demo.live import LiveReader
from cardservice.demo.processes import Child, DemoError
from cardservice.demo.seeding import seed_city
from cardservice.demo.virtual_readers import VirtualReaders
from cardsim.deck import load_deck, save_deck
from city import building, deck, people, seed
from integrations.ldap.editor import DirectoryEditor
from integrations.simulated_io import build as build_output
from readers.agent import Agent
from readers.identity import Identity
from readers.settings import load_settings
from rig.bank import Bank, ReaderSpec
from rig.control import RigClient
from rig.errors import RigError
from rig.insertion import Card

AGENT: Final = "rathaus"
HOST_AGENT: Final = "eigener-rechner"
_READY_S: Final = 30.0
HOST_PCSC: Final = Path("/run/pcscd/pcscd.comm")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How the city is to run: where its state goes, whether the real pcscd is wanted, where the host's own one is.

    `host_pcsc` is the socket of this machine's own pcscd, whose readers are watched too; None leaves them alone.
    """

    state: Path
    pcsc: Literal["auto", "never", "required"] = "auto"
    host_pcsc: Path | None = HOST_PCSC


class Hand(Protocol):
    """The hand that holds cards to readers: the rig's control socket, or the bank in this process."""

    def insert(self, card_id: str, reader: str, /) -> object:
        """Hold a card to a reader."""
        ...

    def eject(self, reader: str, /) -> object:
        """Take away whatever card is there."""
        ...


class DemoCity:
    """The whole city. `start` once, `stop` always."""

    def __init__(self, options: Options, say: Say) -> None:
        self._options = options
        self._say = say
        self._children: list[Child] = []
        self._run = Path(tempfile.mkdtemp(prefix="onecard-"))  # sockets need short names
        self._closers: list[Callable[[], None]] = []
        self._rig_client: RigClient | None = None
        self._hand: Hand
        self.disabled = {citizen.login for citizen in people.CITIZENS if citizen.disabled}
        self.pcsc = False
        self.pcsc_note = ""
        self.url = ""
        self.editor: DirectoryEditor
        self.live: LiveReader

    def start(self) -> None:
        """Start everything, in order; each part is ready before the next begins.

        Raises:
            CardServiceError: one part could not be started; stop() cleans up.
        """
        self._prepare_state()
        self._start_directory()
        self._start_readers()
        self._start_service()
        self._start_agents()

    def stop(self) -> None:
        """Stop everything, last started first; leaves nothing running."""
        if self._rig_client is not None:
            self._rig_client.close()
        for close in reversed(self._closers):
            close()
        for child in reversed(self._children):
            child.stop()
        shutil.rmtree(self._run, ignore_errors=True)

    # What one does in the city

    def insert(self, card_id: str, point: str) -> None:
        """Hold a card to the reader of a point.

        Raises:
            RigError: the card is elsewhere, the reader is taken, or there is no such card.
            DemoError: there is no such point.
        """
        self._hand.insert(card_id, self._reader(point))

    def eject(self, point: str) -> None:
        """Take the card away again, if one is there."""
        try:
            self._hand.eject(self._reader(point))
        except RigError:
            return

    def set_disabled(self, login: str, *, disabled: bool) -> None:
        """Disable a person in the directory, or enable them again; the service learns it from the directory alone.

        Raises:
            DemoError: there is no such person.
        """
        dn = next((citizen.dn for citizen in people.CITIZENS if citizen.login == login), None)
        if dn is None:
            raise DemoError(f"nobody in the city is called {login!r}")
        self.editor.set_disabled(dn, disabled=disabled)
        (self.disabled.add if disabled else self.disabled.discard)(login)

    def health(self) -> Mapping[str, Any]:
        """Return what the service says of itself; empty while it does not answer."""
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            state: Mapping[str, Any] = json.loads(connection.getresponse().read(1024 * 1024))
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        finally:
            connection.close()
        return state

    def _reader(self, point: str) -> str:
        for number, door in enumerate(building.DOORS, start=1):
            for side in range(len(building.SIDES)):
                if building.point_code(door, side) == point:
                    return building.reader_name(number, side)
        raise DemoError(f"there is no point {point!r} in the city")

    # How it is started

    def _prepare_state(self) -> None:
        state = self._options.state
        if state.exists():
            shutil.rmtree(state)
        state.mkdir(mode=0o700, parents=True)
        self._secret = {name: secrets.token_hex(16) for name in ("admin", "service", "keys", "live")}
        for name, value in self._secret.items():
            self._write(f"{name}.secret", value + "\n")
        made = deck.build()
        save_deck(made.descriptions, state / "deck.json")
        self._write("piv-ca.pem", made.issuer_pem)
        masters = [CardMaster(use, what, 1, seed.master(use, what)) for use in seed.USES for what in seed.PURPOSES]
        create(
            state / "keys.json",
            self._secret["keys"].encode(),
            system_id=seed.SYSTEM_ID,
            masters=masters,
            demonstration=True,
        )
        self._databases = open_databases(f"sqlite:///{state}")
        upgrade(self._databases)

    def _write(self, name: str, content: str) -> Path:
        path = self._options.state / name
        path.touch(mode=0o600)
        path.write_text(content, "utf-8")
        return path

    def _child(self, name: str, *arguments: str) -> Child:
        child = Child(name, arguments, self._options.state / f"{name}.log")
        self._children.append(child)
        return child

    def _start_directory(self) -> None:
        self._write("directory.ldif", _ldif(people.entries(self._secret["service"])))
        state = self._options.state
        said = self._child(
            "directory",
            *("-m", "directorysim", "--ldif", str(state / "directory.ldif"), "--suffix", people.SUFFIX),
            *("--admin-dn", people.ADMIN_DN, "--admin-password-file", str(state / "admin.secret")),
            *("--unlimited-dn", people.SERVICE_DN, "--run-dir", str(self._run / "directory")),
        ).ready()
        self._directory = said
        self.editor = DirectoryEditor(
            said["ldaps"], Path(said["ca"]), admin_dn=people.ADMIN_DN, password=self._secret["admin"]
        )
        self._say(f"Directory: {said['ldaps']} (embedded, {len(people.CITIZENS)} people)")

    def _start_readers(self) -> None:
        """Plug the cards into the real pcscd, or keep the readers inside this process."""
        deck_file = str(self._options.state / "deck.json")
        why_not = "not wanted" if self._options.pcsc == "never" else _why_no_pyscard()
        if not why_not:
            try:
                said = self._child(
                    "rig",
                    *("-m", "rig", "--run-dir", str(self._run / "rig"), "--deck", deck_file),
                    *("--loader", "cardsim.deck:load_deck", "--doors", str(len(building.DOORS))),
                ).ready()
            except DemoError as error:
                why_not = str(error)
            else:
                self.pcsc = True
                self.pcsc_note = f"real pcscd ({said['mode']}), virtual cards through vpcd"
                self._pcsc_socket, self._pcsc_mode = said["pcsc_socket"], said["mode"]
                self._hand = self._rig_client = RigClient(said["control"])
        if why_not:
            if self._options.pcsc == "required":
                raise DemoError(f"the real pcscd cannot be used: {why_not}")
            self.pcsc_note = f"cards in process, without pcscd: {why_not}"
            self._bank = Bank(_reader_specs(), cast("Mapping[str, Card]", load_deck(Path(deck_file))))
            self._hand = self._bank
        self._say(f"Readers: {2 * len(building.DOORS)}, {self.pcsc_note}")

    def _start_service(self) -> None:
        state, directory = self._options.state, self._directory
        config = self._write(
            "cardservice.toml",
            _toml(
                {
                    "": {"demonstration": True},
                    "service": {"port": 0, "live_token_file": f"{state}/live.secret"},
                    "database": {"url": f"sqlite:///{state}"},
                    "keys": {"store": f"{state}/keys.json", "passphrase_file": f"{state}/keys.secret"},
                    "piv": {"trusted_ca_files": [f"{state}/piv-ca.pem"]},
                    "directory": {
                        "servers": [directory["ldaps"]],
                        "bind_dn": people.SERVICE_DN,
                        "password_file": f"{state}/service.secret",
                        "ca_file": directory["ca"],
                        "people_base": people.PEOPLE,
                        "groups_base": people.GROUPS,
                    },
                    "organisation": {"code": "musterstadt", "name": "Stadt Musterstadt"},
                }
            ),
        )
        self.url = self._child("service", "-m", "cardservice", "serve", "--config", str(config)).ready()["url"]
        self._await("the directory copy", lambda health: health.get("status") == "ready")
        host = HOST_AGENT if self._needs_host_agent() else AGENT
        piv_ca = x509.load_pem_x509_certificate((state / "piv-ca.pem").read_bytes())
        points = seed_city(self._databases.state, piv_ca=piv_ca, agent=AGENT, host_agent=host)
        self._await("the city's doors", lambda health: health.get("points") == points)
        self._say(f"Service: {self.url}")

    def _await(self, what: str, done: Callable[[Mapping[str, Any]], bool]) -> None:
        deadline = time.monotonic() + _READY_S
        while not done(state := self.health()):
            if time.monotonic() > deadline:
                raise DemoError(f"{what} was not ready within {_READY_S:.0f} s: {state.get('degraded') or 'no answer'}")
            time.sleep(0.02)  # the service has no way to call us before it is ready

    def _start_agents(self) -> None:
        self.live = LiveReader(self.url, self._secret["live"])
        self.live.start()
        self._closers.append(self.live.stop)
        readers_there = threading.Event()

        def note(event: Mapping[str, Any]) -> None:
            if event["kind"] == "agent" and event["agent"] == AGENT and len(event["readers"]) >= len(_reader_specs()):
                readers_there.set()

        end = self.live.listen(note)
        self._start_agent(AGENT)
        online = {AGENT}
        if self._needs_host_agent():
            self._start_agent(HOST_AGENT)
            online.add(HOST_AGENT)
        self._await("the reader agent", lambda health: online <= set(health.get("agents_online", ())))
        # A card held to a reader before its agent looks there counts as left lying: it is asked for again.
        if not readers_there.wait(_READY_S):
            raise DemoError(f"the reader agent saw not all of its readers within {_READY_S:.0f} s")
        end()
        self._say(f"Agents: {', '.join(sorted(online))}")

    @property
    def host_readers_served(self) -> bool:
        """Whether a card can be held to a real reader of this machine."""
        return self._needs_host_agent() or (self.pcsc and self._pcsc_mode == "direct")

    def _needs_host_agent(self) -> bool:
        """Whether the host's own pcscd runs beside ours; a process can serve only one, so it gets its own agent."""
        ours_is_the_hosts = self.pcsc and self._pcsc_mode == "direct"
        socket = self._options.host_pcsc
        return socket is not None and socket.exists() and not ours_is_the_hosts and not _why_no_pyscard()

    def _start_agent(self, name: str) -> None:
        state = self._options.state
        identity = Identity.create(state / f"{name}.key")
        Agents(self._databases.state, SystemClock()).enrol(name, identity.public_key_hex())
        values: dict[str, Any] = {
            "agent": name,
            "centre_url": self.url.replace("http", "ws", 1) + "/agents/v1",
            "key_file": f"{state}/{name}.key",
            "outbox_file": f"{state}/{name}.outbox",
        }
        if name == HOST_AGENT:
            values["pcsc_socket"] = str(self._options.host_pcsc)
        elif self.pcsc:
            values["pcsc_socket"] = self._pcsc_socket
        config = self._write(f"{name}.toml", _toml({"": values}))
        if name == AGENT and not self.pcsc:
            self._start_agent_here(config)
            return
        self._child(name, "-m", "readers", "--config", str(config), "run")

    def _start_agent_here(self, config: Path) -> None:
        """Run the very same agent in a thread, on the bank's readers."""
        agent = Agent(load_settings(config), VirtualReaders(self._bank), build_output)
        loop = asyncio.new_event_loop()

        def run() -> None:
            loop.run_until_complete(agent.run())
            loop.close()

        thread = threading.Thread(target=run, name="agent", daemon=True)

        def close() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(agent.request_stop)
            thread.join(timeout=10)

        self._closers.append(close)
        thread.start()


def _why_no_pyscard() -> str:
    try:
        __import__("smartcard.scard")
    except ImportError as error:
        return f"pyscard is not installed ({error.name or 'it cannot be loaded'})"
    return ""


def _reader_specs() -> list[ReaderSpec]:
    doors, sides = range(1, len(building.DOORS) + 1), range(len(building.SIDES))
    return [ReaderSpec(building.reader_name(door, side)) for door in doors for side in sides]


def _ldif(entries: list[tuple[str, dict[str, list[str]]]]) -> str:
    """Return entries as LDIF (RFC 2849), every value in base64."""
    lines = ["version: 1"]
    for dn, attributes in entries:
        lines += ["", f"dn:: {base64.b64encode(dn.encode()).decode()}"]
        for name, values in attributes.items():
            lines += [f"{name}:: {base64.b64encode(value.encode()).decode()}" for value in values]
    return "\n".join(lines) + "\n"


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return sections as TOML; JSON's strings, numbers and lists are TOML's."""
    lines: list[str] = []
    for section, values in sections.items():
        lines += [f"[{section}]"] if section else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def default_state() -> Path:
    """Return where the demonstration keeps its state: `var/demo` of the checkout, else below the current folder."""
    checkout = Path(__file__).parents[2]
    base = checkout if (checkout / "hardware-sim").is_dir() else Path.cwd()
    return base / "var" / "demo"
