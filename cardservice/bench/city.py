# SPDX-License-Identifier: EUPL-1.2
"""A city to be measured: a directory, both stores, keys and cards on the disk, and `cardservice serve` beside us.

Everybody holds one card and may pass every door; each door has one point with one reader and an agent of its own. The
keys are those of the demonstration.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, ZoneSetup, apply
from cardservice.agents.service import Agents
from cardservice.bench.city_program import BenchError, Program
from cardservice.cards.keystore import CardMaster, create
from cardservice.cards.rules import desfire_credential
from cardservice.cards.service import NewCard, register
from cardservice.clock import SystemClock
from cardservice.database import Databases, open_databases, read, upgrade
from cardservice.demo.processes import health_of, to_toml
from cardservice.people.store import organisation
from cardservice.people.store import person as person_table
from cardsim.deck import save_deck
from city import deck, seed
from directorysim.server import DirectoryServer
from directorysim.settings import Options
from readers.identity import Identity
from rig.slapd import ADMIN_DN, READER_DN, READER_PASSWORD, SUFFIX, Entry, base_entries, group, person

READY_S: Final = 60.0
GROUP: Final = "everybody"
_LOOK_S: Final = 0.02
# Written for every tap before it is answered, permits included: the most the journal ever does.
_CLASS: Final = PointClassSetup("measured", "Measured doors", journal_mode="full", open_ms=100)


@dataclass(frozen=True, slots=True)
class Plan:
    """How large the city is; `reader` is the name of the one reader every agent has ("*": whatever it has)."""

    people: int
    agents: int
    reader: str = "*"


@dataclass(frozen=True, slots=True)
class DirectoryAddress:
    """What the service needs to know of a directory that runs; people and groups lie below the rig's suffix."""

    url: str
    ca_file: Path
    bind_dn: str
    password: str
    kind: str = "openldap"
    spare_urls: tuple[str, ...] = ()


# Runs a directory with these entries beside the base ones while the context lasts; its files go to the folder.
Directory = Callable[[Path, Sequence[Entry]], AbstractContextManager[DirectoryAddress]]


def login(number: int) -> str:
    """Return the login of a person."""
    return f"person{number:05}"


def card_id(number: int) -> str:
    """Return the name of a person's card in the deck."""
    return f"card{number:05}"


def agent_code(number: int) -> str:
    """Return the name of an agent."""
    return f"agent{number:03}"


def point_code(number: int) -> str:
    """Return the point an agent serves."""
    return f"door{number:03}"


def person_dn(number: int) -> str:
    """Return a person's distinguished name."""
    return f"uid={login(number)},ou=people,{SUFFIX}"


def entries(plan: Plan) -> list[Entry]:
    """Return the people and the one group they all are in."""
    people = [person(login(number)) for number in range(plan.people)]
    return [*people, group(GROUP, [dn for dn, _ in people])]


@contextmanager
def embedded_directory(_: Path, content: Sequence[Entry]) -> Iterator[DirectoryAddress]:
    """Run the directory's double in a thread: for measurements in which the directory has no part."""
    server = DirectoryServer(
        SUFFIX,
        [*base_entries(), *content],
        admin_dn=ADMIN_DN,
        admin_password=secrets.token_hex(16),
        options=Options(unlimited_dns=(READER_DN,)),
    )
    with server.run_in_thread() as running:
        yield DirectoryAddress(running.ldaps_url, running.ca_file, READER_DN, READER_PASSWORD)


class BenchCity:
    """A city in `folder` whose service runs."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self.deck_file = folder / "deck.json"
        self.database_url = f"sqlite:///{folder / 'db'}"
        self.log_file = folder / "service.log"
        self.live_token = secrets.token_hex(16)
        self.service: Program
        self.url = ""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        save_deck([desfire_card(number) for number in range(plan.people)], self.deck_file)

    @property
    def agents_url(self) -> str:
        """Where agents connect."""
        return self.url.replace("http", "ws", 1) + "/agents/v1"

    def key_file(self, number: int) -> Path:
        """Return the file with an agent's key."""
        return self.folder / f"{agent_code(number)}.key"

    def health(self) -> Mapping[str, Any]:
        """Return what the service says of itself; empty while it does not answer."""
        return health_of(self.url)

    def followed(self) -> str:
        """Return the directory server that is followed; empty if no proof has come since the last trouble."""
        return next((str(one["server"]) for one in self.health().get("directories", ()) if one["connected"]), "")

    def wait(self, what: str, done: Callable[[Mapping[str, Any]], bool]) -> None:
        """Wait until the service says what is waited for.

        Raises:
            BenchError: it did not within a minute.
        """
        deadline = time.monotonic() + READY_S
        while not done(state := self.health()):
            if time.monotonic() > deadline:
                raise BenchError(f"{what} within {READY_S:.0f} s: {state.get('degraded') or 'no answer'}")
            time.sleep(_LOOK_S)

    def start(self, directory: DirectoryAddress) -> None:
        """Create stores and keys, start the service, tell it about doors and cards.

        Raises:
            CardServiceError: something did not start.
        """
        databases = open_databases(self.database_url)
        try:
            upgrade(databases)
            config = self._configure(directory)
            arguments = ("-m", "cardservice", "serve", "--config", str(config))
            self.service = Program("service", arguments, self.log_file)
            self.url = self.service.ready()["url"]
            self.wait("the directory was not read", lambda state: state.get("status") == "ready")
            self._settle(databases)
        finally:
            databases.close()
        self.wait("the city was not compiled", lambda state: state.get("credentials") == self.plan.people)

    def stop(self) -> None:
        """End the service, if it was started."""
        if hasattr(self, "service"):
            self.service.stop()

    def _configure(self, directory: DirectoryAddress) -> Path:
        folder = self.folder
        passphrase = secrets.token_hex(16)
        for name, content in (("live", self.live_token), ("keys", passphrase), ("directory", directory.password)):
            _write(folder / f"{name}.secret", content + "\n")
        masters = [CardMaster(use, what, 1, seed.master(use, what)) for use in seed.USES for what in seed.PURPOSES]
        create(folder / "keys.json", passphrase.encode(), system_id=seed.SYSTEM_ID, masters=masters, demonstration=True)
        return _write(
            folder / "cardservice.toml",
            to_toml(
                {
                    "": {
                        "demonstration": True,
                        "callers": [{"name": "bench", "token_file": f"{folder}/live.secret", "uses": ["live"]}],
                    },
                    "service": {"port": 0},
                    "database": {"url": self.database_url},
                    "keys": {"store": f"{folder}/keys.json", "passphrase_file": f"{folder}/keys.secret"},
                    "directory": {
                        "kind": directory.kind,
                        "servers": [directory.url, *directory.spare_urls],
                        "bind_dn": directory.bind_dn,
                        "password_file": f"{folder}/directory.secret",
                        "ca_file": str(directory.ca_file),
                        "people_base": f"ou=people,{SUFFIX}",
                        "groups_base": f"ou=groups,{SUFFIX}",
                    },
                }
            ),
        )

    def _settle(self, databases: Databases) -> None:
        """Bring in doors, rules, cards and agents by the ordinary use cases."""
        with read(databases.state) as connection:
            city = connection.execute(sa.select(organisation.c.id)).scalar_one()
            rows = {row.login: row.id for row in connection.execute(sa.select(person_table.c.login, person_table.c.id))}
        points = [
            PointSetup(
                point_code(number), point_code(number), "city", _CLASS.code, agent_code(number), self.plan.reader
            )
            for number in range(self.plan.agents)
        ]
        zones, rules = [ZoneSetup("city", "City")], [RuleSetup(group=GROUP, zone="city")]
        apply(databases.state, city, AccessSetup(zones=zones, point_classes=[_CLASS], points=points, rules=rules))
        cards = [
            NewCard(city, rows[login(number)], (desfire_credential("door", seed.number(card_id(number), "door")),))
            for number in range(self.plan.people)
        ]
        register(databases.state, cards)
        agents = Agents(databases.state, SystemClock())
        for number in range(self.plan.agents):
            agents.enrol(agent_code(number), Identity.create(self.key_file(number)).public_key_hex())


@contextmanager
def running_city(folder: Path, plan: Plan, directory: Directory) -> Iterator[BenchCity]:
    """Run a city in `folder` while the context lasts.

    Raises:
        CardServiceError: a part of it did not start.
    """
    with ExitStack() as stack:
        city = BenchCity(folder / "city", plan)
        address = stack.enter_context(directory(folder, entries(plan)))
        stack.callback(city.stop)
        city.start(address)
        yield city


def _write(path: Path, content: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(content, "utf-8")
    return path


def desfire_card(number: int) -> dict[str, object]:
    """Return one card as a `cardsim` deck describes it; its only use is the doors'."""
    use = {
        "aid_as_sent": deck.AIDS["door"],
        "application_master": seed.master("door", "application_master").hex(),
        "proof_master": seed.master("door", "proof").hex(),
        "locate_key": seed.master("door", "locate").hex(),
        "generation": 1,
        "number": seed.number(card_id(number), "door").hex(),
    }
    name = card_id(number)
    return {"card_id": name, "label": name, "desfire": {"system_id": seed.SYSTEM_ID.hex(), "uses": [use]}}
