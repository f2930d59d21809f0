# SPDX-License-Identifier: EUPL-1.2
"""The periodic comparison with the whole directory, on a second connection, beside the live search.

OpenLDAP's overlays refint and memberof change entries without telling anybody; only reading everything finds that. It
works in small steps, so that proofs and changes go on meanwhile.
"""

import structlog

from integrations.ldap.connection import Channel, Dial, encode_search
from integrations.ldap.controls import SYNC_REQUEST_OID, SyncMode, sync_request
from integrations.ldap.delivery import Delivery
from integrations.ldap.errors import AnswerBroken, LdapTrouble, ServerSilent
from integrations.ldap.messages import Done, Entry, Intermediate, Message
from integrations.ldap.refresh import EntryReader, SyncSearch
from integrations.ldap.settings import LdapSettings, Server
from integrations.ldap.silence import Silence

_MESSAGES_AT_ONCE = 50
_FIRST_AFTER_S = 5.0
_RETRY_S = 60.0
_IDLE_SHARE = 20
_NEVER = 2**63

_log = structlog.get_logger()


class ReconcileClock:
    """When the next comparison is due; it outlives the connections."""

    def __init__(self, period_s: float, now_s: float) -> None:
        self._period_s = period_s
        self._due_s = now_s + min(period_s, _FIRST_AFTER_S)
        self._took_s = 0.0

    def due(self, now_s: float) -> bool:
        """Tell whether it is time."""
        return now_s >= self._due_s

    def done(self, now_s: float, took_s: float) -> None:
        """Everything was just read, which took `took_s`."""
        self._took_s = took_s
        self._due_s = now_s + self._period_s

    def failed(self, now_s: float) -> None:
        """Try again, but not at once."""
        self._due_s = now_s + min(self._period_s, _RETRY_S)

    def soon(self, now_s: float, within_s: float) -> None:
        """Bring it forward, but leave most of the time to other work."""
        self._due_s = min(self._due_s, now_s + max(within_s, self._took_s * _IDLE_SHARE))


class Reconcile:
    """One comparison after another. `trouble` says why the last one failed, `since` where a running one began."""

    def __init__(self, settings: LdapSettings, server: Server, delivery: Delivery, clock: ReconcileClock) -> None:
        self.trouble: str | None = None
        self.finished_reader: EntryReader | None = None
        self._settings = settings
        self._server = server
        self._delivery = delivery
        self._clock = clock
        self._dial: Dial | None = None
        self._channel: Channel | None = None
        self._search: SyncSearch | None = None
        self._started_s = 0.0
        self._silence = Silence()

    @property
    def since(self) -> int:
        """Return the delivery's serial at which the running comparison began, a huge one while none runs."""
        return self._search.since if self._search is not None else _NEVER

    def step(self, now_s: float) -> bool:
        """Go on a little; True while messages are being read."""
        try:
            return self._step(now_s)
        except LdapTrouble as error:
            self.trouble = str(error)
            self._clock.failed(now_s)
            self.close()
            return False

    def _step(self, now_s: float) -> bool:
        if self._channel is not None:
            return self._read(self._channel, now_s)
        if self._dial is not None:
            if self._dial.wait(0):
                dial, self._dial = self._dial, None
                self._begin(dial.take(), now_s)
                return True
        elif self._clock.due(now_s):
            self._dial = Dial(self._settings, self._server)
        return False

    def _begin(self, channel: Channel, now_s: float) -> None:
        self._channel = channel
        self._delivery.resync()
        reader = EntryReader(self._settings)
        self._search = SyncSearch(reader, self._delivery, self._server.url, complete=True, background=True)
        self._started_s = now_s
        self._silence.heard()
        request = encode_search(
            self._settings.search_base(), self._settings.search_filter(), self._settings.mapping.attributes()
        )
        channel.search(request, [(SYNC_REQUEST_OID, sync_request(SyncMode.REFRESH_ONLY, None))])

    def _read(self, channel: Channel, now_s: float) -> bool:
        messages = channel.receive(_MESSAGES_AT_ONCE)
        for message in messages:
            self._take(message, now_s)
            self._delivery.settle(now_s, idle=False, following=True)
            if self._search is None:
                return False
        if messages:
            self._silence.heard()
        elif self._silence.lasts_s(now_s, self._started_s) > self._settings.timing.refresh_dead_s:
            raise ServerSilent(f"{self._server.url} stopped answering.")
        return True

    def _take(self, message: Message, now_s: float) -> None:
        if self._search is None:
            return
        if isinstance(message, Entry):
            self._search.take_entry(message, now_s)
        elif isinstance(message, Intermediate):
            self._search.take_info(message, now_s)
        elif isinstance(message, Done):
            self._search.take_done(message)
            self._finish(self._search, now_s)

    def _finish(self, search: SyncSearch, now_s: float) -> None:
        if search.refreshing:
            raise AnswerBroken(f"{self._server.url} ended a search before its refresh.")
        self.trouble = None
        self.finished_reader = search.reader
        self._clock.done(now_s, now_s - self._started_s)
        _log.info(
            "directory.reconciled",
            server=self._server.url,
            entries=len(self._delivery.known),
            removed=search.removed,
            took_ms=round((now_s - self._started_s) * 1000),
        )
        self.close()

    def close(self) -> None:
        """Stop a comparison that runs."""
        if self._dial is not None:
            self._dial.abandon()
        if self._channel is not None:
            self._channel.close()
        self._dial = self._channel = self._search = None
