# SPDX-License-Identifier: EUPL-1.2
"""The REST routes of encoding: the encoders, and the jobs there: order, look, cancel."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, StringConstraints

from cardservice.cards.desk import giver_of
from cardservice.cards.encoding.desk import EncodingDesk, NumberWish, document
from cardservice.cards.encoding.rules import EncoderName, JobKind, JobState, Trouble
from cardservice.cards.encoding.service import MAX_LISTED, Wish
from cardservice.cards.rules import ISSUE
from cardservice.instants import MAX_INSTANT_MS
from cardservice.web.gate import Actor, Gate
from cardservice.web.repeats import asked_by
from cardservice.web.requests import CODE_PATTERN, PROBLEMS, Body, IdempotencyKey

READ = "encoding.read"
ORDER = "encoding.order"
CANCEL = "encoding.cancel"
JobReference = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", description="The job.")]
Reference = Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")]
AgentName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
ReaderName = Annotated[str, StringConstraints(min_length=1, max_length=127, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NumberBody(Body):
    """In one building (the code of a zone), until an instant."""

    building: Annotated[str, StringConstraints(pattern=CODE_PATTERN)]
    until_ms: Annotated[int, Field(ge=0, lt=MAX_INSTANT_MS)]


class JobBody(Body):
    """What is to be done, at which encoder, and for which card (a probe: null).

    `blank` is a card that was erased and whose blank is used again, null: a blank from the factory. `number` is for a
    card that is registered as it is: where its bare number may count if it proves nothing.
    """

    kind: Annotated[str, Field(pattern="^(" + "|".join(JobKind) + ")$", examples=["encode"])]
    agent: AgentName
    reader: ReaderName
    card: Reference | None = None
    blank: Reference | None = None
    number: NumberBody | None = None

    def wish(self) -> Wish:
        """Return what is asked for."""
        return Wish(JobKind(self.kind), EncoderName(self.agent, self.reader), self.card, self.blank)


class Encoder(BaseModel):
    """An encoder of a connected agent. Not `usable`: its reader is unplugged."""

    agent: str
    reader: str
    usable: bool
    card_present: bool


class Encoders(BaseModel):
    """The encoders, by agent and reader."""

    encoders: list[Encoder]


class Job(BaseModel):
    """A job: `step` of `steps` is under way or was the last one. `trouble`: why its card is wanted, or it failed.

    `found` is what the chip told: its family, whether its maker signed it; of a probe also the room on it, and whether
    it is ours; of a card that was registered what it proves (`level`) and for which uses.
    """

    job: str
    kind: JobKind
    card: str | None
    agent: str
    reader: str
    state: JobState
    step: int
    steps: int
    step_name: str | None
    step_use: str | None
    trouble: Trouble | None
    detail: str | None
    found: dict[str, Any] | None
    made_ms: int
    begun_ms: int | None
    ended_ms: int | None


class Jobs(BaseModel):
    """The newest jobs, the newest first."""

    jobs: Annotated[list[Job], Field(max_length=MAX_LISTED)]


def encoding_router(desk: EncodingDesk, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1", tags=["cards"], responses=PROBLEMS)

    @router.get("/encoders", summary="The encoders of the connected agents")
    async def encoders(_: Annotated[Actor, Depends(gate.allows(READ))]) -> Encoders:
        return Encoders(
            encoders=[
                Encoder(
                    agent=one.encoder.agent,
                    reader=one.encoder.reader,
                    usable=one.usable,
                    card_present=one.card_present,
                )
                for one in desk.bench.lines
            ]
        )

    @router.get("/encoding-jobs", summary="The newest jobs at the encoders")
    async def jobs(actor: Annotated[Actor, Depends(gate.allows(READ))]) -> Jobs:
        found = await asyncio.to_thread(desk.jobs, actor.reaches)
        return Jobs(jobs=[Job.model_validate(document(one)) for one in found])

    @router.get("/encoding-jobs/{job}", summary="One job: how far it is, and what it waits for")
    async def one(job: JobReference, actor: Annotated[Actor, Depends(gate.allows(READ))]) -> Job:
        return Job.model_validate(document(await asyncio.to_thread(desk.one, job, actor.reaches)))

    _add_changes(router, desk, gate)
    return router


def _add_changes(router: APIRouter, desk: EncodingDesk, gate: Gate) -> None:
    @router.post(
        "/encoding-jobs", status_code=201, summary="Have a card encoded, registered, erased, re-keyed, looked at"
    )
    async def order(body: JobBody, key: IdempotencyKey, actor: Annotated[Actor, Depends(gate.allows(ORDER))]) -> Job:
        asked = asked_by(actor, key, ORDER, body.model_dump(mode="json"))
        number = None if body.number is None else NumberWish(body.number.building, body.number.until_ms)
        answer = await asyncio.to_thread(desk.order, asked, body.wish(), giver_of(actor, ISSUE), number)
        return Job.model_validate(answer)

    @router.post("/encoding-jobs/{job}/cancel", summary="End a job; a card that was begun stays as it is")
    async def cancel(
        job: JobReference, key: IdempotencyKey, actor: Annotated[Actor, Depends(gate.allows(CANCEL))]
    ) -> Job:
        asked = asked_by(actor, key, CANCEL, {"job": job})
        return Job.model_validate(await asyncio.to_thread(desk.cancel, asked, job, giver_of(actor, ISSUE)))
