# SPDX-License-Identifier: EUPL-1.2
"""Badges over REST and from the pages: PDF, kept by nobody on the way; whose badge was made finds that out."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from cardservice.cards.api import CardReference
from cardservice.cards.badges.pdf import MAX_ON_SHEETS
from cardservice.cards.badges.service import BadgeOffice, BadgeRefused, Printed
from cardservice.cards.bulk import service as bulk
from cardservice.cards.bulk.api import BatchNumber
from cardservice.cards.desk import giver_of
from cardservice.cards.pages import PATH
from cardservice.cards.rules import ISSUE
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.looks import KeepLook, Look
from cardservice.web.problems import documented
from cardservice.web.requests import PROBLEMS, Body

BADGE: Final = "cards.badge"
MEDIA_TYPE: Final = "application/pdf"
MAX_PARTS: Final = 1_000
Reference = Annotated[str, Field(pattern=r"^[0-9a-f-]{1,36}$")]
_PDF: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {MEDIA_TYPE: {}}, "description": "Cards of the size ID-1, or pages of A4"}
}


class SheetBody(Body):
    """Cards whose badges are to stand on sheets."""

    cards: Annotated[list[Reference], Field(min_length=1, max_length=MAX_ON_SHEETS)]


@dataclass(frozen=True, slots=True)
class BadgeRoutes:
    """What the routes are made of."""

    office: BadgeOffice
    gate: Gate
    keep_look: KeepLook

    async def printed(self, actor: Actor, name: str, make: Callable[[], Printed]) -> Response:
        """Make a PDF, write down whose badges were made, and hand it over."""
        made = await asyncio.to_thread(make)
        for number in made.people:
            await asyncio.to_thread(self.keep_look, Look("badge_made", actor, number))
        headers = {"Content-Disposition": f'attachment; filename="{name}.pdf"', "Cache-Control": "no-store"}
        return Response(made.pdf, media_type=MEDIA_TYPE, headers=headers)


def badge_routers(routes: BadgeRoutes) -> list[APIRouter]:
    """Return the REST routes and those of the pages."""
    rest = APIRouter(prefix="/api/v1", tags=["cards"], responses=PROBLEMS)
    pages = APIRouter(tags=["people"], responses=documented(401, 403, 404, 409, 422, 503))
    may = routes.gate.allows(BADGE)

    @rest.get("/cards/{card}/badge", summary="The badge of a card (PDF)", response_class=Response, responses=_PDF)
    async def badge(card: CardReference, actor: Annotated[Actor, Depends(may)]) -> Response:
        return await routes.printed(actor, "badge", lambda: routes.office.one(card, actor.reaches))

    @rest.post("/badges", summary="The badges of many cards on sheets (PDF)", response_class=Response, responses=_PDF)
    async def sheets(body: SheetBody, actor: Annotated[Actor, Depends(may)]) -> Response:
        return await routes.printed(actor, "badges", lambda: routes.office.sheets(body.cards, actor.reaches))

    @pages.get(
        f"{PATH}/{{person}}/cards/{{card}}/badge.pdf",
        summary="The badge of a card, to print",
        response_class=Response,
        responses=_PDF,
        name="badge of a card",
    )
    async def badge_file(person: PersonNumber, card: CardReference, actor: Annotated[Actor, Depends(may)]) -> Response:
        return await routes.printed(actor, "badge", lambda: routes.office.one(card, actor.reaches, person))

    @pages.get(
        "/batches/{batch}/badges.pdf",
        summary="The badges of a list of cards on sheets, to print",
        response_class=Response,
        responses=_PDF,
        name="badges of a batch",
    )
    async def batch_file(
        batch: BatchNumber,
        actor: Annotated[Actor, Depends(may)],
        part: Annotated[int, Query(ge=1, le=MAX_PARTS, description=f"Which {MAX_ON_SHEETS} of its cards.")] = 1,
    ) -> Response:
        def make() -> Printed:
            lines = bulk.lines_of(routes.office.state, batch, giver_of(actor, ISSUE))
            made = [one.card for one in lines if one.card is not None]
            wanted = made[(part - 1) * MAX_ON_SHEETS : part * MAX_ON_SHEETS]
            if not wanted:
                raise BadgeRefused("no card of this list is there yet")
            return routes.office.sheets(wanted, actor.reaches)

        return await routes.printed(actor, f"badges-{batch}-{part}", make)

    return [rest, pages]
