# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench unlock`: from the card at a PC's reader to what logind is told, and back.

One reader of a real pcscd with a PIV card that signs, a real agent, the real service that verifies, a bus with logind's
double on it. The clock starts when the driver hands the event to the agent (pcscd itself looks at its virtual reader
every 400 ms only) and stops when logind has the call; both clocks are the machine's monotonic one.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding

from cardservice.access.rules import Use
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, ZoneSetup, apply
from cardservice.agents.service import Agents
from cardservice.bench.city import (
    GROUP,
    BenchCity,
    DirectoryAddress,
    Plan,
    agent_code,
    card_id,
    embedded_directory,
    entries,
    login,
)
from cardservice.bench.city_figures import load_row, percentile, spread
from cardservice.bench.city_program import BenchError, Program
from cardservice.bench.report import Ratio, Report
from cardservice.cards.rules import piv_credential
from cardservice.cards.service import NewCard, register
from cardservice.chip.piv_certificate import issuer_key
from cardservice.clock import SystemClock
from cardservice.database import Databases, read
from cardservice.demo.processes import to_toml
from cardservice.people.store import organisation
from cardservice.people.store import person as person_table
from cardsim.certificates import Issuer, Order, card_authentication_slot, certificate_pem, key_pem, make_issuer
from cardsim.deck import save_deck
from readers.identity import Identity
from rig.process import RigProcess
from rig.sessions import Desk, DeskSession

LIBRARIES: Final = ("cryptography", "dbus-fast", "picows", "pyscard", "sqlalchemy", "uvloop", "websockets")
UNLOCK_P99_GOAL_MS: Final = 50.0
LOCK_P99_GOAL_MS: Final = 100.0
READER: Final = "Door 1 00 00"
SESSION: Final = DeskSession("c1", login(0))
_LIMIT_S: Final = 15.0
_LOOK_S: Final = 0.005
_POINT: Final = "pc000"
_CLASS: Final = PointClassSetup("pcs", "PCs", methods=("piv",), journal_mode="full")


@dataclass(frozen=True, slots=True)
class Size:
    """How many cards come and go; the first `warm_up` do not count."""

    warm_up: int = 3
    taps: int = 150


def run(size: Size = Size()) -> Report:  # frozen
    """Measure both ways.

    Raises:
        CardServiceError, RigError: a part of it does not run here; one sentence.
    """
    report = Report("unlock", libraries=LIBRARIES, rows=[load_row()])
    with tempfile.TemporaryDirectory(prefix="unlock-") as name, ExitStack() as stack:
        folder = Path(name)
        desk = stack.enter_context(Desk(folder / "desk", [SESSION], lockers=False))
        city = PcCity(folder / "city", Plan(people=1, agents=1, reader=READER))
        address = stack.enter_context(embedded_directory(folder, entries(city.plan)))
        stack.callback(city.stop)
        city.start(address)
        rig = stack.enter_context(
            RigProcess(folder / "rig", deck=city.deck_file, loader="cardsim.deck:load_deck", arguments=["--doors", "1"])
        )
        stack.callback(city.start_agent(rig, desk).stop)
        city.wait("the agent did not connect", lambda state: agent_code(0) in state.get("agents_online", ()))
        unlock_ms, lock_ms = _taps(rig, desk, city, size)
    report.rows += [
        spread("PC/SC event to UnlockSession at logind", unlock_ms, "ms"),
        spread("removal to LockSession at logind", lock_ms, "ms"),
    ]
    report.ratios += [
        Ratio("unlock p99, ms", percentile(unlock_ms, 0.99), UNLOCK_P99_GOAL_MS, at_least=False),
        Ratio("lock p99, ms", percentile(lock_ms, 0.99), LOCK_P99_GOAL_MS, at_least=False),
    ]
    return report


def _taps(rig: RigProcess, desk: Desk, city: "PcCity", size: Size) -> tuple[list[float], list[float]]:
    """Put the card in and take it out again; return both delays in milliseconds, without the warm-up's."""
    unlock_ms, lock_ms = [], []
    with rig.client() as hand:
        for number in range(size.warm_up + size.taps):
            hand.insert(card_id(0), READER)
            unlocked_ms = _delay_ms(desk, city.moments, 2 * number, "UnlockSession")
            hand.eject(READER)
            locked_ms = _delay_ms(desk, city.moments, 2 * number + 1, "LockSession")
            if number >= size.warm_up:
                unlock_ms.append(unlocked_ms)
                lock_ms.append(locked_ms)
    return unlock_ms, lock_ms


def _delay_ms(desk: Desk, moments: Path, number: int, member: str) -> float:
    """Return how long after its event logind's `number`-th call came, which must be `member`."""
    _until(lambda: len(desk.notes()) > number, f"logind was not told {member}")
    note = desk.notes()[number]
    if note.member != member:
        raise BenchError(f"logind was told {note.member} instead of {member}")
    event_us = int(moments.read_text("ascii").splitlines()[number].split()[0])
    return (note.at_us - event_us) / 1_000


def _until(done: Callable[[], bool], failed: str) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while not done():
        if time.monotonic() > deadline:
            raise BenchError(f"{failed} within {_LIMIT_S:.0f} s")
        threading.Event().wait(_LOOK_S)


class PcCity(BenchCity):
    """A city with one PC and one person, who holds a PIV card."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        super().__init__(folder, plan)
        self.moments = folder / "moments"
        self._uuid = UUID(int=7, version=4)
        today = datetime.now(UTC)
        self._issuer = make_issuer("CA of the measurement", today - timedelta(days=30))
        save_deck([_piv_card(self._issuer, self._uuid, today)], self.deck_file)

    def start_agent(self, rig: RigProcess, desk: Desk) -> Program:
        """Start the PC's agent.

        Raises:
            BenchError: it ended at once.
        """
        config = self.folder / "agent.toml"
        config.write_text(
            to_toml(
                {
                    "": {
                        "agent": agent_code(0),
                        "centre_url": self.agents_url,
                        "key_file": str(self.key_file(0)),
                        "outbox_file": str(self.folder / "agent.outbox"),
                        "pcsc_socket": rig.pcsc_socket or "",
                    }
                }
            ),
            "utf-8",
        )
        places = ("--config", str(config), "--moments", str(self.moments), "--bus", desk.bus_address)
        module = ("-m", "cardservice.bench.unlock_agent")
        return Program("agent", (*module, *places), self.folder / "agent.log")

    def _configure(self, directory: DirectoryAddress) -> Path:
        config = super()._configure(directory)
        authority = self.folder / "piv-ca.pem"
        authority.write_bytes(self._issuer.certificate.public_bytes(Encoding.PEM))
        with config.open("a", encoding="utf-8") as file:
            file.write(to_toml({"piv": {"trusted_ca_files": [str(authority)]}}))
        return config

    def _settle(self, databases: Databases) -> None:
        """Bring in the PC, its holder's card and its agent by the ordinary use cases."""
        with read(databases.state) as connection:
            city = connection.execute(sa.select(organisation.c.id)).scalar_one()
            holder = connection.execute(
                sa.select(person_table.c.id).where(person_table.c.login == SESSION.user)
            ).scalar_one()
        point = PointSetup(_POINT, _POINT, "city", _CLASS.code, agent_code(0), READER, Use.WORKSTATION)
        zones, rules = [ZoneSetup("city", "City")], [RuleSetup(group=GROUP, zone="city")]
        apply(databases.state, city, AccessSetup(zones=zones, point_classes=[_CLASS], points=[point], rules=rules))
        credential = piv_credential(issuer_key(self._issuer.certificate), self._uuid.bytes)
        register(databases.state, [NewCard(city, holder, (credential,))])
        key = Identity.create(self.key_file(0)).public_key_hex()
        Agents(databases.state, SystemClock()).enrol(agent_code(0), key)


def _piv_card(issuer: Issuer, uuid: UUID, today: datetime) -> dict[str, object]:
    slot = card_authentication_slot(Order(issuer, today - timedelta(days=1), 365), uuid)
    return {
        "card_id": card_id(0),
        "label": card_id(0),
        "piv": {
            "card_uuid": str(uuid),
            "pin": "123456",
            "puk": "12345678",
            "slots": {"9E": {"key": key_pem(slot), "certificate": certificate_pem(slot)}},
        },
        "piv_contactless": True,
    }
