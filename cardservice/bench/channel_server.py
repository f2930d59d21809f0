# SPDX-License-Identifier: EUPL-1.2
"""The server side of `bench channel`: what a tap runs through, put together as `serve` does, with a city of one rule.

`python -m cardservice.bench.channel_server FOLDER AGENTS`, or `… echo picows` and `… echo websockets` for a bare echo,
prints its port and serves until SIGTERM.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from cardservice.access.rules import (
    REFUSED,
    CardRecord,
    CompiledPeriod,
    Decision,
    Level,
    PointRecord,
    Reason,
    Use,
    Window,
)
from cardservice.access.snapshot import ShardedMap, Snapshot
from cardservice.agents.channel import Channel
from cardservice.agents.events import EventDesk
from cardservice.agents.hub import AgentHub
from cardservice.agents.live import LiveFeed
from cardservice.agents.messages import Refused
from cardservice.agents.proof import ATTESTED
from cardservice.agents.service import Agents
from cardservice.agents.session import Desks, Pace
from cardservice.agents.tap_services import TapServices
from cardservice.agents.taps import TapDesk
from cardservice.agents.wire import PATH, AgentWire
from cardservice.cards.keystore import SealedKeyStore, generate_masters
from cardservice.cards.rules import desfire_credential
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.clock import SystemClock
from cardservice.database import open_databases, upgrade
from cardservice.journal.service import Journal
from cardservice.metrics import Metrics
from cardservice.recorder import Recorder
from cardservice.server import MAX_CONNECTIONS, Server, listen, uvicorn_config
from cardservice.settings import ServiceSection

AGENT_SEED: Final = bytes(range(32))
POINT: Final = "door-"
PEOPLE: Final = 2_000
GROUP: Final = 1
CREDENTIALS: Final = tuple(f"{number:024x}" for number in range(1, PEOPLE + 1))


class StandingCity:
    """A snapshot that stands still, just read."""

    def __init__(self, agents: int) -> None:
        now_ms = SystemClock().now_ms()
        year_ms = 365 * 86_400_000
        window = Window(
            now_ms - year_ms, now_ms + year_ms, REFUSED[Reason.CARD_NOT_YET_VALID], REFUSED[Reason.CARD_EXPIRED]
        )
        # Every other person has the right.
        cards = [
            (
                desfire_credential(Use.DOOR, bytes.fromhex(number)),
                CardRecord(None, window, (GROUP + i % 2,), i + 1, i + 1),
            )
            for i, number in enumerate(CREDENTIALS)
        ]
        points = {f"{POINT}{number}": _point(number) for number in range(agents)}
        self.snapshot = Snapshot(1, ShardedMap.of(cards), points, CompiledPeriod(0, now_ms * 2))

    def age_ms(self) -> int:
        """It has just been read."""
        return 20


class StandingDirectory:
    """A copy that was proved a moment ago."""

    def age_ms_of(self, _person: int) -> int:
        """It has just been proved."""
        return 100

    def source(self) -> str:
        """Return what the journal says of it."""
        return "ldaps://directory.example syncrepl rid=000,csn=20261122000000.000000Z#000000#000#000000"


def _point(number: int) -> PointRecord:
    return PointRecord(
        code=f"{POINT}{number}",
        use=Use.DOOR,
        always=frozenset({GROUP}),
        timed=(),
        blocks=(),
        level=Level.READER_ATTESTED,
        timed_levels=(),
        freshness_ms=60_000,
        stale_permits=False,
        granted=Decision(permit=True, reason=Reason.GRANTED, open_ms=5_000),
        methods=(ATTESTED,),
        journal="full",
        agent=f"bench-{number}",
        reader="1",
    )


class Body(BaseModel):
    """What the no-op takes."""

    point: str
    number: str
    at_ms: int


def serve(folder: Path, agents: int) -> None:
    """Serve `agents` agents and the no-op until SIGTERM."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    databases = open_databases(f"sqlite:///{folder}")
    upgrade(databases)
    clock = SystemClock()
    enrolled = Agents(databases.state, clock)
    public_key = Ed25519PrivateKey.from_private_bytes(AGENT_SEED).public_key().public_bytes_raw().hex()
    for number in range(agents):
        enrolled.enrol(f"bench-{number}", public_key)
    keys = SealedKeyStore(bytes(32), b"BENCH", generate_masters())
    journal = Journal(lambda stream, purpose: keys.secret(f"journal {stream} {purpose}"))
    journal.begin_epoch(databases.record, clock.now_ms())
    recorder = Recorder(databases.record, (journal,))
    recorder.start()
    metrics, city = Metrics(), StandingCity(agents)
    services = TapServices(
        city=city,
        directory=StandingDirectory(),
        keys=keys,
        trust=CardAuthTrust(()),
        recorder=recorder,
        journal=journal,
        metrics=metrics,
        clock=clock,
    )
    # Every agent may ask as fast as it can: the pace of one door is not what is measured.
    pace = Pace(per_s=1_000_000, burst=1_000_000)
    hub = AgentHub(enrolled, Desks(TapDesk(services), EventDesk(services), LiveFeed(), metrics, clock, pace))
    hub.points_changed(city.snapshot)
    app = FastAPI()

    @app.post("/noop")
    async def noop(body: Body) -> dict[str, bool]:
        return {"ok": True}

    run_server(app, AgentWire(hub.serve, MAX_CONNECTIONS))
    recorder.stop()


def echo(library: str) -> None:
    """Echo every frame at the agents' address, through `picows` as agents are served, or through uvicorn's own way."""
    app = FastAPI()

    @app.websocket(PATH)
    async def through_asgi(socket: WebSocket) -> None:
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await socket.send_text(await socket.receive_text())

    async def through_picows(channel: Channel) -> None:
        echoed = Refused(code="protocol", message="x" * 100)
        channel.listen(lambda _frame: channel.send(echoed))
        await channel.until_lost()

    run_server(app, AgentWire(through_picows, MAX_CONNECTIONS) if library == "picows" else "websockets-sansio")


def run_server(app: FastAPI, websockets: Any) -> None:
    """Serve `app` as `serve` does, on a port of its own that is printed, until SIGTERM."""
    listener = listen("127.0.0.1", 0)
    server = Server(
        uvicorn_config(ServiceSection(port=0), app, websockets),
        when_ready=lambda: print(listener.getsockname()[1], flush=True),  # noqa: T201
        when_stopping=lambda: None,
    )
    server.run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(sys.argv[2])
    else:
        serve(Path(sys.argv[1]), int(sys.argv[2]))
