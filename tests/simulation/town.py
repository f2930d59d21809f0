# SPDX-License-Identifier: EUPL-1.2
"""The town the worlds play in: people, groups, doors, rights and cards, and its stores, made once and copied."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from simulation.chance import secrets_from
from simulation.machine import START_MS

from cardservice.access.schedules import Interval
from cardservice.access.setup import (
    AccessSetup,
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    ZoneSetup,
    apply,
)
from cardservice.agents.service import Agents
from cardservice.cards.keystore import SealedKeyStore, generate_masters
from cardservice.cards.rules import CardState, desfire_credential
from cardservice.cards.service import NewCard, register
from cardservice.database import open_databases, read, upgrade
from cardservice.people.census import Followed
from cardservice.people.ports import DirectoryChange
from cardservice.people.rules import DirectoryGroup, DirectoryPerson
from cardservice.people.service import DirectoryCopy
from cardservice.people.store import organisation, person
from cardsim.card import VirtualCard
from cardsim.personalise import UseKeys, personalise_desfire

DIRECTORY: Final = "city"
ORGANISATION: Final = ("town", "Town")
SYSTEM_ID: Final = b"STADTSIM"
DOOR_AID: Final = bytes.fromhex("01C1F5")
BERLIN: Final = ZoneInfo("Europe/Berlin")
HOUR_MS: Final = 3_600_000

CLASSES: Final = {
    setup.code: setup
    for setup in (
        PointClassSetup("aussen", "Außentür", freshness_ms=24 * HOUR_MS),
        PointClassSetup("innen", "Innentür", freshness_ms=2 * HOUR_MS, journal_mode="counts", answer_budget_ms=500),
        PointClassSetup(
            "hoch", "Hochschutz", freshness_ms=60_000, journal_mode="full", answer_budget_ms=1_000, tap_budget_ms=5_000
        ),
        PointClassSetup("not", "Notausgang", freshness_ms=10 * 60_000, stale_policy="permit"),
    )
}


@dataclass(frozen=True, slots=True)
class Point:
    """One door: of which class, at which agent's reader."""

    code: str
    kind: str
    agent: str
    reader: str

    @property
    def setup(self) -> PointClassSetup:
        """What its class says."""
        return CLASSES[self.kind]


POINTS: Final = {
    point.code: point
    for point in (
        Point("aussen-1", "aussen", "nord", "Leser 1"),
        Point("hoch-1", "hoch", "nord", "Leser 2"),
        Point("aussen-2", "aussen", "sued", "Leser 1"),
        Point("innen-1", "innen", "sued", "Leser 2"),
        Point("not-1", "not", "ost", "Leser 1"),
        Point("hoch-2", "hoch", "ost", "Leser 2"),
    )
}
AGENTS: Final = ("nord", "sued", "ost")
PEOPLE: Final = tuple(f"p{number}" for number in range(12))
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    # The technicians are in the staff as a group.
    "staff": ("@technik", *PEOPLE[3:10]),
    "technik": PEOPLE[:3],
    "reinigung": PEOPLE[9:11],
}
# The cleaners' hours: Monday to Friday, local time, minutes since midnight.
EVENING: Final = (17 * 60, 22 * 60)


@dataclass(frozen=True, slots=True)
class Right:
    """Who may pass which point, and whether only in the evening; or who may not."""

    point: str
    group: str | None = None
    login: str | None = None
    evening: bool = False
    block: bool = False


RIGHTS: Final = (
    Right("aussen-1", group="staff"),
    Right("aussen-2", group="staff"),
    Right("innen-1", group="staff"),
    Right("not-1", group="staff"),
    Right("hoch-1", group="technik"),
    Right("hoch-2", group="technik"),
    Right("hoch-1", login="p4"),
    Right("innen-1", login="p5", block=True),
    Right("innen-1", group="reinigung", evening=True),
    Right("aussen-1", group="reinigung", evening=True),
)


def is_evening(at_ms: int) -> bool:
    """Tell whether the cleaners are at work: by the calendar of Berlin, without the product's schedules."""
    local = datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(BERLIN)
    return local.weekday() < 5 and EVENING[0] <= local.hour * 60 + local.minute < EVENING[1]


def dn(login: str) -> str:
    """Return the name of a person, or of a group (`@name`), in the directory."""
    return f"cn={login[1:]},ou=groups" if login.startswith("@") else f"uid={login},ou=people"


def a_person(login: str, *, called: str | None = None, enabled: bool = True, number: str = "") -> DirectoryPerson:
    """Return somebody as the directory shows them: of another name, or another person of the same name."""
    return DirectoryPerson(f"id-{login}{number}", dn(called or login), login.upper(), enabled=enabled, login=login)


def a_group(name: str, members: tuple[str, ...]) -> DirectoryGroup:
    """Return a group as the directory shows it."""
    return DirectoryGroup(f"id-{name}", dn(f"@{name}"), name, frozenset(map(dn, members)))


class TownClock:
    """Before the world begins time stands still."""

    def now_ms(self) -> int:
        return START_MS - 1_000

    def monotonic_ns(self) -> int:
        return 0


class Town:
    """Stores and keys, made once; `reset` puts a copy of them into `world`, where one world plays after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "town"
        self._folder.mkdir(parents=True)
        self.world = folder / "world"
        # The engines of every program in `world`: what belongs to a program are its connections.
        self.stores = open_databases(f"sqlite:///{self.world}")
        self.other_stores = open_databases(f"sqlite:///{self.world}")
        with secrets_from("town"):
            self.masters = generate_masters()
            self.keys = SealedKeyStore(b"town" * 8, SYSTEM_ID, self.masters)
            self.references: dict[str, str] = {}
            self._build()

    def cards(self) -> dict[str, VirtualCard]:
        """Return fresh cards: one for each person, one that nobody knows, one that is locked from the beginning."""
        return {name: self._card(name) for name in (*PEOPLE, "unknown", "locked")}

    def reset(self) -> None:
        """Begin anew."""
        self.close()
        shutil.rmtree(self.world, ignore_errors=True)
        shutil.copytree(self._folder, self.world)

    def close(self) -> None:
        """Close the stores."""
        self.stores.close()
        self.other_stores.close()

    def _build(self) -> None:
        databases = open_databases(f"sqlite:///{self._folder}")
        upgrade(databases)
        copy = DirectoryCopy(
            databases.state, Followed(DIRECTORY), organisation=ORGANISATION, clock=TownClock(), publish=lambda: None
        )
        entries = [a_person(login) for login in PEOPLE] + [a_group(*group) for group in GROUPS.items()]
        copy.apply(DirectoryChange(upserts=tuple(entries), cookie="0", complete=True))
        with read(databases.state) as connection:
            number = connection.execute(sa.select(organisation.c.id)).scalar_one()
            rows = {row.login: row.id for row in connection.execute(sa.select(person.c.login, person.c.id))}
        apply(databases.state, number, _access())
        owners = {**{login: login for login in PEOPLE}, "locked": "p0"}
        new = [
            NewCard(
                number,
                rows[owner],
                (desfire_credential("door", _number(name)),),
                state=CardState.SUSPENDED if name == "locked" else CardState.ACTIVE,
                state_reason="missing" if name == "locked" else None,
            )
            for name, owner in owners.items()
        ]
        self.references = dict(zip(owners, register(databases.state, new), strict=True))
        for agent in AGENTS:
            self._enrol(Agents(databases.state, TownClock()), agent)
        databases.close()

    def _enrol(self, agents: Agents, agent: str) -> None:
        key = Ed25519PrivateKey.from_private_bytes(agent.encode().ljust(32, b"."))
        path = self._folder / f"{agent}.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path.chmod(0o600)
        agents.enrol(agent, key.public_key().public_bytes_raw().hex())

    def _master(self, purpose: str) -> bytes:
        (found,) = [master.key for master in self.masters if (master.use, master.purpose) == ("door", purpose)]
        return found

    def _card(self, name: str) -> VirtualCard:
        keys = UseKeys(
            DOOR_AID,
            self._master("application_master"),
            self._master("proof"),
            self._master("locate"),
            1,
            _number(name),
        )
        return VirtualCard(name, name, desfire=personalise_desfire(SYSTEM_ID, [keys]))


def _number(card: str) -> bytes:
    return card.encode().ljust(12, b"-")


def _access() -> AccessSetup:
    evening = ScheduleSetup("abend", "Abend", tuple(Interval(day, *EVENING) for day in range(5)))
    return AccessSetup(
        zones=[ZoneSetup("stadt", "Stadt")],
        schedules=[evening],
        point_classes=tuple(CLASSES.values()),
        points=[
            PointSetup(point.code, point.code, "stadt", point.kind, point.agent, point.reader)
            for point in POINTS.values()
        ],
        rules=[
            RuleSetup(
                group=right.group,
                login=right.login,
                point=right.point,
                schedule="abend" if right.evening else None,
                effect="block" if right.block else "grant",
            )
            for right in RIGHTS
        ],
    )
