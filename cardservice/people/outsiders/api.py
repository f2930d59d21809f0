# SPDX-License-Identifier: EUPL-1.2
"""The REST routes of people outside the directory, and of the groups they can be in."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field, StringConstraints

from cardservice.instants import MAX_INSTANT_MS
from cardservice.people.outsiders.rules import MAX_GROUP_NAME, MAX_GROUPS, MAX_NAME, Kind
from cardservice.people.outsiders.service import Outsiders, Who, Wish
from cardservice.people.outsiders.views import OutsidersWanted, OutsiderView, OwnGroup, Which
from cardservice.web.etags import IfMatch, etag_of, require_match
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_NUMBER, AfterNumber, Limit, Text
from cardservice.web.looks import KeepLook, Look, look_at_list
from cardservice.web.problems import documented
from cardservice.web.repeats import asked_by
from cardservice.web.requests import PROBLEMS, Body, IdempotencyKey

OutsiderNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The person.")]
GroupNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The group.")]
PLAIN = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, pattern=PLAIN)]
Mail = Annotated[str, Field(max_length=254, pattern=r"^[^\x00-\x20\x7f@]{1,64}@[^\x00-\x20\x7f@]{1,189}$")]
Reason = Annotated[str, Field(min_length=1, max_length=200, pattern=PLAIN, examples=["ticket 4711"])]
Instant = Annotated[int, Field(ge=0, lt=MAX_INSTANT_MS, examples=[1_806_530_400_000])]
Number = Annotated[int, Field(ge=1, le=MAX_NUMBER)]


class OutsiderBody(Body):
    """What somebody outside the directory is to be; `from_ms` null: from now on, or as it was.

    `sponsor` is the number of somebody of a directory, `groups` are numbers of groups of the service's own.
    """

    name: Annotated[Name, Field(examples=["Erika Muster"])]
    kind: Annotated[Kind, Field(strict=False, examples=["external"])]
    mail: Annotated[Mail | None, Field(examples=["erika@dachdecker.example"])] = None
    company: Annotated[Name | None, Field(examples=["Dachdeckerei Muster"])] = None
    sponsor: Annotated[Number, Field(examples=[17])]
    from_ms: Instant | None = None
    until_ms: Instant
    groups: Annotated[list[Number], Field(max_length=MAX_GROUPS, default_factory=list)]
    reason: Reason

    def wish(self) -> Wish:
        """Return what is asked for."""
        return Wish(
            name=self.name.strip(),
            sponsor=self.sponsor,
            until_ms=self.until_ms,
            reason=self.reason,
            kind=self.kind,
            mail=self.mail,
            company=self.company,
            from_ms=self.from_ms,
            groups=frozenset(self.groups),
        )


class EndBody(Body):
    """Why somebody's time ends now."""

    reason: Reason


class GroupBody(Body):
    """A group that outsiders can be in."""

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=MAX_GROUP_NAME, pattern=PLAIN), Field(examples=["Handwerker"])
    ]


class OutsiderPage(BaseModel):
    """People outside the directory by their numbers; go on with `after` = `cursor`, null: those are all."""

    outsiders: list[OutsiderView]
    cursor: str | None


class OwnGroupList(BaseModel):
    """Every group of the service's own, by name."""

    groups: list[OwnGroup]


def outsiders_router(outsiders: Outsiders, gate: Gate, keep_look: KeepLook) -> APIRouter:
    """Return the routes; whom they show is told who looked."""
    router = APIRouter(prefix="/api/v1", tags=["people"], responses=PROBLEMS)
    _add_reading(router, outsiders, gate, keep_look)
    _add_groups(router, outsiders, gate)

    @router.post("/outsiders", status_code=201, summary="Add somebody outside the directory")
    async def add(
        body: OutsiderBody,
        key: IdempotencyKey,
        response: Response,
        actor: Annotated[Actor, Depends(gate.allows("outsiders.add"))],
    ) -> OutsiderView:
        asked = asked_by(actor, key, "outsiders.add", body.model_dump(mode="json"))
        return _told(await asyncio.to_thread(outsiders.add, body.wish(), who_of(actor), asked), response)

    @router.put(
        "/outsiders/{person}",
        summary="Change end, sponsor, groups or name, as it was read (If-Match)",
        responses=documented(412, 428),
    )
    async def change(
        person: OutsiderNumber,
        body: OutsiderBody,
        response: Response,
        actor: Annotated[Actor, Depends(gate.allows("outsiders.change"))],
        if_match: IfMatch = None,
    ) -> OutsiderView:
        made = await asyncio.to_thread(
            outsiders.change, person, body.wish(), who_of(actor), lambda shown: require_match(if_match, shown)
        )
        return _told(made, response)

    @router.post("/outsiders/{person}/end", summary="Let somebody's time end now")
    async def end(
        person: OutsiderNumber,
        body: EndBody,
        key: IdempotencyKey,
        response: Response,
        actor: Annotated[Actor, Depends(gate.allows("outsiders.end"))],
    ) -> OutsiderView:
        asked = asked_by(actor, key, "outsiders.end", {"person": person, "reason": body.reason})
        return _told(await asyncio.to_thread(outsiders.end, person, who_of(actor), body.reason, asked), response)

    return router


def _add_reading(router: APIRouter, outsiders: Outsiders, gate: Gate, keep_look: KeepLook) -> None:
    reads = gate.allows("outsiders.read")

    @router.get("/outsiders", summary="People outside the directory, of the caller's organisations and departments")
    async def list_outsiders(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        actor: Annotated[Actor, Depends(reads)],
        which: Annotated[
            Which, Query(description="soon: who ends within 30 days; here: who has not ended.")
        ] = Which.HERE,
        text: Annotated[Text, Query(description="Part of a name or company.")] = None,
        sponsor: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="Who answers for them.")] = None,
        after: AfterNumber = "0",
        limit: Limit = 100,
    ) -> OutsiderPage:
        wanted = OutsidersWanted(which, text, sponsor)
        found = await asyncio.to_thread(outsiders.list, wanted, actor.reaches, int(after), limit)
        if found:
            await asyncio.to_thread(keep_look, look_at_list("people_listed", actor, [one.person for one in found]))
        return OutsiderPage(outsiders=list(found), cursor=str(found[-1].person) if len(found) == limit else None)

    @router.get("/outsiders/{person}", summary="One person outside the directory; the ETag is what a change names")
    async def one(person: OutsiderNumber, response: Response, actor: Annotated[Actor, Depends(reads)]) -> OutsiderView:
        found = await asyncio.to_thread(outsiders.one, person, actor.reaches)
        await asyncio.to_thread(keep_look, Look("person_read", actor, person))
        response.headers["ETag"] = etag_of(found.head())
        return found


def _add_groups(router: APIRouter, outsiders: Outsiders, gate: Gate) -> None:
    @router.get("/outsider-groups", summary="The groups that people outside the directory can be in")
    async def list_groups(_: Annotated[Actor, Depends(gate.allows("outsiders.read"))]) -> OwnGroupList:
        return OwnGroupList(groups=list(await asyncio.to_thread(outsiders.groups)))

    @router.post("/outsider-groups", status_code=201, summary="Add such a group; grants name it as a directory's")
    async def add_group(
        body: GroupBody, key: IdempotencyKey, actor: Annotated[Actor, Depends(gate.allows("outsiders.groups"))]
    ) -> OwnGroup:
        asked = asked_by(actor, key, "outsiders.add_group", body.model_dump(mode="json"))
        return OwnGroup(**await asyncio.to_thread(outsiders.add_group, body.name.strip(), asked))

    @router.delete("/outsider-groups/{group}", status_code=204, summary="Take a group out of use that nobody is in")
    async def remove_group(group: GroupNumber, _: Annotated[Actor, Depends(gate.allows("outsiders.groups"))]) -> None:
        await asyncio.to_thread(outsiders.remove_group, group)


def who_of(actor: Actor) -> Who:
    """Return who acts."""
    return Who(actor.name, actor.person, actor.reaches)


def _told(document: dict[str, Any], response: Response) -> OutsiderView:
    view = OutsiderView.of(document)
    response.headers["ETag"] = etag_of(view.head())
    return view
