# SPDX-License-Identifier: EUPL-1.2
"""The periodic comparison with the whole directory, on a second connection, beside the live search.

OpenLDAP's overlays refint and memberof change entries without telling anybody; only reading everything finds that. It
works in small steps, so that proofs and changes go on meanwhile. It is an ordinary search: a refreshOnly search without
a cookie leaves out what is newer than the server's own position, and that falls back when OpenLDAP crashes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from integrations.ldap.connection import Channel, Dial, encode_search
from integrations.ldap.delivery import Delivery
from integrations.ldap.errors import AnswerBroken, LdapTrouble, ServerSilent
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.messages import Done, Entry
from integrations.ldap.refresh import EntryReader, entry_csn, refuse
from integrations.ldap.settings import LdapSettings, Server
from integrations.ldap.silence import Silence

_MESSAGES_AT_ONCE = 50
_RESUMED_S = 5.0
_RETRY_S = 60.0
_IDLE_SHARE = 20
_NEVER = 2**63

_log = structlog.get_logger()


class ReconcileClock:
    """When the next comparison is due; it outlives the connections. `asked` tells, once, that somebody wants one."""

    def __init__(self, period_s: float, now_s: float, asked: Callable[[], bool] = lambda: False) -> None:
        self._period_s = period_s
        self._asked = asked
        self._due_s = now_s + period_s
        self._took_s = 0.0
        self.resumed(now_s)

    def due(self, now_s: float) -> bool:
        """Tell whether it is time."""
        if self._asked():
            self._due_s = now_s
        return now_s >= self._due_s

    def done(self, now_s: float, took_s: float) -> None:
        """Everything was just read, which took `took_s`."""
        self._took_s = took_s
        self._due_s = now_s + self._period_s

    def resumed(self, now_s: float) -> None:
        """A server told us what changed since we left it; what it may show us can have changed too, and nobody says."""
        self.soon(now_s, _RESUMED_S)

    def failed(self, now_s: float) -> None:
        """Try again, but not at once."""
        self._due_s = now_s + min(self._period_s, _RETRY_S)

    def soon(self, now_s: float, within_s: float) -> None:
        """Bring it forward, but leave most of the time to other work."""
        self._due_s = min(self._due_s, now_s + max(within_s, self._took_s * _IDLE_SHARE))


@dataclass(slots=True)
class _Reading:
    """A comparison under way: where the delivery stood and when it began, and whom the server has named."""

    since: int
    reader: EntryReader
    started_s: float
    named: set[str] = field(default_factory=set)


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
        self._reading: _Reading | None = None
        self._silence = Silence()

    @property
    def since(self) -> int:
        """Return the delivery's serial at which the running comparison began, a huge one while none runs."""
        return self._reading.since if self._reading is not None else _NEVER

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
        if self._channel is not None and self._reading is not None:
            return self._go_on(self._channel, self._reading, now_s)
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
        self._reading = _Reading(self._delivery.serial, EntryReader(self._settings), now_s)
        self._silence.heard()
        request = encode_search(
            self._settings.search_base(), self._settings.search_filter(), self._settings.mapping.attributes()
        )
        channel.search(request)

    def _go_on(self, channel: Channel, reading: _Reading, now_s: float) -> bool:
        messages = channel.receive(_MESSAGES_AT_ONCE)
        for message in messages:
            if isinstance(message, Entry):
                self._take_entry(reading, message, now_s)
            elif isinstance(message, Done):
                self._finish(reading, message, now_s)
                return False
            self._delivery.settle(now_s, idle=False, following=True)
        if messages:
            self._silence.heard()
        elif self._silence.lasts_s(now_s, reading.started_s) > self._settings.timing.refresh_dead_s:
            raise ServerSilent(f"{self._server.url} stopped answering.")
        return True

    def _take_entry(self, reading: _Reading, entry: Entry, now_s: float) -> None:
        """Apply one entry, unless the live search has shown it since: then this may be the older state."""
        stable_id = read_stable_id(entry.attributes, self._settings.mapping.stable_id)
        if stable_id is None:
            raise AnswerBroken(f"{self._server.url} shows an entry without {self._settings.mapping.stable_id}.")
        reading.named.add(stable_id)
        if len(reading.named) > self._settings.max_entries:
            raise AnswerBroken(f"{self._server.url} names more than {self._settings.max_entries} entries.")
        if self._delivery.touched_since(stable_id, reading.since):
            return
        found = reading.reader.read(stable_id, entry)
        if found is None:
            self._delivery.remove({stable_id}, entry_csn(entry), now_s)
        else:
            self._delivery.upsert(found, entry_csn(entry), now_s)

    def _finish(self, reading: _Reading, message: Done, now_s: float) -> None:
        if message.code != 0:
            raise refuse(message.code, self._server.url)
        if not reading.named and self._delivery.known:
            raise AnswerBroken(f"{self._server.url} shows nobody at all.")
        gone = self._delivery.unnamed(reading.named, reading.since)
        self._delivery.complete(gone)
        self.trouble = None
        self.finished_reader = reading.reader
        self._clock.done(now_s, now_s - reading.started_s)
        _log.info(
            "directory.reconciled",
            server=self._server.url,
            entries=len(self._delivery.known),
            removed=len(gone),
            took_ms=round((now_s - reading.started_s) * 1000),
        )
        self.close()

    def close(self) -> None:
        """Stop a comparison that runs."""
        if self._dial is not None:
            self._dial.abandon()
        if self._channel is not None:
            self._channel.close()
        self._dial = self._channel = self._reading = None
