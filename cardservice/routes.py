# SPDX-License-Identifier: EUPL-1.2
"""The routers of the service put together, REST and pages: a new one is added here."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter

from cardservice import parts
from cardservice.access.explain.api import explain_router
from cardservice.access.explain.pages import explain_page
from cardservice.access.explain.record import Lookups
from cardservice.access.explain.service import Explainer
from cardservice.access.own.service import OwnPoints
from cardservice.access.plan.api import plan_router
from cardservice.access.plan.service import Plans
from cardservice.access.review.api import reviews_router
from cardservice.access.review.record import through_recorder
from cardservice.access.review.service import Reviews
from cardservice.access.rules import PointRecord, Use
from cardservice.access.service import City, house_rules
from cardservice.access.store import zone_numbers
from cardservice.agents.hub import AgentHub
from cardservice.agents.live import LiveFeed
from cardservice.agents.live_taps import LiveTaps
from cardservice.audit.service import AuditTrail
from cardservice.authzen.api import AuthZen, authzen_router
from cardservice.authzen.service import Detailed, Evaluations, Evaluator
from cardservice.authzen.subjects import Subjects
from cardservice.canteen.api import CanteenApi, canteen_router
from cardservice.canteen.pages import wallet_page
from cardservice.canteen.service import Canteen
from cardservice.canteen.tills import CanteenPlace
from cardservice.canteen.wallet import WalletView, view_wallet
from cardservice.cards.bulk.worker import BatchWorker
from cardservice.cards.encoding.bench import EncodingBench
from cardservice.cards.encoding.wiring import encoding_routers
from cardservice.cards.keys.upkeep import KeyUpkeep
from cardservice.cards.pin.service import Pins
from cardservice.cards.pki.wiring import PkiParts, pki_routers
from cardservice.clock import Clock
from cardservice.database import Databases
from cardservice.doors.api import doors_router
from cardservice.doors.pages import doors_page
from cardservice.doors.service import Doors
from cardservice.journal.audit import keeps_steps
from cardservice.journal.service import Journal
from cardservice.operating import Operating, operating_routers
from cardservice.people.api import directory_router
from cardservice.people.directories import Directories
from cardservice.people.directory_desk import Check
from cardservice.people.holds.service import HoldDesk
from cardservice.people.lookup import person_by_personnel_number
from cardservice.people.movers.service import MoverDesk
from cardservice.people.outsiders.rules import Bounds
from cardservice.people.ports import PhotoDirectory
from cardservice.places import OPTION_RULES
from cardservice.printing.pages import waiting_page
from cardservice.printing.ports import Spooler
from cardservice.recorder import Recorder
from cardservice.resources import (
    Oversight,
    OwnData,
    Surroundings,
    oversight_routers,
    own_data_routers,
    resource_routers,
)
from cardservice.retention.service import Retention
from cardservice.server import Front
from cardservice.settings import Settings
from cardservice.timeclock.pages import time_pages
from cardservice.timeclock.service import TimeSheets
from cardservice.vitals import Vitals
from cardservice.watching import Watched, watching_routers
from cardservice.web.accounts.api import accounts_router
from cardservice.web.accounts.book import AccountBook
from cardservice.web.accounts.pages import accounts_pages
from cardservice.web.gate import Gate, PointsWithin
from cardservice.web.home import home_page
from cardservice.web.pages import Pages
from cardservice.web.streams import Streams
from cardservice.webhooks.api import webhooks_router
from cardservice.webhooks.service import Webhooks
from cardservice.workstations.pages import workstations_page

_PAGE_FOLDERS = (
    "cardservice.web.accounts",
    *("cardservice.live", "cardservice.doors"),
    *("cardservice.cards", "cardservice.cards.pki", "cardservice.people.outsiders", "cardservice.cards.encoding"),
    *("cardservice.access.explain", "cardservice.access.model"),
    "cardservice.timeclock",
    "cardservice.canteen",
    "cardservice.printing",
    *("cardservice.mycard", "cardservice.retention"),
    *("cardservice.approvals", "cardservice.audit"),
    *("cardservice.agents", "cardservice.people", "cardservice.running"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The parts of a started service that its routes stand on.

    `secret` returns one of the key store, by its purpose. `age_ms_of` says how old what taps of a person are decided
    by is.
    """

    settings: Settings
    databases: Databases
    secret: Callable[[str], bytes]
    keys: KeyUpkeep
    clock: Clock
    city: City
    directory: Directories
    recorder: Recorder
    journal: Journal
    hub: AgentHub
    front: Front
    vitals: Vitals
    streams: Streams
    feed: LiveFeed
    live_taps: LiveTaps
    age_ms_of: Callable[[int], int]
    points_within: PointsWithin
    subjects: Subjects
    accounts: AccountBook
    outsider_bounds: Bounds
    retention: Retention
    webhooks: Webhooks
    check_directory: Check
    doors: Doors
    canteen: Canteen
    till_desk: CanteenPlace
    spooler: Spooler | None
    print_account_of: Callable[[int], str | None]
    pki: PkiParts
    encoding: EncodingBench
    batches: BatchWorker
    photos: Mapping[str, PhotoDirectory]
    pins: Pins

    def lookups(self) -> Lookups:
        """Return what keeps who looked at whom."""
        return Lookups(self.recorder, self.journal, self.clock)

    def pseudonyms(self, use: str) -> Callable[[], bytes]:
        """Return the secret that the people of one use are named with."""
        return partial(self.secret, f"{use} pseudonym")

    def point_of(self, code: str) -> PointRecord | None:
        """Return a point as taps find it now."""
        return self.city.snapshot.point(code)


def shell(*, printing: bool) -> Pages:
    """Return the pages' shell with the templates of every folder that has pages."""
    return Pages(*_PAGE_FOLDERS, absent=() if printing else ("/my/printing",))


def routers(service: Assembly, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """Yield every router behind the gate."""
    yield from _decision_routers(service, gate, pages)
    yield from _management_routers(service, gate, pages)
    yield from _place_routers(service, gate, pages)
    yield home_page(gate, pages)


def _decision_routers(service: Assembly, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """What is decided and why: explained, tried, asked for by other systems."""
    state, clock, lookups = service.databases.state, service.clock, service.lookups()
    yield plan_router(Plans(state, clock, OPTION_RULES), lookups, gate)
    explainer = Explainer(state, clock, service.age_ms_of, house_rules(service.settings.access))
    yield explain_router(explainer, lookups, gate)
    yield explain_page(explainer, lookups, gate, pages)
    evaluator = Evaluator(service.city, service.subjects, clock, service.age_ms_of)
    kept = Evaluations(service.recorder, service.journal, clock)
    authzen = AuthZen(evaluator, Detailed(explainer), kept, lambda: service.city.snapshot)
    yield authzen_router(authzen, gate, behind_tls_proxy=service.settings.sign_in.behind_tls_proxy)


def _management_routers(service: Assembly, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """What administrators and systems of theirs work with."""
    state, clock, lookups = service.databases.state, service.clock, service.lookups()
    keep = through_recorder(service.recorder, service.journal, clock)
    around = Surroundings(
        service.databases,
        clock,
        keep,
        lookups.look,
        service.city.catch_up,
        service.directory.statuses,
        service.outsider_bounds,
        service.streams,
        service.batches.wake,
        service.photos,
        service.pins,
    )
    yield webhooks_router(service.webhooks, gate)
    yield from pki_routers(service.pki, gate, pages, lookups.look)
    yield from resource_routers(around, gate, pages)
    yield from encoding_routers(service.encoding, (state, clock, zone_numbers), service.streams, gate, pages)
    yield from watching_routers(_watched(service), gate, pages)
    trail = AuditTrail(service.databases, service.secret, service.journal, clock)
    steps = keeps_steps(service.recorder, service.journal, clock)
    yield from oversight_routers(around, Oversight(trail, steps, lookups.look_all, service.keys), gate, pages)
    operating = Operating(
        service.databases,
        service.vitals,
        service.hub,
        service.front,
        lookups.look,
        service.check_directory,
        lambda: service.keys.status,
    )
    yield from operating_routers(operating, gate, pages)
    yield reviews_router(Reviews(state, clock, keep, service.city.catch_up), gate)
    accounts = service.accounts.desk(service.city.catch_up)
    yield accounts_router(accounts, gate)
    yield accounts_pages(accounts, gate, pages)
    holds = HoldDesk(state, clock, service.directory.look)
    yield directory_router(holds, MoverDesk(state, service.directory.look), gate)
    yield from own_data_routers(around, _own_data(service), gate, pages)


def _watched(service: Assembly) -> Watched:
    return Watched(
        feed=service.feed,
        taps=service.live_taps,
        doors=service.doors,
        streams=service.streams,
        snapshot=lambda: service.city.snapshot,
        points_within=service.points_within,
        state=service.databases.state,
        clock=service.clock,
        everything=service.settings.demonstration,
    )


def _own_data(service: Assembly) -> OwnData:
    said, whom = parts.retention(service.settings), parts.contacts(service.settings)
    return OwnData(service.retention, said, whom, service.secret, service.journal, printing=service.spooler is not None)


def _place_routers(service: Assembly, gate: Gate, pages: Pages) -> Iterator[APIRouter]:
    """The places of use: what systems book there, and what everybody sees of their own."""
    databases, clock = service.databases, service.clock

    async def person_of(number: str) -> int | None:
        return await asyncio.to_thread(person_by_personnel_number, databases.state, number)

    def wallet_view(person: int, limit: int) -> WalletView:
        return view_wallet(databases.record, service.till_desk.wallet_of(person), limit)

    canteen = CanteenApi(service.till_desk, service.canteen, service.recorder, clock, service.point_of, person_of)
    yield canteen_router(canteen, gate)
    yield wallet_page(wallet_view, gate, pages)
    yield doors_router(service.doors, gate)
    yield time_pages(TimeSheets(databases.record, service.pseudonyms("timeclock"), clock), gate, pages)
    own = OwnPoints(service.city, databases.state, clock, service.age_ms_of)
    yield doors_page(partial(own.view, Use.DOOR), gate, pages)
    yield workstations_page(partial(own.view, Use.WORKSTATION), service.directory.login_of, gate, pages)
    if service.spooler is not None:
        yield waiting_page(service.spooler, service.print_account_of, gate, pages)
