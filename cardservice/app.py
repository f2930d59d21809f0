# SPDX-License-Identifier: EUPL-1.2
"""The composition root: the one file that sees everything and puts the service together."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp

from cardservice import __version__, parts
from cardservice.access.review.reminder import Reminder
from cardservice.access.rules import PointRecord
from cardservice.access.service import City, house_rules
from cardservice.access.whereabouts import PointMap
from cardservice.agents.events import EventDesk
from cardservice.agents.hub import AgentHub
from cardservice.agents.live import LiveFeed
from cardservice.agents.messages import Prompt
from cardservice.agents.pins import PinDesk
from cardservice.agents.places import Place
from cardservice.agents.rest_taps import PATH as TAPS
from cardservice.agents.rest_taps import RestTaps, taps_route
from cardservice.agents.service import Agents
from cardservice.agents.session import Desks
from cardservice.agents.tap_services import TapServices
from cardservice.agents.taps import TapDesk
from cardservice.agents.wire import AgentWire
from cardservice.authzen.api import EchoRequestId
from cardservice.authzen.subjects import Subjects
from cardservice.canteen.service import Canteen
from cardservice.canteen.tills import CanteenPlace
from cardservice.cards.bulk.worker import BatchWorker
from cardservice.cards.encoding.bench import EncodingBench
from cardservice.cards.encoding.works import CardKeys
from cardservice.cards.keys.upkeep import KeyUpkeep
from cardservice.cards.life.both_cards import BothCards
from cardservice.cards.pin.leavers import Leavers
from cardservice.cards.pin.service import Pins, pepper_of
from cardservice.cards.pki.wiring import PkiParts
from cardservice.changes import ChangeKind
from cardservice.claim import claim
from cardservice.clock import UNKNOWN_AGE_MS, Clock, SystemClock
from cardservice.database import open_databases, read, require_head, require_writable
from cardservice.doors.service import Doors, DoorServices
from cardservice.errors import CardServiceError, DatabaseUnavailable, SettingsError
from cardservice.follower import ChangeFollower
from cardservice.journal.audit import keeps_traces
from cardservice.journal.service import Journal
from cardservice.journal.sign_ins import SignIns
from cardservice.ledger.service import Ledger
from cardservice.metrics import Metrics
from cardservice.people import store as people_store
from cardservice.people.census import Followed
from cardservice.people.directories import Directories, open_copies
from cardservice.people.live import LivePeople
from cardservice.people.lookup import groups_called
from cardservice.people.outsiders.upkeep import Upkeep
from cardservice.people.web_sessions import WebSessions
from cardservice.printing.place import PrintPlace, QueuesOfPoints
from cardservice.printing.ports import Spooler
from cardservice.printing.service import PrintRelease
from cardservice.recorder import Recorder
from cardservice.retention.keeper import Keeper
from cardservice.retention.service import Hands
from cardservice.routes import Assembly, routers, shell
from cardservice.server import MAX_CONNECTIONS, SHUTDOWN_S, Beside, Front, Server, listen, uvicorn_config
from cardservice.settings import Settings
from cardservice.settings_check import contradictions
from cardservice.supervisor import READY, STOPPING, Supervisor
from cardservice.timeclock.place import TimeClock
from cardservice.vitals import Vitals
from cardservice.web import described, login, problems
from cardservice.web.accounts.book import AccountBook
from cardservice.web.docs_page import docs_page
from cardservice.web.gate import Gate
from cardservice.web.health import health_router
from cardservice.web.hot_routes import InFront
from cardservice.web.hsts import Hsts
from cardservice.web.limits import RequestLimits
from cardservice.web.login import Entrance, login_router
from cardservice.web.login_devices import Devices
from cardservice.web.login_paths import OIDC
from cardservice.web.oidc_pages import oidc_router
from cardservice.web.pages import Pages
from cardservice.web.refusals import RefusalPages
from cardservice.web.roles import RoleBook
from cardservice.web.session import SessionDesk
from cardservice.web.signin import SignIn
from cardservice.web.streams import Streams
from cardservice.webhooks.conditions import lasting
from cardservice.webhooks.courier import Carriage, Courier
from cardservice.webhooks.outgoing import Sender
from cardservice.webhooks.ports import Condition
from cardservice.webhooks.service import Webhooks, secret_box
from cardservice.webhooks.service import targets as webhook_targets
from cardservice.webhooks.sources import Sources
from cardservice.workstations.place import WorkstationPlace
from integrations.ldap.live import LiveReader

_log = structlog.get_logger()


class Service:
    """The running service: stores, city, directory, recorder, agents.

    `start` refuses to run on anything it cannot rely on; `stop` writes what waits and ends every thread.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        found = contradictions(settings)
        if found:
            raise SettingsError("\n".join(found))
        self._settings = settings
        self._clock = clock or SystemClock()
        self.metrics = Metrics()
        self.live = LiveFeed()
        self.streams = Streams(self.metrics.live_streams)
        key_file = parts.key_file(settings)
        self._keys = key_file.load()
        self._ldap = {
            section.name: parts.ldap_settings(section, key) for key, section in settings.all_directories().items()
        }
        self._sources = {name: parts.directory_source(name, found) for name, found in self._ldap.items()}
        self._followed = [
            Followed(section.name, parts.movers(section, key)) for key, section in settings.all_directories().items()
        ]
        self._databases = open_databases(settings.database.url)
        self._ledger = Ledger(self._clock)
        self._canteen = Canteen(self._ledger)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_directory = threading.Event()
        self._claim: Callable[[], None] | None = None
        self._reminder = Reminder(self._databases.state, self._clock)
        self.metrics.registry.register(self._reminder)
        self._front = Front(settings.service, settings.api)
        self._front.register(self.metrics.registry)
        self._leavers = Leavers(self._databases.state, self._clock)
        self._batches = BatchWorker(self._databases.state, self._clock)
        self._key_upkeep = KeyUpkeep(self._databases.state, self._keys, key_file, self._clock)
        self.metrics.registry.register(self._key_upkeep)
        self._pki = PkiParts(
            self._databases.state,
            parts.authorities(settings),
            parts.pki_rules(settings),
            self._clock,
            parts.outside_authorities(settings),
        )
        self._pki.register(self.metrics.registry)
        self._outsiders = Upkeep(self._databases.state, self._clock, parts.outsider_bounds(settings.outsiders))
        self._point_map = PointMap(self._databases.state)
        self._subjects = Subjects(self._databases.state)
        self._webhook_targets = webhook_targets(settings.webhooks)
        find_groups = partial(groups_called, self._databases.state)
        self._roles = RoleBook(parts.role_rules(settings), find_groups, self._clock)
        self._accounts = AccountBook(
            self._databases.state, self._clock, parts.callers(settings), self._front.authorities
        )
        self.metrics.registry.register(self._accounts)
        house = house_rules(settings.access)
        self.city = City(self._databases.state, self._clock, self._on_change, house, self._on_ended)

    def start(self) -> None:
        """Check the stores, compile the city, start the threads.

        Raises:
            CardServiceError: anything that would make an answer unreliable, in one sentence.
        """
        require_head(self._databases)
        require_writable(self._databases)
        self._claim = claim(self._databases)
        self.city.build()
        self._reminder.refresh()
        self._point_map.refresh()
        self._accounts.refresh()
        organisation = self._settings.organisation
        copies = open_copies(
            self._databases.state,
            self._followed,
            organisation=(organisation.code, organisation.name),
            clock=self._clock,
            publish=self.city.catch_up,
        )
        self._outsiders.start()
        self.directory = Directories(copies, self._outsiders.book)
        if self.directory.age_ms() < UNKNOWN_AGE_MS:
            # Before the first reading no group is known, and nothing is wrong with that.
            self._roles.refresh()
        self._journal = Journal(lambda stream, purpose: self._keys.secret(f"journal {stream} {purpose}"))
        self._journal.begin_epoch(self._databases.record, self._clock.now_ms())
        self.recorder = Recorder(self._databases.record, (self._journal, self._ledger))
        self.recorder.start()
        record = (self.recorder, self._journal, self._ledger)
        hands = Hands(self._databases, *record, self._pseudonyms("canteen"), self._clock)
        self._keeper = Keeper(hands, self._settings.retention)
        self._keeper.start(self.metrics.registry)
        self._follower = ChangeFollower(self._databases.state, self.city)
        self._follower.start()
        self._leavers.start()
        self._batches.start()
        self._key_upkeep.start()
        self._pki.publisher.start()
        self.directory.start()
        self._directory_threads = [
            threading.Thread(
                target=self._sources[copy.name].run,
                args=(copy, self._stop_directory),
                name=f"directory {copy.name}",
                daemon=True,
            )
            for copy in copies
        ]
        for thread in self._directory_threads:
            thread.start()

    def stop(self) -> None:
        """Stop following, write what waits, close the stores."""
        self._stop_directory.set()
        self._follower.stop()
        for thread in self._directory_threads:
            thread.join(timeout=SHUTDOWN_S)
        self.directory.stop()
        self._leavers.stop()
        self._batches.stop()
        self._key_upkeep.stop()
        self._pki.close()
        self._outsiders.stop()
        self._keeper.stop()
        self.recorder.stop()
        if self._claim is not None:
            self._claim()
        self._accounts.close()
        self._databases.close()

    def _dead_threads(self) -> list[str]:
        alive = {
            "recorder": self.recorder.alive,
            "follower": self._follower.alive,
            "directory requests": self.directory.alive,
            **{thread.name: thread.is_alive() for thread in self._directory_threads},
        }
        return [name for name, lives in alive.items() if not lives]

    def is_well(self) -> bool:
        """Tell whether everything runs that has to; if not, only a restart helps."""
        return not self._dead_threads()

    def server(self, *, on_ready: Callable[[], None], beside: tuple[Callable[[], Beside], ...] = ()) -> Server:
        """Return the HTTP server of a started service; `on_ready` is called once it answers.

        Raises:
            SettingsError: certificate or key cannot be used.
        """
        app = self._asgi()
        wire = AgentWire(self._hub.serve, MAX_CONNECTIONS)
        config = uvicorn_config(self._settings.service, app, wire, self._front.certificate, self._front.authorities)
        beside = (*beside, *self._front.beside)
        return Server(config, when_ready=on_ready, when_stopping=self.streams.close, beside=beside)

    def _asgi(self) -> ASGIApp:
        self._till_desk = self._canteen_place()
        places: list[Place] = [
            TimeClock(self._pseudonyms("timeclock"), self._clock),
            self._till_desk,
            WorkstationPlace(self.directory.login_of),
        ]
        self._spooler = parts.spooler(self._settings.printing)
        self._printing = None if self._spooler is None else self._print_place(self._spooler)
        if self._printing is not None:
            places.append(self._printing)
        self._pins = Pins(self._databases.state, pepper_of(self._keys), self._clock)
        self._pin_desk = PinDesk(self._pins)
        readers = {name: LiveReader(found) for name, found in self._ldap.items()}
        self._people_now = LivePeople(self._databases.state, readers)
        taps = TapServices(
            city=self.city,
            directory=self.directory,
            keys=self._keys,
            trust=parts.trust(self._settings.piv.trusted_ca_files, self.city.knows),
            recorder=self.recorder,
            journal=self._journal,
            metrics=self.metrics,
            clock=self._clock,
            places={place.use: place for place in places},
            pins=self._pin_desk,
            hand_backs=BothCards(self._databases.state, self._clock, self.city.catch_up),
            people_now=self._people_now,
            proved=self._key_upkeep.proved,
        )
        self._events = EventDesk(taps)
        self._taps = TapDesk(taps)
        self._age_ms_of, self._live_taps = taps.age_ms_of, taps.live
        desks = Desks(self._taps, self._events, self.live, self.metrics, self._clock)
        self._hub = AgentHub(Agents(self._databases.state, self._clock), desks, self._prompts_of)
        self._encoding = EncodingBench(
            self._databases.state, CardKeys(self._keys, taps.trust), self._clock, self._hub.encoders, self.city.catch_up
        )
        passwords = parts.passwords(self._databases.state, self._clock, self._ldap)
        self._sign_in = SignIn(passwords, self._clock, parts.login_limits(self._settings.sign_in))
        self._doors = Doors(
            DoorServices(self.city, self._hub, self.recorder, self._journal, self._clock, self._databases.state)
        )
        self._courier = self._make_courier()
        app = FastAPI(
            title="One card",
            version=__version__,
            lifespan=self._lifespan,
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
        )
        vitals = self._vitals()
        app.include_router(health_router(vitals.health, self.metrics))
        problems.install(app)
        pages = shell(printing=self._spooler is not None)
        pages.install(app)
        sessions = SessionDesk(
            WebSessions(self._databases.state), self._roles, self._clock, parts.session_limits(self._settings.sign_in)
        )
        self._add_login(app, pages, sessions)
        traces = keeps_traces(self.recorder, self._journal, self._clock)
        gate = Gate(self._accounts.callers, self._point_map.within, sessions, traces)
        app.router.routes.append(taps_route(gate))
        for router in routers(self._assembly(vitals), gate, pages):
            app.include_router(router)
        app.include_router(docs_page(described.install(app), pages))
        return RefusalPages(InFront(app, self._layers(), {TAPS: RestTaps(self._taps, gate)}), pages)

    def _layers(self) -> list[Callable[[ASGIApp], ASGIApp]]:
        """Return what stands around every route, the outermost first."""
        by_tls = self._settings.service.tls_certificate or self._settings.sign_in.behind_tls_proxy
        return [*((Hsts,) if by_tls else ()), EchoRequestId, RequestLimits]

    def _add_login(self, app: FastAPI, pages: Pages, sessions: SessionDesk) -> None:
        devices = Devices(self._keys.secret("sign-in devices"), self._clock)
        keep = SignIns(self.recorder, self._journal, self._clock, self.metrics)
        section, secret = self._settings.sign_in.oidc, self._keys.secret("sign-in at a provider")
        self._oidc = parts.oidc_desk(section, self._databases.state, secret, self._clock)
        way = None if self._oidc is None else OIDC
        entrance = Entrance(self._sign_in, sessions, devices, keep, pages, self._clock, way)
        app.include_router(login_router(entrance))
        app.include_router(oidc_router(entrance, self._oidc))
        login.install(app)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Begin what runs in the event loop, and end it again: what still uses a part ends before that part."""
        self._loop = asyncio.get_running_loop()
        self._doors.start()
        self._hub.points_changed(self.city.snapshot)
        self._courier.start()
        self._encoding.start()
        settling = None if self._printing is None else asyncio.create_task(self._printing.settle_now_and_then())
        if settling is not None:
            settling.add_done_callback(partial(_log_failure, "printing.settling_ended"))
        yield
        if settling is not None:
            settling.cancel()
            await asyncio.wait((settling,))
        await self._encoding.stop()
        await asyncio.to_thread(self._courier.stop)
        self._till_desk.close()
        await self._taps.close()
        self._pin_desk.close()
        self._people_now.close()
        if self._spooler is not None:
            await self._spooler.close()
        self._sign_in.close()
        if self._oidc is not None:
            self._oidc.close()
        self._loop = None

    def _pseudonyms(self, use: str) -> Callable[[], bytes]:
        """Return the secret that the people of one use are named with; no two uses share one."""
        return lambda: self._keys.secret(f"{use} pseudonym")

    def _canteen_place(self) -> CanteenPlace:
        return CanteenPlace(
            self._canteen, self.recorder, self._clock, secret=self._pseudonyms("canteen"), ask=self._ask_for_card
        )

    def _print_place(self, spooler: Spooler) -> PrintPlace:
        queues = QueuesOfPoints(lambda: self.city.snapshot.points)
        release = PrintRelease(spooler, queues, queue=self._settings.printing.queue, clock=self._clock)
        return PrintPlace(
            release, self.recorder.submit_here, owner_of=self._print_account_of, secret=self._pseudonyms("printer")
        )

    def _print_account_of(self, person: int) -> str | None:
        login = self.directory.login_of(person)
        return None if login is None else self._settings.printing.accounts.get(login, login)

    def _ask_for_card(self, point: PointRecord, prompt: Prompt) -> bool:
        return point.agent is not None and self._hub.tell(point.agent, prompt)

    def _prompts_of(self, points: frozenset[str]) -> list[Prompt]:
        """Return what these points wait for, where they are terminals; their agent comes back."""
        prompts = (self._till_desk.prompt_at(point) for point in sorted(points))
        return [prompt for prompt in prompts if prompt is not None]

    def _assembly(self, vitals: Vitals) -> Assembly:
        return Assembly(
            settings=self._settings,
            databases=self._databases,
            secret=self._keys.secret,
            keys=self._key_upkeep,
            clock=self._clock,
            city=self.city,
            directory=self.directory,
            recorder=self.recorder,
            journal=self._journal,
            hub=self._hub,
            front=self._front,
            vitals=vitals,
            streams=self.streams,
            feed=self.live,
            live_taps=self._live_taps,
            age_ms_of=self._age_ms_of,
            points_within=self._point_map.within,
            subjects=self._subjects,
            accounts=self._accounts,
            outsider_bounds=self._outsiders.bounds,
            retention=self._keeper.retention,
            webhooks=Webhooks(self._databases.state, self._clock, secret_box(self._keys), self._webhook_targets),
            check_directory=partial(parts.check_directory, self._ldap),
            doors=self._doors,
            canteen=self._canteen,
            till_desk=self._till_desk,
            spooler=self._spooler,
            print_account_of=self._print_account_of,
            pki=self._pki,
            encoding=self._encoding,
            batches=self._batches,
            pins=self._pins,
            photos=parts.photo_directories(self._ldap),
        )

    def _webhook_conditions(self) -> Iterator[Condition]:
        agents = Agents(self._databases.state, self._clock).list()
        return lasting(self.directory.statuses(), agents, self._hub.online)

    def _make_courier(self) -> Courier:
        sender = Sender(self._webhook_targets, self._settings.webhooks.ca_file)
        carriage = Carriage(self._databases.state, secret_box(self._keys), sender, self._clock)
        return Courier(
            Sources(carriage.state, self._doors.events, self._webhook_conditions, self._clock), carriage, sender.cut
        )

    def _on_change(self, kinds: frozenset[ChangeKind]) -> None:
        """Tell the connected agents, from whichever thread applied a change to the city."""
        loop = self._loop
        if loop is not None and not kinds.isdisjoint({"access", "agent"}):
            self._tell_agents(loop, kinds)
        if "caller" in kinds:
            self._accounts.refresh_soon()
        if not kinds.isdisjoint({"person", "card"}):
            self._leavers.wake()
        if "card" in kinds:
            self._pki.publisher.wake()
        if "outsider" in kinds:
            self._outsiders.book.refresh_if_possible()
        # Last: a lockdown must not wait for a reminder.
        if "access" in kinds:
            self._reminder.refresh()
            self._point_map.refresh()
        if "person" in kinds:
            self._roles.refresh_if_possible()
        self._subjects.changed()

    def _on_ended(self, people: frozenset[int]) -> None:
        """Have the PCs lock what cards that no longer count unlocked, from whichever thread took them out of use."""
        loop = self._loop
        if loop is None:
            return
        try:
            with read(self._databases.state) as connection:
                logins = people_store.logins_of(connection, people)
        except DatabaseUnavailable as error:
            _log.error("sessions.not_ended", people=len(people), error=str(error))
            return
        loop.call_soon_threadsafe(self._hub.end_sessions, logins)

    def _tell_agents(self, loop: asyncio.AbstractEventLoop, kinds: frozenset[ChangeKind]) -> None:
        loop.call_soon_threadsafe(self._hub.points_changed, self.city.snapshot)
        if "agent" in kinds:
            asyncio.run_coroutine_threadsafe(self._hub.cut_off_locked(), loop).add_done_callback(
                partial(_log_failure, "agents.not_told")
            )

    def _vitals(self) -> Vitals:
        return Vitals(
            self.metrics,
            self._clock,
            self.city,
            self.directory,
            self.recorder,
            self._events,
            online=lambda: self._hub.online,
            dead=self._dead_threads,
            complaints=(
                lambda _: self._reminder.sentences(),
                lambda _: self._roles.troubles,
                lambda _: self._accounts.sentences(),
                lambda _: self._courier.sentences,
                lambda _: self._keeper.sentences(),
                lambda _: self._key_upkeep.sentences(),
                lambda _: self._pki.publisher.sentences(),
                lambda _: () if self._follower.trouble is None else (self._follower.trouble,),
                lambda now_ms: self._front.sentences(now_ms / 1000),
            ),
        )


def _log_failure(event: str, done: "Future[None] | asyncio.Future[None]") -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        # What a library's error repeats may be a name.
        _log.error(event, error=str(error) if isinstance(error, CardServiceError) else type(error).__name__)


def serve(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Run the service until it is asked to stop; `on_ready` gets its URL once taps can be sent.

    Raises:
        CardServiceError: it could not start, in one sentence.
    """
    listener = listen(settings.service.host, settings.service.port)
    service = Service(settings)
    supervisor = Supervisor(os.environ, os.getpid())
    service.start()
    try:
        host, port = listener.getsockname()[:2]
        scheme = "https" if settings.service.tls_certificate else "http"

        def ready() -> None:
            supervisor.tell(READY)
            on_ready(f"{scheme}://{host}:{port}")

        server = service.server(on_ready=ready, beside=(partial(supervisor.keep_watch, service.is_well),))
        server.run(sockets=[listener])
    finally:
        supervisor.tell(STOPPING)
        service.stop()
