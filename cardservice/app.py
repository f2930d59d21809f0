# SPDX-License-Identifier: EUPL-1.2
"""The composition root: the one file that sees everything and puts the service together."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from cryptography import x509
from fastapi import FastAPI

from cardservice import __version__
from cardservice.access.service import City
from cardservice.agents.api import live_router
from cardservice.agents.events import EventDesk
from cardservice.agents.hub import AgentHub
from cardservice.agents.live import LiveFeed
from cardservice.agents.service import Agents
from cardservice.agents.session import Desks
from cardservice.agents.taps import TapDesk, TapServices
from cardservice.agents.wire import AgentWire
from cardservice.cards.keystore import SealedKeyStore, open_store
from cardservice.changes import ChangeKind
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer
from cardservice.claim import claim
from cardservice.clock import UNKNOWN_AGE_MS, Clock, SystemClock
from cardservice.database import open_databases, require_head, require_writable
from cardservice.errors import SettingsError
from cardservice.follower import ChangeFollower
from cardservice.journal.service import Journal
from cardservice.metrics import Metrics
from cardservice.people.ports import DirectorySource
from cardservice.people.service import DirectoryCopy, DirectoryStatus
from cardservice.recorder import Recorder
from cardservice.server import MAX_CONNECTIONS, SHUTDOWN_S, Server, listen, uvicorn_config
from cardservice.settings import DirectorySection, Settings, contradictions, read_secret, read_secret_text
from cardservice.web.health import DirectoryHealth, Health, health_router
from integrations.ldap import AttributeMapping, LdapSettings, SettingsRefused, StatusAttribute, SyncreplSource
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
        self._source = _directory_source(settings.directory)
        self._databases = open_databases(settings.database.url)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_directory = threading.Event()
        self._claim: Callable[[], None] | None = None
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
        organisation = self._settings.organisation
        self.directory = DirectoryCopy(
            self._databases.state,
            self._settings.directory.name,
            organisation=(organisation.code, organisation.name),
            clock=self._clock,
            publish=self.city.catch_up,
        )
        self._journal = Journal(lambda stream, purpose: self._keys.secret(f"journal {stream} {purpose}"))
        self._journal.begin_epoch(self._databases.record, self._clock.now_ms())
        self.recorder = Recorder(self._databases.record, (self._journal,))
        self.recorder.start()
        self._follower = ChangeFollower(self._databases.state, self.city)
        self._follower.start()
        self._directory_thread = threading.Thread(
            target=self._source.run, args=(self.directory, self._stop_directory), name="directory", daemon=True
        )
        self._directory_thread.start()

    def stop(self) -> None:
        """Stop following, write what waits, close the stores."""
        self._stop_directory.set()
        self._follower.stop()
        self._directory_thread.join(timeout=SHUTDOWN_S)
        self.recorder.stop()
        if self._claim is not None:
            self._claim()
        self._databases.close()

    def _dead_threads(self) -> list[str]:
        alive = {
            "recorder": self.recorder.alive,
            "follower": self._follower.alive,
            "directory": self._directory_thread.is_alive(),
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
        taps = TapServices(
            city=self.city,
            directory=self.directory,
            keys=self._keys,
            trust=_trust(self._settings.piv.trusted_ca_files),
            recorder=self.recorder,
            journal=self._journal,
            metrics=self.metrics,
            clock=self._clock,
        )
        self._events = EventDesk(taps)
        desks = Desks(TapDesk(taps), self._events, self.live, self.metrics, self._clock)
        self._hub = AgentHub(Agents(self._databases.state, self._clock), desks)

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            self._loop = asyncio.get_running_loop()
            self._hub.points_changed(self.city.snapshot)
            yield
            self._loop = None

        app = FastAPI(title="One card", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
        app.include_router(health_router(self.health, self.metrics))
        token_file = self._settings.service.live_token_file
        token = read_secret_text(token_file, "service.live_token_file") if token_file else None
        app.include_router(live_router(self.live, token))
        return app

    def _on_change(self, kinds: frozenset[ChangeKind]) -> None:
        """Tell the connected agents, from whichever thread applied a change to the city."""
        loop = self._loop
        if loop is None or kinds.isdisjoint({"access", "agent"}):
            return
        loop.call_soon_threadsafe(self._hub.points_changed, self.city.snapshot)
        if "agent" in kinds:
            asyncio.run_coroutine_threadsafe(self._hub.cut_off_locked(), loop).add_done_callback(_log_failure)

    def health(self) -> Health:
        """Return the state of the service, and bring the gauges up to date."""
        status = self.directory.status()
        snapshot, metrics = self.city.snapshot, self.metrics
        known = status.age_ms < UNKNOWN_AGE_MS
        metrics.directory_age.labels(status.directory).set(status.age_ms / 1000 if known else -1)
        metrics.directory_connected.labels(status.directory).set(status.connected)
        metrics.directory_people.labels(status.directory).set(status.people)
        metrics.removals_held.labels(status.directory).set(status.held_removals)
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
        degraded = self._degraded(status, dead)
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

    def _degraded(self, status: DirectoryStatus, dead: list[str]) -> list[str]:
        """Return what does not work, one sentence each."""
        found = status.troubles(self._clock.now_ms())
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


def _log_failure(done: "Future[None]") -> None:
    if not done.cancelled() and done.exception() is not None:
        _log.error("agents.not_told", error=repr(done.exception()))


def _open_keys(settings: Settings) -> SealedKeyStore:
    passphrase = read_secret(settings.keys.passphrase_file, "keys.passphrase_file")
    return open_store(settings.keys.store, passphrase, demonstration_allowed=settings.demonstration)


def ldap_settings(section: DirectorySection) -> LdapSettings:
    """Return what the LDAP integration needs of the settings; the password is read when it is needed."""
    password_file = section.password_file
    if password_file is None:
        raise SettingsError("directory.password_file: must be set")
    disabled = section.mapping.disabled_attribute
    status = (StatusAttribute(disabled, section.mapping.disabled_values),) if disabled else ()
    return LdapSettings(
        servers=section.servers,
        bind_dn=section.bind_dn,
        password=lambda: read_secret_text(password_file, "directory.password_file"),
        people_base=section.people_base,
        groups_base=section.groups_base,
        ca_file=section.ca_file,
        people_filter=section.person_filter,
        groups_filter=section.group_filter,
        mapping=AttributeMapping(status=status),
        timing=Timing(beat_s=section.beat_s, dead_s=section.dead_s, reconcile_s=section.reconcile_s),
        plain_on_loopback=section.plain_ldap_on_loopback,
    )


def _directory_source(section: DirectorySection) -> DirectorySource:
    try:
        return SyncreplSource(ldap_settings(section))
    except SettingsRefused as error:
        raise SettingsError(f"directory: {error}") from error


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
