# SPDX-License-Identifier: EUPL-1.2
"""What a persistent search (RFC 4533) takes on every kind of server: the loop, the comparison, the proof, the silence.

The loop waits on the socket and never longer than 0.1 s, so that `stop`, the next proof and a silent server are seen in
time. It ends by returning (stop) or by an `LdapTrouble`.
"""

import selectors
import time
from abc import ABC, abstractmethod
from typing import Final, Protocol

import structlog

from cardservice.people.ports import Proof
from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.delivery import Delivery
from integrations.ldap.errors import ConnectionLost, LdapTrouble, ServerSilent
from integrations.ldap.following import Following
from integrations.ldap.messages import Done
from integrations.ldap.reconcile import Reconcile
from integrations.ldap.refresh import EntryReader, SyncSearch, refuse
from integrations.ldap.settings import LdapSettings, Server
from integrations.ldap.silence import Silence

WAIT_S: Final = 0.1
MESSAGES_AT_ONCE: Final = 500
_RECONCILE_WAIT_S: Final = 0.005

_log = structlog.get_logger()


class Asked(Protocol):
    """A question that proves something: when it was sent."""

    sent_at_monotonic_ns: int
    sent_at_ms: int


def now_for_proof() -> tuple[int, int]:
    """Return CLOCK_BOOTTIME in nanoseconds and the wall clock in milliseconds, as a proof names its question."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns() // 1_000_000


class SyncSession(ABC):
    """Follows `server` over `channel`; a subclass says what is asked when, and what the answers mean."""

    name: str

    def __init__(
        self, following: Following, server: Server, channel: Channel, settings: LdapSettings, delivery: Delivery
    ) -> None:
        self.current_since_s: float | None = None
        self._following = following
        self._settings = settings
        self._timing = settings.timing
        self._server = server
        self._channel = channel
        self._fingerprint = following.settings.fingerprint()
        self._request = encode_search(settings.search_base(), settings.search_filter(), settings.mapping.attributes())
        self._delivery = delivery
        self._reader = EntryReader(settings)
        self._silence = Silence()
        self._next_beat_s = 0.0
        self._reconcile = Reconcile(settings, server, delivery, following.clock)

    def run(self) -> None:
        """Follow until `stop` is set.

        Raises:
            LdapTrouble: why following ended.
        """
        more = False
        busy = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            while not self._following.stop.is_set():
                now_s = time.monotonic()
                self._send_due(now_s)
                wait_s = _RECONCILE_WAIT_S if busy else self._wait_s(now_s)
                selector.select(0 if more else wait_s)
                more = self._receive()
                busy = self._compare()

    def close(self) -> None:
        """Close this session's connections."""
        self._reconcile.close()
        self._channel.close()

    @property
    @abstractmethod
    def _whole(self) -> bool:
        """Whether the copy holds everything the persistent search has told."""

    @abstractmethod
    def _send_due(self, now_s: float) -> None:
        """Ask what is to be asked now."""

    @abstractmethod
    def _wait_s(self, now_s: float) -> float:
        """Return how long nothing is to be asked, `WAIT_S` at most."""

    @abstractmethod
    def _receive(self) -> bool:
        """Take what has arrived; True if more may be waiting."""

    def _until_next_beat_s(self, now_s: float) -> float:
        return max(0.0, min(WAIT_S, self._next_beat_s - now_s))

    def _ended(self, message: Done) -> LdapTrouble:
        """Return why the persistent search ended."""
        if message.code == 0:
            return ConnectionLost(f"{self._server.url} ended the search that should never end.")
        return refuse(message.code, self._server.url)

    def _note_refreshed(self, search: SyncSearch, asked_s: float, now_s: float) -> None:
        if search.complete:
            self._following.clock.done(now_s, now_s - asked_s)
        else:
            self._following.clock.resumed(now_s)
        _log.info(
            "directory.refreshed",
            server=self._server.url,
            complete=search.complete,
            entries=len(self._delivery.known),
            removed=search.removed,
            took_ms=round((now_s - asked_s) * 1000),
        )
        self._following.report.unreadable(self._reader.unreadable)

    def _prove(self, asked: Asked) -> None:
        self._delivery.flush(with_cookie=True)
        if self.current_since_s is None:
            self.current_since_s = time.monotonic()
        cookie = self._delivery.cookie
        proof = Proof(self._server.url, self.name, cookie, asked.sent_at_monotonic_ns, asked.sent_at_ms)
        self._following.sink.proved(proof)

    def _compare(self) -> bool:
        """Let the comparison of everything take a step; True while it is at work."""
        if not self._whole:
            return False
        busy = self._reconcile.step(time.monotonic())
        if self._reconcile.finished_reader is not None:
            self._reader.unreadable = self._reconcile.finished_reader.unreadable
            self._reconcile.finished_reader = None
            self._following.report.unreadable(self._reader.unreadable)
            self._following.report.compared()
        self._following.report.comparison(self._reconcile.trouble)
        return busy

    def _expect(self, now_s: float, waiting_since_s: float | None, limit_s: float) -> None:
        """Count a look at which nothing had come, although an answer is due since then; None: none is due.

        Raises:
            ServerSilent: it has been due for longer than `limit_s`.
        """
        if waiting_since_s is None:
            self._silence.heard()
        elif self._silence.lasts_s(now_s, waiting_since_s) > limit_s:
            raise ServerSilent(f"{self._server.url} has not answered for {limit_s:g} s.")
