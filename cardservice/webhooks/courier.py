# SPDX-License-Identifier: EUPL-1.2
"""Delivers: one thread follows the sources and sees what is due, a few send it, one receiver each.

An event is forgotten only after its receiver said that it took it; who dies in between sends it again under the same
name. Attempts and pauses are stored: a restart forgives nothing.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import KeyStoreError
from cardservice.instants import instant
from cardservice.webhooks import store
from cardservice.webhooks.ports import Outcome, Post
from cardservice.webhooks.rules import GONE, headers_of, next_attempt_s, pause_s
from cardservice.webhooks.service import SecretBox
from cardservice.webhooks.sources import AT_ONCE, Sources

LOOK_S: Final = 1.0
SENDERS: Final = 4
# Then others have their turn.
IN_A_ROW: Final = 50
_STOP_S: Final = 5.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Carriage:
    """What deliveries need; `chance` returns numbers from 0 to 1."""

    state: Engine
    box: SecretBox
    post: Post
    clock: Clock
    chance: Callable[[], float] = random.random


class Courier:
    """The threads; `cut` ends what is being sent."""

    def __init__(
        self, sources: Sources, carriage: Carriage, cut: Callable[[], None], *, look_s: float = LOOK_S
    ) -> None:
        self._look_s = look_s
        self._sources, self._carriage = sources, carriage
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._cut = cut
        self._sending: dict[int, threading.Thread] = {}
        self._sentences: tuple[str, ...] = ()
        self.trouble: str | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is wrong, one sentence each: receivers that were given up."""
        return self._sentences + (() if self.trouble is None else (self.trouble,))

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the threads, and what is being sent: it is sent again."""
        self._stop.set()
        self._thread.join(timeout=_STOP_S)
        self._cut()
        for sender in tuple(self._sending.values()):
            sender.join(timeout=_STOP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                more = self._sources.collect() >= AT_ONCE
                self._hand_out()
                self.trouble = None
            except Exception as error:  # noqa: BLE001  # a thread that dies in silence tells nobody anything
                # A driver's error may repeat what it was about.
                self.trouble, more = f"webhooks: they cannot be sent at the moment: {type(error).__name__}", False
                _log.error("webhooks.trouble", error=type(error).__name__)
            self._stop.wait(0 if more else self._look_s)

    def _hand_out(self) -> None:
        with read(self._carriage.state) as connection:
            due = store.due_webhooks(connection, self._carriage.clock.now_ms())
            self._sentences = tuple(_sentence(row) for row in store.all_webhooks(connection) if row.disabled_why)
        self._sending = {number: one for number, one in self._sending.items() if one.is_alive()}
        for number in due:
            if number not in self._sending and len(self._sending) < SENDERS:
                sender = threading.Thread(target=self._serve, args=(number,), name="webhook sender", daemon=True)
                self._sending[number] = sender
                sender.start()

    def _serve(self, number: int) -> None:
        """Send what is due to one receiver."""
        try:
            for _ in range(IN_A_ROW):
                if self._stop.is_set() or not deliver_next(self._carriage, number):
                    return
        except Exception as error:  # noqa: BLE001  # it is due still: the next look sends it again
            _log.error("webhooks.not_sent", webhook=number, error=type(error).__name__)


def deliver_next(carriage: Carriage, number: int) -> bool:
    """Send the oldest event that is due to a webhook (a row number); False: nothing is, or it failed.

    Raises:
        DatabaseUnavailable: the state store cannot be used; what was sent is sent again.
    """
    with read(carriage.state) as connection:
        row = store.next_delivery(connection, number, carriage.clock.now_ms())
    if row is None:
        return False
    outcome = _sent(carriage, row)
    now_ms = carriage.clock.now_ms()
    with write(carriage.state) as connection:
        if outcome.delivered:
            store.drop(connection, row.delivery)
            store.change(connection, number, failures=0, delivered_ms=now_ms, trouble=None)
        else:
            _failed(connection, carriage, row, outcome)
    _log.info("webhooks.delivered" if outcome.delivered else "webhooks.failed", webhook=row.name, status=outcome.status)
    return outcome.delivered


def _sent(carriage: Carriage, row: sa.Row[Any]) -> Outcome:
    now_ms = carriage.clock.now_ms()
    try:
        secrets = [carriage.box.open(row.name, bytes(row.secret))]
        if row.old_secret is not None and now_ms < row.old_until_ms:
            secrets.append(carriage.box.open(row.name, bytes(row.old_secret)))
    except KeyStoreError as error:
        return Outcome(None, str(error))
    return carriage.post(row.url, headers_of(secrets, row.message, now_ms, row.body), row.body.encode())


def _failed(connection: Connection, carriage: Carriage, row: sa.Row[Any], outcome: Outcome) -> None:
    """Store when to try again, or that nobody will."""
    now_ms, failures, attempts = carriage.clock.now_ms(), row.failures + 1, row.attempts + 1
    again_s = next_attempt_s(attempts, carriage.chance())
    values: dict[str, Any] = {"failures": failures, "trouble": outcome.why[:200]}
    values["due_ms"] = now_ms + int(pause_s(failures, carriage.chance(), outcome.retry_after_s) * 1_000)
    if again_s is not None:
        store.postpone(connection, row.delivery, attempts, now_ms + int(again_s * 1_000))
    if outcome.status == GONE:
        values |= _given_up(now_ms, "it answered that it wants no more events (410)")
    elif again_s is None and (row.delivered_ms is None or row.delivered_ms < row.made_ms):
        values |= _given_up(now_ms, f"it took nothing in {attempts} attempts: {outcome.why}")
    elif again_s is None:
        # Others were taken meanwhile: it is this event that it does not want.
        store.drop(connection, row.delivery)
        values["lost"] = row.lost + 1
    store.change(connection, row.id, **values)


def _given_up(now_ms: int, why: str) -> dict[str, Any]:
    return {"enabled": False, "disabled_ms": now_ms, "disabled_why": why[:200]}


def _sentence(row: sa.Row[Any]) -> str:
    return (
        f"webhook {row.name}: sends nothing since {instant(row.disabled_ms)}, because {row.disabled_why}; mend the "
        f"receiver, then 'cardservice webhooks enable {row.name}'"
    )
