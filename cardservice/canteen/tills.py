# SPDX-License-Identifier: EUPL-1.2
"""Tills and taps meet here: a till asks for an amount at a terminal, the next permitted card there pays it.

    till ── charge ──▶ waits ── card at the terminal ──▶ booked, on disk ──▶ paid | refused
                         └────── nobody comes ─────────▶ timed_out

What waits is in memory only: after a restart the till asks again with the same key. What came of it is stored under
the till's key in the same transaction as the booking, so that asking again never pays twice. A key that timed out
never pays any more.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import structlog
from sqlalchemy.engine import Connection

from cardservice.access.rules import PointRecord, Use
from cardservice.agents.messages import Prompt, Sentence
from cardservice.agents.places import Answer, PermittedTap
from cardservice.canteen.rules import PriceClass, digest_of, euros
from cardservice.canteen.service import Canteen, Line, Paid, Payment, Refused
from cardservice.clock import Clock
from cardservice.errors import CardServiceError, Conflict, NotFound, Overloaded
from cardservice.pseudonyms import pseudonym_of
from cardservice.recorder import Recorder

MAX_WAITING: Final = 1_000
_log = structlog.get_logger()

# What a till is told, as the store keeps it.
Outcome = Mapping[str, Any]
# Asks for a card at a terminal, or no longer; False if the terminal cannot be reached.
Ask = Callable[[PointRecord, Prompt], bool]


class TerminalBusy(Conflict):
    """Another request waits at this terminal."""

    code = "terminal_busy"


class TerminalAway(Overloaded):
    """The terminal's agent is not connected."""

    code = "terminal_away"


@dataclass(frozen=True, slots=True)
class Charge:
    """What a till wants paid; `patience_ms` is how long it waits for a card."""

    caller: str
    key: str
    terminal: str
    amount_cents: int
    lines: tuple[Line, ...] = ()
    price_class: PriceClass = PriceClass.FOOD
    subsidised: bool = False
    patience_ms: int = 30_000

    @property
    def digest(self) -> bytes:
        """What makes two requests the same: everything but how long the till waits."""
        lines = [[line.price_class.value, line.amount_cents] for line in self.lines]
        return digest_of([self.terminal, self.amount_cents, lines, self.price_class.value, self.subsidised])

    @property
    def shown_as(self) -> str:
        """What the terminal calls it while it stands on its screen; a card that comes then says so."""
        return f"charge_{digest_of([self.caller, self.key]).hex()[:16]}"


@dataclass(slots=True)
class _Waiting:
    """A charge that waits for a card until `until_s` of the loop's clock.

    `outcomes` is what taps booked, by event, until that is on disk.
    """

    charge: Charge
    done: "asyncio.Future[Outcome]"
    until_s: float
    outcomes: dict[str, Outcome] = field(default_factory=dict)


class CanteenPlace:
    """The canteen as a tap meets it, and what tills wait for.

    `record` runs in the recorder's thread, everything else in the event loop.
    """

    use = Use.CANTEEN

    def __init__(
        self, canteen: Canteen, recorder: Recorder, clock: Clock, *, secret: Callable[[], bytes], ask: Ask
    ) -> None:
        self._canteen = canteen
        self._recorder = recorder
        self._clock = clock
        self._secret = secret
        self._ask = ask
        self._waiting: dict[str, _Waiting] = {}

    def wallet_of(self, person: int) -> str:
        """Return the name of a person's wallet."""
        return pseudonym_of(self._secret(), person)

    async def charge(self, point: PointRecord, charge: Charge) -> Outcome:
        """Wait for a card at the terminal and return what came of it; the same request again waits for the same card.

        Raises:
            Conflict: the key was used for something else.
            TerminalBusy: another request waits there.
            TerminalAway: the terminal is not connected.
            Overloaded: too much waits.
            DatabaseUnavailable: nothing can be booked now.
        """
        self._canteen.expect_request(charge.caller, charge.key)
        known = await self._recorder.submit_here(
            lambda connection: self._canteen.answered(connection, charge.caller, charge.key, charge.digest)
        )
        if known is not None:
            return known
        waiting = self._waiting.get(point.code)
        if waiting is None:
            waiting = self._begin(point, charge)
        elif not _is_same_request(waiting.charge, charge):
            raise TerminalBusy(f"terminal {point.code} waits for another card already")
        elif waiting.charge.digest != charge.digest:
            raise Conflict("this idempotency key was used for a different request; make a new key for a new one")
        return await asyncio.shield(waiting.done)

    def cancel(self, point: PointRecord, caller: str) -> None:
        """End what the caller waits for at a terminal; the answer says `cancelled`, or `paid` if a card was faster.

        Raises:
            NotFound: nothing of this caller waits there.
        """
        waiting = self._waiting.get(point.code)
        if waiting is None or waiting.charge.caller != caller:
            raise NotFound(f"nothing waits at terminal {point.code}")
        self._end(point, waiting, "cancelled")

    def prompt_at(self, terminal: str) -> Prompt | None:
        """Return what a terminal that comes back has to ask for, None if nothing."""
        waiting = self._waiting.get(terminal)
        return None if waiting is None else _prompt(waiting)

    @property
    def books(self) -> Self:
        """What is paid is kept in the ledger."""
        return self

    def expect(self, tap: PermittedTap) -> None:
        """Have the wallet and the tap looked up together with those of other tills."""
        self._canteen.expect_tap(self.wallet_of(tap.person), tap.event)

    def record(self, connection: Connection, tap: PermittedTap) -> Answer | None:
        """Pay what waits at the terminal; with nothing waiting, show the holder what they have."""
        wallet, waiting = self.wallet_of(tap.person), self._waiting.get(tap.point.code)
        if waiting is None:
            return _balance(self._canteen.balance_cents(connection, wallet))
        charge = waiting.charge
        # A terminal without a screen says nothing of what stood there.
        if tap.choice not in {None, charge.shown_as}:
            return _CHANGED
        if self._canteen.has_paid(connection, tap.event):
            return _OVER
        payment = Payment(
            terminal=charge.terminal,
            caller=charge.caller,
            wallet=wallet,
            amount_cents=charge.amount_cents,
            at_ms=tap.at_ms,
            lines=charge.lines,
            price_class=charge.price_class,
            event=tap.event,
            subsidised=charge.subsidised,
        )
        outcome = self._canteen.once(
            connection,
            charge.caller,
            charge.key,
            charge.digest,
            lambda: _outcome(charge, tap.event, self._canteen.pay(connection, payment)),
        )
        # Settled now or before: `act` tells the till.
        waiting.outcomes[tap.event] = outcome
        if outcome.get("event") != tap.event:
            return _OVER
        return _told(outcome, self._canteen.balance_cents(connection, wallet))

    async def act(self, tap: PermittedTap, answer: Answer | None) -> Answer | None:
        """Tell the till; the booking is on disk."""
        waiting = self._waiting.get(tap.point.code)
        outcome = None if waiting is None else waiting.outcomes.get(tap.event)
        if waiting is not None and outcome is not None:
            self._finish(tap.point, waiting, outcome)
        return answer

    def close(self) -> None:
        """End every wait; the tills ask again."""
        for waiting in tuple(self._waiting.values()):
            if not waiting.done.done():
                waiting.done.set_exception(Overloaded("the service is stopping; ask again with the same key"))
                waiting.done.exception()
        self._waiting.clear()

    def _begin(self, point: PointRecord, charge: Charge) -> _Waiting:
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded(f"{MAX_WAITING} tills wait for a card already")
        if any(_is_same_request(other.charge, charge) for other in self._waiting.values()):
            raise Conflict("this idempotency key waits for a card at another terminal")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(charge, loop.create_future(), loop.time() + charge.patience_ms / 1_000)
        if not self._ask(point, _prompt(waiting)):
            raise TerminalAway(f"terminal {point.code} is not connected", retry_after_s=5)
        self._waiting[point.code] = waiting
        patience = loop.call_at(waiting.until_s, self._end, point, waiting, "timed_out")
        waiting.done.add_done_callback(lambda _: patience.cancel())
        return waiting

    def _end(self, point: PointRecord, waiting: _Waiting, status: str) -> None:
        """End a wait for good: from now on its key never pays, unless a card was faster."""
        charge, outcome = waiting.charge, {"status": status, "amount_cents": waiting.charge.amount_cents}

        def fence(connection: Connection) -> Outcome:
            return self._canteen.once(connection, charge.caller, charge.key, charge.digest, lambda: outcome)

        def fenced(stored: "asyncio.Future[Outcome]") -> None:
            error = stored.exception()
            if error is None:
                self._finish(point, waiting, stored.result())
            elif not waiting.done.done():
                self._forget(point, waiting)
                waiting.done.set_exception(error)

        try:
            self._recorder.submit_here(fence).add_done_callback(fenced)
        except CardServiceError as error:
            self._forget(point, waiting)
            if not waiting.done.done():
                waiting.done.set_exception(error)

    def _finish(self, point: PointRecord, waiting: _Waiting, outcome: Outcome) -> None:
        self._forget(point, waiting)
        if not waiting.done.done():
            waiting.done.set_result(outcome)

    def _forget(self, point: PointRecord, waiting: _Waiting) -> None:
        if self._waiting.get(point.code) is waiting:
            del self._waiting[point.code]
            self._ask(point, Prompt(point=point.code))


def _is_same_request(one: Charge, other: Charge) -> bool:
    return (one.caller, one.key) == (other.caller, other.key)


def _outcome(charge: Charge, event: str, result: Paid | Refused) -> Outcome:
    common = {"amount_cents": charge.amount_cents, "event": event}
    if isinstance(result, Refused):
        return {"status": "refused", "reason": result.code.value, **common}
    return {
        "status": "paid",
        "payment": result.payment,
        "own_share_cents": result.split.own_cents,
        "subsidy_cents": result.split.subsidy_cents,
        "vat": [
            {"rate_bp": part.rate_bp, "gross_cents": part.gross_cents, "vat_cents": part.vat_cents}
            for part in result.split.rates
        ],
        **common,
    }


def _told(outcome: Outcome, balance_cents: int) -> Answer:
    """Return what the holder sees: their balance, which the till never learns."""
    facts = {"amount_cents": outcome["amount_cents"], "balance_cents": balance_cents}
    if outcome["status"] != "paid":
        return Answer(
            done=False,
            code="no_funds",
            text_de="Das Guthaben reicht nicht. Es wurde nichts abgebucht.",
            text_en="Not enough credit. Nothing was charged.",
            facts=facts,
        )
    own_cents = outcome["own_share_cents"]
    return Answer(
        done=True,
        code="paid",
        text_de=f"Bezahlt: {euros(own_cents, 'de')}. Guten Appetit!",
        text_en=f"Paid: {euros(own_cents, 'en')}. Enjoy your meal!",
        facts={**facts, "own_share_cents": own_cents},
    )


def _balance(balance_cents: int) -> Answer:
    return Answer(
        done=True,
        code="balance",
        text_de=f"Ihr Guthaben: {euros(balance_cents, 'de')}.",
        text_en=f"Your credit: {euros(balance_cents, 'en')}.",
        facts={"balance_cents": balance_cents},
    )


_OVER: Final = Answer(
    done=False,
    code="already_settled",
    text_de="Dieser Vorgang ist schon erledigt. Es wurde nichts abgebucht.",
    text_en="This has been settled already. Nothing was charged.",
)
# Nobody pays what they have not seen.
_CHANGED: Final = Answer(
    done=False,
    code="amount_changed",
    text_de="Der Betrag hat sich gerade geändert. Es wurde nichts abgebucht, bitte Karte noch einmal auflegen.",
    text_en="The amount has just changed. Nothing was charged, please present your card again.",
)


def _prompt(waiting: _Waiting) -> Prompt:
    """Return what the terminal's screen asks for the rest of the wait."""
    # The amount stands large beside it.
    asked = Sentence(de="Bitte Karte auflegen.", en="Please present your card.")
    charge = waiting.charge
    rest_ms = max(1, round((waiting.until_s - asyncio.get_running_loop().time()) * 1_000))
    facts: dict[str, int | bool | str] = {"amount_cents": charge.amount_cents}
    return Prompt(point=charge.terminal, text=asked, facts=facts, for_ms=rest_ms, asks=charge.shown_as)
