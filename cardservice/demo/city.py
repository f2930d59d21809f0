# SPDX-License-Identifier: EUPL-1.2
"""Starts the demonstration city part by part, each as it would run in earnest, and stops all of it.

    directorysim (LDAP) <- cardservice serve <- WebSocket - agent - readers - virtual cards

Directory, service, rig and agent are programs of their own. Where no pcscd can be had, rig and agent run inside this
process, and `pcsc` is False.
"""

import base64
import secrets
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from cardservice.cards.keystore import CardMaster, create
from cardservice.cards.rules import CardState
from cardservice.cards.service import NewState, change_state
from cardservice.clock import SystemClock
from cardservice.database import open_databases, upgrade
from cardservice.demo.agents import AGENT, HOST_AGENT, ReaderAgents, why_no_pyscard
from cardservice.demo.benches import NOT_WANTED, Bench
from cardservice.demo.cable import Cable
from cardservice.demo.certificates import URL, CityAuthorities
from cardservice.demo.live import LiveReader
from cardservice.demo.processes import Child, DemoError, Workshop, ask, health_of, to_toml
from cardservice.demo.seeding import PLACES_AGENT, references, seed_city
from cardservice.demo.surroundings import Around
from cardsim.deck import save_deck
from city import building, deck, people, seed
from integrations.ldap.editor import DirectoryEditor
from rig.program import wait_for
from rig.readers import Device, doors

__all__ = ["AGENT", "CALLERS", "HOST_AGENT", "HOST_PCSC", "DemoCity", "Options", "Say", "default_state"]

# Systems that call the service's API in the demonstration, and what each may use.
CALLERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"till-1": ("canteen",), "payroll": ("payroll",), "facility": ("door",), "live": ("live",)}
)
ORGANISATION: Final = "Stadt Musterstadt"
_READY_S: Final = 30.0
_LOOK_S: Final = 0.02
_EFFECT_LIMIT_S: Final = 5.0
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


class DemoCity:
    """The whole city. `start` once, `stop` always."""

    def __init__(self, options: Options, say: Say) -> None:
        self._options = options
        self._say = say
        self._run = Path(tempfile.mkdtemp(prefix="onecard-"))  # sockets need short names
        self._shop = Workshop(options.state)
        self._databases = open_databases(f"sqlite:///{options.state}")
        self._doors = Bench(AGENT, doors(len(building.DOORS)))
        self._places = Bench(PLACES_AGENT, [Device(place.device, (place.interface,)) for place in building.PLACES])
        self.around = Around(self._run)
        self._agents = ReaderAgents(self._shop, (self._doors, self._places), self.around, options.host_pcsc)
        self.directory_runs = True
        self._directory_child: Child
        self.screens: dict[str, Mapping[str, Any]] = {}
        self.cable: Cable
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
        self._shop.closers.append(self.around.stop)
        self.around.start()
        self._say(f"Printers: {self.around.why_no_printers or 'real cupsd, two virtual printers'}")
        self._say(f"PC: {self.around.why_no_desk or 'logind and a real screen locker'}")
        self._start_service()
        self._start_agents()

    def stop(self) -> None:
        """Stop everything, last started first; leaves nothing running."""
        for bench in (self._doors, self._places):
            bench.close()
        self._databases.close()
        self._shop.close()
        shutil.rmtree(self._run, ignore_errors=True)

    # What one does in the city

    def insert(self, card_id: str, point: str) -> None:
        """Hold a card to the reader of a point.

        Raises:
            RigError: the card is elsewhere, the reader is taken, or there is no such card.
            DemoError: there is no such point.
        """
        bench, reader = self._reader(point)
        bench.insert(card_id, reader)

    def eject(self, point: str) -> None:
        """Take the card away again, if one is there."""
        bench, reader = self._reader(point)
        bench.eject(reader)

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

    def set_directory(self, *, running: bool) -> None:
        """Stop the directory in its tracks (it hangs, as directories do), or let it go on."""
        self._directory_child.signal(signal.SIGCONT if running else signal.SIGSTOP)
        self.directory_runs = running

    def set_network(self, *, plugged: bool) -> None:
        """Pull the cable between the agents and the service, or put it back."""
        if plugged:
            self.cable.plug()
        else:
            self.cable.pull()

    def choose(self, point: str, key: str) -> None:
        """Press a key on a terminal's screen.

        Raises:
            DemoError: it cannot be pressed now.
        """
        if ask(self.kiosk_url, f"/{point}/choice", {"key": key}).status != 204:
            raise DemoError(f"nothing can be chosen at {point} now")

    def report(self, card_id: str, state: CardState, reason: str | None) -> None:
        """Change a card's state at the desk.

        Raises:
            CardServiceError: the life cycle does not allow it, or there is no such card.
        """
        new, now_ms = NewState(state, reason), SystemClock().now_ms()
        change_state(self._databases.state, self.references[card_id], new, now_ms)

    def top_up(self, personnel_number: str, amount_cents: int) -> Mapping[str, Any]:
        """Put money onto somebody's wallet, as payroll does; return what the service answers.

        Raises:
            DemoError: it does not answer.
        """
        body = {"personnel_number": personnel_number, "amount_cents": amount_cents, "source": "payroll"}
        proof = {"Authorization": f"Bearer {self.token('payroll')}", "Idempotency_Key": uuid.uuid4().hex}
        return ask(self.url, "/api/v1/canteen/top-ups", body, **proof).document

    def effect_ms(self, act: Callable[[], None]) -> float | None:
        """Do something that changes who may do what; return after how many milliseconds the service goes by it.

        None if it did not within five seconds.
        """
        before = self.health().get("snapshot_revision", 0)
        began_s = time.monotonic()
        act()
        held = wait_for(lambda: self.health().get("snapshot_revision", before) > before, _EFFECT_LIMIT_S)
        return round((time.monotonic() - began_s) * 1_000, 2) if held else None

    @property
    def state_folder(self) -> Path:
        """Where all state of this city is."""
        return self._options.state

    def token(self, caller: str) -> str:
        """Return the token of one of `CALLERS`."""
        return self._secret[caller]

    def health(self) -> Mapping[str, Any]:
        """Return what the service says of itself; empty while it does not answer."""
        return health_of(self.url)

    def _reader(self, point: str) -> tuple[Bench, str]:
        for number, door in enumerate(building.DOORS, start=1):
            for side in range(len(building.SIDES)):
                if building.point_code(door, side) == point:
                    return self._doors, building.reader_name(number, side)
        for place in building.PLACES:
            if place.code == point:
                return self._places, place.reader
        raise DemoError(f"there is no point {point!r} in the city")

    # How it is started

    def _prepare_state(self) -> None:
        state = self._options.state
        if state.exists():
            shutil.rmtree(state)
        state.mkdir(mode=0o700, parents=True)
        self._secret = {name: secrets.token_hex(16) for name in ("admin", "service", "keys", "pki", *CALLERS)}
        for name, value in self._secret.items():
            self._shop.write(f"{name}.secret", value + "\n")
        made = deck.build()
        self._authorities = CityAuthorities.make(
            state / "pki.json", self._secret["pki"], ORGANISATION, SystemClock().now_ms()
        )
        save_deck(self._authorities.certify(made.descriptions), state / "deck.json")
        self._shop.write("card-1.pem", self._authorities.pem())
        # Of the old card alone, which is refused for its date.
        self._shop.write("piv-ca.pem", made.issuer_pem)
        names = [(use, what) for use in seed.USES for what in seed.PURPOSES] + [seed.PICC]
        masters = [CardMaster(use, what, 1, seed.master(use, what)) for use, what in names]
        create(
            state / "keys.json",
            self._secret["keys"].encode(),
            system_id=seed.SYSTEM_ID,
            masters=masters,
            demonstration=True,
        )
        upgrade(self._databases)

    def _start_directory(self) -> None:
        self._shop.write("directory.ldif", _ldif(people.entries(self._secret["service"])))
        state = self._options.state
        self._directory_child = self._shop.child(
            "directory",
            *("-m", "directorysim", "--ldif", str(state / "directory.ldif"), "--suffix", people.SUFFIX),
            *("--admin-dn", people.ADMIN_DN, "--admin-password-file", str(state / "admin.secret")),
            *("--unlimited-dn", people.SERVICE_DN, "--run-dir", str(self._run / "directory")),
        )
        self._directory = said = self._directory_child.ready()
        self.editor = DirectoryEditor(
            said["ldaps"], Path(said["ca"]), admin_dn=people.ADMIN_DN, password=self._secret["admin"]
        )
        self._say(f"Directory: {said['ldaps']} (embedded, {len(people.CITIZENS)} people)")

    def _start_readers(self) -> None:
        """Plug the cards into real pcscd's, one for each agent, or keep the readers inside this process."""
        deck_file = self._options.state / "deck.json"
        why_not = NOT_WANTED if self._options.pcsc == "never" else why_no_pyscard()
        for bench in (self._doors, self._places):
            if not why_not:
                try:
                    bench.start_pcscd(self._shop.child, self._run, deck_file)
                except DemoError as error:
                    why_not = str(error)
            if why_not:
                if self._options.pcsc == "required" and bench is self._doors:
                    raise DemoError(f"the real pcscd cannot be used: {why_not}")
                bench.stay_in_process(deck_file, why_not)
        self.pcsc = self._doors.pcsc_socket is not None
        self.pcsc_note = (
            f"real pcscd ({self._doors.mode}), virtual cards through vpcd"
            if self.pcsc
            else f"cards in process, without pcscd: {self._doors.why_not}"
        )
        count = len(self._doors.readers) + len(self._places.readers)
        self._say(f"Readers: {count}, {self.pcsc_note}")

    def _start_service(self) -> None:
        state, directory = self._options.state, self._directory
        callers = [
            {"name": name, "token_file": f"{state}/{name}.secret", "uses": list(uses)} for name, uses in CALLERS.items()
        ]
        sections: dict[str, Mapping[str, Any]] = {
            "": {"demonstration": True, "callers": callers},
            "service": {"port": 0},
            "database": {"url": f"sqlite:///{state}"},
            "keys": {"store": f"{state}/keys.json", "passphrase_file": f"{state}/keys.secret"},
            "piv": {"trusted_ca_files": [f"{state}/card-1.pem", f"{state}/piv-ca.pem"]},
            "pki": {
                "store": f"{state}/pki.json",
                "passphrase_file": f"{state}/pki.secret",
                "url": URL,
                "logon": "software",
            },
            "directory": {
                "servers": [directory["ldaps"]],
                "bind_dn": people.SERVICE_DN,
                "password_file": f"{state}/service.secret",
                "ca_file": directory["ca"],
                "people_base": people.PEOPLE,
                "groups_base": people.GROUPS,
            },
            "organisation": {"code": "musterstadt", "name": ORGANISATION},
            **self.around.service_settings(),
        }
        config = self._shop.write("cardservice.toml", to_toml(sections))
        self.url = self._shop.child("service", "-m", "cardservice", "serve", "--config", str(config)).ready()["url"]
        self._await("the directory copy", lambda health: health.get("status") == "ready")
        host = HOST_AGENT if self._agents.needs_host_agent() else AGENT
        piv_ca = self._authorities.for_cards.certificate
        points = seed_city(self._databases.state, piv_ca=piv_ca, agent=AGENT, host_agent=host)
        self.references = references(self._databases.state)
        self._authorities.keep(self._databases.state, self.references)
        self._await("the city's doors", lambda health: health.get("points") == points)
        self.cable = Cable(urlsplit(self.url).port or 80)
        self.cable.start()
        self._shop.closers.append(self.cable.close)
        self._say(f"Service: {self.url}")

    def _await(self, what: str, done: Callable[[Mapping[str, Any]], bool]) -> None:
        # The service has no way to call us before it is ready.
        if not wait_for(lambda: done(self.health()), _READY_S, pause_s=_LOOK_S):
            troubles = self.health().get("degraded") or "no answer"
            raise DemoError(f"{what} was not ready within {_READY_S:.0f} s: {troubles}")

    def _start_agents(self) -> None:
        self.live = LiveReader(self.url, self._secret["live"])
        self.live.start()
        self._shop.closers.append(self.live.stop)
        online = self._agents.start(self._databases.state, self.cable.port, self.live)
        self._await("the reader agents", lambda health: online <= set(health.get("agents_online", ())))
        self._agents.await_readers()
        self._watch_screens()
        self._say(f"Agents: {', '.join(sorted(online))}")

    def _watch_screens(self) -> None:
        """Follow the terminals' screens, as their kiosk browsers do."""
        for place in building.PLACES:
            if place.kind == "terminal":
                reader = LiveReader(self.kiosk_url, path=f"/{place.code}/events")
                reader.listen(partial(self._screen_changed, place.code))
                reader.start()
                self._shop.closers.append(reader.stop)

    def _screen_changed(self, point: str, state: Mapping[str, Any]) -> None:
        self.screens[point] = state
        self.live.tell({"kind": "screen", "point": point, "screen": state})

    @property
    def kiosk_url(self) -> str:
        """Where the terminals' own pages are."""
        return self._agents.kiosk_url

    @property
    def host_readers_served(self) -> bool:
        """Whether a card can be held to a real reader of this machine."""
        return self._agents.host_readers_served


def _ldif(entries: list[tuple[str, dict[str, list[str]]]]) -> str:
    """Return entries as LDIF (RFC 2849), every value in base64."""
    lines = ["version: 1"]
    for dn, attributes in entries:
        lines += ["", f"dn:: {base64.b64encode(dn.encode()).decode()}"]
        for name, values in attributes.items():
            lines += [f"{name}:: {base64.b64encode(value.encode()).decode()}" for value in values]
    return "\n".join(lines) + "\n"


def default_state() -> Path:
    """Return where the demonstration keeps its state: `var/demo` of the checkout, else below the current folder."""
    checkout = Path(__file__).parents[2]
    base = checkout if (checkout / "hardware-sim").is_dir() else Path.cwd()
    return base / "var" / "demo"
