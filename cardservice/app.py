# SPDX-License-Identifier: EUPL-1.2
"""The composition root: the one file that sees everything and puts the service together."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog
from cryptography import x509
from fastapi import APIRouter, FastAPI

from cardservice import __version__
from cardservice.access.explain.api import explain_router
from cardservice.access.explain.record import Lookups
from cardservice.access.explain.service import Explainer
from cardservice.access.own.service import OwnPoints
from cardservice.access.plan.api import plan_router
from cardservice.access.plan.service import Plans
from cardservice.access.review.api import reviews_router
from cardservice.access.review.record import through_recorder
from cardservice.access.review.reminder import Reminder
from cardservice.access.review.service import Reviews
from cardservice.access.rules import PointRecord, Use
from cardservice.access.service import City
from cardservice.agents.api import live_router
from cardservice.agents.events import EventDesk
from cardservice.agents.hub import AgentHub
from cardservice.agents.live import LiveFeed
from cardservice.agents.messages import Prompt
from cardservice.agents.pins import PinDesk
from cardservice.agents.places import Place
from cardservice.agents.service import Agents
from cardservice.agents.session import Desks
from cardservice.agents.taps import TapDesk, TapServices
from cardservice.agents.wire import AgentWire
from cardservice.canteen.api import CanteenApi, canteen_router
from cardservice.canteen.pages import wallet_page
from cardservice.canteen.service import Canteen
from cardservice.canteen.tills import CanteenPlace
from cardservice.canteen.wallet import WalletView, view_wallet
from cardservice.cards.keystore import SealedKeyStore, open_store
from cardservice.cards.pin.service import Pins, pepper_of
from cardservice.changes import ChangeKind
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer
from cardservice.claim import claim
from cardservice.clock import UNKNOWN_AGE_MS, Clock, SystemClock
from cardservice.database import open_databases, require_head, require_writable
from cardservice.doors.api import doors_router
from cardservice.doors.pages import doors_page
from cardservice.doors.service import Doors, DoorServices
from cardservice.errors import CardServiceError, Conflict, SettingsError
from cardservice.follower import ChangeFollower
from cardservice.journal.service import Journal
from cardservice.ledger.service import Ledger
from cardservice.metrics import Metrics
from cardservice.people.api import directory_router
from cardservice.people.directories import Directories, open_copies
from cardservice.people.holds.service import HoldDesk
from cardservice.people.live import LivePeople
from cardservice.people.lookup import dn_by_login, person_by_personnel_number
from cardservice.people.ports import DirectorySource
from cardservice.people.status import DirectoryStatus
from cardservice.places import OPTION_RULES
from cardservice.printing.pages import waiting_page
from cardservice.printing.place import PrintPlace, QueuesOfPoints
from cardservice.printing.ports import Spooler
from cardservice.printing.service import PrintRelease
from cardservice.recorder import Recorder
from cardservice.server import MAX_CONNECTIONS, SHUTDOWN_S, Server, listen, uvicorn_config
from cardservice.settings import (
    DirectorySection,
    PrintingSection,
    Settings,
    contradictions,
    read_secret,
    read_secret_text,
)
from cardservice.timeclock.pages import time_pages
from cardservice.timeclock.place import TimeClock
from cardservice.timeclock.service import TimeSheets
from cardservice.web import problems
from cardservice.web.callers import Caller, Callers, digest
from cardservice.web.health import DirectoryHealth, Health, health_router
from cardservice.web.pages import Pages
from cardservice.web.signin import SignIn
from cardservice.workstations.pages import workstations_page
from cardservice.workstations.place import WorkstationPlace
from integrations.cups import CupsSettings, CupsSpooler
from integrations.ldap import (
    PRESETS,
    LdapSettings,
    LdapSource,
    LdapTrouble,
    SettingsRefused,
    StatusAttribute,
)
from integrations.ldap.live import LiveReader
from integrations.ldap.login import password_fits
from integrations.ldap.settings import Timing

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
        self._keys = _open_keys(settings)
        self._ldap = {section.name: ldap_settings(section, key) for key, section in settings.all_directories().items()}
        self._sources = {name: _directory_source(name, found) for name, found in self._ldap.items()}
        self._databases = open_databases(settings.database.url)
        self._ledger = Ledger(self._clock)
        self._canteen = Canteen(self._ledger)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_directory = threading.Event()
        self._claim: Callable[[], None] | None = None
        self._reminder = Reminder(self._databases.state, self._clock)
        self.metrics.registry.register(self._reminder)
        self.city = City(self._databases.state, self._clock, self._on_change)

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
        organisation = self._settings.organisation
        copies = open_copies(
            self._databases.state,
            tuple(self._sources),
            organisation=(organisation.code, organisation.name),
            clock=self._clock,
            publish=self.city.catch_up,
        )
        self.directory = Directories(copies)
        self._journal = Journal(lambda stream, purpose: self._keys.secret(f"journal {stream} {purpose}"))
        self._journal.begin_epoch(self._databases.record, self._clock.now_ms())
        self.recorder = Recorder(self._databases.record, (self._journal, self._ledger))
        self.recorder.start()
        self._follower = ChangeFollower(self._databases.state, self.city)
        self._follower.start()
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
        self.recorder.stop()
        if self._claim is not None:
            self._claim()
        self._databases.close()

    def _dead_threads(self) -> list[str]:
        alive = {
            "recorder": self.recorder.alive,
            "follower": self._follower.alive,
            "directory requests": self.directory.alive,
            **{thread.name: thread.is_alive() for thread in self._directory_threads},
        }
        return [name for name, lives in alive.items() if not lives]

    def server(self, *, on_ready: Callable[[], None]) -> Server:
        """Return the HTTP server of a started service; `on_ready` is called once it answers.

        Raises:
            SettingsError: certificate or key cannot be used.
        """
        app = self._asgi()
        config = uvicorn_config(self._settings.service, app, AgentWire(self._hub.serve, MAX_CONNECTIONS))
        return Server(config, when_ready=on_ready, when_stopping=self.live.close)

    def _asgi(self) -> FastAPI:
        self._till_desk = self._canteen_place()
        places: list[Place] = [
            TimeClock(self._pseudonyms("timeclock"), self._clock),
            self._till_desk,
            WorkstationPlace(self.directory.login_of),
        ]
        self._spooler = _spooler(self._settings.printing)
        self._printing = None if self._spooler is None else self._print_place(self._spooler)
        if self._printing is not None:
            places.append(self._printing)
        self._pin_desk = PinDesk(Pins(self._databases.state, pepper_of(self._keys), self._clock))
        readers = {name: LiveReader(found) for name, found in self._ldap.items()}
        self._people_now = LivePeople(self._databases.state, readers)
        taps = TapServices(
            city=self.city,
            directory=self.directory,
            keys=self._keys,
            trust=_trust(self._settings.piv.trusted_ca_files),
            recorder=self.recorder,
            journal=self._journal,
            metrics=self.metrics,
            clock=self._clock,
            places={place.use: place for place in places},
            pins=self._pin_desk,
            people_now=self._people_now,
        )
        self._events = EventDesk(taps)
        self._taps = TapDesk(taps)
        desks = Desks(self._taps, self._events, self.live, self.metrics, self._clock)
        self._hub = AgentHub(Agents(self._databases.state, self._clock), desks, self._prompts_of)
        self._sign_in = SignIn(self._check_password, self._clock)
        self._doors = Doors(
            DoorServices(self.city, self._hub, self.recorder, self._journal, self._clock, self._databases.state)
        )
        app = FastAPI(title="One card", version=__version__, lifespan=self._lifespan, docs_url=None, redoc_url=None)
        app.include_router(health_router(self.health, self.metrics))
        token_file = self._settings.service.live_token_file
        token = read_secret_text(token_file, "service.live_token_file") if token_file else None
        app.include_router(live_router(self.live, token))
        problems.install(app)
        pages = Pages("cardservice.timeclock", "cardservice.canteen", "cardservice.printing")
        pages.install(app)
        for router in self._place_routers(Callers(_callers(self._settings)), pages):
            app.include_router(router)
        return app

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Begin what runs in the event loop, and end it again: what still uses a part ends before that part."""
        self._loop = asyncio.get_running_loop()
        self._doors.start()
        self._hub.points_changed(self.city.snapshot)
        settling = None if self._printing is None else asyncio.create_task(self._printing.settle_now_and_then())
        if settling is not None:
            settling.add_done_callback(partial(_log_failure, "printing.settling_ended"))
        yield
        if settling is not None:
            settling.cancel()
            await asyncio.wait((settling,))
        self._till_desk.close()
        await self._taps.close()
        self._pin_desk.close()
        self._people_now.close()
        if self._spooler is not None:
            await self._spooler.close()
        self._sign_in.close()
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

    def _check_password(self, login: str, password: str) -> int | None:
        """Ask the directory whether this is somebody's password; return whose."""
        try:
            known = dn_by_login(self._databases.state, login)
        except Conflict:
            known = None
        directory = None if known is None else self.directory.directory_of(known[0])
        if known is None or directory is None:
            return None
        try:
            fits = password_fits(self._ldap[directory], known[1], password)
        except LdapTrouble as error:
            raise OSError(str(error)) from error
        return known[0] if fits else None

    def _wallet_view(self, person: int, limit: int) -> WalletView:
        return view_wallet(self._databases.record, self._till_desk.wallet_of(person), limit)

    def _ask_for_card(self, point: PointRecord, prompt: Prompt) -> bool:
        return point.agent is not None and self._hub.tell(point.agent, prompt)

    def _prompts_of(self, points: frozenset[str]) -> list[Prompt]:
        """Return what these points wait for, where they are terminals; their agent comes back."""
        prompts = (self._till_desk.prompt_at(point) for point in sorted(points))
        return [prompt for prompt in prompts if prompt is not None]

    def _place_routers(self, callers: Callers, pages: Pages) -> Iterator[APIRouter]:
        """Yield the routes of every place."""

        async def person_of(number: str) -> int | None:
            return await asyncio.to_thread(person_by_personnel_number, self._databases.state, number)

        def point_of(code: str) -> PointRecord | None:
            return self.city.snapshot.point(code)

        canteen = CanteenApi(
            self._till_desk,
            self._canteen,
            self.recorder,
            self._clock,
            point_of,
            person_of,
        )
        yield canteen_router(canteen, callers)
        yield doors_router(self._doors, callers)
        lookups = Lookups(self.recorder, self._journal, self._clock)
        yield plan_router(Plans(self._databases.state, self._clock, OPTION_RULES), lookups, callers)
        yield explain_router(Explainer(self._databases.state, self._clock, self._age_ms), lookups, callers)
        keep = through_recorder(self.recorder, self._journal, self._clock)
        yield reviews_router(Reviews(self._databases.state, self._clock, keep, self.city.catch_up), callers)
        yield directory_router(HoldDesk(self._databases.state, self._clock, self.directory.look), callers)
        sheets = TimeSheets(self._databases.record, self._pseudonyms("timeclock"), self._clock)
        sign_in = self._sign_in
        yield time_pages(sheets, sign_in, pages)
        yield wallet_page(self._wallet_view, sign_in, pages)
        own = OwnPoints(self.city, self._databases.state, self._clock, self.directory.age_ms_of)
        yield doors_page(partial(own.view, Use.DOOR), sign_in, pages)
        yield workstations_page(partial(own.view, Use.WORKSTATION), self.directory.login_of, sign_in, pages)
        if self._spooler is not None:
            yield waiting_page(self._spooler, self._print_account_of, sign_in, pages)

    def _age_ms(self) -> int:
        """Return how old what taps are decided by is: the directory's copy or the city, whichever is older."""
        return max(self.directory.age_ms(), self.city.age_ms())

    def _on_change(self, kinds: frozenset[ChangeKind]) -> None:
        """Tell the connected agents, from whichever thread applied a change to the city."""
        if "access" in kinds:
            self._reminder.refresh()
        loop = self._loop
        if loop is None or kinds.isdisjoint({"access", "agent"}):
            return
        loop.call_soon_threadsafe(self._hub.points_changed, self.city.snapshot)
        if "agent" in kinds:
            asyncio.run_coroutine_threadsafe(self._hub.cut_off_locked(), loop).add_done_callback(
                partial(_log_failure, "agents.not_told")
            )

    def health(self) -> Health:
        """Return the state of the service, and bring the gauges up to date."""
        statuses = self.directory.statuses()
        for status in statuses:
            self._measure_directory(status)
        # Of several, the one that is worst off: taps count its age.
        status = max(statuses, key=lambda one: one.age_ms)
        snapshot, metrics = self.city.snapshot, self.metrics
        known = status.age_ms < UNKNOWN_AGE_MS
        metrics.snapshot_revision.set(snapshot.revision)
        metrics.snapshot_cards.set(snapshot.card_count)
        metrics.snapshot_build.set(self.city.build_us / 1e6)
        metrics.events_missing.clear()
        for missing in self._events.missing:
            metrics.events_missing.labels(missing.agent, "asked").set(missing.asked)
            metrics.events_missing.labels(missing.agent, "lost").set(missing.lost)
        metrics.recorder_depth.set(self.recorder.depth)
        metrics.recorder_flushes.set(self.recorder.flushes)
        dead = self._dead_threads()
        degraded = self._degraded(statuses, dead)
        ready = known and self.recorder.trouble is None and not dead
        return Health(
            status="not_ready" if not ready else "degraded" if degraded else "ready",
            degraded=degraded,
            snapshot_revision=snapshot.revision,
            credentials=snapshot.card_count,
            points=len(snapshot.points),
            agents_online=sorted(self._hub.online),
            directory=DirectoryHealth(
                directory=status.directory,
                connected=status.connected,
                server=status.server,
                mode=status.mode,
                since_ms=status.since_ms,
                age_ms=status.age_ms if known else None,
                people=status.people,
                groups=status.groups,
                held_removals=status.held_removals,
                held_since_ms=status.held_since_ms,
                trouble=status.trouble,
                remark=status.remark,
            ),
        )

    def _measure_directory(self, status: DirectoryStatus) -> None:
        metrics, name = self.metrics, status.directory
        metrics.directory_age.labels(name).set(status.age_ms / 1000 if status.age_ms < UNKNOWN_AGE_MS else -1)
        metrics.directory_connected.labels(name).set(status.connected)
        metrics.directory_people.labels(name).set(status.people)
        metrics.removals_held.labels(name).set(status.held_removals)

    def _degraded(self, statuses: list[DirectoryStatus], dead: list[str]) -> list[str]:
        """Return what does not work, one sentence each."""
        now_ms = self._clock.now_ms()
        found = [trouble for status in statuses for trouble in status.troubles(now_ms)]
        found += self._reminder.sentences()
        for missing in self._events.missing:
            if missing.asked:
                found.append(f"agent {missing.agent}: {missing.asked} events are missing here and were asked for again")
            if missing.lost:
                found.append(f"agent {missing.agent}: {missing.lost} events are lost; the journal names them")
        found += [f"the {name} thread has died; restart the service" for name in dead]
        if self.recorder.trouble:
            found.append(f"record store: {self.recorder.trouble}")
        if self._follower.trouble:
            found.append(self._follower.trouble)
        return found


def _spooler(section: PrintingSection) -> CupsSpooler | None:
    if section.socket is None:
        return None
    return CupsSpooler(CupsSettings(section.socket, section.queue, section.user, section.realm))


def _callers(settings: Settings) -> list[Caller]:
    found = []
    for number, section in enumerate(settings.callers):
        token = read_secret_text(section.token_file, f"callers[{number}].token_file")
        found.append(Caller(section.name, digest(token), frozenset(section.uses), frozenset(section.points)))
    return found


def _log_failure(event: str, done: "Future[None] | asyncio.Future[None]") -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        # What a library's error repeats may be a name.
        _log.error(event, error=str(error) if isinstance(error, CardServiceError) else type(error).__name__)


def _open_keys(settings: Settings) -> SealedKeyStore:
    passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
    return open_store(settings.keys.store, passphrase, demonstration_allowed=settings.demonstration)


def ldap_settings(section: DirectorySection, key: str = "directory") -> LdapSettings:
    """Return what the LDAP integration needs of a section; the password is read when it is needed."""
    password_file = section.password_file
    if password_file is None:
        raise SettingsError(f"{key}.password_file: must be set")
    disabled = section.mapping.disabled_attribute
    status = (StatusAttribute(disabled, section.mapping.disabled_values),) if disabled else ()
    preset, names = PRESETS[section.kind], section.mapping.model_dump(exclude={"disabled_attribute", "disabled_values"})
    named_here = {attribute: name for attribute, name in names.items() if name is not None}
    return LdapSettings(
        servers=section.servers,
        bind_dn=section.bind_dn,
        password=lambda: read_secret_text(password_file, f"{key}.password_file"),
        people_base=section.people_base,
        groups_base=section.groups_base,
        ca_file=section.ca_file,
        people_filter=section.person_filter or preset.people_filter,
        groups_filter=section.group_filter or preset.groups_filter,
        mapping=replace(preset.mapping, status=preset.mapping.status + status, **named_here),
        mode=section.mode,
        timing=Timing(
            beat_s=section.beat_s, dead_s=section.dead_s, reconcile_s=section.reconcile_s, list_s=section.list_s
        ),
        plain_on_loopback=section.plain_ldap_on_loopback,
    )


def _directory_source(name: str, settings: LdapSettings) -> DirectorySource:
    try:
        return LdapSource(settings)
    except SettingsRefused as error:
        raise SettingsError(f"directory {name}: {error}") from error


def _trust(files: tuple[Path, ...]) -> CardAuthTrust:
    """Return the CAs of PIV cards; their revocation lists come with the life cycle of certificates."""
    issuers = []
    for file in files:
        try:
            certificates = x509.load_pem_x509_certificates(file.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(f"piv.trusted_ca_files: {file}: {error}") from error
        issuers += [TrustedIssuer(certificate, _never_revoked) for certificate in certificates]
    return CardAuthTrust(tuple(issuers))


def _never_revoked(_: int) -> bool:
    # A lost PIV card is refused by its own state in the card table; no CA's list is read yet.
    return False


def serve(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Run the service until it is asked to stop; `on_ready` gets its URL once taps can be sent.

    Raises:
        CardServiceError: it could not start, in one sentence.
    """
    listener = listen(settings.service.host, settings.service.port)
    service = Service(settings)
    service.start()
    try:
        host, port = listener.getsockname()[:2]
        scheme = "https" if settings.service.tls_certificate else "http"
        server = service.server(on_ready=lambda: on_ready(f"{scheme}://{host}:{port}"))
        server.run(sockets=[listener])
    finally:
        service.stop()
