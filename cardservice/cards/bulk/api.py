# SPDX-License-Identifier: EUPL-1.2
"""The REST routes of batches: look at a list, store it, go on with it, and see what came of each line."""

import asyncio
from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, field_validator
from sqlalchemy.engine import Connection, Engine

from cardservice.cards.bulk import service
from cardservice.cards.bulk.rules import MAX_FAULTS, MAX_LINES
from cardservice.cards.desk import giver_of
from cardservice.cards.life.service import Giver
from cardservice.cards.rules import ISSUE
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_NUMBER
from cardservice.web.once import Asked, Once
from cardservice.web.repeats import asked_by
from cardservice.web.requests import PROBLEMS, Body, IdempotencyKey

BatchNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The batch.")]
READ: Final = "batches.read"
# What fits into a request's body beside it.
MAX_CONTENT = 40_000


class ListBody(Body):
    """A list as a spreadsheet saves it (CSV), in Base64, so that its own encoding is kept."""

    content: Annotated[str, Field(max_length=MAX_CONTENT, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]

    @field_validator("content")
    @classmethod
    def is_base64(cls, content: str) -> str:
        """Refuse what no bytes are written as: of four characters one cannot stand alone."""
        if len(content.rstrip("=")) % 4 == 1:
            raise ValueError("Base64 (RFC 4648, section 4) of a file; a character is missing")
        return content

    def read(self) -> bytes:
        """Return the bytes of the file."""
        plain = self.content.rstrip("=")
        return b64decode(plain + "=" * (-len(plain) % 4))


class LineFault(BaseModel):
    """What is wrong in one line, and in which column."""

    line: int
    column: str
    message: str


class Look(BaseModel):
    """How many cards a list asks for, and what is wrong with it; nothing was made."""

    cards: int
    faults: Annotated[list[LineFault], Field(max_length=MAX_FAULTS)]


class Batch(BaseModel):
    """How far a batch is."""

    batch: int
    made_ms: int
    lines: int
    done: int
    failed: int
    cancelled: int
    waiting: int
    ended_ms: int | None


class BatchList(BaseModel):
    """One's own batches, the newest first."""

    batches: Annotated[list[Batch], Field(max_length=service.MAX_SHOWN)]


class BatchLine(BaseModel):
    """What came of one line; neither a card nor a fault: it waits."""

    line: int
    person: int
    profile: str
    card: str | None
    fault: str | None


class BatchLines(BaseModel):
    """Every line of a batch."""

    lines: Annotated[list[BatchLine], Field(max_length=MAX_LINES)]


@dataclass(frozen=True, slots=True)
class BatchDesk:
    """What the routes and pages stand on; `wake` has the worker see that a batch was begun."""

    state: Engine
    once: Once
    clock: Clock
    wake: Callable[[], None]

    def begin(self, asked: Asked, content: bytes, giver: Giver) -> int:
        """Store a list, once, and have it carried out; return the batch's number. Blocks; raises as `service.begin`."""

        def make(connection: Connection) -> dict[str, int]:
            return {"batch": service.begin(connection, content, giver, self.clock.now_ms())}

        number = int(self.once.run(asked, make)["batch"])
        self.wake()
        return number

    def cancel(self, batch: int, giver: Giver) -> None:
        """Have nobody get to what still waits. Blocks; raises as `service.cancel`."""
        with write(self.state) as connection:
            service.cancel(connection, batch, giver, self.clock.now_ms())

    def look(self, content: bytes, giver: Giver) -> service.Understood:
        """Return how a list is understood. Blocks; raises as `service.look_at`."""
        with read(self.state) as connection:
            return service.look_at(connection, content, giver)


def batches_router(desk: BatchDesk, gate: Gate) -> APIRouter:
    """Return the routes. A batch goes on by itself; `go-on` does the next lines at once for whoever waits for them."""
    router = APIRouter(prefix="/api/v1/card-batches", tags=["cards"], responses=PROBLEMS)
    issues, reads = gate.allows(ISSUE), gate.allows(READ)

    @router.post("/look", summary="How a list is understood, before anything is made")
    async def look(body: ListBody, actor: Annotated[Actor, Depends(reads)]) -> Look:
        found = await asyncio.to_thread(desk.look, body.read(), giver_of(actor, ISSUE))
        return Look(cards=len(found.lines), faults=[LineFault.model_validate(asdict(one)) for one in found.faults])

    @router.post("", status_code=201, summary="Store a list as a batch, all of its lines or none")
    async def begin(body: ListBody, key: IdempotencyKey, actor: Annotated[Actor, Depends(issues)]) -> Batch:
        giver, asked = giver_of(actor, ISSUE), asked_by(actor, key, "cards.batch", body.model_dump(mode="json"))
        made = await asyncio.to_thread(desk.begin, asked, body.read(), giver)
        return _batch(await asyncio.to_thread(service.progress, desk.state, made, giver))

    @router.get("", summary="The batches that one began, the newest first")
    async def begun(actor: Annotated[Actor, Depends(reads)]) -> BatchList:
        found = await asyncio.to_thread(service.batches, desk.state, giver_of(actor, ISSUE))
        return BatchList(batches=[_batch(one) for one in found])

    @router.post("/{batch}/cancel", summary="Make no card of what is left of a batch")
    async def cancel(batch: BatchNumber, actor: Annotated[Actor, Depends(issues)]) -> Batch:
        giver = giver_of(actor, ISSUE)
        await asyncio.to_thread(desk.cancel, batch, giver)
        return _batch(await asyncio.to_thread(service.progress, desk.state, batch, giver))

    @router.post("/{batch}/go-on", summary="Make the next cards of a batch")
    async def go_on(batch: BatchNumber, actor: Annotated[Actor, Depends(issues)]) -> Batch:
        giver = giver_of(actor, ISSUE)
        return _batch(await asyncio.to_thread(service.go_on, desk.state, batch, giver, desk.clock.now_ms()))

    @router.get("/{batch}", summary="How far a batch is")
    async def progress(batch: BatchNumber, actor: Annotated[Actor, Depends(reads)]) -> Batch:
        return _batch(await asyncio.to_thread(service.progress, desk.state, batch, giver_of(actor, ISSUE)))

    @router.get("/{batch}/lines", summary="What came of each line")
    async def lines(batch: BatchNumber, actor: Annotated[Actor, Depends(reads)]) -> BatchLines:
        found = await asyncio.to_thread(service.lines_of, desk.state, batch, giver_of(actor, ISSUE))
        return BatchLines(lines=[BatchLine.model_validate(asdict(one)) for one in found])

    return router


def _batch(found: service.Progress) -> Batch:
    return Batch.model_validate({**asdict(found), "waiting": found.waiting})
