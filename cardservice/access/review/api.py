# SPDX-License-Identifier: EUPL-1.2
"""The REST routes of reviews: begin, answer, extend, abort, and who answers for what.

A caller that speaks for one of an owner's members sends their login; without one it answers as the administrator.
"""

import asyncio
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from cardservice.access.review.record import MAX_TEXT
from cardservice.access.review.rules import Verdict, Wanted
from cardservice.access.review.service import MAX_PAGE, Answer, NewReview, Reviews, Who
from cardservice.access.review.views import ItemView, ReviewView
from cardservice.instants import MAX_INSTANT_MS
from cardservice.web.gate import Actor, Gate
from cardservice.web.requests import CODE_PATTERN, PROBLEMS, Body

# Greater than any row's; JavaScript still counts exactly there.
MAX_NUMBER = 2**53
ReviewCode = Annotated[str, Path(pattern=CODE_PATTERN, description="The review.")]
ItemNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The grant's number in the review.")]
ZoneCode = Annotated[str, Path(pattern=CODE_PATTERN, description="The zone.")]
GrantNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The grant.")]
After = Annotated[str, Query(max_length=16, pattern=r"^[0-9]{1,16}$", description="The cursor of the page before.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Instant = Annotated[int, Field(ge=0, lt=MAX_INSTANT_MS, examples=[1_806_530_400_000])]


class BeginBody(Body):
    """What a review is about: a zone with those inside it, or one group's grants; neither: all."""

    name: Text
    deadline_ms: Instant
    zone: Annotated[str | None, Field(pattern=CODE_PATTERN)] = None
    group: Text | None = None


class AnswerBody(Body):
    """Until when the grant is needed (none: as before), who says so, and why."""

    until_ms: Instant | None = None
    login: Text | None = None
    reason: Text | None = None


class ReasonBody(Body):
    """Why; kept with the caller's name."""

    reason: Text


class ExtendBody(ReasonBody):
    """The later deadline."""

    deadline_ms: Instant


class OwnerBody(Body):
    """The group whose members answer; none: nobody of its own."""

    group: Text | None


class DueAnswer(BaseModel):
    """How many grants an owner has not answered for; no owner: they are the administrator's."""

    owner: str | None
    unanswered: int


class Review(BaseModel):
    """A review; what is unanswered at the deadline ends there. Neither zone nor group: of all grants."""

    code: str
    name: str
    zone: str | None
    group: str | None
    deadline_ms: int
    begun_ms: int
    begun_by: str
    aborted_ms: int | None
    due: list[DueAnswer]


class ReviewPage(BaseModel):
    """Reviews in the order of their beginning; go on with `after` = `cursor`, None: those are all."""

    reviews: list[Review]
    cursor: str | None


class ItemPage(BaseModel):
    """Grants in the order of their numbers; go on with `after` = `cursor`, None: those are all."""

    items: list[ItemView]
    cursor: str | None


def reviews_router(reviews: Reviews, gate: Gate) -> APIRouter:
    """Return the routes of reviews."""
    router = APIRouter(prefix="/api/v1/access", tags=["access"], responses=PROBLEMS)
    _add_owners(router, reviews, gate)
    _add_items(router, reviews, gate)

    @router.get("/reviews", summary="Reviews and what is due in them")
    async def list_reviews(
        _: Annotated[Actor, Depends(gate.allows("reviews.list"))], after: After = "0", limit: Limit = 100
    ) -> ReviewPage:
        found = await asyncio.to_thread(reviews.list, int(after), limit)
        cursor = str(found[-1].number) if len(found) == limit else None
        return ReviewPage(reviews=[_review(view) for view in found], cursor=cursor)

    @router.put("/reviews/{code}", summary="Begin a review: what nobody answers for ends at its deadline")
    async def begin(
        code: ReviewCode, body: BeginBody, caller: Annotated[Actor, Depends(gate.allows("reviews.begin"))]
    ) -> Review:
        new = NewReview(code, body.name, body.deadline_ms, body.zone, body.group)
        return _review(await asyncio.to_thread(reviews.begin, new, Who(caller.name)))

    @router.post("/reviews/{code}/extend", summary="Give a running review a later deadline")
    async def extend(
        code: ReviewCode, body: ExtendBody, caller: Annotated[Actor, Depends(gate.allows("reviews.extend"))]
    ) -> Review:
        who = Who(caller.name)
        return _review(await asyncio.to_thread(reviews.extend, code, body.deadline_ms, who, reason=body.reason))

    @router.post("/reviews/{code}/abort", summary="End a running review: what is unanswered ends as before")
    async def abort(
        code: ReviewCode, body: ReasonBody, caller: Annotated[Actor, Depends(gate.allows("reviews.abort"))]
    ) -> Review:
        return _review(await asyncio.to_thread(reviews.abort, code, Who(caller.name), reason=body.reason))

    return router


def _add_items(router: APIRouter, reviews: Reviews, gate: Gate) -> None:
    @router.get("/reviews/{code}/items", summary="The grants of a review and what was said of them")
    async def list_items(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        code: ReviewCode,
        _: Annotated[Actor, Depends(gate.allows("reviews.items"))],
        owner: Annotated[str | None, Query(min_length=1, max_length=MAX_TEXT)] = None,
        nobodys: Annotated[bool, Query(description="Those without an owner alone.")] = False,
        unanswered: Annotated[bool, Query(description="Those alone that can be answered now.")] = False,
        after: After = "0",
        limit: Limit = 100,
    ) -> ItemPage:
        wanted = Wanted(code, owner, nobodys, unanswered, int(after))
        found = await asyncio.to_thread(reviews.items, wanted, limit)
        cursor = str(found[-1].item) if len(found) == limit else None
        return ItemPage(items=list(found), cursor=cursor)

    @router.post("/reviews/{code}/items/{item}/{verdict}", summary="Keep, end or renew a grant, once")
    async def answer(
        code: ReviewCode,
        item: ItemNumber,
        verdict: Annotated[Literal["keep", "end", "renew"], Path(description="renew: what lapsed, with a reason.")],
        body: AnswerBody,
        caller: Annotated[Actor, Depends(gate.allows("reviews.answer"))],
    ) -> ItemView:
        said = Answer(Verdict(verdict), body.until_ms, body.reason)
        return await asyncio.to_thread(reviews.answer, code, item, said, Who(caller.name, body.login))


def _add_owners(router: APIRouter, reviews: Reviews, gate: Gate) -> None:
    @router.put("/zones/{zone}/owner", summary="Who answers for the grants in a zone", status_code=204)
    async def own_zone(
        zone: ZoneCode, body: OwnerBody, caller: Annotated[Actor, Depends(gate.allows("reviews.own_zone"))]
    ) -> None:
        await asyncio.to_thread(reviews.set_owner, Who(caller.name), body.group, zone=zone)

    @router.put("/grants/{grant}/owner", summary="Who answers for a grant", status_code=204)
    async def own_grant(
        grant: GrantNumber, body: OwnerBody, caller: Annotated[Actor, Depends(gate.allows("reviews.own_grant"))]
    ) -> None:
        await asyncio.to_thread(reviews.set_owner, Who(caller.name), body.group, grant=grant)


def _review(view: ReviewView) -> Review:
    return Review.model_validate({name: value for name, value in asdict(view).items() if name != "number"})
