# SPDX-License-Identifier: EUPL-1.2
"""The REST route that explains access, for administrators' systems.

A POST although nothing is changed: a login must not stand in an address, where proxies write it down.
"""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from cardservice.access.explain.record import Lookups
from cardservice.access.explain.rules import Question, Said
from cardservice.access.explain.sentences import Language, Writer
from cardservice.access.explain.service import EARLIEST_MS, LATEST_MS, Answer, Explainer, Inquiry
from cardservice.access.rules import Level, Reason
from cardservice.access.sentences import SENTENCES
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_NUMBER
from cardservice.web.looks import Look
from cardservice.web.requests import CODE_PATTERN, PROBLEMS, Body

LevelName = Literal["none", "uid", "reader_attested", "card", "card_pin"]
CardReference = Annotated[str, Field(pattern=r"^[0-9a-f-]{36}$")]


class InquiryBody(Body):
    """About whom (a card, a login or a person's number), where and when.

    `level` is what is proved there, else what the kind of card can.
    """

    point: Annotated[str, Field(pattern=CODE_PATTERN, examples=["bauamt.aussen"])]
    card: CardReference | None = None
    login: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    # Whoever has no login, such as people outside the directory, has a number.
    person: Annotated[int, Field(ge=1, le=MAX_NUMBER)] | None = None
    at_ms: Annotated[int, Field(ge=EARLIEST_MS, lt=LATEST_MS)] | None = None
    level: LevelName | None = None
    first_card: CardReference | None = None
    language: Language = "de"


class ExplainedFinding(BaseModel):
    """One thing that was found: `said` is for programs, `sentence` for people; instants are Unix milliseconds."""

    said: Said
    sentence: str
    facts: dict[str, str | int | bool | list[str] | None]


class ExplainedStep(BaseModel):
    """One question; `refusal` is what it answers by itself, null if it lets pass."""

    question: Question
    refusal: Reason | None
    findings: list[ExplainedFinding]


class ExplainedAnswer(BaseModel):
    """What one credential of a card is answered: the first refusal among the steps, or `granted`."""

    card: str
    method: Literal["desfire", "piv"]
    permit: bool
    reason: Reason
    sentence: str
    steps: list[ExplainedStep]


class Explanation(BaseModel):
    """An answer for each credential that counts at the point, of cards in use first; none: no card fits there."""

    point: str
    at_ms: int
    answers: list[ExplainedAnswer]


def explain_router(explainer: Explainer, lookups: Lookups, gate: Gate) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/api/v1/access", tags=["access"], responses=PROBLEMS)
    administrator = Annotated[Actor, Depends(gate.allows("access.explain"))]
    # One at a time: taps are answered by the same processor.
    turn = asyncio.Lock()

    @router.post("/explain", summary="Why a card is answered what it is answered, at a point and an instant")
    async def explain(body: InquiryBody, caller: administrator) -> Explanation:
        caller.require_point(body.point)
        level = None if body.level is None else Level[body.level.upper()]
        inquiry = Inquiry(body.point, body.card, body.login, body.at_ms, level, body.first_card, body.person)
        async with turn:
            explained = await asyncio.to_thread(explainer.explain, inquiry)
        look = Look("explained", caller, explained.asked_about, {"point": body.point})
        await asyncio.to_thread(lookups.look, look)
        writer = Writer(body.language, explained.time_zone)
        answers = [described(answer, writer) for answer in explained.answers]
        return Explanation(point=explained.point, at_ms=explained.at_ms, answers=answers)

    return router


def described(answer: Answer, writer: Writer) -> ExplainedAnswer:
    """Return an answer with its sentences."""
    steps = [
        ExplainedStep(
            question=step.question,
            refusal=step.refusal,
            findings=[
                ExplainedFinding(
                    said=finding.said,
                    sentence=writer.sentence(finding),
                    facts={name: list(one) if isinstance(one, tuple) else one for name, one in finding.facts.items()},
                )
                for finding in step.findings
            ],
        )
        for step in answer.steps
    ]
    words = SENTENCES[answer.reason]
    return ExplainedAnswer(
        card=answer.card,
        method=answer.method,
        permit=answer.reason is Reason.GRANTED,
        reason=answer.reason,
        sentence=writer.choose((words.admin_de, words.admin_en)),
        steps=steps,
    )
