# SPDX-License-Identifier: EUPL-1.2
"""One tap at the centre: decided (`deciding.py`), written down, done at its place, answered.

Identifier and level stay in here: nothing an agent says about a card is believed. The one exception are readers that
decode cards by themselves: a number they read proves level `reader_attested`, at points that accept it, and no more.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
from prometheus_client import Counter
from sqlalchemy.engine import Connection

from cardservice.access.rules import REFUSED, Decision, Level, PointRecord, Reason, Use
from cardservice.access.sentences import SENTENCES
from cardservice.agents.deciding import Asserted, Decider, Tapped
from cardservice.agents.messages import CardPresent, CardRead, DecisionMessage, EventId, PlaceAnswer, Sentence
from cardservice.agents.pins import AskPin
from cardservice.agents.places import Answer, PermittedTap, Place
from cardservice.agents.proof import Exchange, Stopwatch
from cardservice.agents.receipts import Decided, seal_receipt
from cardservice.agents.tap_services import TapServices
from cardservice.errors import CardServiceError, Overloaded
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry

# Gets the answer to one tap, once what is to be kept of it is on disk.
Deliver = Callable[[DecisionMessage], None]
# The same in its parts: the tap, what it was decided by then, and what its place says.
DeliverParts = Callable[[Tapped, Decision, PlaceAnswer | None], None]

RECORD_TIMEOUT_S: Final = 2.0
CLOSE_S: Final = 3.0
_LEVEL_NAMES: Final[dict[Level, Any]] = {level: level.name.lower() for level in Level}
_TEXTS: Final = {
    reason: Sentence(de=sentences.holder_de, en=sentences.holder_en) for reason, sentences in SENTENCES.items()
}
_log = structlog.get_logger()

PLACE_FAILED: Final = Answer(
    done=False,
    code="place_failed",
    text_de="Das hat nicht geklappt. Bitte wenden Sie sich an die Ausgabestelle.",
    text_en="That did not work. Please ask the service desk.",
)


class _Waiting:
    """Whoever waits for the answer to a tap; gets one, the first."""

    def __init__(self, deliver: DeliverParts) -> None:
        self._deliver = deliver
        self.answered = False

    def tell(self, tapped: Tapped, decision: Decision, told: PlaceAnswer | None) -> None:
        """Give the answer."""
        self.answered = True
        self._deliver(tapped, decision, told)


class TapDesk:
    """Answers taps. Used from the event loop; many taps at once."""

    def __init__(self, services: TapServices) -> None:
        self._services = services
        self._decider = Decider(services)
        self._counters: dict[tuple[Use | None, bool, Reason], Counter] = {}
        self._acting: set[asyncio.Task[None]] = set()

    def point(self, code: str) -> PointRecord | None:
        """Return the point as it is now, None if there is none."""
        return self._decider.point(code)

    async def answer(self, present: CardPresent, exchange: Exchange, ask_pin: AskPin | None = None) -> DecisionMessage:
        """Run the whole tap of `present`; return the decision, which is journalled by then.

        `ask_pin` is None where no PIN can be typed.
        """
        tapped = await self._decider.decide(present, exchange, ask_pin)
        answered: asyncio.Future[DecisionMessage] = asyncio.get_running_loop().create_future()

        def deliver(decided: Tapped, decision: Decision, told: PlaceAnswer | None) -> None:
            # Nobody waits any more if the tap was given up meanwhile.
            if not answered.done():
                answered.set_result(self._message(present.event, decided, decision, told))

        self._finish(tapped, _Waiting(deliver))
        return await answered

    def answer_read(self, read: CardRead, deliver: Deliver) -> None:
        """Answer the tap of a card that its reader has read; returns at once, `deliver` is called once."""

        def told(decided: Tapped, decision: Decision, answer: PlaceAnswer | None) -> None:
            deliver(self._message(read.event, decided, decision, answer))

        self._confirm_or_finish(self._decider.decide_read(read), _Waiting(told))

    def answer_asserted(self, asserted: Asserted, deliver: DeliverParts) -> None:
        """Answer the tap of a card that a system asserts; returns at once, `deliver` is called once."""
        self._confirm_or_finish(self._decider.decide_asserted(asserted), _Waiting(deliver))

    def _confirm_or_finish(self, tapped: Tapped, waiting: _Waiting) -> None:
        if tapped.wants_confirmation:
            self._keep_track(self._confirm_and_finish(tapped, waiting))
        else:
            self._finish(tapped, waiting)

    async def close(self) -> None:
        """Let what the places have begun come to its end, within `CLOSE_S`; what is left is cut off."""
        if self._acting:
            _, late = await asyncio.wait(self._acting, timeout=CLOSE_S)
            for task in late:
                task.cancel()

    async def _confirm_and_finish(self, tapped: Tapped, waiting: _Waiting) -> None:
        self._finish(await self._decider.confirmed(tapped), waiting)

    def _keep_track(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    def _entry(self, tapped: Tapped) -> Entry:
        present, decision = tapped.present, tapped.decision
        # In the order in which they are written.
        facts: dict[str, Scalar] = {
            "decision": tapped.decision_id,
            "directory": self._services.directory.source(),
            "directory_age_ms": min(tapped.age_ms, 2**53),
            "event": str(present.event),
            "evidence": tapped.proof.evidence.hex(),
            "kind": "tap",
            "level": _LEVEL_NAMES[tapped.proof.level],
            "method": tapped.proof.method,
            "permit": decision.permit,
            "point": present.point,
            "reason": decision.reason.value,
            "revision": tapped.revision,
        }
        if tapped.proof.detail is not None:
            facts["detail"] = tapped.proof.detail.value
        stream = _stream_of(tapped.point)
        if not tapped.holder:
            return Entry(stream, tapped.at_ms, facts)
        personal: dict[str, Scalar] = {"card": tapped.card, "person": tapped.holder}
        if tapped.first and decision.permit:
            personal["first"] = tapped.first
        return Entry(stream, tapped.at_ms, facts, tapped.holder, personal)

    def _finish(self, tapped: Tapped, waiting: _Waiting) -> None:
        """Keep what the mode and the place ask for, on disk before the answer; what cannot be kept is refused."""
        place = self._place(tapped)
        unit = self._unit(tapped, place)
        if unit is None:
            self._act(tapped, place, waiting)
            return
        began_ns = self._services.clock.monotonic_ns()
        try:
            kept = self._services.recorder.submit_here(unit)
        except Overloaded as error:
            self._deliver(tapped, _unkept(tapped, error), waiting)
            return
        patience = asyncio.get_running_loop().call_later(RECORD_TIMEOUT_S, self._give_up, tapped, place, kept, waiting)

        def done(kept: "asyncio.Future[Answer | None]") -> None:
            patience.cancel()
            tapped.watch.add("journal", began_ns)
            error = TimeoutError() if kept.cancelled() else kept.exception()
            if error is not None:
                self._deliver(tapped, _unkept(tapped, error), waiting)
            else:
                self._show(tapped)
                answer = kept.result()
                self._act(tapped if answer is None else tapped._replace(answer=answer), place, waiting)

        kept.add_done_callback(done)

    def _show(self, tapped: Tapped) -> None:
        """Let those who watch see a tap that is written down."""
        if tapped.point is not None:
            self._services.live.told(tapped.point, tapped.decision, tapped.proof.level, tapped.at_ms)

    def _give_up(
        self, tapped: Tapped, place: Place | None, kept: "asyncio.Future[Answer | None]", waiting: _Waiting
    ) -> None:
        """Refuse a tap whose record takes too long.

        A line that still waits is taken back; one under way may yet be written, beside its refusal. What a place has
        begun is never taken back: if it is written after all, the place learns so.
        """
        if place is None or place.books is None:
            kept.cancel()
        else:
            self._deliver(tapped, _unkept(tapped, TimeoutError()), waiting)

    def _place(self, tapped: Tapped) -> Place | None:
        """Return the place a permitted tap is for, None if it has nothing to do with it."""
        if tapped.point is None or not tapped.decision.permit:
            return None
        return self._services.places.get(tapped.point.use)

    def _act(self, tapped: Tapped, place: Place | None, waiting: _Waiting) -> None:
        """Let the place do what lies outside the store, then answer."""
        if place is None or tapped.point is None:
            self._deliver(tapped, tapped.decision, waiting)
            return
        self._keep_track(self._at_the_place(tapped, place, tapped.point, waiting))

    async def _at_the_place(self, tapped: Tapped, place: Place, point: PointRecord, waiting: _Waiting) -> None:
        began_ns = self._services.clock.monotonic_ns()
        try:
            answer = await place.act(_permitted(tapped, point), tapped.answer)
            told = None if answer is None else _told(answer)
        except Exception as error:  # noqa: BLE001  # a defect of one place must not leave a person without an answer
            _log.error("tap.place_failed", point=point.code, use=point.use.value, error=type(error).__name__)
            # What is on disk stands: who was charged or booked in is told so.
            told = _told(tapped.answer or PLACE_FAILED)
        tapped.watch.add("place", began_ns)
        if told is not None:
            self._services.metrics.places.labels(point.use.value, told.code).inc()
        self._deliver(tapped, tapped.decision, waiting, told)

    def _deliver(self, tapped: Tapped, decision: Decision, waiting: _Waiting, told: PlaceAnswer | None = None) -> None:
        if waiting.answered:
            return
        tapped.watch.add("centre", tapped.watch.started_ns)
        self._measure(tapped.point, decision, tapped.watch)
        waiting.tell(tapped, decision, told)

    def _unit(self, tapped: Tapped, place: Place | None) -> Callable[[Connection], Answer | None] | None:
        """Return what has to be on disk before the answer, None if nothing."""
        point, journal = tapped.point, self._services.journal
        mode = "full" if point is None else point.journal
        counts = mode == "counts"
        line = self._entry(tapped) if mode == "full" or not (counts or tapped.decision.permit) else None
        books = None if place is None else place.books
        if line is None and books is None and not counts:
            return None
        tap = None if point is None or books is None else _permitted(tapped, point)
        if books is not None and tap is not None:
            books.expect(tap)

        def write(connection: Connection) -> Answer | None:
            answer = None
            if books is not None and tap is not None:
                answer = books.record(connection, tap)
            if counts:
                journal.count(connection, _stream_of(point), tapped.at_ms, tapped.decision.reason.value)
            if line is not None:
                journal.append(connection, _with_answer(line, answer))
            return answer

        return write

    def _measure(self, point: PointRecord | None, decision: Decision, watch: Stopwatch) -> None:
        metrics = self._services.metrics
        outcome = (None if point is None else point.use, decision.permit, decision.reason)
        counter = self._counters.get(outcome)
        if counter is None:
            use, permitted = "none" if point is None else point.use.value, "permitted" if decision.permit else "refused"
            counter = self._counters[outcome] = metrics.taps.labels(use, permitted, decision.reason.value)
        counter.inc()
        for stage, took_us in watch.stages_us.items():
            metrics.stage.observe(stage, took_us)

    def _message(self, event: EventId, tapped: Tapped, decision: Decision, told: PlaceAnswer | None) -> DecisionMessage:
        receipt = seal_receipt(
            self._services.keys.secret("receipts"),
            event,
            point=tapped.present.point,
            decision=tapped.decision_id,
            decided=Decided(decision.permit, tapped.proof.level, tapped.at_ms, tapped.holder, tapped.card),
        )
        return DecisionMessage(
            event=event,
            decision=tapped.decision_id,
            permit=decision.permit,
            reason=decision.reason.value,
            level=_LEVEL_NAMES[tapped.proof.level],
            text=_TEXTS[decision.reason],
            open_ms=decision.open_ms,
            in_lockdown=True if decision.permit and tapped.point is not None and tapped.point.locked_down else None,
            answer=told,
            receipt=receipt,
            stages_us=tapped.watch.stages_us,
        )


def _permitted(tapped: Tapped, point: PointRecord) -> PermittedTap:
    present = tapped.present
    return PermittedTap(
        event=str(present.event),
        point=point,
        at_ms=tapped.at_ms,
        person=tapped.holder,
        choice=present.choice if isinstance(present, CardPresent) else None,
    )


def _stream_of(point: PointRecord | None) -> str:
    return "system" if point is None else point.use.value


def _with_answer(line: Entry, answer: Answer | None) -> Entry:
    return line if answer is None else line._replace(payload={**line.payload, **answer.journal()})


def _told(answer: Answer) -> PlaceAnswer:
    return PlaceAnswer(
        done=answer.done,
        code=answer.code,
        text=Sentence(de=answer.text_de, en=answer.text_en),
        facts=dict(answer.facts),
    )


def _unkept(tapped: Tapped, error: BaseException) -> Decision:
    """Return the answer to a tap that could not be written down."""
    # A driver's error repeats what was to be written; ours never do.
    what = str(error) if isinstance(error, CardServiceError) else type(error).__name__
    _log.error("tap.not_recorded", point=tapped.present.point, error=what)
    return REFUSED[Reason.OVERLOADED] if tapped.decision.permit else tapped.decision
