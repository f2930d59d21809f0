# SPDX-License-Identifier: EUPL-1.2
"""One tap at the centre: what the card proves, the decision, the line in the journal, the answer.

Identifier and level stay in here: nothing an agent says about a card is believed. The one exception are readers that
decode cards by themselves: a number they read proves level `reader_attested`, at points that accept it, and no more.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy.engine import Connection

from cardservice.access.rules import REFUSED, Decision, Level, PointRecord, Reason, Tap, Use, decide
from cardservice.access.sentences import SENTENCES
from cardservice.access.snapshot import Snapshot
from cardservice.agents import live_check
from cardservice.agents import proof as proving
from cardservice.agents.live_check import PeopleNow
from cardservice.agents.messages import CardPresent, CardRead, DecisionMessage, PlaceAnswer, Sentence
from cardservice.agents.pairs import Pairs
from cardservice.agents.pins import AskPin, PinDesk
from cardservice.agents.places import Answer, PermittedTap, Place
from cardservice.agents.proof import ATTESTED, UNSUPPORTED, CardProver, Exchange, Proof, Stopwatch, attested
from cardservice.agents.receipts import Decided, seal_receipt
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.clock import Clock
from cardservice.errors import CardServiceError, Overloaded
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.metrics import Metrics
from cardservice.randomness import random_bytes
from cardservice.recorder import Recorder

# Gets the answer to one tap, once what is to be kept of it is on disk.
Deliver = Callable[[DecisionMessage], None]

RECORD_TIMEOUT_S: Final = 2.0
CLOSE_S: Final = 3.0
_LEVEL_NAMES: Final[dict[Level, Any]] = {level: level.name.lower() for level in Level}
_TEXTS: Final = {
    reason: Sentence(de=sentences.holder_de, en=sentences.holder_en) for reason, sentences in SENTENCES.items()
}
_log = structlog.get_logger()


class Keys(proving.Keys, Protocol):
    """What a tap needs of the key store."""

    def secret(self, purpose: str) -> bytes:
        """Return the service's own secret for `purpose`."""
        ...


class Directory(Protocol):
    """What a tap needs to know of the directory copy."""

    def age_ms_of(self, person: int) -> int:
        """Return how long ago the copy that knows a person (a row number) was last proved; of nobody's, the oldest."""
        ...

    def source(self) -> str:
        """Return server, mode and cookie of the copy."""
        ...


class SnapshotSource(Protocol):
    """Where the current snapshot is."""

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot as it is now."""
        ...

    def age_ms(self) -> int:
        """Return how long ago the change log was last read to its end."""
        ...


@dataclass(frozen=True, slots=True)
class TapServices:
    """What every tap uses; put together once."""

    city: SnapshotSource
    directory: Directory
    keys: Keys
    trust: CardAuthTrust
    recorder: Recorder
    journal: Journal
    metrics: Metrics
    clock: Clock
    places: Mapping[Use, Place] = field(default_factory=dict)
    # None: nobody is asked for a PIN.
    pins: PinDesk | None = None
    # None: points that want the directory itself asked permit nobody.
    people_now: PeopleNow | None = None


PLACE_FAILED: Final = Answer(
    done=False,
    code="place_failed",
    text_de="Das hat nicht geklappt. Bitte wenden Sie sich an die Ausgabestelle.",
    text_en="That did not work. Please ask the service desk.",
)


class _Tapped(NamedTuple):
    """One tap, decided: everything that is written down about it and told to the agent."""

    present: CardPresent | CardRead
    point: PointRecord | None
    proof: Proof
    decision: Decision
    decision_id: str
    at_ms: int
    revision: int
    age_ms: int
    holder: int
    card: int
    watch: Stopwatch
    # Who came first where two people are needed, 0 for nobody.
    first: int
    answer: Answer | None = None


class _Waiting:
    """Whoever waits for the answer to a tap; gets one, the first."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self.answered = False

    def tell(self, decision: DecisionMessage) -> None:
        """Give the answer."""
        self.answered = True
        self._deliver(decision)


class TapDesk:
    """Answers taps. Used from the event loop; many taps at once."""

    def __init__(self, services: TapServices) -> None:
        self._services = services
        self._prover = CardProver(services.keys, services.trust, services.clock)
        self._pairs = Pairs(services.clock)
        self._counters: dict[tuple[Use | None, bool, Reason], Counter] = {}
        self._acting: set[asyncio.Task[None]] = set()

    def point(self, code: str) -> PointRecord | None:
        """Return the point as it is now, None if there is none."""
        return self._services.city.snapshot.point(code)

    async def answer(self, present: CardPresent, exchange: Exchange, ask_pin: AskPin | None = None) -> DecisionMessage:
        """Run the whole tap of `present`; return the decision, which is journalled by then.

        `ask_pin` is None where no PIN can be typed.
        """
        watch = Stopwatch(self._services.clock)
        point = self.point(present.point)
        proof = self._refused_at(point, present)
        if proof is None and point is not None:
            proof = await self._prover.prove(point, present, exchange, watch)
        tapped = self._decide(present, point, proof or UNSUPPORTED, watch)
        if ask_pin is not None and self._services.pins is not None and _lacks_a_pin(tapped):
            tapped = await self._decide_with_pin(tapped, self._services.pins, ask_pin)
        if _wants_confirmation(tapped):
            tapped = await self._confirmed(tapped)
        answered: asyncio.Future[DecisionMessage] = asyncio.get_running_loop().create_future()

        def deliver(decision: DecisionMessage) -> None:
            # Nobody waits any more if the tap was given up meanwhile.
            if not answered.done():
                answered.set_result(decision)

        self._finish(tapped, _Waiting(deliver))
        return await answered

    def answer_read(self, read: CardRead, deliver: Deliver) -> None:
        """Answer the tap of a card that its reader has read; returns at once, `deliver` is called once."""
        watch = Stopwatch(self._services.clock)
        point = self.point(read.point)
        proof = self._refused_at(point, read)
        if proof is None and point is not None and ATTESTED in point.methods:
            proof = attested(point.use, read.number)
        tapped, waiting = self._decide(read, point, proof or UNSUPPORTED, watch), _Waiting(deliver)
        if _wants_confirmation(tapped):
            self._keep_track(self._confirm_and_finish(tapped, waiting))
        else:
            self._finish(tapped, waiting)

    async def close(self) -> None:
        """Let what the places have begun come to its end, within `CLOSE_S`; what is left is cut off."""
        if self._acting:
            _, late = await asyncio.wait(self._acting, timeout=CLOSE_S)
            for task in late:
                task.cancel()

    def _refused_at(self, point: PointRecord | None, tap: CardPresent | CardRead) -> Proof | None:
        """Return why the agent may not ask for this point, None if it may."""
        if point is None:
            return Proof(reason=Reason.POINT_UNKNOWN)
        return Proof(reason=Reason.POINT_FOREIGN) if point.agent != tap.event.agent else None

    async def _confirmed(self, tapped: _Tapped) -> _Tapped:
        """Ask the directory itself about everybody whom a permit is for; the first objection is the answer."""
        asked_ns = self._services.clock.monotonic_ns()
        objection = None
        for person in dict.fromkeys((tapped.holder, tapped.first)):
            if person and objection is None:
                objection = await live_check.objection(self._services.people_now, person, tapped.at_ms)
        tapped.watch.add("directory", asked_ns)
        return tapped if objection is None else tapped._replace(decision=REFUSED[objection])

    async def _confirm_and_finish(self, tapped: _Tapped, waiting: _Waiting) -> None:
        self._finish(await self._confirmed(tapped), waiting)

    def _keep_track(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def _decide_with_pin(self, tapped: _Tapped, pins: PinDesk, ask_pin: AskPin) -> _Tapped:
        """Have the holder's PIN typed and decide again, on what is known by then."""
        clock, watch = self._services.clock, tapped.watch
        asked_ns = clock.monotonic_ns()
        pin = await ask_pin()
        # How long somebody typed is no stage of the tap, and nobody's business.
        checked_ns = clock.monotonic_ns()
        watch.started_ns += checked_ns - asked_ns
        objection = Reason.PIN_NEEDED if pin is None else await self._objection(tapped, pins, pin)
        watch.add("pin", checked_ns)
        point = self.point(tapped.present.point)
        proof = self._refused_at(point, tapped.present)
        if proof is None:
            whose = self._services.city.snapshot.card(tapped.proof.credential)
            if whose is None or (whose.holder, whose.card) != (tapped.holder, tapped.card):
                # The card has become somebody else's meanwhile: it was not their PIN.
                objection = Reason.PIN_NEEDED
            level = Level.CARD_PIN if objection is None else Level.CARD
            proof = tapped.proof._replace(reason=objection, level=level)
        return self._decide(tapped.present, point, proof, watch)

    async def _objection(self, tapped: _Tapped, pins: PinDesk, pin: str) -> Reason | None:
        try:
            return await pins.objection(card=tapped.card, person=tapped.holder, pin=pin)
        except CardServiceError as error:
            _log.error("tap.pin_not_checked", point=tapped.present.point, error=str(error))
            return Reason.OVERLOADED

    def _decide(
        self, present: CardPresent | CardRead, point: PointRecord | None, proof: Proof, watch: Stopwatch
    ) -> _Tapped:
        services = self._services
        decided_ns = services.clock.monotonic_ns()
        snapshot, at_ms = services.city.snapshot, services.clock.now_ms()
        record = snapshot.card(proof.credential) if proof.credential else None
        holder, first = record.holder if record else 0, 0
        # What is not known since the directory or the change log fell silent counts alike.
        age_ms = max(services.directory.age_ms_of(holder), services.city.age_ms())
        if proof.reason is not None:
            decision = REFUSED[proof.reason]
        else:
            first = 0 if point is None else self._pairs.first_at(point, snapshot, at_ms, age_ms)
            tap = Tap(present.point, proof.credential, proof.level, first)
            decision = decide(snapshot, tap, at_ms, age_ms)
            if point is not None:
                self._pairs.note(point, tap, holder, decision)
        watch.add("decide", decided_ns)
        return _Tapped(
            present=present,
            point=point,
            proof=proof,
            decision=decision,
            decision_id=random_bytes(12).hex(),
            at_ms=at_ms,
            revision=snapshot.revision,
            age_ms=age_ms,
            holder=holder,
            card=record.card if record else 0,
            watch=watch,
            first=first,
        )

    def _entry(self, tapped: _Tapped) -> Entry:
        facts: dict[str, Scalar] = {
            "kind": "tap",
            "event": str(tapped.present.event),
            "point": tapped.present.point,
            "permit": tapped.decision.permit,
            "reason": tapped.decision.reason.value,
            "level": _LEVEL_NAMES[tapped.proof.level],
            "method": tapped.proof.method,
            "decision": tapped.decision_id,
            "evidence": tapped.proof.evidence.hex(),
            "revision": tapped.revision,
            "directory": self._services.directory.source(),
            "directory_age_ms": min(tapped.age_ms, 2**53),
        }
        stream = _stream_of(tapped.point)
        if not tapped.holder:
            return Entry(stream, tapped.at_ms, facts)
        personal: dict[str, Scalar] = {"person": tapped.holder, "card": tapped.card}
        if tapped.first and tapped.decision.permit:
            personal["first"] = tapped.first
        return Entry(stream, tapped.at_ms, facts, tapped.holder, personal)

    def _finish(self, tapped: _Tapped, waiting: _Waiting) -> None:
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
                self._act(tapped._replace(answer=kept.result()), place, waiting)

        kept.add_done_callback(done)

    def _give_up(
        self, tapped: _Tapped, place: Place | None, kept: "asyncio.Future[Answer | None]", waiting: _Waiting
    ) -> None:
        """Refuse a tap whose record takes too long.

        A line that still waits is taken back; one under way may yet be written, beside its refusal. What a place has
        begun is never taken back: if it is written after all, the place learns so.
        """
        if place is None or place.books is None:
            kept.cancel()
        else:
            self._deliver(tapped, _unkept(tapped, TimeoutError()), waiting)

    def _place(self, tapped: _Tapped) -> Place | None:
        """Return the place a permitted tap is for, None if it has nothing to do with it."""
        if tapped.point is None or not tapped.decision.permit:
            return None
        return self._services.places.get(tapped.point.use)

    def _act(self, tapped: _Tapped, place: Place | None, waiting: _Waiting) -> None:
        """Let the place do what lies outside the store, then answer."""
        if place is None or tapped.point is None:
            self._deliver(tapped, tapped.decision, waiting)
            return
        self._keep_track(self._at_the_place(tapped, place, tapped.point, waiting))

    async def _at_the_place(self, tapped: _Tapped, place: Place, point: PointRecord, waiting: _Waiting) -> None:
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

    def _deliver(self, tapped: _Tapped, decision: Decision, waiting: _Waiting, told: PlaceAnswer | None = None) -> None:
        if waiting.answered:
            return
        tapped.watch.add("centre", tapped.watch.started_ns)
        self._measure(tapped.point, decision, tapped.watch)
        waiting.tell(self._message(tapped, decision, told))

    def _unit(self, tapped: _Tapped, place: Place | None) -> Callable[[Connection], Answer | None] | None:
        """Return what has to be on disk before the answer, None if nothing."""
        point, journal = tapped.point, self._services.journal
        mode = "full" if point is None else point.journal
        counts = mode == "counts"
        line = self._entry(tapped) if mode == "full" or not (counts or tapped.decision.permit) else None
        books = None if place is None else place.books
        if line is None and books is None and not counts:
            return None
        tap = None if point is None else _permitted(tapped, point)
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

    def _message(self, tapped: _Tapped, decision: Decision, told: PlaceAnswer | None) -> DecisionMessage:
        event = tapped.present.event
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


def _wants_confirmation(tapped: _Tapped) -> bool:
    return tapped.decision.permit and tapped.point is not None and tapped.point.live_check


def _lacks_a_pin(tapped: _Tapped) -> bool:
    """Tell whether nothing but the PIN is missing: there is one level only above the card's own."""
    return tapped.decision.reason is Reason.LEVEL_TOO_LOW and tapped.proof.level is Level.CARD


def _permitted(tapped: _Tapped, point: PointRecord) -> PermittedTap:
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
    return line if answer is None else replace(line, payload={**line.payload, **answer.journal()})


def _told(answer: Answer) -> PlaceAnswer:
    return PlaceAnswer(
        done=answer.done,
        code=answer.code,
        text=Sentence(de=answer.text_de, en=answer.text_en),
        facts=dict(answer.facts),
    )


def _unkept(tapped: _Tapped, error: BaseException) -> Decision:
    """Return the answer to a tap that could not be written down."""
    # A driver's error repeats what was to be written; ours never do.
    what = str(error) if isinstance(error, CardServiceError) else type(error).__name__
    _log.error("tap.not_recorded", point=tapped.present.point, error=what)
    return REFUSED[Reason.OVERLOADED] if tapped.decision.permit else tapped.decision
