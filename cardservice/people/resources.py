# SPDX-License-Identifier: EUPL-1.2
"""REST routes of people as their directories have them, and of the directories themselves. They change nothing."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from cardservice.clock import UNKNOWN_AGE_MS
from cardservice.people.register import GroupView, PeopleRegister, PeopleWanted, PersonView
from cardservice.people.status import DirectoryStatus
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_NUMBER, AfterNumber, Limit, Text
from cardservice.web.looks import KeepLook, Look, look_at_list
from cardservice.web.requests import PROBLEMS

PersonNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The person.")]


class PersonPage(BaseModel):
    """People in the order of their numbers; go on with `after` = `cursor`, None: those are all."""

    people: list[PersonView]
    cursor: str | None


class GroupList(BaseModel):
    """Every group that somebody is effectively in, by name."""

    groups: list[GroupView]


class FollowedDirectory(BaseModel):
    """A directory and its copy; `age_ms` is how long ago it was last proved to be current, None: never.

    `held_removals` are people whose loss waits for a decision, `since_ms` is from when it is connected, or not.
    """

    directory: str
    connected: bool
    server: str
    mode: str
    since_ms: int
    age_ms: int | None
    people: int
    groups: int
    held_removals: int
    movers: int
    trouble: str | None


class DirectoryList(BaseModel):
    """Every directory that is followed."""

    directories: list[FollowedDirectory]


def people_router(people: PeopleRegister, gate: Gate, keep_look: KeepLook) -> APIRouter:
    """Return the routes of people; whom they show is told who looked."""
    router = APIRouter(prefix="/api/v1", tags=["people"], responses=PROBLEMS)

    @router.get("/people", summary="People, of the caller's organisations and departments")
    async def list_people(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        caller: Annotated[Actor, Depends(gate.allows("people.read"))],
        text: Annotated[Text, Query(description="Part of a name or login, or a whole personnel number.")] = None,
        department: Text = None,
        organisation: Annotated[Text, Query(description="Its code.")] = None,
        enabled: bool | None = None,
        present: Annotated[bool | None, Query(description="Whether the directory still names them.")] = True,
        after: AfterNumber = "0",
        limit: Limit = 100,
    ) -> PersonPage:
        wanted = PeopleWanted(text, department, organisation, enabled, present)
        found = await asyncio.to_thread(people.list, wanted, caller.reaches, int(after), limit)
        if found:
            await asyncio.to_thread(keep_look, look_at_list("people_listed", caller, [one.person for one in found]))
        return PersonPage(people=list(found), cursor=str(found[-1].person) if len(found) == limit else None)

    @router.get("/people/{person}", summary="One person")
    async def one(person: PersonNumber, caller: Annotated[Actor, Depends(gate.allows("people.read"))]) -> PersonView:
        found = await asyncio.to_thread(people.one, person, caller.reaches)
        await asyncio.to_thread(keep_look, Look("person_read", caller, person))
        return found

    @router.get("/people/{person}/groups", summary="The groups that somebody counts in")
    async def groups(person: PersonNumber, caller: Annotated[Actor, Depends(gate.allows("people.read"))]) -> GroupList:
        found = await asyncio.to_thread(people.groups, person, caller.reaches)
        await asyncio.to_thread(keep_look, Look("person_read", caller, person))
        return GroupList(groups=list(found))

    return router


def directories_router(statuses: Callable[[], Sequence[DirectoryStatus]], gate: Gate) -> APIRouter:
    """Return the route of the directories."""
    router = APIRouter(prefix="/api/v1", tags=["directory"], responses=PROBLEMS)

    @router.get("/directories", summary="The directories, and how fresh their copies are")
    async def list_directories(_: Annotated[Actor, Depends(gate.allows("directories.read"))]) -> DirectoryList:
        return DirectoryList(directories=[_directory(status) for status in statuses()])

    return router


def _directory(status: DirectoryStatus) -> FollowedDirectory:
    return FollowedDirectory(
        directory=status.directory,
        connected=status.connected,
        server=status.server,
        mode=status.mode,
        since_ms=status.since_ms,
        age_ms=status.age_ms if status.age_ms < UNKNOWN_AGE_MS else None,
        people=status.people,
        groups=status.groups,
        held_removals=status.held_removals,
        movers=status.movers,
        trouble=status.trouble,
    )
