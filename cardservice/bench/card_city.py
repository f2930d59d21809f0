# SPDX-License-Identifier: EUPL-1.2
"""A city in which cards of both kinds are read with the keys at the centre, while others are read with keys at hand.

One agent with two readers of a real pcscd, the real service: the time is the service's own, from the first command of a
conversation to its proof. Cards for the local reads and the echo card lie in other readers of the same pcscd.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding

from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, ZoneSetup, apply
from cardservice.agents.service import Agents
from cardservice.bench.city import (
    GROUP,
    BenchCity,
    DirectoryAddress,
    Plan,
    agent_code,
    card_id,
    desfire_card,
    embedded_directory,
    entries,
    login,
)
from cardservice.bench.city_program import BenchError, Program
from cardservice.bench.tap_echo import ECHO_CARD
from cardservice.bench.tap_reader import Feed, running_agent
from cardservice.cards.rules import desfire_credential, piv_credential
from cardservice.cards.service import NewCard, register
from cardservice.chip.piv_certificate import issuer_key
from cardservice.clock import SystemClock
from cardservice.database import Databases, read
from cardservice.demo.processes import to_toml
from cardservice.people.store import organisation
from cardservice.people.store import person as person_table
from cardsim.certificates import Issuer, Order, card_authentication_slot, certificate_pem, key_pem, make_issuer
from cardsim.deck import save_deck
from city import seed
from readers.identity import Identity
from rig.control import RigClient
from rig.process import RigProcess

# Kind of card -> the reader with the keys at the centre, the reader with the keys at hand, its cards: two that come
# and go, and one that stays.
READERS: Final = {"desfire": ("Door 1 00 00", "Door 2 00 00"), "piv": ("Door 1 00 01", "Door 2 00 01")}
CARDS: Final = {"desfire": (0, 1, 2), "piv": (3, 4, 5)}
ECHO_READER: Final = "Door 3 00 00"
PEOPLE: Final = 6
# Written for every tap, as in the other measurements; answered however long the machine takes.
_CLASSES: Final = (
    PointClassSetup("desfire", "DESFire", methods=("desfire",), journal_mode="full", answer_budget_ms=2_000),
    PointClassSetup("piv", "PIV", methods=("piv",), journal_mode="full", answer_budget_ms=2_000),
)


@dataclass(frozen=True, slots=True)
class MeasuredRead:
    """One relayed read, one local read and their floors, in microseconds."""

    relayed_us: float
    local_us: float
    apdus_us: float
    websocket_us: float
    crypto_us: float


class CardCity(BenchCity):
    """A city with one agent, a point for each kind of card, and six people with a card each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Plan(people=PEOPLE, agents=1))
        self.authority = folder / "piv-ca.pem"
        today = datetime.now(UTC)
        self._issuer = make_issuer("CA of the measurement", today - timedelta(days=30))
        self.authority.write_bytes(self._issuer.certificate.public_bytes(Encoding.PEM))
        described = [desfire_card(number) for number in CARDS["desfire"]]
        described += [_piv_card(self._issuer, number, today) for number in CARDS["piv"]]
        save_deck(described, self.deck_file)

    def _configure(self, directory: DirectoryAddress) -> Path:
        config = super()._configure(directory)
        with config.open("a", encoding="utf-8") as file:
            file.write(to_toml({"piv": {"trusted_ca_files": [str(self.authority)]}}))
        return config

    def _settle(self, databases: Databases) -> None:
        """Bring in both points, the cards and the agent by the ordinary use cases."""
        with read(databases.state) as connection:
            city = connection.execute(sa.select(organisation.c.id)).scalar_one()
            rows = {row.login: row.id for row in connection.execute(sa.select(person_table.c.login, person_table.c.id))}
        points = [
            PointSetup(kind, kind, "city", kind, agent_code(0), relayed) for kind, (relayed, _) in READERS.items()
        ]
        zones, rules = [ZoneSetup("city", "City")], [RuleSetup(group=GROUP, zone="city")]
        apply(databases.state, city, AccessSetup(zones=zones, point_classes=list(_CLASSES), points=points, rules=rules))
        register(
            databases.state,
            [NewCard(city, rows[login(number)], (self._credential(number),)) for number in range(PEOPLE)],
        )
        key = Identity.create(self.key_file(0)).public_key_hex()
        Agents(databases.state, SystemClock()).enrol(agent_code(0), key)

    def _credential(self, number: int) -> bytes:
        if number in CARDS["desfire"]:
            return desfire_credential("door", seed.number(card_id(number), "door"))
        return piv_credential(issuer_key(self._issuer.certificate), _uuid(number).bytes)


class CardRig:
    """Everything runs: cards can be read."""

    def __init__(self, hand: RigClient, feed: Feed, local: Program, shapes: Mapping[str, Mapping[str, int]]) -> None:
        self._hand, self._feed, self._local = hand, feed, local
        self._taps = dict.fromkeys(READERS, 0)
        self.shapes = shapes

    def read(self, kind: str) -> MeasuredRead:
        """Have one card of a kind read at the centre, then one at hand, then measure the floors.

        Raises:
            BenchError: the card was not read as it must be.
        """
        # Two cards in turn: the one that comes in is another than the one pcscd saw going.
        number = self._taps[kind]
        self._taps[kind] += 1
        come = self._hand.swap if number else self._hand.insert
        come(card_id(CARDS[kind][number % 2]), READERS[kind][0])
        told, event = self._feed.tap()
        if told is None or not told["permit"]:
            raise BenchError(f"a card was not read: {event['outcome']}, {told and told['reason']}")
        stages = told["stages_us"]
        return MeasuredRead(relayed_us=stages["relay"] + stages["crypto"], **self._local.ask(kind))


@contextmanager
def running_cards(folder: Path) -> Iterator[CardRig]:
    """Run a city, an agent, pcscd and the program that reads with the keys at hand, while the context lasts.

    Raises:
        RigError: there is no pcscd, or it cannot be used; one sentence.
        CardServiceError: a part did not start.
    """
    with ExitStack() as stack:
        city = CardCity(folder / "city")
        address = stack.enter_context(embedded_directory(folder, entries(city.plan)))
        stack.callback(city.stop)
        city.start(address)
        loader = "cardservice.bench.tap_echo:load_deck_and_echo"
        rig = stack.enter_context(
            RigProcess(folder / "rig", deck=city.deck_file, loader=loader, arguments=["--doors", "3"])
        )
        hand = stack.enter_context(rig.client())
        hand.insert(ECHO_CARD, ECHO_READER)
        for kind, (_, local) in READERS.items():
            hand.insert(card_id(CARDS[kind][-1]), local)
        feed = Feed(city)
        stack.callback(feed.stop)
        socket = rig.pcsc_socket or ""
        stack.enter_context(running_agent(city, socket))
        feed.next(_has_both_readers)
        program = stack.enter_context(_local_reads(city, socket))
        yield CardRig(hand, feed, program, program.ready()["shapes"])


def _has_both_readers(event: Mapping[str, Any]) -> bool:
    wanted = {relayed for relayed, _ in READERS.values()}
    return event["kind"] == "agent" and wanted <= {one["reader"] for one in event["readers"]}


@contextmanager
def _local_reads(city: CardCity, pcsc_socket: str) -> Iterator[Program]:
    """Run the program of the local reads and the other end of its WebSocket."""
    echo = Program("echo", ("-m", "cardservice.bench.floors", "echo"), city.folder / "echo.log")
    try:
        where = ("--pcsc-socket", pcsc_socket, "--url", echo.ready()["url"])
        files = ("--deck", str(city.deck_file), "--authority", str(city.authority))
        readers = ("--readers", *(local for _, local in READERS.values()), ECHO_READER)
        cards = ("--cards", *(card_id(numbers[-1]) for numbers in CARDS.values()))
        module = ("-m", "cardservice.bench.card_reads")
        program = Program("reads", (*module, *where, *files, *readers, *cards), city.folder / "reads.log")
        try:
            yield program
        finally:
            program.stop()
    finally:
        echo.stop()


def _uuid(number: int) -> UUID:
    return UUID(int=number + 1, version=4)


def _piv_card(issuer: Issuer, number: int, today: datetime) -> dict[str, object]:
    slot = card_authentication_slot(Order(issuer, today - timedelta(days=1), 365), _uuid(number))
    return {
        "card_id": card_id(number),
        "label": card_id(number),
        "piv": {
            "card_uuid": str(_uuid(number)),
            "pin": "123456",
            "puk": "12345678",
            "slots": {"9E": {"key": key_pem(slot), "certificate": certificate_pem(slot)}},
        },
        "piv_contactless": True,
    }
