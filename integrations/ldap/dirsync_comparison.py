# SPDX-License-Identifier: EUPL-1.2
"""The periodic comparison with the whole directory, on a second connection to the same domain controller.

Only it finds what DirSync does not tell: rights that changed, an entry that no longer fits a filter over attributes
that are not followed, and deletions where the account may not list deleted objects.
"""

import time
from typing import Final

import structlog

from integrations.ldap.connection import Channel, Dial
from integrations.ldap.delivery import Delivery
from integrations.ldap.dirsync_copy import DirectoryCopy
from integrations.ldap.dirsync_dialogue import Dialogue, Script
from integrations.ldap.dirsync_listing import Listing
from integrations.ldap.dirsync_server import Controller, ask_controller
from integrations.ldap.errors import AnswerBroken, LdapTrouble
from integrations.ldap.reconcile import ReconcileClock
from integrations.ldap.settings import Server

BLIND_PERIOD_S: Final = 30.0
_NEVER: Final = 2**63
# Small, because a server may answer one question after the other: the polls want their turn.
_PAGE_ENTRIES: Final = 100

_log = structlog.get_logger()


class Comparison:
    """One comparison after another. `trouble` says why the last one failed, `controller` what the last one found."""

    def __init__(self, server: Server, controller: Controller, copy: DirectoryCopy, clock: ReconcileClock) -> None:
        self.trouble: str | None = None
        self.controller = controller
        self.completed = 0
        self._server = server
        self._copy = copy
        self._clock = clock
        self._dial: Dial | None = None
        self._channel: Channel | None = None
        self._dialogue: Dialogue | None = None
        self._since = _NEVER

    @property
    def since(self) -> int:
        """Return the delivery's serial at which the running comparison began, a huge one while none runs."""
        return self._since

    def step(self, now_s: float) -> bool:
        """Go on a little; True while it is at work."""
        try:
            return self._step(now_s)
        except LdapTrouble as error:
            self.trouble = str(error)
            self._clock.failed(now_s)
            self.close()
            return False

    def _step(self, now_s: float) -> bool:
        if self._dialogue is not None:
            self._dialogue.step(now_s)
            if self._dialogue.ended:
                self.close()
            return self._dialogue is not None
        if self._dial is not None:
            if self._dial.wait(0):
                dial, self._dial = self._dial, None
                self._channel = dial.take()
                self._dialogue = Dialogue(self._channel, self._compare())
            return True
        if self._clock.due(now_s):
            self._dial = Dial(self._copy.settings, self._server)
        return False

    def _compare(self) -> Script:
        started_s = time.monotonic()
        url = self._server.url
        found = yield from ask_controller(self._copy.settings, url)
        if found.identity != self.controller.identity:
            raise AnswerBroken(f"Behind {url} there are several domain controllers; give each by its own name.")
        delivery: Delivery = self._copy.delivery
        delivery.resync()
        self._since = delivery.serial
        listing = Listing(self._copy.settings, url, page_entries=_PAGE_ENTRIES)
        removed = yield from self._copy.read_everything(listing, following=True)
        now_s = time.monotonic()
        self.controller, self.trouble = found, None
        self.completed += 1
        plan_next(self._clock, found, now_s, now_s - started_s)
        _log.info(
            "directory.reconciled",
            server=url,
            entries=len(delivery.known),
            removed=removed,
            took_ms=round((now_s - started_s) * 1000),
        )

    def close(self) -> None:
        """Stop a comparison that runs."""
        if self._dial is not None:
            self._dial.abandon()
        if self._channel is not None:
            self._channel.close()
        self._dial = self._channel = self._dialogue = None
        self._since = _NEVER


def plan_next(clock: ReconcileClock, controller: Controller, now_s: float, took_s: float) -> None:
    """Note that everything was just read: the next time is sooner when deletions are not told."""
    clock.done(now_s, took_s)
    if not controller.sees_deletions:
        clock.soon(now_s, BLIND_PERIOD_S)
