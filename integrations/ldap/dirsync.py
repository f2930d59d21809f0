# SPDX-License-Identifier: EUPL-1.2
"""Mode `dirsync` (Active Directory): DirSync asked again and again, and at once when a notification says so.

Every poll that was answered and taken over is a proof: the copy equals the domain controller as it was when the poll
was sent. The notification is a wake-up and never the truth.
"""

import base64
import binascii
import selectors
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

import structlog

from cardservice.people.ports import Proof
from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.delivery import Delivery
from integrations.ldap.dirsync_changes import STRUCTURE, ChangeReader, Changes, ask_changes
from integrations.ldap.dirsync_comparison import Comparison, plan_next
from integrations.ldap.dirsync_controls import NOTIFICATION_OID
from integrations.ldap.dirsync_copy import DirectoryCopy
from integrations.ldap.dirsync_dialogue import Answer, Dialogue, Question, Rest, Script
from integrations.ldap.dirsync_listing import Listing
from integrations.ldap.dirsync_server import (
    ANYTHING,
    BLIND_TO_DELETIONS,
    NOTHING,
    Controller,
    ask_controller,
    ask_usn,
    check_rights,
)
from integrations.ldap.errors import ServerBehind
from integrations.ldap.following import Following, Mode
from integrations.ldap.refresh import EntryReader
from integrations.ldap.settings import Server

__all__ = ["DIRSYNC", "check_rights"]

_NAME: Final = "dirsync"
_WAIT_S: Final = 0.1
_COMPARISON_WAIT_S: Final = 0.005
# A domain controller notifies about every change of anything: polls must leave it time to breathe.
_LEAST_GAP_S: Final = 0.05
_KEEP_POSITION_S: Final = 10.0
_BEHIND: Final = 53

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Position:
    """Where a copy stands: at which domain controller, at or after which change, and that server's own cookie."""

    identity: str
    usn: int
    cookie: bytes

    def text(self, fingerprint: str) -> str:
        """Return it as it is stored; it is only good for the settings with this fingerprint."""
        return f"{fingerprint}|{self.identity}|{self.usn}|{base64.b64encode(self.cookie).decode('ascii')}"


def read_position(text: str | None, fingerprint: str) -> Position | None:
    """Return a stored position, None if it is none or was stored under other settings."""
    parts = (text or "").split("|")
    if len(parts) != 4 or parts[0] != fingerprint or not parts[2].isdecimal() or len(parts[2]) > 19:
        return None
    try:
        cookie = base64.b64decode(parts[3], validate=True)
    except (ValueError, binascii.Error):
        return None
    return Position(parts[1], int(parts[2]), cookie) if cookie else None


class Session:
    """Follows `server` over `channel` from `cookie` (None reads everything)."""

    def __init__(self, following: Following, server: Server, channel: Channel, cookie: str | None) -> None:
        self.current_since_s: float | None = None
        self._following = following
        self._settings = following.settings
        self._server = server
        self._channel = channel
        self._fingerprint = following.settings.fingerprint()
        self._stored = read_position(cookie, self._fingerprint)
        delivery = Delivery(following.sink, cookie=cookie if self._stored else None)
        self._copy = DirectoryCopy(self._settings, server.url, delivery, EntryReader(self._settings))
        self._copy.primary.loaded = not self._settings.mapping.primary_group
        self._listing = Listing(self._settings, server.url)
        self._changes = ChangeReader(self._copy, self._listing)
        self._comparison: Comparison | None = None
        self._compared = 0
        self._kept_at_s = time.monotonic()
        self._dialogue = Dialogue(channel, self._follow())

    def run(self) -> None:
        """Follow until `stop` is set.

        Raises:
            LdapTrouble: why following ended.
        """
        busy = False
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            while not self._following.stop.is_set():
                more = self._dialogue.step(time.monotonic())
                busy = self._compare()
                now_s = time.monotonic()
                most_s = 0.0 if more else _COMPARISON_WAIT_S if busy else _WAIT_S
                selector.select(self._dialogue.wait_s(now_s, most_s))

    def close(self) -> None:
        """Close this session's connections."""
        if self._comparison is not None:
            self._comparison.close()
        self._channel.close()

    def _follow(self) -> Script:
        controller = yield from ask_controller(self._settings, self._server.url)
        self._remark_rights(controller)
        position = self._position_at(controller)
        if position is None:
            position = yield from self._read_everything(controller)
        else:
            self._following.clock.resumed(time.monotonic())
        self._comparison = Comparison(self._server, controller, self._copy, self._following.clock)
        everything = encode_search(controller.context, ANYTHING, ("objectguid",))
        self._dialogue.watch(everything, ((NOTIFICATION_OID, b""),))
        wanted = (*self._settings.mapping.stored_attributes(), *STRUCTURE)
        request = encode_search(controller.context, ANYTHING, dict.fromkeys(wanted))
        while True:
            position = yield from self._poll(request, position)

    def _position_at(self, controller: Controller) -> Position | None:
        """Return where to continue, None to begin anew.

        Raises:
            ServerBehind: the server has made fewer changes than it had when the copy was stored.
        """
        stored = self._stored
        if stored is None:
            return None
        if stored.identity != controller.identity:
            text = "Another domain controller answers than before, so everything was read again."
            self._following.report.special("start", text)
            return None
        if controller.usn < stored.usn:
            raise ServerBehind(f"{self._server.url} ended the search: it is older than this copy.", _BEHIND)
        return stored

    def _read_everything(self, controller: Controller) -> Generator[Question, Answer, Position]:
        """Ask for the position first and read then: what changes meanwhile is told by the first poll."""
        started_s = time.monotonic()
        nothing = encode_search(controller.context, NOTHING, ("objectguid",))
        _, cookie = yield from ask_changes(self._settings, self._server.url, nothing, b"")
        position = Position(controller.identity, controller.usn, cookie)
        self._copy.delivery.note_cookie(position.text(self._fingerprint))
        removed = yield from self._copy.read_everything(self._listing, following=False)
        # Every group has just been read.
        self._copy.renamed, self._copy.regrouped = [], set()
        now_s = time.monotonic()
        plan_next(self._following.clock, controller, now_s, now_s - started_s)
        _log.info(
            "directory.refreshed",
            server=self._server.url,
            complete=True,
            entries=len(self._copy.delivery.known),
            removed=removed,
            took_ms=round((now_s - started_s) * 1000),
        )
        self._following.report.unreadable(self._copy.reader.unreadable)
        return position

    def _poll(self, request: bytes, position: Position) -> Generator[Question | Rest, Answer, Position]:
        """Ask once, take over what changed, prove it, and rest until the next time."""
        settings, url = self._settings, self._server.url
        keep = time.monotonic() - self._kept_at_s >= _KEEP_POSITION_S
        # Before the poll: a position must never claim more than its cookie.
        usn = (yield from ask_usn(settings, url)) if keep else position.usn
        sent_at_s = time.monotonic()
        sent_at_monotonic_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        sent_at_ms = time.time_ns() // 1_000_000
        changes, cookie = yield from ask_changes(settings, url, request, position.cookie)
        yield from self._changes.apply(changes)
        position = Position(position.identity, usn, cookie)
        self._take_over(position, changes, keep=keep)
        if self.current_since_s is None:
            self.current_since_s = time.monotonic()
        proof = Proof(url, _NAME, self._copy.delivery.cookie, sent_at_monotonic_ns, sent_at_ms)
        self._following.sink.proved(proof)
        self._remark_notification()
        now_s = time.monotonic()
        until_s = max(now_s, sent_at_s + settings.timing.beat_s)
        yield Rest(until_s, min(until_s, sent_at_s + _LEAST_GAP_S))
        return position

    def _take_over(self, position: Position, changes: Changes, *, keep: bool) -> None:
        """Hand everything over; the position moves without changes too, and is then stored now and then only."""
        now_s = time.monotonic()
        delivery, clock = self._copy.delivery, self._following.clock
        if keep or changes.changed or changes.deleted:
            delivery.note_cookie(position.text(self._fingerprint))
            self._kept_at_s = now_s
        delivery.flush(with_cookie=True)
        if changes.deleted:
            clock.soon(now_s, self._settings.timing.settle_s)
        if self._changes.doubtful:
            self._changes.doubtful = False
            clock.soon(now_s, 0.0)
        since = self._comparison.since if self._comparison is not None else delivery.serial
        delivery.forget_touched(now_s, min(delivery.serial, since))

    def _compare(self) -> bool:
        """Let the comparison of everything take a step; True while it is at work."""
        comparison = self._comparison
        if comparison is None or self.current_since_s is None:
            return False
        busy = comparison.step(time.monotonic())
        if comparison.completed != self._compared:
            self._compared = comparison.completed
            self._following.report.unreadable(self._copy.reader.unreadable)
            self._following.report.compared()
            self._remark_rights(comparison.controller)
        self._following.report.comparison(comparison.trouble)
        return busy

    def _remark_rights(self, controller: Controller) -> None:
        self._following.report.special("deletions", None if controller.sees_deletions else BLIND_TO_DELETIONS)

    def _remark_notification(self) -> None:
        code = self._dialogue.watch_code
        if code is None:
            return
        text = f"The server sends no change notifications (LDAP result {code}); it is asked every"
        self._following.report.special("notification", f"{text} {self._settings.timing.beat_s:g} s.")


DIRSYNC: Final = Mode(_NAME, Session)
