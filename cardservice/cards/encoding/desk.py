# SPDX-License-Identifier: EUPL-1.2
"""Jobs at encoders for whoever may send a request twice, and what of them somebody may see. Everything blocks."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.cards import store as cards
from cardservice.cards.encoding import service, store
from cardservice.cards.encoding.bench import EncodingBench
from cardservice.cards.encoding.rules import EncoderName, JobKind, JobState, NumberUse
from cardservice.cards.encoding.service import MAX_LISTED, Job, Wish
from cardservice.cards.life.service import Gift, Giver, give
from cardservice.cards.old.service import Zones
from cardservice.cards.register import CardLine, CardRegister, CardsWanted
from cardservice.cards.rules import CardState
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import AgentAway, NotFound
from cardservice.people.register import within
from cardservice.people.store import organisation, person
from cardservice.web.once import Asked, Once
from cardservice.web.reach import Reach

MAX_WAITING = 50


class NumberWish(NamedTuple):
    """Where a bare number may count: the code of a zone, and until when."""

    building: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class EncodingDesk:
    """The state store, what makes a change once, the bench that does the work, and the zones by their codes."""

    state: Engine
    once: Once
    clock: Clock
    bench: EncodingBench
    zones: Zones

    def order(self, asked: Asked, wish: Wish, giver: Giver, number: NumberWish | None = None) -> dict[str, Any]:
        """Store a job, once; return it as JSON has it.

        Raises:
            AgentAway: no connected agent has this encoder.
            NotFound: there is no such card within reach, or no such zone.
            Conflict: as `service.order`.
        """

        def make(connection: Connection) -> dict[str, Any]:
            self._require_usable(wish.encoder)
            _require_reach(connection, (wish.card, wish.blank), giver.reaches)
            wanted = replace(wish, number_use=self._number_use(connection, number))
            return document(service.order(connection, wanted, giver.by, self.bench.keys, self.clock.now_ms()))

        return self._run(asked, make)

    def register(self, asked: Asked, gift: Gift, encoder: EncoderName, giver: Giver) -> dict[str, Any]:
        """Order a card for somebody and have it be the one that lies on an encoder, once; return the job.

        Raises:
            AgentAway: no connected agent has this encoder; no card was ordered.
            NotFound, Conflict: as `life.service.give` and `service.order`.
        """

        def make(connection: Connection) -> dict[str, Any]:
            self._require_usable(encoder)
            now_ms = self.clock.now_ms()
            wish = Wish(JobKind.REGISTER, encoder, give(connection, gift, giver, now_ms))
            return document(service.order(connection, wish, giver.by, self.bench.keys, now_ms))

        return self._run(asked, make)

    def registered(self, job: Job, reaches: tuple[Reach, ...]) -> CardLine | None:
        """Return the card that a job has just registered and that is to be handed out, None if it has not."""
        if job.kind is not JobKind.REGISTER or job.state is not JobState.DONE or job.card is None:
            return None
        line = CardRegister(self.state, self.clock).one(job.card, reaches).line
        return line if line.state is CardState.READY_FOR_PICKUP else None

    def buildings(self) -> list[str]:
        """Return the codes of the zones in which a bare number may count."""
        with read(self.state) as connection:
            return sorted(self.zones(connection))

    def cancel(self, asked: Asked, reference: str, giver: Giver) -> dict[str, Any]:
        """End a job that is not over, once. Raises as `service.cancel`; NotFound also for cards out of reach."""

        def make(connection: Connection) -> dict[str, Any]:
            _require_reach(connection, (service.one(connection, reference).card,), giver.reaches)
            return document(service.cancel(connection, reference, self.clock.now_ms()))

        return self._run(asked, make)

    def one(self, reference: str, reaches: tuple[Reach, ...]) -> Job:
        """Return a job.

        Raises:
            NotFound: there is none called so, or its card is out of reach.
        """
        with read(self.state) as connection:
            job = service.one(connection, reference)
            _require_reach(connection, (job.card,), reaches)
            return job

    def jobs(self, reaches: tuple[Reach, ...], limit: int = MAX_LISTED) -> list[Job]:
        """Return the newest jobs within reach, the newest first."""
        with read(self.state) as connection:
            found = [service.job_of(row) for row in store.newest_jobs(connection, limit)]
            held = _held(connection, [job.card for job in found if job.card is not None], reaches)
        return [job for job in found if job.card is None or job.card in held]

    def waiting(self, reaches: tuple[Reach, ...]) -> list[CardLine]:
        """Return cards within reach that are to be made, in the order they were ordered; at most 50."""
        return self._cards(CardState.IN_PRODUCTION, reaches)

    def returned(self, reaches: tuple[Reach, ...]) -> list[CardLine]:
        """Return cards within reach that were taken back and can be erased here; at most 50."""
        lines = self._cards(CardState.RETURNED, reaches)
        with read(self.state) as connection:
            ours = store.encoded_here(connection, [line.card for line in lines])
        return [line for line in lines if line.card in ours]

    def _require_usable(self, encoder: EncoderName) -> None:
        known = [one.encoder for one in self.bench.lines if one.usable]
        if encoder not in known:
            here = ", ".join(f"{one.agent}: {one.reader}" for one in known) or "none"
            raise AgentAway(f"no such encoder is connected; usable now are: {here}")

    def _number_use(self, connection: Connection, number: NumberWish | None) -> NumberUse | None:
        if number is None:
            return None
        building = self.zones(connection).get(number.building)
        if building is None:
            raise NotFound(f"there is no zone {number.building}")
        return NumberUse(building, number.until_ms)

    def _cards(self, state: CardState, reaches: tuple[Reach, ...]) -> list[CardLine]:
        return CardRegister(self.state, self.clock).list(CardsWanted(state=state), reaches, limit=MAX_WAITING)[0]

    def _run(self, asked: Asked, make: Callable[[Connection], dict[str, Any]]) -> dict[str, Any]:
        answer = self.once.run(asked, make)
        self.bench.look_soon()
        return answer


def document(job: Job) -> dict[str, Any]:
    """Return a job as JSON has it."""
    return {
        "job": job.reference,
        "kind": job.kind.value,
        "card": job.card,
        "agent": job.encoder.agent,
        "reader": job.encoder.reader,
        "state": job.state.value,
        "step": job.step,
        "steps": job.steps,
        "step_name": job.step_name,
        "step_use": job.step_use,
        "trouble": None if job.trouble is None else job.trouble.value,
        "detail": job.detail,
        "found": job.facts,
        "made_ms": job.made_ms,
        "begun_ms": job.begun_ms,
        "ended_ms": job.ended_ms,
    }


def _require_reach(connection: Connection, references: Collection[str | None], reaches: tuple[Reach, ...]) -> None:
    wanted = [one for one in references if one is not None]
    held = _held(connection, wanted, reaches)
    for reference in wanted:
        if reference not in held:
            raise NotFound(f"there is no card {reference}")


def _held(connection: Connection, references: Sequence[str], reaches: tuple[Reach, ...]) -> frozenset[str]:
    """Return which of these cards are within reach."""
    code = sa.func.coalesce(person.c.organisation_id, cards.card.c.organisation_id)
    joined = cards.card.join(person, cards.card.c.person_id == person.c.id, isouter=True).join(
        organisation, organisation.c.id == code
    )
    chosen = sa.select(cards.card.c.reference).select_from(joined)
    rows = connection.execute(chosen.where(within(reaches), cards.card.c.reference.in_(list(references))))
    return frozenset(rows.scalars())
