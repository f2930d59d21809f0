# SPDX-License-Identifier: EUPL-1.2
"""Mode `syncrepl` (OpenLDAP, RFC 4533): the persistent search, the proofs, the group reads after a rename."""

import time
from dataclasses import dataclass, field
from typing import Final

from ldap3.utils.conv import escape_filter_chars

from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.controls import SYNC_REQUEST_OID, SyncMode, sync_request
from integrations.ldap.delivery import Delivery, read_csn
from integrations.ldap.errors import AnswerBroken, ConnectionLost, ServerSilent
from integrations.ldap.following import Following, Mode
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.messages import Done, Entry, Intermediate, Message, Notice, Reference
from integrations.ldap.refresh import SyncSearch, entry_csn
from integrations.ldap.settings import Server
from integrations.ldap.sync_session import MESSAGES_AT_ONCE, WAIT_S, SyncSession, now_for_proof

_NAME: Final = "syncrepl"
_MAX_GROUP_READS = 100
# Overlay refint works after the rename has been announced: once is too early now and then.
_GROUP_READS_AFTER_S = (0.0, 0.2, 1.0)


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


class Session(SyncSession):
    """Follows `server` over `channel` from `cookie` (None reads everything)."""

    name = _NAME

    def __init__(self, following: Following, server: Server, channel: Channel, cookie: str | None) -> None:
        position = _own_position(cookie, following.settings.fingerprint())
        delivery = Delivery(following.sink, cookie=cookie if position else None)
        super().__init__(following, server, channel, following.settings, delivery)
        self._follow = self._new_search(complete=position is None, resumes=True)
        self._started_s = time.monotonic()
        self._follow_id = channel.search(self._request, self._sync(SyncMode.REFRESH_AND_PERSIST, position))
        self._beat: _Beat | None = None
        self._group_reads = _Pending()

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

    @property
    def _whole(self) -> bool:
        return not self._follow.refreshing

    def _wait_s(self, now_s: float) -> float:
        return self._until_next_beat_s(now_s) if self._beat is None and self._whole else WAIT_S

    def _send_due(self, now_s: float) -> None:
        if not self._whole:
            return
        if self._beat is None and now_s >= self._next_beat_s:
            self._send_beat(now_s)
        if self._group_reads.due:
            self._read_groups(now_s)

    def _send_beat(self, now_s: float) -> None:
        position = _own_position(self._delivery.cookie, self._fingerprint)
        if position is None:
            raise AnswerBroken(f"{self._server.url} gives no position to continue from (OpenLDAP: overlay syncprov).")
        search = self._new_search(complete=False)
        asked = now_for_proof()
        message_id = self._channel.search(self._request, self._sync(SyncMode.REFRESH_ONLY, position))
        self._beat = _Beat(search, message_id, now_s, *asked)
        self._next_beat_s = now_s + self._timing.beat_s

    def _receive(self) -> bool:
        messages = self._channel.receive(MESSAGES_AT_ONCE)
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
        more = len(messages) == MESSAGES_AT_ONCE
        self._delivery.settle(now_s, idle=not more, following=self._whole)
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
        self._delivery.settle(now_s, idle=False, following=self._whole)

    def _take_follow(self, message: Entry | Done | Intermediate, now_s: float) -> None:
        if isinstance(message, Entry):
            self._follow.take_entry(message, now_s)
        elif isinstance(message, Done):
            raise self._ended(message)
        elif self._follow.take_info(message, now_s):
            self._note_refreshed(self._follow, self._started_s, now_s)

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

    def _check_silence(self, now_s: float) -> None:
        if not self._whole:
            self._expect(now_s, self._started_s, self._timing.refresh_dead_s)
        else:
            self._expect(now_s, self._beat.sent_at_s if self._beat is not None else None, self._timing.dead_s)


def _own_position(cookie: str | None, fingerprint: str) -> str | None:
    """Return the server's part of a stored cookie, None if it is none or was stored under other settings."""
    stored_under, _, position = (cookie or "").partition("|")
    return position if read_csn(position) and stored_under == fingerprint else None


SYNCREPL: Final = Mode(_NAME, Session)
