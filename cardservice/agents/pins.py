# SPDX-License-Identifier: EUPL-1.2
"""The PIN of a tap: asked for at the terminal, checked in a few threads of its own, never kept.

    card proved, level too low ──▶ pin.ask ──▶ pin.entered ──▶ count, compare ──▶ decided again, level card_pin

The digits belong to one tap: they come on the connection of its agent, for its event and with the word it was asked by.
"""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from pydantic import BaseModel

from cardservice.access.rules import Reason
from cardservice.agents.messages import EventId, PinAsk, PinEntered
from cardservice.cards.pin.rules import Verdict
from cardservice.errors import Overloaded

# From the question to the digits, whatever the terminal shows meanwhile.
TYPING_MS: Final = 20_000
# How much sooner the terminal ends by itself, so that its answer is still in time.
TRAVEL_MS: Final = 1_000
# How long the agent waits for the decision after it has sent the digits: a few guesses may be ahead of it.
DECIDED_WITHIN_MS: Final = 3_000
# Guesses are made slow on purpose: these many at once, and as many wait as are through in a second or so.
THREADS: Final = 2
MAX_CHECKING: Final = 32

_REASONS: Final = {Verdict.WRONG: Reason.PIN_WRONG, Verdict.LOCKED: Reason.PIN_LOCKED}

# Asks whoever stands at the tap's terminal; None: they typed nothing in time, or do not want to.
AskPin = Callable[[], Awaitable[str | None]]


class PinCheck(Protocol):
    """The PINs of the card holders."""

    def check(self, card: int, person: int, pin: str) -> Verdict:
        """Count and check one try; blocks. Raises CardServiceError when nothing can be found out."""
        ...


class PinDesk:
    """Checks PINs beside the event loop; `close` ends its threads."""

    def __init__(self, pins: PinCheck) -> None:
        self._pins = pins
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pins")
        self._room = threading.BoundedSemaphore(MAX_CHECKING)

    async def objection(self, *, card: int, person: int, pin: str) -> Reason | None:
        """Return why `pin`, typed with a card that has proved itself, is not accepted; None if it is.

        Raises:
            Overloaded: too many are being checked; this one was not counted.
            CardServiceError: nothing could be found out.
        """
        if not self._room.acquire(blocking=False):
            raise Overloaded(f"{MAX_CHECKING} PINs are being checked already")
        try:
            checking = self._threads.submit(self._pins.check, card, person, pin)
        except RuntimeError:
            self._room.release()
            raise Overloaded("no PIN is checked any more: the service stops") from None
        # When the thread is done with it, even if the tap was given up long before.
        checking.add_done_callback(lambda _: self._room.release())
        return _REASONS.get(await asyncio.wrap_future(checking))

    def close(self) -> None:
        """Check nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class PinQuestions:
    """The questions of one agent that wait for digits. Used from the event loop only."""

    def __init__(self, send: Callable[[BaseModel], None]) -> None:
        self._send = send
        self._asked: dict[EventId, tuple[str, asyncio.Future[str | None]]] = {}

    async def ask(self, event: EventId) -> str | None:
        """Return what is typed at the terminal of this tap, None if nothing is in time."""
        word = secrets.token_hex(16)
        typed: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._asked[event] = word, typed
        try:
            self._send(PinAsk(event=event, ask=word, for_ms=TYPING_MS - TRAVEL_MS, decided_within_ms=DECIDED_WITHIN_MS))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TYPING_MS / 1_000):
                    return await typed
            return None
        finally:
            del self._asked[event]

    def entered(self, message: PinEntered) -> bool:
        """Take what was typed; False if it answers another question than the one that was asked for its tap."""
        word, typed = self._asked.get(message.event, ("", None))
        # Nobody waits any more: late, not strange.
        if typed is None or typed.done():
            return True
        if not secrets.compare_digest(word, message.ask):
            return False
        typed.set_result(message.pin)
        return True
