# SPDX-License-Identifier: EUPL-1.2
"""The server side of `bench rest`: taps over REST, put together as `serve` does, with a city of one rule.

`python -m cardservice.bench.rest_server FOLDER` prints its port and serves until SIGTERM. Beside the service's
application stands a FastAPI application of its own with nothing but `POST /noop`.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

from cardservice.access.rules import Level
from cardservice.access.snapshot import Snapshot
from cardservice.agents.rest_taps import PATH, RestTaps, taps_route
from cardservice.agents.tap_services import TapServices
from cardservice.agents.taps import TapDesk
from cardservice.authzen.api import EchoRequestId
from cardservice.bench.channel_server import StandingCity, StandingDirectory, run_server
from cardservice.cards.keystore import SealedKeyStore, generate_masters
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.clock import SystemClock
from cardservice.database import open_databases, upgrade
from cardservice.journal.service import Journal
from cardservice.metrics import Metrics
from cardservice.recorder import Recorder
from cardservice.web import problems
from cardservice.web.callers import Caller, Callers, digest
from cardservice.web.gate import Gate
from cardservice.web.hot_routes import InFront
from cardservice.web.limits import RequestLimits

# So many systems have an account; the one that taps is the last of them.
ACCOUNTS: Final = 16
TOKEN: Final = f"bench-token-{ACCOUNTS - 1}"
POINTS: Final = 64


class Body(BaseModel):
    """What the no-op takes: as much as a tap."""

    point: str
    number: str


def serve(folder: Path) -> None:
    """Serve both until SIGTERM."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    databases = open_databases(f"sqlite:///{folder}")
    upgrade(databases)
    clock = SystemClock()
    keys = SealedKeyStore(bytes(32), b"BENCH", generate_masters())
    journal = Journal(lambda stream, purpose: keys.secret(f"journal {stream} {purpose}"))
    journal.begin_epoch(databases.record, clock.now_ms())
    recorder = Recorder(databases.record, (journal,))
    recorder.start()
    city = StandingCity(POINTS)
    city.snapshot = _without_agents(city.snapshot)
    services = TapServices(
        city=city,
        directory=StandingDirectory(),
        keys=keys,
        trust=CardAuthTrust(()),
        recorder=recorder,
        journal=journal,
        metrics=Metrics(),
        clock=clock,
    )
    run_server(_Both(_service(TapDesk(services)), _noop()), "none")
    recorder.stop()


def _without_agents(snapshot: Snapshot) -> Snapshot:
    points = {code: replace(point, agent=None, level=Level.UID) for code, point in snapshot.points.items()}
    return snapshot.with_points(snapshot.revision, points, snapshot.compiled)


def _service(desk: TapDesk) -> ASGIApp:
    """Return what `app.py` builds, as far as a tap meets it."""
    accounts = [
        Caller(f"bench-{number}", digest(f"bench-token-{number}"), frozenset({"tap"})) for number in range(ACCOUNTS)
    ]
    app = FastAPI()
    problems.install(app)
    gate = Gate(Callers(accounts), lambda _reaches: None)
    app.router.routes.append(taps_route(gate))
    return InFront(app, (EchoRequestId, RequestLimits), {PATH: RestTaps(desk, gate)})


def _noop() -> FastAPI:
    app = FastAPI()

    @app.post("/noop")
    async def noop(body: Body) -> dict[str, bool]:
        return {"ok": True}

    return app


class _Both(FastAPI):
    """Two applications behind one socket."""

    def __init__(self, service: ASGIApp, noop: FastAPI) -> None:
        super().__init__()
        self._service = service
        self._noop = noop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the one it is for."""
        app = self._noop if scope["type"] == "http" and scope["path"] == "/noop" else self._service
        await app(scope, receive, send)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
