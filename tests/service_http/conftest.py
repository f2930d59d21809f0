# SPDX-License-Identifier: EUPL-1.2
"""The real service on loopback, once a module on SQLite and once on PostgreSQL, and agents that connect to it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.postgres import PostgresServer
from support.scripted_agent import ScriptedAgent
from support.service import AGENT, OTHER_AGENT, CityFiles, DirectoryThread, ServiceThread, directory_in_thread
from support.signing_in import Visitor

from cardsim.interfaces import Card


@dataclass
class City:
    """A running city and the keys of its two agents."""

    directory: DirectoryThread
    files: CityFiles
    service: ServiceThread
    keys: dict[str, Ed25519PrivateKey]
    visitors: dict[str, Visitor] = field(default_factory=dict)

    def visitor(self, login: str) -> Visitor:
        """Return the browser of somebody who signed in."""
        if login not in self.visitors:
            self.visitors[login] = Visitor(self.service.url).sign_in(login)
        return self.visitors[login]

    def close(self) -> None:
        """Close the browsers, and stop the service if it runs."""
        for visitor in self.visitors.values():
            visitor.client.close()
        if self.service.url:
            self.service.stop()

    def agent(self, name: str = AGENT) -> ScriptedAgent:
        """Return an agent that has not connected yet."""
        return ScriptedAgent(self.service.agents_url, name, self.keys[name])

    def card(self, name: str) -> Card:
        """Return a fresh card of the deck."""
        return self.files.cards()[name]

    def enrol(self, name: str) -> ScriptedAgent:
        """Enrol a new agent and return it."""
        self.keys[name] = self.files.enrol(name)
        return self.agent(name)


MakeCity = Callable[..., City]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A store of its own for every module; None lets the city keep it in its folder."""
    if request.param == "sqlite":
        yield None
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.new_database()
    yield server.url(name)
    server.drop_database(name)


def build(directory: DirectoryThread, folder: Path, database_url: str | None = None, /, **changes: Any) -> City:
    """Make and start a city; `changes` are settings by section."""
    files = CityFiles(folder, directory.address, database_url, changes)
    files.upgrade()
    service = ServiceThread(files)
    service.start()
    try:
        service.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        keys = {name: files.enrol(name) for name in (AGENT, OTHER_AGENT)}
        service.wait_health(lambda state: state["points"] == points)
    except BaseException:
        service.stop()
        raise
    return City(directory, files, service, keys)


@pytest.fixture(scope="module")
def city(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city for tests that leave it as they found it."""
    with directory_in_thread() as directory:
        made = build(directory, tmp_path_factory.mktemp("city"), database_url)
        yield made
        made.close()


@pytest.fixture
def make_city(tmp_path: Path) -> Iterator[MakeCity]:
    """Make a city of its own, on SQLite, for a test that breaks things."""
    with directory_in_thread() as directory:
        made: list[City] = []

        def make(**changes: Any) -> City:
            made.append(build(directory, tmp_path / "city", **changes))
            return made[-1]

        yield make
        for one in made:
            one.close()
