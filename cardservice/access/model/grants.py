# SPDX-License-Identifier: EUPL-1.2
"""REST routes of grants and blocks: who may pass where, one at a time.

What one is about never changes: another person or place is another grant.
"""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel

from cardservice.access.model.api import REMOVES, TAGGED, by, seen, tag
from cardservice.access.model.documents import Grant, GrantBody, TimesBody, UseWanted, rule_of, shown_rule
from cardservice.access.model.service import Model, NewTimes
from cardservice.access.model.store import RulesWanted, StoredRule
from cardservice.web.etags import IfMatch
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_NUMBER, AfterNumber, Limit, Text
from cardservice.web.problems import documented
from cardservice.web.repeats import asked_by
from cardservice.web.requests import PROBLEMS, IdempotencyKey

GrantNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The grant or block.")]


class GrantPage(BaseModel):
    """Grants and blocks in the order of their numbers; go on with `after` = `cursor`, None: those are all."""

    grants: list[Grant]
    cursor: str | None


def grants_router(model: Model, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1", tags=["access model"], responses=PROBLEMS)
    _add_reading(router, model, gate)
    changes = gate.allows("grants.change")

    @router.post("/grants", summary="Grant or block", status_code=201)
    async def add(
        body: GrantBody, key: IdempotencyKey, caller: Annotated[Actor, Depends(changes)], response: Response
    ) -> Grant:
        asked = asked_by(caller, key, "grants.add", body.model_dump(mode="json"))
        answer = await asyncio.to_thread(model.add_rule, asked, rule_of(body), by(caller), _as_json)
        return tag(response, Grant.model_validate(answer))

    @router.put("/grants/{grant}", summary="Change when it holds", responses=TAGGED | documented(412, 428))
    async def change(
        grant: GrantNumber,
        body: TimesBody,
        caller: Annotated[Actor, Depends(changes)],
        response: Response,
        if_match: IfMatch = None,
    ) -> Grant:
        times = NewTimes(body.schedule, body.valid_from_ms, body.valid_until_ms)
        check = seen(if_match, shown_rule)
        return tag(response, shown_rule(await asyncio.to_thread(model.change_rule, grant, times, by(caller), check)))

    @router.delete("/grants/{grant}", summary="Remove a grant or block", status_code=204, responses=REMOVES)
    async def remove(grant: GrantNumber, caller: Annotated[Actor, Depends(changes)], if_match: IfMatch = None) -> None:
        await asyncio.to_thread(model.remove_rule, grant, by(caller), seen(if_match, shown_rule))

    return router


def _as_json(stored: StoredRule) -> dict[str, Any]:
    return shown_rule(stored).model_dump(mode="json")


def _add_reading(router: APIRouter, model: Model, gate: Gate) -> None:
    reads = gate.allows("grants.read")

    @router.get("/grants", summary="Grants and blocks, of what the caller may see")
    async def list_grants(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        caller: Annotated[Actor, Depends(reads)],
        effect: Literal["grant", "block"] | None = None,
        group: Text = None,
        login: Text = None,
        point: Annotated[Text, Query(description="Those at the point itself, not at zones around it.")] = None,
        zone: Annotated[Text, Query(description="Those at the zone itself, not at points in it.")] = None,
        use: UseWanted = None,
        schedule: Text = None,
        after: AfterNumber = "0",
        limit: Limit = 100,
    ) -> GrantPage:
        wanted = RulesWanted(effect, group, login, point, zone, use, schedule)
        found = await asyncio.to_thread(model.rules, wanted, by(caller), int(after), limit)
        cursor = str(found[-1].number) if len(found) == limit else None
        return GrantPage(grants=[shown_rule(one) for one in found], cursor=cursor)

    @router.get("/grants/{grant}", summary="One grant or block", responses=TAGGED)
    async def one(grant: GrantNumber, caller: Annotated[Actor, Depends(reads)], response: Response) -> Grant:
        return tag(response, shown_rule(await asyncio.to_thread(model.rule, grant, by(caller))))
