# SPDX-License-Identifier: EUPL-1.2
"""Answers evaluations as a tap would be answered: `decide` on the live snapshot, in memory.

The state store is read only where every step is asked for, and for moments that the snapshot was not compiled for.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.engine import Connection

from cardservice.access.explain.record import NOBODY, line_of
from cardservice.access.explain.service import EARLIEST_MS, LATEST_MS, Answer, Explained, Explainer, Inquiry
from cardservice.access.own.rules import level_at, rank
from cardservice.access.record import RECORD_TIMEOUT_S
from cardservice.access.rules import REFUSED, Decision, PointRecord, Reason, Tap, decide
from cardservice.access.sentences import SENTENCES, Sentences
from cardservice.access.service import City
from cardservice.access.snapshot import Snapshot
from cardservice.authzen.rules import POINT_TYPE, Evaluation, action_fits
from cardservice.authzen.sentences import UNKNOWN, Unknown
from cardservice.authzen.subjects import Subject, Subjects
from cardservice.cards.rules import first_bytes
from cardservice.clock import Clock
from cardservice.errors import NotFound, Overloaded
from cardservice.journal.service import Journal
from cardservice.recorder import Recorder
from cardservice.web.gate import Actor
from cardservice.web.looks import Look

# Nobody carries as many.
MAX_CREDENTIALS: Final = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer: `code` is for programs, the sentences are for people.

    `about` is the row number of whoever was asked about (0: a card without holder), None if nobody was found out
    about. `cards` are references, of the card that the answer is from first. `steps` are there if they were asked for.
    """

    permit: bool
    code: Reason | Unknown
    point: str
    at_ms: int
    about: int | None = None
    cards: tuple[str, ...] = ()
    live_check: bool = False
    steps: Answer | None = None
    time_zone: str = "UTC"

    @property
    def sentences(self) -> Sentences:
        """What is said of it."""
        return UNKNOWN[self.code] if isinstance(self.code, Unknown) else SENTENCES[self.code]


class Evaluator:
    """Evaluates; `age_ms_of` says how old what taps of a person (0: nobody) are decided by is."""

    def __init__(self, city: City, subjects: Subjects, clock: Clock, age_ms_of: Callable[[int], int]) -> None:
        self._city, self._subjects, self._clock, self._age_ms_of = city, subjects, clock, age_ms_of

    async def ready(self) -> None:
        """Have everybody known whom the snapshot knows: nothing to do but after a change nobody told of.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        if not self._subjects.knows(self._city.snapshot.revision):
            await asyncio.to_thread(self._subjects.catch_up)

    def evaluate(self, question: Evaluation) -> Verdict:
        """Return the answer, from memory."""
        snapshot = self._city.snapshot
        at_ms = self._clock.now_ms() if question.at_ms is None else question.at_ms
        point = snapshot.point(question.resource.id)
        if question.resource.type != POINT_TYPE:
            return Verdict(False, Unknown.RESOURCE, "", at_ms)
        if point is None:
            return Verdict(False, Reason.POINT_UNKNOWN, "", at_ms)
        if not action_fits(question.action, point.use):
            return Verdict(False, Unknown.ACTION, point.code, at_ms)
        subject = self._subjects.find(question.subject)
        if subject is None:
            return Verdict(False, Unknown.SUBJECT, point.code, at_ms)
        return self._about(snapshot, point, subject, replace(question, at_ms=at_ms))

    def _about(self, snapshot: Snapshot, point: PointRecord, subject: Subject, question: Evaluation) -> Verdict:
        at_ms = question.at_ms or 0
        verdict = Verdict(False, Unknown.NO_CARD, point.code, at_ms, subject.person or NOBODY)
        if not subject.credentials:
            return verdict
        if not EARLIEST_MS <= at_ms < LATEST_MS:
            return replace(verdict, code=Reason.CLOCK_DOUBTFUL)
        decision, card = self._best(snapshot, point, subject, question)
        others = dict.fromkeys(reference for _, reference in subject.credentials if reference != card)
        return replace(
            verdict,
            permit=decision.permit,
            code=decision.reason,
            cards=(card, *others),
            live_check=point.live_check,
        )

    def _best(
        self, snapshot: Snapshot, point: PointRecord, subject: Subject, question: Evaluation
    ) -> tuple[Decision, str]:
        """Return the best answer that one of their credentials gets, and of which card it is."""
        age_ms, begins = self._age_ms_of(subject.person), first_bytes(point.use.value)
        best, card = REFUSED[Reason.CARD_UNSUPPORTED], subject.credentials[0][1]
        fitting = [one for one in subject.credentials if one[0][:1] and one[0][0] in begins]
        for key, reference in fitting[:MAX_CREDENTIALS]:
            record = snapshot.card(key)
            possible = level_at(point, key)
            # A card handed on a moment ago is no longer theirs.
            if possible is None or (record is not None and record.holder != subject.person):
                continue
            level = possible if question.level is None else question.level
            decision = decide(snapshot, Tap(point.code, key, level), question.at_ms or 0, age_ms)
            if decision.permit:
                return decision, reference
            if rank(decision) < rank(best):
                best, card = decision, reference
        return best, card


def needs_the_store(question: Evaluation, verdict: Verdict, snapshot: Snapshot) -> bool:
    """Tell whether `Detailed` has to answer: every step is asked for, or schedules of another time would be needed."""
    if not verdict.cards:
        return False
    if question.explain:
        return True
    point = snapshot.point(verdict.point)
    from_ms, until_ms = snapshot.compiled
    by_time = point is not None and bool(point.timed or point.blocks or point.timed_levels or point.by_clock)
    return by_time and not from_ms <= verdict.at_ms < until_ms


class Detailed:
    """Answers from the state store, card by card; one at a time, for taps are answered by the same processor."""

    def __init__(self, explainer: Explainer) -> None:
        self._explainer = explainer
        self._turn = asyncio.Lock()

    async def answer(self, question: Evaluation, verdict: Verdict) -> Verdict:
        """Return the answer again, for any moment and with its steps if they are asked for.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        async with self._turn:
            return await asyncio.to_thread(self._answer, question, verdict)

    def _answer(self, question: Evaluation, verdict: Verdict) -> Verdict:
        best: tuple[Answer, Explained] | None = None
        for card in verdict.cards[:MAX_CREDENTIALS]:
            for answer, explained in self._of_card(question, verdict, card):
                if best is None or _comes_further(answer, best[0]):
                    best = answer, explained
            if best is not None and best[0].reason is Reason.GRANTED:
                break
        if best is None:
            return verdict
        answer, explained = best
        return replace(
            verdict,
            permit=answer.reason is Reason.GRANTED,
            code=answer.reason,
            steps=answer if question.explain else None,
            time_zone=explained.time_zone,
        )

    def _of_card(self, question: Evaluation, verdict: Verdict, card: str) -> list[tuple[Answer, Explained]]:
        inquiry = Inquiry(verdict.point, card=card, at_ms=verdict.at_ms, level=question.level)
        try:
            explained = self._explainer.explain(inquiry)
        except NotFound:
            # Gone meanwhile.
            return []
        theirs = (explained.asked_about or NOBODY) == verdict.about
        return [(answer, explained) for answer in explained.answers] if theirs else []


def _comes_further(answer: Answer, other: Answer) -> bool:
    if other.reason is Reason.GRANTED:
        return False
    return answer.reason is Reason.GRANTED or rank(REFUSED[answer.reason]) < rank(REFUSED[other.reason])


class Evaluations:
    """Writes down who was asked about and by whom, as an explanation does: a line for each evaluation."""

    def __init__(self, recorder: Recorder, journal: Journal, clock: Clock) -> None:
        self._recorder, self._journal, self._clock = recorder, journal, clock

    async def keep(self, caller: Actor, verdicts: Sequence[Verdict]) -> None:
        """Have the lines on disk, all in one transaction.

        Raises:
            DatabaseUnavailable: they are not.
            Overloaded: the journal is too busy.
        """
        now_ms = self._clock.now_ms()
        entries = [
            line_of(Look("explained", caller, one.about, {"point": one.point}), now_ms)
            for one in verdicts
            if one.about is not None
        ]
        if not entries:
            return

        def append(connection: Connection) -> None:
            for entry in entries:
                self._journal.append(connection, entry)

        try:
            async with asyncio.timeout(RECORD_TIMEOUT_S):
                await self._recorder.submit_here(append)
        except TimeoutError:
            raise Overloaded(f"the journal did not take the line within {RECORD_TIMEOUT_S:.0f} s") from None
