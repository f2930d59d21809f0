# SPDX-License-Identifier: EUPL-1.2
"""The state store on a `Disk`: a random city that changes, agents that are enrolled and locked."""

import random
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from faults.disk_driver import engine_on
from faults.disk_story import Story
from service.directory import open_copy, someone, tell
from service.fake_clock import FakeClock
from service.random_city import RandomCity
from sqlalchemy.engine import Engine

from cardservice import changes
from cardservice.access.service import City
from cardservice.agents.service import Agents
from cardservice.database import open_databases, read
from cardservice.errors import DatabaseUnavailable

FILE = "state.db"


def _engine(folder: Path) -> Engine:
    return open_databases(f"sqlite:///{folder}").state


class StateStory:
    """Changes the state store through the service's own use cases and writes down which had returned."""

    def __init__(self, story: Story, dice: random.Random) -> None:
        self._story = story
        self._dice = dice
        self._engine = _engine(story.disk.folder)
        engine_on(self._engine, story.driver)
        self._clock = FakeClock()
        self._agents = Agents(self._engine, self._clock)
        self._locked: dict[str, bool] = {}
        self._city = RandomCity(self._engine, self._clock, dice.randrange(2**32))

    def live(self, deeds: int) -> None:
        """Fill the city and do `deeds` things; what keeps the stores open is closed now and then, as by a restart."""
        self._city.populate()
        for number in range(deeds):
            if self._dice.random() < 0.3:
                self._do_to_an_agent()
            else:
                self._city.change_something()
            with read(self._engine) as connection:
                revision = changes.latest(connection)
            self._story.tell("revision", revision)
            if number % 40 == 39:
                self._engine.dispose()
        self._engine.dispose()

    def _do_to_an_agent(self) -> None:
        if len(self._locked) < 3 or self._dice.random() < 0.3:
            code = f"agent-{len(self._locked)}"
            self._agents.enrol(code, _public_key())
            self._locked[code] = False
        else:
            code = self._dice.choice(list(self._locked))
            self._locked[code] = not self._locked[code]
            self._agents.lock(code, locked=self._locked[code])
        self._story.tell("agent", code, self._locked[code])


def examine_state(folder: Path, story: Story, cut: int) -> None:
    """The city compiles, its change log goes as far as anybody was told, and each agent is as locked as was said."""
    engine = _engine(folder)
    city = City(engine, FakeClock())
    city.build()
    assert city.snapshot.revision >= max((revision for (revision,) in story.by(cut, "revision")), default=0)
    said = dict(story.by(cut, "agent"))
    found = {agent.code: agent.locked for agent in Agents(engine, FakeClock()).list()}
    # One deed was under way and may have been done: it differs from what was said in one agent at most.
    assert said.keys() <= found.keys()
    assert sum(found[code] != locked for code, locked in said.items()) + len(found.keys() - said.keys()) <= 1
    engine.dispose()


def _public_key() -> str:
    return Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()


class TroubledState:
    """Management and the directory copy on a disk that fails; whoever was refused tries again later."""

    def __init__(self, story: Story) -> None:
        self.refused = 0
        self._story = story
        self._engine = _engine(story.disk.folder)
        engine_on(self._engine, story.driver)
        self._agents = Agents(self._engine, FakeClock())
        self._copy = open_copy(self._engine, FakeClock())
        self._number = 0
        self._undone: list[Callable[[], None]] = []
        self._done: set[str] = set()

    def goes_on(self, deeds: int) -> None:
        """Somebody is hired and an agent enrolled, several times."""
        for _ in range(deeds):
            self._number += 1
            name, key = f"n{self._number}", _public_key()
            self._tried(lambda name=name: tell(self._copy, someone(name), cookie=name), name)
            self._tried(lambda name=name, key=key: self._agents.enrol(name, key), f"agent {name}")

    def catches_up(self) -> None:
        """The disk works again: what was refused is done at the next try, and is there once."""
        undone, self._undone = self._undone, []
        for deed in undone:
            deed()
        self.goes_on(1)
        assert self._undone == []
        self._engine.dispose()

    def check(self, folder: Path) -> None:
        """Whoever opens the store next finds what was said, and nothing that was refused."""
        engine = _engine(folder)
        found = set(open_copy(engine, FakeClock()).known_dns())
        found |= {f"agent {agent.code}" for agent in Agents(engine, FakeClock()).list()}
        assert found == self._done
        engine.dispose()

    def _tried(self, deed: Callable[[], None], name: str) -> None:
        def do() -> None:
            deed()
            self._done.add(name)
            self._story.tell("done", name)

        try:
            do()
        except DatabaseUnavailable:
            self.refused += 1
            self._undone.append(do)
            assert name not in self._copy.known_dns()
