# SPDX-License-Identifier: EUPL-1.2
"""The pages of whoever looks after doors: all of them as they are now, and one opened once from the desk.

They use the same services as the REST routes. Lockdowns are in `desk_lockdowns.py`.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from cardservice.doors.api import DoorCode
from cardservice.doors.desk_board import Board, Boards, DeskDoor
from cardservice.doors.openings import Opening
from cardservice.doors.service import Doors
from cardservice.errors import AgentAway, CardServiceError, Conflict, NotFound
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.requests import CODE_PATTERN
from cardservice.web.session_guard import read_form
from cardservice.web.streams import MEDIA_TYPE, Streams, Watching, event
from cardservice.web.traces import MAX_REASON

PATH: Final = "/doors"
OPERATION: Final = "doors.list"
LOOK_S: Final = 0.5
MAX_TEXT: Final = 100
KEY: Final = re.compile(r"[0-9a-f]{32}")
STRIKES: Final[Mapping[str, str]] = {
    "released": marked("released"),
    "locked": marked("secured"),
    "fault": marked("fault"),
    "unknown": marked("unknown"),
}
CONTACTS: Final[Mapping[str, str]] = {
    "open": marked("open"),
    "closed": marked("closed"),
    "unknown": marked("unknown"),
}
ALARMS: Final[Mapping[str, str]] = {
    "forced": marked("opened by force"),
    "held_open": marked("open for too long"),
    "tamper": marked("tampered with"),
}
SHOWN: Final[Mapping[str, str]] = {
    "": marked("all doors"),
    "trouble": marked("what somebody has to look after"),
    "open": marked("released or open"),
    "locked_down": marked("locked down"),
}
AWAY: Final = marked("its agent is not connected")
LOCKED: Final = marked("it is locked down")
_OUTCOMES: Final[Mapping[str, str]] = {
    "opened": marked("The door was released. It locks again by itself."),
    "failed": marked("The door was not opened. Please go there, or send somebody."),
    "unknown": marked(
        "Nobody knows whether the door was opened: its agent did not answer in time. Please look before you try again."
    ),
}
_NO_REASON: Final = marked("Please say why, in up to 200 characters. Nothing was done.")
_AWAY_NOW: Final = marked(
    "The door cannot be opened: its agent is not connected. Nothing was sent. Please go there with a key, and have the "
    "agent looked at."
)
_LOCKED_NOW: Final = marked("The door cannot be opened: it is locked down. End the lockdown first.")
_NOT_NOW: Final = marked("That did not work; nobody knows whether the door was opened. Please look, then try again.")
_ASKED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {MEDIA_TYPE: {}}, "description": "What has changed, as HTML"}
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which doors somebody wants to see."""

    text: str = ""
    zone: str = ""
    show: str = ""

    def fits(self, door: DeskDoor) -> bool:
        """Tell whether a door is one of them."""
        view, text = door.view, self.text.casefold()
        if self.zone and not door.inside(self.zone):
            return False
        if text and text not in view.name.casefold() and text not in view.code:
            return False
        match self.show:
            case "trouble":
                return door.trouble
            case "open":
                return view.strike == "released" or view.contact == "open"
            case "locked_down":
                return view.locked_down
        return True


def wanted(
    text: Annotated[str, Query(max_length=MAX_TEXT, description="Part of a door's name or code.")] = "",
    zone: Annotated[
        str, Query(max_length=64, pattern=f"^$|{CODE_PATTERN}", description="Doors inside this zone.")
    ] = "",
    show: Annotated[Literal["", "trouble", "open", "locked_down"], Query(description="Doors that are so.")] = "",
) -> Wanted:
    """Return what an address asks for."""
    return Wanted(text.strip(), zone, show)


Chosen = Annotated[Wanted, Depends(wanted)]


@dataclass(frozen=True, slots=True)
class Desk:
    """What the pages use; put together once."""

    doors: Doors
    boards: Boards
    streams: Streams
    gate: Gate
    pages: Pages

    def seen(self, board: Board, actor: Actor) -> tuple[DeskDoor, ...]:
        """Return the doors that `actor` may see."""
        return tuple(door for door in board.doors if actor.may_use(door.view.code))

    def content(self, board: Board, actor: Actor, chosen: Wanted) -> dict[str, Any]:
        """Return what the templates show of the doors at one moment."""
        mine = self.seen(board, actor)
        shown = [door for door in mine if chosen.fits(door)]
        zones = sorted({code for door in mine if door.zone is not None for code in door.zone.path})
        known = board.zones or {}
        return {
            **WORDS,
            "doors": shown,
            "count": len(mine),
            "alarms": sorted((d for d in mine if d.alarm), key=lambda door: door.view.since_ms or 0, reverse=True),
            "away": sum(not door.view.online for door in mine),
            "zones": sorted((known[code] for code in zones if code in known), key=lambda zone: zone.name),
            "names": {code: zone.name for code, zone in known.items()},
            # Of zones: about all doors, so for nobody who is bound to some.
            "lockdowns": [
                one for one in board.lockdowns if actor.points is None or (one.door and actor.may_use(one.door))
            ],
            "door_names": {door.view.code: door.view.name or door.view.code for door in mine},
            "may_lock_door": may(actor, "doors.lock_door"),
            "may_open": may(actor, "doors.open"),
            "may_lock": may(actor, "doors.lock_down"),
            "may_end": may(actor, "doors.end_lockdown"),
        }


WORDS: Final[Mapping[str, Any]] = {
    "strikes": STRIKES,
    "contacts": CONTACTS,
    "alarm_words": ALARMS,
    "cannot": {"away": AWAY, "locked": LOCKED},
}


def may(actor: Actor, operation: str) -> bool:
    """Tell whether the page offers an operation: a system has no page, but may open what its account allows."""
    line = OPERATIONS[operation]
    return allowed(line, actor.roles) and not (line.all_points and actor.points is not None)


def confirmed(request: Request) -> bool:
    """Tell whether whoever is signed in proved it a moment ago: else what they type would be lost on the way."""
    signed_in = getattr(request.state, "signed_in", None)
    return signed_in is None or bool(signed_in.confirmed)


def desk_pages(desk: Desk) -> APIRouter:
    """Return the list of doors, its stream, and the page that opens one."""
    router = APIRouter(
        prefix=PATH,
        tags=["doors"],
        default_response_class=HTMLResponse,
        responses=documented(401, 403, 404, 422, 503),
    )
    lists = desk.gate.allows(OPERATION)

    @router.get("", summary="All doors as they are now")
    async def overview(language: PageLanguage, chosen: Chosen, actor: Annotated[Actor, Depends(lists)]) -> HTMLResponse:
        board = await desk.boards.now()
        content = desk.content(board, actor, chosen) | {"chosen": chosen, "shown_words": SHOWN}
        return desk.pages.page("doors.html", language, actor=actor, **content)

    @router.get("/changes", summary="What changes, as server-sent events", response_model=None, responses=_ASKED)
    async def changes(
        request: Request, language: PageLanguage, chosen: Chosen, actor: Annotated[Actor, Depends(lists)]
    ) -> StreamingResponse:
        async def source(watching: Watching) -> AsyncIterator[str]:
            before = None
            while True:
                board = await desk.boards.now()
                now = desk.content(board, watching.actor, chosen)
                if before is None or _differ(before, now):
                    for text in await asyncio.to_thread(_changed, desk.pages, language, before, now):
                        yield event("parts", text)
                before = now
                await asyncio.sleep(LOOK_S)

        return desk.streams.of_a_page(desk.gate, Watching(request, OPERATION, actor), source)

    _add_opening(router, desk)
    return router


_Content = Mapping[str, Any]


def _differ(before: _Content, now: _Content) -> bool:
    return any(before[name] != now[name] for name in ("doors", "alarms", "away", "lockdowns"))


def _changed(pages: Pages, language: Language, before: _Content | None, now: _Content) -> Iterator[str]:
    """Yield the parts of the page that are no longer as they were, of one kind each; without `before` all of them."""

    def part(template: str, **more: Any) -> str:
        return bytes(pages.page(template, language, **{**now, **more}).body).decode()

    if before is None or any(before[name] != now[name] for name in ("alarms", "away")):
        yield part("doors_alarms.html")
    if before is None or before["lockdowns"] != now["lockdowns"]:
        yield part("doors_lockdowns.html")
    if before is None or _codes(before) != _codes(now):
        yield f'<tbody id="rows">{part("doors_rows.html")}</tbody>'
    else:
        rows = [door for old, door in zip(before["doors"], now["doors"], strict=True) if old != door]
        if rows:
            yield part("doors_rows.html", doors=rows)


def _codes(content: _Content) -> list[str]:
    return [door.view.code for door in content["doors"]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks to open which door, in which language, and with what message it is answered."""

    actor: Actor
    language: Language
    request: Request
    door: str

    async def page(self, desk: Desk, *, status: int = 200, **more: Any) -> HTMLResponse:
        """Return the page of the door."""
        board = await desk.boards.now(fresh=True)
        door = board.door(self.door)
        if door is None:
            raise NotFound(f"there is no door {self.door!r}")
        content = {**WORDS, "names": {code: zone.name for code, zone in (board.zones or {}).items()}, "door": door}
        content |= {"may_open": may(self.actor, "doors.open"), "confirmed": confirmed(self.request)}
        content |= {"key": secrets.token_hex(16), "message": None, "opening": None, "typed": "", "said": None} | more
        return desk.pages.page("door_open.html", self.language, actor=self.actor, status=status, **content)


def _add_opening(router: APIRouter, desk: Desk) -> None:
    @router.get("/open/{door}", summary="One door, and what opens it once")
    async def ask(
        door: DoorCode,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(desk.gate.allows(OPERATION))],
    ) -> HTMLResponse:
        actor.require_point(door)
        return await _Asked(actor, language, request, door).page(desk)

    @router.post("/open/{door}", summary="Open a door once", responses=documented(409))
    async def open_once(
        door: DoorCode,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(desk.gate.allows("doors.open"))],
    ) -> HTMLResponse:
        actor.require_point(door)
        asked, form = _Asked(actor, language, request, door), await read_form(request)
        key, reason = form.get("key", ""), form.get("reason", "").strip()
        if KEY.fullmatch(key) is None:
            raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
        if not usable(reason):
            return await asked.page(desk, status=422, message=_NO_REASON, typed=reason)
        try:
            opening = await desk.doors.openings.open_once(door, caller=actor.name, reason=reason, request_id=key)
        except CardServiceError as error:
            return await asked.page(desk, status=_status(error), message=_told(error), typed=reason)
        return await _opened(asked, desk, opening)


async def _opened(asked: _Asked, desk: Desk, opening: Opening) -> HTMLResponse:
    # The state that is shown may be from before the strike moved: the list follows it.
    return await asked.page(desk, opening=opening, said=_OUTCOMES[opening.outcome])


def usable(reason: str) -> bool:
    """Tell whether a reason can be kept."""
    return 0 < len(reason) <= MAX_REASON and reason.isprintable()


def _told(error: CardServiceError) -> str:
    match error:
        case AgentAway():
            return _AWAY_NOW
        case Conflict():
            return _LOCKED_NOW
        case NotFound():
            raise error
    return _NOT_NOW


def _status(error: CardServiceError) -> int:
    return 409 if isinstance(error, AgentAway | Conflict) else 503
