# SPDX-License-Identifier: EUPL-1.2
"""What is decided about a tap: the card's proof, the decision, and the detours to it.

    card proved ──▶ decided ──level too low──▶ PIN typed ──▶ decided again
                       ├──forgotten card, after the one that stands in for it──▶ PIN typed ──▶ decided again
                       └──point wants the directory asked──▶ its word ──▶ decided again

Who waits for a second person is noted after the detours only: nobody whom one of them refuses is ever waited with.
"""

import asyncio
from typing import NamedTuple

import structlog

from cardservice.access.rules import REFUSED, Decision, Level, PointRecord, Reason, Tap, decide
from cardservice.agents import live_check
from cardservice.agents.both_cards import CardsShown
from cardservice.agents.messages import CardPresent, CardRead
from cardservice.agents.pairs import Pairs
from cardservice.agents.pins import AskPin, PinDesk
from cardservice.agents.places import Answer
from cardservice.agents.proof import ATTESTED, UNSUPPORTED, CardProver, Exchange, Proof, Stopwatch, attested
from cardservice.agents.tap_services import TapServices
from cardservice.errors import CardServiceError
from cardservice.randomness import random_bytes

_log = structlog.get_logger()


class Asserted(NamedTuple):
    """What a system says over REST: the card with this number was held at this point; `level` is what that counts for.

    `event` is made here and unique for ever.
    """

    event: str
    point: str
    number: str
    level: Level


class Tapped(NamedTuple):
    """One tap, decided: everything that is written down about it and told to whoever reported it."""

    present: CardPresent | CardRead | Asserted
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

    @property
    def wants_confirmation(self) -> bool:
        """Whether the directory itself has to be asked before this counts."""
        passes = self.decision.permit or self.decision.reason is Reason.SECOND_PERSON_NEEDED
        return passes and self.point is not None and self.point.live_check

    @property
    def lacks_a_pin(self) -> bool:
        """Whether nothing but the PIN is missing: there is one level only above the card's own."""
        return self.decision.reason is Reason.LEVEL_TOO_LOW and self.proof.level is Level.CARD


class Decider:
    """Decides taps. Used from the event loop; many taps at once."""

    def __init__(self, services: TapServices) -> None:
        self._services = services
        self._prover = CardProver(services.keys, services.trust, services.clock, services.proved)
        self._pairs = Pairs(services.clock)
        self._shown = CardsShown(services.clock)

    def point(self, code: str) -> PointRecord | None:
        """Return the point as it is now, None if there is none."""
        return self._services.city.snapshot.point(code)

    async def decide(self, present: CardPresent, exchange: Exchange, ask_pin: AskPin | None) -> Tapped:
        """Have the card prove itself and decide; `ask_pin` is None where no PIN can be typed."""
        watch = Stopwatch(self._services.clock)
        point = self.point(present.point)
        proof = _refused_at(point, present)
        if proof is None and point is not None:
            proof = await self._prover.prove(point, present, exchange, watch)
        tapped = self._decide(present, point, proof or UNSUPPORTED, watch)
        if ask_pin is not None and self._services.pins is not None and point is not None:
            tapped = await self._decide_with_pin(tapped, self._services.pins, ask_pin)
            self._shown.note(point.code, tapped.holder, tapped.card, tapped.proof.level)
        return await self.confirmed(tapped) if tapped.wants_confirmation else self._noted(tapped)

    def decide_read(self, read: CardRead) -> Tapped:
        """Decide about a card that its reader has read; it may still want to be `confirmed`."""
        watch = Stopwatch(self._services.clock)
        point = self.point(read.point)
        proof = _refused_at(point, read)
        if proof is None and point is not None and ATTESTED in point.methods:
            proof = attested(point, read.number, self._services.city.snapshot.card)
        tapped = self._decide(read, point, proof or UNSUPPORTED, watch)
        return tapped if tapped.wants_confirmation else self._noted(tapped)

    def decide_asserted(self, asserted: Asserted) -> Tapped:
        """Decide about a card that a system asserts; it may still want to be `confirmed`."""
        watch = Stopwatch(self._services.clock)
        point = self.point(asserted.point)
        proof = _refused_at(point, asserted)
        if proof is None and point is not None and ATTESTED in point.methods:
            proof = attested(point, asserted.number, self._services.city.snapshot.card)
            if proof.reason is None:
                proof = Proof(proof.credential, asserted.level, method=ATTESTED)
        tapped = self._decide(asserted, point, proof or UNSUPPORTED, watch)
        return tapped if tapped.wants_confirmation else self._noted(tapped)

    async def confirmed(self, tapped: Tapped) -> Tapped:
        """Ask the directory itself about everybody whom this is for, and decide again on what is known by then."""
        asked_ns = self._services.clock.monotonic_ns()
        objection = await self._objection_to(tapped.holder, tapped)
        if objection is None and tapped.first:
            objection = await self._objection_to_first(tapped)
        tapped.watch.add("directory", asked_ns)
        if objection is not None:
            return tapped._replace(decision=REFUSED[objection])
        again = self._decide_again(tapped, tapped.proof)
        if again.holder not in {0, tapped.holder}:
            # The card has become somebody else's meanwhile: nobody was asked about them.
            return again._replace(decision=REFUSED[Reason.DIRECTORY_SILENT])
        # Whoever came first meanwhile instead was asked about while this one was.
        return self._noted(again)

    async def _objection_to_first(self, tapped: Tapped) -> Reason | None:
        """Ask about who came first: whoever may not pass any more is no first, which is no objection to the second."""
        objection = await self._objection_to(tapped.first, tapped)
        if objection is None or objection is Reason.DIRECTORY_SILENT:
            return objection
        self._pairs.forget(tapped.present.point, tapped.first)
        return None

    async def _objection_to(self, person: int, tapped: Tapped) -> Reason | None:
        counts = tapped.point is not None and tapped.point.stops_locked_out
        people, at_ms = self._services.people_now, tapped.at_ms
        return await live_check.objection(people, person, at_ms, lock_out_counts=counts)

    async def _decide_with_pin(self, tapped: Tapped, pins: PinDesk, ask_pin: AskPin) -> Tapped:
        """Have the holder's PIN typed where it makes a difference, and decide again, on what is known by then."""
        temporary = await self._temporary_for(tapped)
        if not tapped.lacks_a_pin and not temporary:
            return tapped
        objection = await self._objection_by_pin(tapped, pins, ask_pin)
        if objection is None and temporary and not await self._handed_back(temporary, tapped.card):
            return tapped
        level = Level.CARD_PIN if objection is None else Level.CARD
        return self._decide_again(tapped, tapped.proof._replace(reason=objection, level=level))

    async def _temporary_for(self, tapped: Tapped) -> int:
        """Return the temporary card that was shown here just before the forgotten one it stands in for, 0 for none."""
        hand_backs = self._services.hand_backs
        if hand_backs is None or tapped.decision.reason is not Reason.CARD_SUSPENDED or tapped.proof.level < Level.CARD:
            return 0
        other = self._shown.before(tapped.present.point, tapped.holder, tapped.card)
        if not other:
            return 0
        try:
            return other if await asyncio.to_thread(hand_backs.belong_together, other, tapped.card) else 0
        except CardServiceError as error:
            _log.error("tap.hand_back_failed", point=tapped.present.point, error=str(error))
            return 0

    async def _handed_back(self, temporary: int, main: int) -> bool:
        hand_backs = self._services.hand_backs
        try:
            return hand_backs is not None and await asyncio.to_thread(hand_backs.hand_back, temporary, main)
        except CardServiceError as error:
            _log.error("tap.hand_back_failed", error=str(error))
            return False

    async def _objection_by_pin(self, tapped: Tapped, pins: PinDesk, ask_pin: AskPin) -> Reason | None:
        """Have the PIN typed; return why it is not accepted, None if it is."""
        clock, watch = self._services.clock, tapped.watch
        asked_ns = clock.monotonic_ns()
        pin = await ask_pin()
        # How long somebody typed is no stage of the tap, and nobody's business.
        checked_ns = clock.monotonic_ns()
        watch.started_ns += checked_ns - asked_ns
        objection = Reason.PIN_NEEDED if pin is None else await self._objection_to_pin(tapped, pins, pin)
        watch.add("pin", checked_ns)
        whose = self._services.city.snapshot.card(tapped.proof.credential)
        if whose is None or (whose.holder, whose.card) != (tapped.holder, tapped.card):
            # The card has become somebody else's meanwhile: it was not their PIN.
            return Reason.PIN_NEEDED
        return objection

    async def _objection_to_pin(self, tapped: Tapped, pins: PinDesk, pin: str) -> Reason | None:
        try:
            return await pins.objection(card=tapped.card, person=tapped.holder, pin=pin)
        except CardServiceError as error:
            _log.error("tap.pin_not_checked", point=tapped.present.point, error=str(error))
            return Reason.OVERLOADED

    def _decide_again(self, tapped: Tapped, proof: Proof) -> Tapped:
        point = self.point(tapped.present.point)
        return self._decide(tapped.present, point, _refused_at(point, tapped.present) or proof, tapped.watch)

    def _decide(
        self, present: CardPresent | CardRead | Asserted, point: PointRecord | None, proof: Proof, watch: Stopwatch
    ) -> Tapped:
        services = self._services
        decided_ns = services.clock.monotonic_ns()
        snapshot, at_ms = services.city.snapshot, services.clock.now_ms()
        record = snapshot.card(proof.credential) if proof.credential else None
        holder, first = record.holder if record else 0, 0
        age_ms = services.age_ms_of(holder)
        if proof.reason is not None:
            decision = REFUSED[proof.reason]
        else:
            first = 0 if point is None else self._pairs.first_at(point, snapshot, at_ms, age_ms)
            tap = Tap(present.point, proof.credential, proof.level, first)
            decision = decide(snapshot, tap, at_ms, age_ms)
        watch.add("decide", decided_ns)
        return Tapped(
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

    def _noted(self, tapped: Tapped) -> Tapped:
        """Note who waits for a second person from now on, or waits no longer."""
        if tapped.point is not None:
            tap = Tap(tapped.point.code, tapped.proof.credential, tapped.proof.level)
            self._pairs.note(tapped.point, tap, tapped.holder, tapped.decision)
        return tapped


def _refused_at(point: PointRecord | None, tap: CardPresent | CardRead | Asserted) -> Proof | None:
    """Return why the agent may not ask for this point, None if it may; a system asks for points without an agent."""
    if point is None:
        return Proof(reason=Reason.POINT_UNKNOWN)
    agent = None if isinstance(tap, Asserted) else tap.event.agent
    return Proof(reason=Reason.POINT_FOREIGN) if point.agent != agent else None
