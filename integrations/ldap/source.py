# SPDX-License-Identifier: EUPL-1.2
"""The directory source: following in the mode that fits, healed and failed over without end."""

import threading
import time
import traceback
from dataclasses import replace

import structlog

from cardservice.people.ports import DirectorySink
from integrations.ldap.asking import Patience
from integrations.ldap.connection import Channel, Dial
from integrations.ldap.content_sync import CONTENT_SYNC
from integrations.ldap.domain_policy import with_domain_policy
from integrations.ldap.errors import (
    CertificateRefused,
    LdapTrouble,
    PositionRefused,
    SearchRefused,
    ServerBehind,
    ServerUnreachable,
    SettingsRefused,
    SignInRefused,
)
from integrations.ldap.failover import ServerOrder
from integrations.ldap.following import Following, FollowingSession, Mode
from integrations.ldap.modes import choose, named_mode
from integrations.ldap.polling import POLLING
from integrations.ldap.reconcile import ReconcileClock
from integrations.ldap.settings import LdapSettings, Server
from integrations.ldap.state import StateReport
from integrations.ldap.syncrepl import SYNCREPL

_NEEDS_AN_ADMINISTRATOR = (SignInRefused, CertificateRefused, SettingsRefused, SearchRefused)
_CRITICAL_UNAVAILABLE = 12
_ONLY_POLLED = "It offers no content synchronisation for these entries (OpenLDAP: overlay syncprov), so it is polled."
_LOOK_S = 0.05
_ADDRESSES_TRIED = 3

_log = structlog.get_logger()


class LdapSource:
    """Follows a directory, each server in the mode that fits it or in `mode`: `run` until `stop`, one thread."""

    def __init__(self, settings: LdapSettings, mode: Mode | None = None) -> None:
        self._settings = settings.as_followed()
        self._mode = mode

    def run(self, sink: DirectorySink, stop: threading.Event) -> None:
        """Follow the directory until `stop` is set; heals itself, reports every trouble to the sink, never raises."""
        report = StateReport(sink)
        try:
            order = ServerOrder(self._settings.ordered_servers(), self._settings.timing)
            self._settings.search_base()
            mode = self._mode or named_mode(self._settings)
        except SettingsRefused as error:
            _guarded_lost(report, "", str(error))
            stop.wait()
            return
        clock = ReconcileClock(self._settings.timing.reconcile_s, time.monotonic(), sink.reading_asked)
        following = _Run(Following(self._settings, sink, stop, report, clock), mode)
        while not stop.is_set():
            server = order.current
            trouble = following.attempt(server)
            if trouble is None or stop.is_set():
                continue
            _guarded_lost(report, server.url, str(trouble))
            refused = isinstance(trouble, _NEEDS_AN_ADMINISTRATOR) and not isinstance(trouble, ServerBehind)
            stop.wait(order.failed(worked_s=following.worked_s, refused=refused, now_s=time.monotonic()))


def _guarded_lost(report: StateReport, server: str, trouble: str) -> None:
    """A sink that cannot store a state must not end the source."""
    try:
        report.lost(server, trouble)
    except Exception as error:  # noqa: BLE001 - whatever the storage raises; the next change tries again
        _log.error("directory.state_not_stored", server=server, error=type(error).__name__)


class _Run:
    """What one `run` remembers from attempt to attempt; with `mode` None each server gets the one that fits it."""

    def __init__(self, following: Following, mode: Mode | None) -> None:
        self.worked_s = 0.0
        self._following = following
        self._mode = mode
        self._start_over: str | None = None
        self._behind_since_s: float | None = None
        self._last_followed: str | None = None
        self._chosen: Mode | None = None
        self._polled: set[str] = set()

    def attempt(self, server: Server) -> LdapTrouble | None:
        """Follow `server` once; return why that ended, None for stop and for "try the same server again at once"."""
        self.worked_s = 0.0
        try:
            self._follow(server)
        except PositionRefused as error:
            return self._begin_again(error)
        except ServerBehind as error:
            return self._judge_behind(server, error)
        except SearchRefused as error:
            return None if self._poll_from_now_on(server, error) else error
        except LdapTrouble as error:
            return error
        except Exception as error:  # noqa: BLE001 - the sink may raise anything; the source must go on
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("directory.failed", error=type(error).__name__, file=place.filename, line=place.lineno)
            return LdapTrouble(f"Following the directory failed inside the service ({type(error).__name__}).")
        return None

    def _follow(self, server: Server) -> None:
        channel = self._dial(server)
        if channel is None:
            return
        session: FollowingSession | None = None
        try:
            mode = self._choose(server, channel)
            following = self._informed(channel)
            cookie = None if self._start_over else self._following.sink.cookie()
            self._following.report.connected(server.url, self._start_over, mode.name)
            if server.url in self._polled:
                self._following.report.special("mode", _ONLY_POLLED)
            session = mode.open(following, server, channel, cookie)
            session.run()
        finally:
            channel.close()
            if session is not None:
                session.close()
                self._note_worked(server, session)

    def _informed(self, channel: Channel) -> Following:
        """Return what a session needs, with what this server says of its domain; what it hides, the settings say."""
        settings, stop = self._following.settings, self._following.stop
        known = with_domain_policy(settings, channel, Patience(settings.timing.dead_s, stop))
        return self._following if known is None else replace(self._following, settings=known)

    def _choose(self, server: Server, channel: Channel) -> Mode:
        self._chosen = None
        if self._mode is not None:
            return self._mode
        if server.url in self._polled:
            return POLLING
        self._chosen = choose(channel, self._following.settings, self._following.stop)
        return self._chosen

    def _poll_from_now_on(self, server: Server, error: SearchRefused) -> bool:
        """OpenLDAP says for the whole server that it synchronises, and means the databases with overlay syncprov."""
        if error.code != _CRITICAL_UNAVAILABLE or self._chosen not in {SYNCREPL, CONTENT_SYNC}:
            return False
        self._polled.add(server.url)
        return True

    def _note_worked(self, server: Server, session: FollowingSession) -> None:
        if session.current_since_s is None:
            return
        self.worked_s = time.monotonic() - session.current_since_s
        self._last_followed = server.url
        self._start_over = None
        self._behind_since_s = None
        # Whoever adds the overlay restarts the server: the next connection asks anew.
        self._polled.discard(server.url)

    def _dial(self, server: Server) -> Channel | None:
        """Connect without being deaf to `stop`; None if it was set."""
        timing = self._following.settings.timing
        dial = Dial(self._following.settings, server)
        deadline_s = time.monotonic() + _ADDRESSES_TRIED * (timing.connect_s + timing.answer_s)
        while not dial.wait(_LOOK_S):
            if self._following.stop.is_set():
                dial.abandon()
                return None
            if time.monotonic() > deadline_s:
                dial.abandon()
                raise ServerUnreachable(f"{server.url} does not answer in time.")
        return dial.take()

    def _begin_again(self, error: PositionRefused | ServerBehind) -> LdapTrouble | None:
        if self._start_over is not None:
            return error
        self._start_over = f"{error} Everything was read again."
        _log.warning("directory.position_dropped", reason=str(error))
        return None

    def _judge_behind(self, server: Server, error: ServerBehind) -> LdapTrouble | None:
        """The server last followed was restored or restarted without its last state: its word is what counts.

        Another one may be a replica that lags: reading it would bring back what was already revoked. It gets
        `behind_grace_s`, in which the others are tried too.
        """
        now_s = time.monotonic()
        if self._behind_since_s is None:
            self._behind_since_s = now_s
        waited_s = now_s - self._behind_since_s
        alone = len(self._following.settings.servers) == 1
        if alone or server.url == self._last_followed or waited_s >= self._following.settings.timing.behind_grace_s:
            return self._begin_again(error)
        return error
