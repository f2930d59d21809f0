# SPDX-License-Identifier: EUPL-1.2
"""One tap at the centre: the conversation with the card, the decision, the line in the journal, the answer.

The centre runs the conversation itself, with its own keys and its own random numbers; the agent only transmits.
Identifier and level stay in here: nothing an agent says about a card is believed. The one exception are readers that
decode cards by themselves: a number they read proves level `reader_attested`, at points that accept it, and no more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy.engine import Connection

from cardservice.access.rules import REFUSED, Decision, Level, PointRecord, Reason, Tap, Use, decide
from cardservice.access.sentences import SENTENCES
from cardservice.access.snapshot import Snapshot
from cardservice.agents.messages import CardPresent, CardRead, DecisionMessage, PlaceAnswer, Sentence
from cardservice.agents.places import Answer, PermittedTap, Place
from cardservice.agents.receipts import Decided, seal_receipt
from cardservice.cards.rules import desfire_credential, piv_credential
from cardservice.chip import errors as chip
from cardservice.chip.conversation import Conversation
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import ProvenNumber, UseKeys, identify
from cardservice.chip.piv import ProvenCard, authenticate_card
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.clock import Clock
from cardservice.errors import CardServiceError, Overloaded
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.metrics import Metrics
from cardservice.randomness import random_bytes
from cardservice.recorder import Recorder

# Sends commands to the card through the agent and returns its answers, fewer than asked for if the card went away.
Exchange = Callable[[Sequence[bytes]], Awaitable[tuple[bytes, ...]]]

# Gets the answer to one tap, once what is to be kept of it is on disk.
Deliver = Callable[[DecisionMessage], None]

MAX_ROUNDS: Final = 60
RECORD_TIMEOUT_S: Final = 2.0
# What a card is asked in a conversation; `attested` is read by the reader.
CONVERSATIONS: Final = frozenset({"desfire", "piv"})
ATTESTED: Final = "attested"
# SELECT refused with one of these: the card does not know the application, or no application at all.
_NO_APPLICATION: Final = frozenset({0x6A82, 0x6A81, 0x6D00, 0x6E00, 0x91A0, 0x911C})
_LEVEL_NAMES: Final[dict[Level, Any]] = {level: level.name.lower() for level in Level}
_TEXTS: Final = {
    reason: Sentence(de=sentences.holder_de, en=sentences.holder_en) for reason, sentences in SENTENCES.items()
}
_log = structlog.get_logger()


class Keys(Protocol):
    """What a tap needs of the key store."""

    @property
    def system_id(self) -> bytes:
        """The installation's part of every diversification."""
        ...

    def ring(self, use: str) -> UseKeys:
        """Return the keys of one use."""
        ...

    def secret(self, purpose: str) -> bytes:
        """Return the service's own secret for `purpose`."""
        ...


class Directory(Protocol):
    """What a tap needs to know of the directory copy."""

    def age_ms(self) -> int:
        """Return how long ago the copy was last proved."""
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


class _Proof(NamedTuple):
    """What the conversation established: a credential and its level, or the reason why there is none."""

    credential: bytes = b""
    level: Level = Level.NONE
    reason: Reason | None = None
    method: str = ""
    evidence: bytes = b""


@dataclass(slots=True)
class _Stopwatch:
    """Durations of a tap's stages, in microseconds (a stage entered twice adds up), and its exchanges with the card."""

    clock: Clock
    stages_us: dict[str, int] = field(default_factory=dict)
    exchanges: int = 0

    def add(self, stage: str, started_ns: int) -> int:
        """Add the time since `started_ns` to `stage`; return now."""
        now_ns = self.clock.monotonic_ns()
        self.stages_us[stage] = self.stages_us.get(stage, 0) + (now_ns - started_ns) // 1_000
        return now_ns


PLACE_FAILED: Final = Answer(
    done=False,
    code="place_failed",
    text_de="Das hat nicht geklappt. Bitte wenden Sie sich an die Ausgabestelle.",
    text_en="That did not work. Please ask the service desk.",
)
_UNSUPPORTED: Final = _Proof(reason=Reason.CARD_UNSUPPORTED)


class _Tapped(NamedTuple):
    """One tap, decided: everything that is written down about it and told to the agent."""

    present: CardPresent | CardRead
    point: PointRecord | None
    proof: _Proof
    decision: Decision
    decision_id: str
    at_ms: int
    revision: int
    age_ms: int
    holder: int
    card: int
    watch: _Stopwatch
    started_ns: int
    answer: Answer | None = None


class _Waiting:
    """Whoever waits for the answer to a tap; gets one, the first."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self.answered = False

    def __call__(self, decision: DecisionMessage) -> None:
        self.answered = True
        self._deliver(decision)


class TapDesk:
    """Answers taps. Used from the event loop; many taps at once."""

    def __init__(self, services: TapServices) -> None:
        self._services = services
        self._counters: dict[tuple[Use | None, bool, Reason], Counter] = {}
        self._acting: set[asyncio.Task[None]] = set()

    def point(self, code: str) -> PointRecord | None:
        """Return the point as it is now, None if there is none."""
        return self._services.city.snapshot.point(code)

    async def answer(self, present: CardPresent, exchange: Exchange) -> DecisionMessage:
        """Run the whole tap of `present`; return the decision, which is journalled by then."""
        watch, started_ns = _Stopwatch(self._services.clock), self._services.clock.monotonic_ns()
        point = self.point(present.point)
        proof = self._refused_at(point, present)
        if proof is None and point is not None:
            proof = await self._prove(point, present, exchange, watch)
        answered: asyncio.Future[DecisionMessage] = asyncio.get_running_loop().create_future()

        def deliver(decision: DecisionMessage) -> None:
            # Nobody waits any more if the tap was given up meanwhile.
            if not answered.done():
                answered.set_result(decision)

        self._finish(self._decide(present, point, proof or _UNSUPPORTED, watch, started_ns), deliver)
        return await answered

    def answer_read(self, read: CardRead, deliver: Deliver) -> None:
        """Answer the tap of a card that its reader has read; nothing is awaited, `deliver` is called once."""
        watch, started_ns = _Stopwatch(self._services.clock), self._services.clock.monotonic_ns()
        point = self.point(read.point)
        proof = self._refused_at(point, read)
        if proof is None and point is not None and ATTESTED in point.methods:
            proof = _attested(point.use, read.number)
        self._finish(self._decide(read, point, proof or _UNSUPPORTED, watch, started_ns), deliver)

    def _refused_at(self, point: PointRecord | None, tap: CardPresent | CardRead) -> _Proof | None:
        """Return why the agent may not ask for this point, None if it may."""
        if point is None:
            return _Proof(reason=Reason.POINT_UNKNOWN)
        return _Proof(reason=Reason.POINT_FOREIGN) if point.agent != tap.event.agent else None

    def _decide(
        self,
        present: CardPresent | CardRead,
        point: PointRecord | None,
        proof: _Proof,
        watch: _Stopwatch,
        began_ns: int,
    ) -> _Tapped:
        services = self._services
        decided_ns = services.clock.monotonic_ns()
        snapshot, at_ms = services.city.snapshot, services.clock.now_ms()
        # What is not known since the directory or the change log fell silent counts alike.
        age_ms = max(services.directory.age_ms(), services.city.age_ms())
        if proof.reason is not None:
            decision = REFUSED[proof.reason]
        else:
            decision = decide(snapshot, Tap(present.point, proof.credential, proof.level), at_ms, age_ms)
        record = snapshot.card(proof.credential) if proof.credential else None
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
            holder=record.holder if record else 0,
            card=record.card if record else 0,
            watch=watch,
            started_ns=began_ns,
        )

    async def _prove(self, point: PointRecord, present: CardPresent, exchange: Exchange, watch: _Stopwatch) -> _Proof:
        """Try the point's methods in order until the card knows one of them."""
        for method in point.methods:
            if method not in CONVERSATIONS:
                continue
            proof = await self._attempt(method, point, present, exchange, watch)
            if proof.reason is not Reason.CARD_UNSUPPORTED:
                return proof
        return _UNSUPPORTED

    async def _attempt(
        self, method: str, point: PointRecord, present: CardPresent, exchange: Exchange, watch: _Stopwatch
    ) -> _Proof:
        reason: Reason
        try:
            if method == "piv":
                card = await self._run(self._piv(point, present), exchange, watch)
                credential = piv_credential(card.issuer_key, card.card_uuid.bytes)
                return _Proof(credential, Level.CARD, method=method, evidence=card.evidence)
            number = await self._run(self._desfire(point.use), exchange, watch)
            credential = desfire_credential(point.use, number.number)
            return _Proof(credential, Level.CARD, method=method, evidence=number.evidence)
        except chip.ChipError as error:
            reason = _reason_of(error)
            _log.info("tap.card_refused", point=point.code, method=method, reason=reason, error=type(error).__name__)
        except (CardServiceError, ValueError) as error:
            # No key for this use, or a configuration the card language refuses: ours to mend, never the card's fault.
            reason = Reason.CARD_UNSUPPORTED
            _log.error("tap.misconfigured", point=point.code, method=method, error=str(error))
        return _Proof(reason=reason, method=method)

    def _desfire(self, use: Use) -> Conversation[ProvenNumber]:
        keys = self._services.keys
        return identify(CardUse(use.value), keys.ring(use.value), system_id=keys.system_id)

    def _piv(self, point: PointRecord, present: CardPresent) -> Conversation[ProvenCard]:
        event = present.event
        context = f"{point.code}\0{event.agent}\0{event.epoch}\0{event.sequence}".encode()
        at = datetime.fromtimestamp(self._services.clock.now_ms() / 1000, UTC)
        return authenticate_card(context, self._services.trust, at=at)

    async def _run(self, conversation: Conversation[Any], exchange: Exchange, watch: _Stopwatch) -> Any:
        """Drive a conversation over the agent; bounded in rounds."""
        clock = self._services.clock
        began_ns = clock.monotonic_ns()
        try:
            commands = next(conversation)
            while watch.exchanges < MAX_ROUNDS:
                watch.exchanges += 1
                began_ns = watch.add("crypto", began_ns)
                responses = await exchange(commands)
                began_ns = watch.add("relay", began_ns)
                if len(responses) < len(commands):
                    commands = conversation.throw(chip.CardGone("the card left during the conversation"))
                else:
                    commands = conversation.send(responses)
        except StopIteration as finished:
            watch.add("crypto", began_ns)
            return finished.value
        finally:
            conversation.close()
        raise chip.ProtocolError("conversation", f"no end after {MAX_ROUNDS} exchanges")

    def _entry(self, tapped: _Tapped) -> Entry:
        event = tapped.present.event
        facts: dict[str, Scalar] = {
            "kind": "tap",
            "event": f"{event.agent}/{event.epoch}/{event.sequence}",
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
        stream = "system" if tapped.point is None else tapped.point.use.value
        if not tapped.holder:
            return Entry(stream, tapped.at_ms, facts)
        return Entry(stream, tapped.at_ms, facts, tapped.holder, {"person": tapped.holder, "card": tapped.card})

    def _finish(self, tapped: _Tapped, deliver: Deliver) -> None:
        """Keep what the mode and the place ask for, on disk before the answer; what cannot be kept is refused."""
        place, mode = self._place(tapped), "full" if tapped.point is None else tapped.point.journal
        if mode == "refusals" and tapped.decision.permit and not (place and place.records):
            self._act(tapped, place, deliver)
            return
        began_ns = self._services.clock.monotonic_ns()
        try:
            kept = self._services.recorder.submit_here(self._unit(mode, tapped, place))
        except Overloaded as error:
            self._deliver(tapped, _unkept(tapped, error), deliver)
            return
        waiting = _Waiting(deliver)
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
        self, tapped: _Tapped, place: Place | None, kept: "asyncio.Future[Answer | None]", waiting: "_Waiting"
    ) -> None:
        """Refuse a tap whose record takes too long.

        A line that still waits is taken back; one under way may yet be written, beside its refusal. What a place has
        begun is never taken back: if it is written after all, the place learns so.
        """
        if place is None or not place.records:
            kept.cancel()
        else:
            self._deliver(tapped, _unkept(tapped, TimeoutError()), waiting)

    def _place(self, tapped: _Tapped) -> Place | None:
        """Return the place a permitted tap is for, None if it has nothing to do with it."""
        if tapped.point is None or not tapped.decision.permit:
            return None
        return self._services.places.get(tapped.point.use)

    def _act(self, tapped: _Tapped, place: Place | None, deliver: Deliver) -> None:
        """Let the place do what lies outside the store, then answer."""
        if place is None or tapped.point is None:
            self._deliver(tapped, tapped.decision, deliver)
            return
        task = asyncio.ensure_future(self._at_the_place(tapped, place, tapped.point, deliver))
        self._acting.add(task)
        task.add_done_callback(self._acting.discard)

    async def _at_the_place(self, tapped: _Tapped, place: Place, point: PointRecord, deliver: Deliver) -> None:
        began_ns = self._services.clock.monotonic_ns()
        try:
            answer = await place.act(_permitted(tapped, point), tapped.answer)
        except Exception as error:  # noqa: BLE001  # a defect of one place must not leave a person without an answer
            _log.error("tap.place_failed", point=point.code, use=point.use.value, error=type(error).__name__)
            answer = PLACE_FAILED
        tapped.watch.add("place", began_ns)
        if answer is not None:
            self._services.metrics.places.labels(point.use.value, answer.code).inc()
        self._deliver(tapped._replace(answer=answer), tapped.decision, deliver)

    def _deliver(self, tapped: _Tapped, decision: Decision, deliver: Deliver) -> None:
        if isinstance(deliver, _Waiting) and deliver.answered:
            return
        tapped.watch.add("centre", tapped.started_ns)
        self._measure(tapped.point, decision, tapped.watch)
        deliver(self._message(tapped, decision))

    def _unit(self, mode: str, tapped: _Tapped, place: Place | None) -> Callable[[Connection], Answer | None]:
        journal, entry, point = self._services.journal, self._entry(tapped), tapped.point
        outcome = tapped.decision.reason.value

        def write(connection: Connection) -> Answer | None:
            answer = None
            if place is not None and point is not None and place.records:
                answer = place.record(connection, _permitted(tapped, point))
            if mode == "counts":
                journal.count(connection, entry.stream, entry.at_ms, outcome)
            elif mode == "full" or not tapped.decision.permit:
                line = replace(entry, payload={**entry.payload, **answer.journal()}) if answer else entry
                journal.append(connection, line)
            return answer

        return write

    def _measure(self, point: PointRecord | None, decision: Decision, watch: _Stopwatch) -> None:
        metrics = self._services.metrics
        outcome = (None if point is None else point.use, decision.permit, decision.reason)
        counter = self._counters.get(outcome)
        if counter is None:
            use, permitted = "none" if point is None else point.use.value, "permitted" if decision.permit else "refused"
            counter = self._counters[outcome] = metrics.taps.labels(use, permitted, decision.reason.value)
        counter.inc()
        for stage, took_us in watch.stages_us.items():
            metrics.stage.observe(stage, took_us)

    def _message(self, tapped: _Tapped, decision: Decision) -> DecisionMessage:
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
            answer=None if tapped.answer is None or not decision.permit else _told(tapped.answer),
            receipt=receipt,
            stages_us=tapped.watch.stages_us,
        )


def _permitted(tapped: _Tapped, point: PointRecord) -> PermittedTap:
    event, present = tapped.present.event, tapped.present
    return PermittedTap(
        event=f"{event.agent}/{event.epoch}/{event.sequence}",
        decision=tapped.decision_id,
        point=point,
        at_ms=tapped.at_ms,
        person=tapped.holder,
        choice=present.choice if isinstance(present, CardPresent) else None,
    )


def _told(answer: Answer) -> PlaceAnswer:
    return PlaceAnswer(
        done=answer.done,
        code=answer.code,
        text=Sentence(de=answer.text_de, en=answer.text_en),
        facts=dict(answer.facts),
    )


def _attested(use: Use, number: str) -> _Proof:
    try:
        return _Proof(desfire_credential(use, bytes.fromhex(number)), Level.READER_ATTESTED, method=ATTESTED)
    except ValueError:
        return _Proof(reason=Reason.CARD_UNSUPPORTED, method=ATTESTED)


def _unkept(tapped: _Tapped, error: BaseException) -> Decision:
    """Return the answer to a tap that could not be written down."""
    # A driver's error repeats what was to be written; ours never do.
    what = str(error) if isinstance(error, CardServiceError) else type(error).__name__
    _log.error("tap.not_recorded", point=tapped.present.point, error=what)
    return REFUSED[Reason.OVERLOADED] if tapped.decision.permit else tapped.decision


def _reason_of(error: chip.ChipError) -> Reason:
    """Return the reason code for what went wrong in a conversation."""
    if isinstance(error, chip.CardGone):
        return Reason.CARD_GONE
    if isinstance(error, chip.CertificateRefused):
        return Reason.CERTIFICATE_REFUSED
    if isinstance(error, chip.CardNotGenuine | chip.AuthenticationRefused):
        return Reason.CARD_NOT_GENUINE
    if isinstance(error, chip.ApplicationNotFound):
        return Reason.CARD_UNSUPPORTED
    if isinstance(error, chip.StatusError) and error.sw in _NO_APPLICATION:
        return Reason.CARD_UNSUPPORTED
    return Reason.CARD_GARBLED
