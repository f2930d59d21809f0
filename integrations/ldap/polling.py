# SPDX-License-Identifier: EUPL-1.2
"""Mode `polling`: for every server that speaks LDAP, whatever it does not offer.

A *poll* asks each beat for what was stamped lately; it brings changes quickly and proves nothing: no stamp tells of a
deletion, of a lost right, or of what a server changes without stamping it. A *list* of everything, every `list_s`,
does: `verified_at` moves when a list was read to its end, to the moment it was asked for, and never otherwise.

Lists and polls take turns on one connection, always in pages, because OpenLDAP keeps one paged search per connection.
"""

import selectors
import time
from typing import Final

import structlog

from cardservice.people.ports import Proof
from cardservice.people.rules import DirectoryEntry, DirectoryGroup
from integrations.ldap.connection import Channel
from integrations.ldap.delivery import Delivery
from integrations.ldap.errors import AnswerBroken, ServerBehind, ServerSilent
from integrations.ldap.following import Following, Mode
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.messages import Entry
from integrations.ldap.polling_pages import search_pages
from integrations.ldap.polling_reading import Purpose, Reading
from integrations.ldap.polling_stamps import (
    KINDS,
    UNKNOWN_RECENT,
    Position,
    StampKind,
    entries_digest,
    read_position,
    server_digest,
)
from integrations.ldap.refresh import EntryReader
from integrations.ldap.settings import Server
from integrations.ldap.silence import Silence

_NAME: Final = "polling"
_WAIT_S: Final = 0.1
_MESSAGES_AT_ONCE: Final = 500
_BEHIND: Final = 53
# Most of the time is left to others, however long a server takes for one answer.
_IDLE_SHARE: Final = 4
# How much longer than the longest pause of the list before the next one may take.
_PATIENCE: Final = 4

_log = structlog.get_logger()


class Session:
    """Polls `server` over `channel`.

    With a cookie of the same server, the first list leaves out what its stamps say is unchanged; the next one compares
    everything all the same. Another server's cookie is used only to see whether this one is behind it.
    """

    def __init__(self, following: Following, server: Server, channel: Channel, cookie: str | None) -> None:
        self.current_since_s: float | None = None
        self._following = following
        self._settings = following.settings
        self._timing = following.settings.timing
        self._server = server
        self._channel = channel
        self._fingerprint = following.settings.fingerprint()
        self._here = server_digest(server.url)
        fingerprint, _, text = (cookie or "").partition("|")
        known = read_position(text) if fingerprint == self._fingerprint else None
        self._probed = known
        self._resumed = known if known is not None and known.server == self._here else None
        self._delivery = Delivery(following.sink, cookie=cookie if self._resumed else None)
        self._kind: StampKind | None = None
        self._newest = 0
        self._newest_seen_s = 0.0
        self._newest_stood_s = 0.0
        self._shown: dict[str, int] = {}
        self._groups: set[str] = set()
        self._reading: Reading | None = None
        self._gone: frozenset[str] = frozenset()
        self._next_list_s = 0.0
        self._next_poll_s = 0.0
        self._pause_limit_s = self._timing.refresh_dead_s
        self._heard_s = 0.0
        self._silence = Silence()

    def run(self) -> None:
        """Poll until `stop` is set.

        Raises:
            LdapTrouble: why polling ended.
        """
        more = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            while not self._following.stop.is_set():
                now_s = time.monotonic()
                if self._reading is None:
                    self._begin_due(now_s)
                selector.select(0 if more else self._wait_s(now_s))
                more = self._receive()

    def close(self) -> None:
        """Close this session's connection."""
        self._channel.close()

    def _wait_s(self, now_s: float) -> float:
        if self._reading is not None:
            return _WAIT_S
        next_s = self._next_list_s if self._kind is None else min(self._next_list_s, self._next_poll_s)
        return max(0.0, min(_WAIT_S, next_s - now_s))

    def _begin_due(self, now_s: float) -> None:
        if self._probed is not None:
            self._begin_probe(self._probed, now_s)
        elif now_s >= self._next_list_s or (self._kind is not None and self._following.clock.due(now_s)):
            self._delivery.resync()
            self._reading = self._begin(Purpose.LIST, self._settings.search_filter(), now_s)
        elif self._kind is not None and now_s >= self._next_poll_s:
            since = self._kind.since(self._kind.next_poll(self._newest, self._newest_stood_s))
            self._reading = self._begin(Purpose.POLL, f"(&{since}{self._settings.search_filter()})", now_s)

    def _begin_probe(self, known: Position, now_s: float) -> None:
        """Look first whether this server shows what the copy's server showed last."""
        self._probed = None
        if known.kind.per_server and known.server != self._here:
            return
        wanted = f"(&{known.kind.since(known.newest)}{self._settings.search_filter()})"
        self._reading = self._begin(Purpose.PROBE, wanted, now_s)

    def _begin(self, purpose: Purpose, wanted: str, now_s: float) -> Reading:
        stamps = [kind.attribute for kind in KINDS]
        attributes = dict.fromkeys((*self._settings.mapping.attributes(), *stamps))
        sent_at_monotonic_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        sent_at_ms = time.time_ns() // 1_000_000
        search = search_pages(self._channel, self._settings.search_base(), wanted, attributes)
        self._heard_s = now_s
        reader = EntryReader(self._settings)
        return Reading(purpose, search, reader, self._delivery.serial, now_s, sent_at_monotonic_ns, sent_at_ms)

    def _receive(self) -> bool:
        """Take what has arrived; True if more may be waiting."""
        messages = self._channel.receive(_MESSAGES_AT_ONCE)
        now_s = time.monotonic()
        reading = self._reading
        if reading is None:
            if messages:
                raise AnswerBroken(f"{self._server.url} sends what nobody asked for.")
            return False
        if messages:
            self._silence.heard()
            reading.longest_pause_s = max(reading.longest_pause_s, now_s - self._heard_s)
            self._heard_s = now_s
        else:
            self._check_silence(reading, now_s)
        for message in messages:
            entry = reading.search.take(message)
            if entry is not None:
                self._take_entry(reading, entry, now_s)
            self._delivery.settle(now_s, idle=False, following=True)
        if reading.search.ended:
            self._reading = None
            self._end(reading, now_s)
        more = len(messages) == _MESSAGES_AT_ONCE
        self._delivery.settle(now_s, idle=not more, following=True)
        return more

    def _check_silence(self, reading: Reading, now_s: float) -> None:
        limit_s = self._pause_limit_s if reading.purpose is Purpose.LIST else self._timing.dead_s
        if self._silence.lasts_s(now_s, reading.asked_s) > limit_s:
            raise ServerSilent(f"{self._server.url} has not answered for {limit_s:g} s.")

    def _take_entry(self, reading: Reading, entry: Entry, now_s: float) -> None:
        stable_id = read_stable_id(entry.attributes, self._settings.mapping.stable_id)
        if stable_id is None:
            raise AnswerBroken(f"{self._server.url} shows an entry without {self._settings.mapping.stable_id}.")
        reading.named.add(stable_id)
        if len(reading.named) > self._settings.max_entries:
            raise AnswerBroken(f"{self._server.url} names more than {self._settings.max_entries} entries.")
        if reading.purpose is Purpose.PROBE:
            return
        if any(end is not None for _, end in entry.ranges.values()):
            raise AnswerBroken(f"{self._server.url} shows the members of a large group in parts; use mode dirsync.")
        found = reading.reader.read(stable_id, entry)
        if found is None:
            self._shown.pop(stable_id, None)
            reading.moved = self._delivery.remove({stable_id}, "", now_s) or reading.moved
            return
        stamp = reading.note_stamp(found, entry)
        if not self._is_unchanged(reading, found, stamp):
            self._show(reading, found, now_s)

    def _is_unchanged(self, reading: Reading, found: DirectoryEntry, stamp: int | None) -> bool:
        """Tell whether the copy holds this entry just so, or the end of the list will tell."""
        known = self._delivery.known.get(found.stable_id) == found.dn
        if known and self._shown.get(found.stable_id) == hash(found):
            return True
        resumed = self._resumed
        if resumed is None or not known or stamp is None or reading.kind is not resumed.kind:
            return False
        if resumed.settled_before <= stamp <= resumed.newest:
            reading.held.append(found)
        return stamp <= resumed.newest

    def _note_shown(self, found: DirectoryEntry) -> None:
        self._shown[found.stable_id] = hash(found)
        if isinstance(found, DirectoryGroup):
            self._groups.add(found.stable_id)

    def _show(self, reading: Reading, found: DirectoryEntry, now_s: float) -> None:
        self._note_shown(found)
        reading.moved = self._delivery.upsert(found, "", now_s) or reading.moved

    def _end(self, reading: Reading, now_s: float) -> None:
        if reading.purpose is Purpose.PROBE:
            if not reading.named:
                raise ServerBehind(
                    f"{self._server.url} does not show what was changed last: it is older than this copy, "
                    "or that entry is gone.",
                    _BEHIND,
                )
            return
        took_s = now_s - reading.asked_s
        if reading.newest > self._newest:
            self._newest_seen_s = now_s
        # Only a search sent after the newest stamp was seen tells how long it has stood.
        self._newest_stood_s = max(0.0, reading.asked_s - self._newest_seen_s)
        self._next_poll_s = max(reading.asked_s + self._timing.beat_s, now_s + took_s * _IDLE_SHARE)
        if reading.purpose is Purpose.LIST:
            self._end_list(reading, now_s)
            self._next_list_s = max(reading.asked_s + self._timing.list_s, now_s + took_s * _IDLE_SHARE)
            self._next_poll_s = now_s
        elif self._kind is not None and reading.newest > self._newest:
            # A server that does not show this is behind the copy, even if it shows what the last list did.
            self._newest = reading.newest
            self._note_position(self._kind, UNKNOWN_RECENT)
        if reading.moved:
            # The copy takes a name that is gone out of its groups; whether the server did too is seen by the next list.
            for stable_id in self._groups:
                self._shown.pop(stable_id, None)

    def _end_list(self, reading: Reading, now_s: float) -> None:
        if not reading.named and self._delivery.known:
            raise AnswerBroken(
                f"{self._server.url} names none of {len(self._delivery.known)} known people and groups. "
                "The service's account may have lost its rights."
            )
        resumed, self._resumed = self._resumed, None
        as_before = resumed is not None and resumed.recent == entries_digest(reading.held)
        for found in reading.held:
            if as_before:
                self._note_shown(found)
            else:
                self._show(reading, found, now_s)
        gone = self._delivery.unnamed(reading.named, reading.since)
        reading.moved = reading.moved or bool(gone)
        self._kind = None if reading.unstamped else reading.kind
        self._newest = reading.newest
        if self._kind is not None:
            self._note_position(self._kind, entries_digest(reading.recent_entries()))
        self._hand_over(gone, now_s, now_s - reading.asked_s, complete=resumed is None)
        self._pause_limit_s = max(self._timing.dead_s, reading.longest_pause_s * _PATIENCE)
        self._following.report.unreadable(reading.reader.unreadable)
        self._prove(reading)

    def _note_position(self, kind: StampKind, recent: str) -> None:
        position = Position(kind, self._newest, self._here, recent)
        self._delivery.note_cookie(f"{self._fingerprint}|{position.text()}")

    def _hand_over(self, gone: frozenset[str], now_s: float, took_s: float, *, complete: bool) -> None:
        """End a list: whole when that says something new, because the whole copy is looked through then."""
        news = gone != self._gone or self.current_since_s is None or self._following.clock.due(now_s)
        if complete and news:
            self._delivery.complete(gone)
            self._following.clock.done(now_s, took_s)
        elif gone and news:
            self._delivery.remove(gone, "", now_s)
            self._delivery.flush(with_cookie=True)
        else:
            self._delivery.flush(with_cookie=True)
        for stable_id in gone:
            self._shown.pop(stable_id, None)
            self._groups.discard(stable_id)
        self._gone = gone

    def _prove(self, reading: Reading) -> None:
        if self.current_since_s is None:
            self.current_since_s = time.monotonic()
            _log.info(
                "directory.listed",
                server=self._server.url,
                entries=len(self._delivery.known),
                stamps=self._kind.name if self._kind is not None else None,
                took_ms=round((time.monotonic() - reading.asked_s) * 1000),
            )
        proof = Proof(self._server.url, _NAME, self._delivery.cookie, reading.sent_at_monotonic_ns, reading.sent_at_ms)
        self._following.sink.proved(proof)


POLLING: Final = Mode(_NAME, Session)
