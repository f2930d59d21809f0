# SPDX-License-Identifier: EUPL-1.2
"""The whole chain, each part its own process: slapd, the service, an agent, a real pcscd, virtual cards."""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import ldap3
import sqlalchemy as sa
from support.agent_process import AgentProcess
from support.service import AGENT, CityFiles, DirectoryAddress, ServiceProcess
from support.slapd import READER_DN, READER_PASSWORD, SUFFIX, Slapd

from cardservice import changes
from cardservice.access.store import point_class
from cardservice.database import write
from city import building, people
from rig.control import RigClient
from rig.errors import RigError
from rig.process import RigProcess
from rig.program import free_port

LIMIT_S = 20.0
OPEN_MS = 300
LOCKED_FOR_GOOD = "000001010000Z"


def _here(text: str) -> str:
    return text.replace(people.SUFFIX, SUFFIX)


def add_people(slapd: Slapd) -> None:
    """Bring the demonstration city's people and groups into a running slapd."""
    with slapd.admin() as connection:
        for dn, attributes in people.entries("unused"):
            if not {"inetOrgPerson", "groupOfNames"} & set(attributes["objectClass"]):
                continue
            here = {name: [_here(value) for value in values] for name, values in attributes.items()}
            locked = here.pop("pwdAccountLockedTime", None)
            connection.add(_here(dn), attributes=here)
            if locked:
                set_disabled(slapd, dn, disabled=True)


def set_disabled(slapd: Slapd, dn: str, *, disabled: bool) -> None:
    """Lock an account as an administrator does, or unlock it."""
    values = [LOCKED_FOR_GOOD] if disabled else []
    with slapd.admin() as connection:
        connection.modify(_here(dn), {"pwdAccountLockedTime": [(ldap3.MODIFY_REPLACE, values)]})


def shorten_openings(files: CityFiles) -> None:
    """Let every strike lock soon: the tests wait for it."""
    with files.stores() as databases, write(databases.state) as connection:
        connection.execute(sa.update(point_class).values(open_ms=OPEN_MS))
        changes.append(connection, "access", [0])


def dn_of(login: str) -> str:
    """The name of a person in the demonstration's own tree."""
    return next(citizen.dn for citizen in people.CITIZENS if citizen.login == login)


def reader_of(point: str) -> str:
    """The PC/SC reader of a point."""
    for number, door in enumerate(building.DOORS, start=1):
        for side in range(len(building.SIDES)):
            if building.point_code(door, side) == point:
                return building.reader_name(number, side)
    raise AssertionError(f"no point {point}")


@dataclass
class Seen:
    """What was seen of one tap on the live feed."""

    permit: bool | None = None
    reason: str | None = None
    level: str | None = None
    outcome: str | None = None
    strikes: list[str] = field(default_factory=list)
    event: dict[str, Any] = field(default_factory=dict)


class WholeCity:
    """Taps cards and watches what comes of it, as somebody in front of the doors would."""

    def __init__(self, slapd: Slapd, files: CityFiles, service: ServiceProcess, control: RigClient) -> None:
        self.slapd = slapd
        self.files = files
        self.service = service
        self.control = control
        self.agent: AgentProcess
        self.pcsc_socket = ""
        self._known: set[tuple[int, int]] = set()
        self._watching = ExitStack()
        self.live: HTTPResponse

    def watch(self) -> None:
        """Follow the live feed of the service that runs now."""
        self._watching.close()
        self.live = self._watching.enter_context(self.service.watching())

    def close(self) -> None:
        self._watching.close()

    def _events(self) -> Iterator[dict[str, Any]]:
        """Whatever the feed shows, until the time is over."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            line = self.live.readline()
            assert line, "the live feed ended"
            if line.startswith(b"data: "):
                yield json.loads(line[6:])
        raise AssertionError(f"not seen within {LIMIT_S} s")

    def tap(self, card: str, point: str) -> Seen:
        """Hold a card to a reader until its agent has reported and the door is locked, then take it away."""
        self.control.insert(card, reader_of(point))
        seen = self.outcome(point)
        if seen.outcome == "acted" and seen.strikes[-1:] != ["locked"]:
            self.locked_again(point)
        self.take_away(point)
        return seen

    def outcome(self, point: str) -> Seen:
        """What becomes of the tap that is under way at `point`."""
        seen = Seen()
        for event in self._events():
            name = (event.get("event", {}).get("epoch"), event.get("event", {}).get("sequence"))
            if event.get("point") != point or name in self._known:
                continue
            if event["kind"] == "tap":
                seen.permit, seen.reason, seen.level = event["permit"], event["reason"], event["level"]
            elif event["kind"] == "output":
                seen.strikes.append(event["state"])
            elif event["kind"] == "event":
                seen.outcome, seen.event = event["outcome"], event["event"]
                self._known.add(name)
                return seen
        raise AssertionError("unreachable")

    def take_away(self, point: str) -> None:
        """Take the card away, if it is still there, and wait until the agent noticed."""
        reader = reader_of(point)
        # A card that was pulled by its own fault has left already.
        with contextlib.suppress(RigError):
            self.control.eject(reader)
        self.until_empty(reader)

    def until_empty(self, reader: str) -> None:
        """Wait until the agent reports an empty reader."""
        for event in self._events():
            if event["kind"] == "agent" and event["agent"] == AGENT:
                here = {one["reader"]: one["present"] for one in event["readers"]}
                if here.get(reader) is False:
                    return

    def locked_again(self, point: str) -> None:
        """Wait until the strike at `point` has locked."""
        for event in self._events():
            if event["kind"] == "output" and event["point"] == point and event["state"] == "locked":
                return

    def revision(self) -> int:
        """The snapshot's revision."""
        revision: int = self.service.health()["snapshot_revision"]
        return revision

    def disable(self, login: str, *, disabled: bool) -> None:
        """Lock an account in slapd and wait until the service has published it."""
        before = self.revision()
        set_disabled(self.slapd, dn_of(login), disabled=disabled)
        self.service.wait_health(lambda state: state["snapshot_revision"] > before)


def ready_made(_files: CityFiles) -> None:
    """The ordinary deck."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How a city differs from the ordinary one.

    `deck` may change the deck before the rig takes it, `access` the access model once it is there; `agent` are
    settings of the agent, `doors` how many of the doors have readers.
    """

    deck: Callable[[CityFiles], None] = ready_made
    access: Callable[[CityFiles], None] = shorten_openings
    agent: Mapping[str, str | int] = field(default_factory=dict)
    doors: int = len(building.DOORS)


@contextmanager
def whole_city(folder: Path, arrangement: Arrangement = Arrangement()) -> Iterator[WholeCity]:
    """Start everything; `folder` needs a short name."""
    with ExitStack() as stack:
        slapd = Slapd(folder / "slapd")
        stack.callback(slapd.stop)
        slapd.start()
        add_people(slapd)
        address = DirectoryAddress(
            slapd.url, slapd.ca_file, READER_DN, _here(people.PEOPLE), _here(people.GROUPS), READER_PASSWORD
        )
        different = {"service": {"port": free_port()}, "logging": {"level": "debug"}}
        files = CityFiles(folder / "city", address, changes=different)
        files.upgrade()
        arrangement.deck(files)
        service = stack.enter_context(ServiceProcess(files, files.folder / "service.log"))
        arguments = ["--doors", str(arrangement.doors)]
        rig = stack.enter_context(
            RigProcess(folder / "rig", deck=files.deck_file, loader="cardsim.deck:load_deck", arguments=arguments)
        )
        service.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        arrangement.access(files)
        service.wait_health(lambda state: state["points"] == points)
        city = WholeCity(slapd, files, service, stack.enter_context(rig.client()))
        stack.callback(city.close)
        city.watch()
        city.pcsc_socket = rig.pcsc_socket or ""
        city.agent = AgentProcess(files, AGENT, service.agents_url, city.pcsc_socket, arrangement.agent)
        # A test may have put another process in the place of the first, here as well as for the service.
        stack.callback(lambda: city.agent.stop(signal.SIGKILL))
        city.until_empty(building.reader_name(1, 0))
        yield city
        city.service.stop()
