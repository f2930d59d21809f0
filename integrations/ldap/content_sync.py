# SPDX-License-Identifier: EUPL-1.2
"""Mode `content-sync` (389 Directory Server, FreeIPA): the persistent search of RFC 4533, proved by change numbers.

The server numbers all its changes (retro changelog) and its cookie ends with the number of the last one it told. Each
beat asks the root DSE for the newest number: what it tells is in the copy as soon as the cookie's number is as high.
Changes of entries that are not ours raise the newest number alone; then the search is renewed from the cookie, which
brings the number forward. A refreshOnly search is never sent: see `content_sync_search`.

A cookie belongs to one start of one server. Others are read anew.
"""

import time
from typing import Final

from integrations.ldap import ber
from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.content_sync_search import (
    ROOT_ATTRIBUTES,
    Beat,
    DsSearch,
    Follow,
    Root,
    change_number,
    position_prefix,
    read_position,
    read_root,
    unique_id_filter,
    why_anew,
    with_own_attributes,
)
from integrations.ldap.controls import SYNC_REQUEST_OID, SyncMode, sync_request
from integrations.ldap.delivery import Delivery
from integrations.ldap.errors import AnswerBroken, ConnectionLost, ServerSilent
from integrations.ldap.following import Following, Mode
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.messages import Done, Entry, Intermediate, Message, Notice, Reference
from integrations.ldap.polling_stamps import server_digest
from integrations.ldap.refresh import refuse
from integrations.ldap.settings import Server
from integrations.ldap.silence import Silence
from integrations.ldap.sync_session import MESSAGES_AT_ONCE, WAIT_S, SyncSession, now_for_proof

_NAME: Final = "content-sync"
_ABANDON_REQUEST: Final = 0x50
_IDS_PER_READ: Final = 200
# How long the changes before the newest number may be on their way to us, and how often a search is renewed.
_ON_THE_WAY_S: Final = 0.3
_RENEW_GAP_S: Final = 1.0


class Session(SyncSession):
    """Follows `server` over `channel` from `cookie` (None reads everything)."""

    name = _NAME

    def __init__(self, following: Following, server: Server, channel: Channel, cookie: str | None) -> None:
        super().__init__(
            following, server, channel, with_own_attributes(following.settings), Delivery(following.sink, cookie=None)
        )
        self._here = server_digest(server.url)
        fingerprint, _, text = (cookie or "").partition("|")
        self._stored = read_position(text) if fingerprint == self._fingerprint else None
        self._stored_text = cookie
        self._prefix = ""
        self._follow: Follow | None = None
        self._abandoned: set[int] = set()
        self._beat: Beat | None = None
        self._claim: Beat | None = None
        self._behind_since_s: float | None = None
        self._renewed_s = 0.0
        # Of the search alone: the server goes on answering beats when it ends a search without a word.
        self._standstill = Silence()

    def _wait_s(self, now_s: float) -> float:
        return WAIT_S if self._beat is not None else self._until_next_beat_s(now_s)

    @property
    def _whole(self) -> bool:
        follow = self._follow
        return follow is not None and not follow.search.refreshing and follow.read_id is None

    def _send_due(self, now_s: float) -> None:
        if self._beat is None and now_s >= self._next_beat_s:
            self._send_beat(now_s)
        lags = self._behind_since_s is not None and now_s - self._behind_since_s > _ON_THE_WAY_S
        if lags and self._whole and now_s - self._renewed_s > _RENEW_GAP_S:
            self._renew(now_s)

    def _send_beat(self, now_s: float) -> None:
        asked = now_for_proof()
        request = encode_search("", "(objectClass=*)", ROOT_ATTRIBUTES, whole_tree=False)
        self._beat = Beat(self._channel.search(request), now_s, *asked)
        self._next_beat_s = now_s + self._timing.beat_s

    def _receive(self) -> bool:
        messages = self._channel.receive(MESSAGES_AT_ONCE)
        now_s = time.monotonic()
        beat_id = self._beat.message_id if self._beat is not None else None
        for message in messages:
            self._take(message, now_s)
        if any(message.message_id != beat_id for message in messages):
            self._standstill.heard()
        if messages:
            self._silence.heard()
            self._check_standstill(now_s)
            self._prove_claim(now_s)
            oldest = self._reconcile.since
            if self._follow is not None:
                oldest = min(oldest, self._follow.read_since if self._whole else self._follow.search.since)
            self._delivery.forget_touched(now_s, min(oldest, self._delivery.serial))
        else:
            self._check_silence(now_s)
        more = len(messages) == MESSAGES_AT_ONCE
        self._delivery.settle(now_s, idle=not more, following=self._whole)
        return more

    def _take(self, message: Message, now_s: float) -> None:
        if isinstance(message, Notice):
            raise ConnectionLost(f"{self._server.url} ends the connection (LDAP result {message.code}).")
        if isinstance(message, Reference) or message.message_id in self._abandoned:
            return
        follow = self._follow
        if self._beat is not None and message.message_id == self._beat.message_id:
            self._take_beat(self._beat, message, now_s)
        elif follow is not None and message.message_id == follow.message_id:
            self._take_follow(follow, message, now_s)
        elif follow is not None and message.message_id == follow.read_id:
            self._take_read(follow, message, now_s)
        else:
            raise AnswerBroken(f"{self._server.url} answered a question that was not asked.")
        self._delivery.settle(now_s, idle=False, following=self._whole)

    def _take_beat(self, beat: Beat, message: Entry | Done | Intermediate, now_s: float) -> None:
        if isinstance(message, Entry):
            beat.root = read_root(message.attributes)
        elif isinstance(message, Done):
            if message.code != 0:
                raise refuse(message.code, self._server.url)
            if beat.root is None:
                raise AnswerBroken(
                    f"{self._server.url} shows no number of its last change (389-ds: retro changelog plugin)."
                )
            self._beat = None
            self._claim = beat
            if self._follow is None:
                self._begin(beat.root, now_s)

    def _begin(self, root: Root, now_s: float) -> None:
        """Start the persistent search: from the stored cookie if it is this server's, and the server never stopped."""
        self._prefix = f"{self._fingerprint}|{position_prefix(self._here, root)}"
        stored = self._stored
        reason = why_anew(stored, self._here, root, self._server.url) if stored is not None else None
        if stored is None or reason is not None:
            if reason is not None:
                self._following.report.special("start", reason)
            self._send_follow(None, now_s, resumes=True)
        else:
            self._delivery.cookie = self._stored_text
            self._send_follow(stored.cookie, now_s, resumes=True)

    def _send_follow(self, position: str | None, now_s: float, *, resumes: bool) -> None:
        search = DsSearch(
            self._reader,
            self._delivery,
            self._server.url,
            complete=position is None,
            fingerprint=self._prefix,
            resumes=resumes,
        )
        if position is not None:
            self._delivery.hold_cookie()
        control = (SYNC_REQUEST_OID, sync_request(SyncMode.REFRESH_AND_PERSIST, position))
        self._follow = Follow(search, self._channel.search(self._request, [control]), now_s)

    def _renew(self, now_s: float) -> None:
        """Ask anew from where the copy stands, in place of the search that runs."""
        old = self._follow
        position = (self._delivery.cookie or "").removeprefix(f"{self._prefix}|")
        if old is None or change_number(position) < 0:
            return
        self._channel.search(ber.encode_integer(old.message_id, _ABANDON_REQUEST))
        self._abandoned.add(old.message_id)
        self._renewed_s = now_s
        self._send_follow(position, now_s, resumes=False)
        if self._follow is not None:
            self._follow.search.deleted = old.search.deleted

    def _take_follow(self, follow: Follow, message: Entry | Done | Intermediate, now_s: float) -> None:
        if isinstance(message, Entry):
            follow.search.take_entry(message, now_s)
        elif isinstance(message, Done):
            raise self._ended(message)
        elif follow.search.take_info(message, now_s):
            self._read_unread(follow, now_s)

    def _read_unread(self, follow: Follow, now_s: float) -> None:
        """Read what the refresh named, some at a time; after the last of them the copy is whole."""
        if follow.search.unread:
            some = [follow.search.unread.pop() for _ in range(min(_IDS_PER_READ, len(follow.search.unread)))]
            wanted = f"(&{unique_id_filter(some)}{self._settings.search_filter()})"
            request = encode_search(self._settings.search_base(), wanted, self._settings.mapping.attributes())
            follow.read_since = self._delivery.serial
            follow.read_asked_s = now_s
            follow.read_id = self._channel.search(request)
            return
        follow.read_id = None
        self._delivery.release_cookie()
        if follow.search.complete or follow.search.resumes:
            self._note_refreshed(follow.search, follow.asked_s, now_s)

    def _take_read(self, follow: Follow, message: Entry | Done | Intermediate, now_s: float) -> None:
        if isinstance(message, Entry):
            stable_id = read_stable_id(message.attributes, self._settings.mapping.stable_id)
            if stable_id is None:
                raise AnswerBroken(f"{self._server.url} shows an entry without nsUniqueId.")
            if self._delivery.touched_since(stable_id, follow.read_since):
                return
            found = self._reader.read(stable_id, message)
            if found is None:
                self._delivery.remove({stable_id}, "", now_s)
            else:
                self._delivery.upsert(found, "", now_s)
        elif isinstance(message, Done):
            if message.code != 0:
                raise refuse(message.code, self._server.url)
            self._read_unread(follow, now_s)

    def _prove_claim(self, now_s: float) -> None:
        """The newest look at the root DSE is proved once the copy is as far as it said."""
        claim = self._claim
        if claim is None or claim.root is None or not self._whole:
            return
        if change_number(self._delivery.cookie) < claim.root.last:
            self._behind_since_s = self._behind_since_s or now_s
            return
        self._claim = None
        self._behind_since_s = None
        self._prove(claim)

    def _check_standstill(self, now_s: float) -> None:
        """A refresh that reaches a limit of the account is not refused and never ends."""
        asked_s, limit_s = self._list_asked_s(), self._timing.refresh_dead_s
        if asked_s is None:
            self._standstill.heard()
        elif self._standstill.lasts_s(now_s, asked_s) > limit_s:
            raise ServerSilent(
                f"{self._server.url} has not gone on with its list for {limit_s:g} s and answers other questions: a "
                "limit of the service's account may cut it off (nsSizeLimit, nsLookThroughLimit)."
            )

    def _check_silence(self, now_s: float) -> None:
        if (asked_s := self._list_asked_s()) is not None:
            self._expect(now_s, asked_s, self._timing.refresh_dead_s)
        else:
            self._expect(now_s, self._beat.sent_at_s if self._beat is not None else None, self._timing.dead_s)

    def _list_asked_s(self) -> float | None:
        """Return since when the answer to a refresh, or to the reading of what it named, is due; None: none is."""
        follow = self._follow
        if follow is None or self._whole:
            return None
        return follow.asked_s if follow.read_id is None else follow.read_asked_s


CONTENT_SYNC: Final = Mode(_NAME, Session)
