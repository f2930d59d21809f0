# SPDX-License-Identifier: EUPL-1.2
"""Mode `syncrepl` (OpenLDAP, RFC 4533): the persistent search, the proofs, the group reads after a rename.

The loop waits on the socket and never longer than 0.1 s, so that `stop`, the next proof and a silent server are seen in
time. It ends by returning (stop) or by an `LdapTrouble`.
"""

import selectors
import time
from dataclasses import dataclass, field
from typing import Final

import structlog
from ldap3.utils.conv import escape_filter_chars

from cardservice.people.ports import Proof
from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.controls import SYNC_REQUEST_OID, SyncMode, sync_request
from integrations.ldap.delivery import Delivery, read_csn
from integrations.ldap.errors import AnswerBroken, ConnectionLost, ServerSilent
from integrations.ldap.following import Following, Mode
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.messages import Done, Entry, Intermediate, Message, Notice, Reference
from integrations.ldap.reconcile import Reconcile
from integrations.ldap.refresh import EntryReader, SyncSearch, entry_csn, refuse
from integrations.ldap.settings import Server
from integrations.ldap.silence import Silence

_NAME: Final = "syncrepl"
_WAIT_S = 0.1
_RECONCILE_WAIT_S = 0.005
_MESSAGES_AT_ONCE = 500
_MAX_GROUP_READS = 100
# Overlay refint works after the rename has been announced: once is too early now and then.
_GROUP_READS_AFTER_S = (0.0, 0.2, 1.0)

_log = structlog.get_logger()


@dataclass(slots=True)
class _Beat:
    """One proof under way: a refresh from the current cookie; `sent_at_*` is when it was asked."""

    search: SyncSearch
    message_id: int
    sent_at_s: float
    sent_at_monotonic_ns: int
    sent_at_ms: int


@dataclass(slots=True)
class _Pending:
    """Group reads after renames: when to read which DN's groups, message ids under way."""

    due: list[tuple[float, str]] = field(default_factory=list)
    message_ids: set[int] = field(default_factory=set)


class Session:
    """Follows `server` over `channel` from `cookie` (None reads everything)."""

    def __init__(self, following: Following, server: Server, channel: Channel, cookie: str | None) -> None:
        self.current_since_s: float | None = None
        self._following = following
        self._settings = following.settings
        self._timing = following.settings.timing
        self._server = server
        self._channel = channel
        self._fingerprint = following.settings.fingerprint()
        self._request = encode_search(
            self._settings.search_base(), self._settings.search_filter(), self._settings.mapping.attributes()
        )
        position = self._own_position(cookie)
        self._delivery = Delivery(following.sink, cookie=cookie if position else None)
        self._reader = EntryReader(self._settings)
        self._follow = self._new_search(complete=position is None, resumes=True)
        self._started_s = time.monotonic()
        self._follow_id = channel.search(self._request, self._sync(SyncMode.REFRESH_AND_PERSIST, position))
        self._silence = Silence()
        self._beat: _Beat | None = None
        self._next_beat_s = 0.0
        self._group_reads = _Pending()
        self._reconcile = Reconcile(self._settings, server, self._delivery, following.clock)

    def _own_position(self, cookie: str | None) -> str | None:
        """Return the server's part of a stored cookie, None if it is none or was stored under other settings."""
        fingerprint, _, position = (cookie or "").partition("|")
        return position if read_csn(position) and fingerprint == self._fingerprint else None

    def _new_search(self, *, complete: bool, resumes: bool = False) -> SyncSearch:
        return SyncSearch(
            self._reader,
            self._delivery,
            self._server.url,
            complete=complete,
            fingerprint=self._fingerprint,
            resumes=resumes,
        )

    @staticmethod
    def _sync(mode: SyncMode, position: str | None) -> list[tuple[str, bytes]]:
        return [(SYNC_REQUEST_OID, sync_request(mode, position))]

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
                selector.select(0 if more else self._wait_s(now_s, busy=busy))
                more = self._receive()
                busy = self._compare()

    def close(self) -> None:
        """Close this session's connections."""
        self._reconcile.close()
        self._channel.close()

    def _wait_s(self, now_s: float, *, busy: bool) -> float:
        if busy:
            return _RECONCILE_WAIT_S
        if self._beat is None and not self._follow.refreshing:
            return max(0.0, min(_WAIT_S, self._next_beat_s - now_s))
        return _WAIT_S

    def _send_due(self, now_s: float) -> None:
        if self._follow.refreshing:
            return
        if self._beat is None and now_s >= self._next_beat_s:
            self._send_beat(now_s)
        if self._group_reads.due:
            self._read_groups(now_s)

    def _send_beat(self, now_s: float) -> None:
        position = self._own_position(self._delivery.cookie)
        if position is None:
            raise AnswerBroken(f"{self._server.url} gives no position to continue from (OpenLDAP: overlay syncprov).")
        search = self._new_search(complete=False)
        sent_at_monotonic_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        sent_at_ms = time.time_ns() // 1_000_000
        message_id = self._channel.search(self._request, self._sync(SyncMode.REFRESH_ONLY, position))
        self._beat = _Beat(search, message_id, now_s, sent_at_monotonic_ns, sent_at_ms)
        self._next_beat_s = now_s + self._timing.beat_s

    def _receive(self) -> bool:
        """Take what has arrived; True if more may be waiting."""
        messages = self._channel.receive(_MESSAGES_AT_ONCE)
        now_s = time.monotonic()
        for message in messages:
            self._take(message, now_s)
        if self._beat is not None and now_s - self._beat.sent_at_s > self._timing.beat_answer_s:
            raise ServerSilent(f"{self._server.url} sends changes but no proof for {self._timing.beat_answer_s:g} s.")
        if messages:
            self._silence.heard()
            self._note_consequences(now_s)
        else:
            self._check_silence(now_s)
        more = len(messages) == _MESSAGES_AT_ONCE
        self._delivery.settle(now_s, idle=not more, following=not self._follow.refreshing)
        return more

    def _take(self, message: Message, now_s: float) -> None:
        if isinstance(message, Notice):
            raise ConnectionLost(f"{self._server.url} ends the connection (LDAP result {message.code}).")
        if isinstance(message, Reference):
            return
        if message.message_id == self._follow_id:
            self._take_follow(message, now_s)
        elif self._beat is not None and message.message_id == self._beat.message_id:
            self._take_beat(self._beat, message, now_s)
        elif message.message_id in self._group_reads.message_ids:
            self._take_group(message, now_s)
        else:
            raise AnswerBroken(f"{self._server.url} answered a question that was not asked.")
        self._delivery.settle(now_s, idle=False, following=not self._follow.refreshing)

    def _take_follow(self, message: Entry | Done | Intermediate, now_s: float) -> None:
        if isinstance(message, Entry):
            self._follow.take_entry(message, now_s)
        elif isinstance(message, Done):
            if message.code == 0:
                raise ConnectionLost(f"{self._server.url} ended the search that should never end.")
            raise refuse(message.code, self._server.url)
        elif self._follow.take_info(message, now_s):
            self._note_refreshed(now_s)

    def _note_refreshed(self, now_s: float) -> None:
        if self._follow.complete:
            self._following.clock.done(now_s, now_s - self._started_s)
        else:
            self._following.clock.resumed(now_s)
        _log.info(
            "directory.refreshed",
            server=self._server.url,
            complete=self._follow.complete,
            entries=len(self._delivery.known),
            removed=self._follow.removed,
            took_ms=round((now_s - self._started_s) * 1000),
        )
        self._following.report.unreadable(self._reader.unreadable)

    def _take_beat(self, beat: _Beat, message: Entry | Done | Intermediate, now_s: float) -> None:
        if isinstance(message, Entry):
            beat.search.take_entry(message, now_s)
        elif isinstance(message, Intermediate):
            beat.search.take_info(message, now_s)
        else:
            beat.search.take_done(message)
            self._note_search(beat.search, now_s)
            self._beat = None
            self._prove(beat)

    def _prove(self, beat: _Beat) -> None:
        self._delivery.flush(with_cookie=True)
        if self.current_since_s is None:
            self.current_since_s = time.monotonic()
        proof = Proof(self._server.url, _NAME, self._delivery.cookie, beat.sent_at_monotonic_ns, beat.sent_at_ms)
        self._following.sink.proved(proof)

    def _note_consequences(self, now_s: float) -> None:
        if not self._follow.refreshing:
            self._note_search(self._follow, now_s)
        oldest = min(self._follow.since if self._follow.refreshing else self._delivery.serial, self._reconcile.since)
        if self._beat is not None:
            oldest = min(oldest, self._beat.search.since)
        self._delivery.forget_touched(now_s, oldest)

    def _note_search(self, search: SyncSearch, now_s: float) -> None:
        """A rename or a removal changes groups on the server without an event (overlay refint)."""
        if search.renamed or search.lost:
            self._following.clock.soon(now_s, self._timing.settle_s)
        self._group_reads.due += [(now_s + after_s, dn) for dn in search.renamed for after_s in _GROUP_READS_AFTER_S]
        search.renamed = []
        search.lost = False

    def _read_groups(self, now_s: float) -> None:
        """Ask which groups hold the new names; after very many renames the comparison of everything does it."""
        reads = self._group_reads
        if len(reads.due) + len(reads.message_ids) > _MAX_GROUP_READS:
            reads.due = []
            self._following.clock.soon(now_s, 0.0)
            return
        dns = [dn for due_s, dn in reads.due if due_s <= now_s]
        reads.due = [(due_s, dn) for due_s, dn in reads.due if due_s > now_s]
        mapping = self._settings.mapping
        for dn in dns:
            value = escape_filter_chars(dn)
            holds = "".join(f"({kind}={value})" for kind in mapping.member)
            wanted = f"(&{self._settings.groups_filter}(|{holds}))"
            request = encode_search(self._settings.search_base(), wanted, mapping.attributes())
            reads.message_ids.add(self._channel.search(request))

    def _take_group(self, message: Entry | Done | Intermediate, now_s: float) -> None:
        if isinstance(message, Done):
            self._group_reads.message_ids.discard(message.message_id)
            if message.code != 0:
                self._following.clock.soon(now_s, 0.0)
        elif isinstance(message, Entry):
            stable_id = read_stable_id(message.attributes, self._settings.mapping.stable_id)
            found = self._reader.read(stable_id, message) if stable_id else None
            if found is None:
                self._following.clock.soon(now_s, 0.0)
            else:
                self._delivery.upsert(found, entry_csn(message), now_s)

    def _compare(self) -> bool:
        """Let the comparison of everything take a step; True while it is at work."""
        if self._follow.refreshing:
            return False
        now_s = time.monotonic()
        busy = self._reconcile.step(now_s)
        if self._reconcile.finished_reader is not None:
            self._reader.unreadable = self._reconcile.finished_reader.unreadable
            self._reconcile.finished_reader = None
            self._following.report.unreadable(self._reader.unreadable)
            self._following.report.compared()
        self._following.report.comparison(self._reconcile.trouble)
        return busy

    def _check_silence(self, now_s: float) -> None:
        if self._follow.refreshing:
            waiting_since_s, limit_s = self._started_s, self._timing.refresh_dead_s
        elif self._beat is not None:
            waiting_since_s, limit_s = self._beat.sent_at_s, self._timing.dead_s
        else:
            self._silence.heard()
            return
        if self._silence.lasts_s(now_s, waiting_since_s) > limit_s:
            raise ServerSilent(f"{self._server.url} has not answered for {limit_s:g} s.")


SYNCREPL: Final = Mode(_NAME, Session)
