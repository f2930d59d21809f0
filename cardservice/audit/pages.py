# SPDX-License-Identifier: EUPL-1.2
"""The pages of the record: its open part with a filter, asking for names, and the lines once somebody approved that."""

import asyncio
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.approvals.api import ApprovalNumber
from cardservice.approvals.rules import MAX_REASON, USUAL_HOURS
from cardservice.approvals.service import Wish
from cardservice.audit.api import CURSOR, Auditing, cursor_of, position_of
from cardservice.audit.opening import OPEN, STREAMS
from cardservice.audit.rules import MAX_LINES, Filter, Line, Stream, entry_of
from cardservice.audit.service import NotReadable, Opened, OpenedLine
from cardservice.audit.words import by_of, codes, details_of, title_of
from cardservice.errors import CardServiceError, Conflict
from cardservice.instants import MAX_INSTANT_MS
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import ZONE, marked, spoken
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages, parts_of
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.session_guard import read_form

PATH: Final = "/audit"
PAGE: Final = 50
# Of the filter, in the order of `Typed`.
FIELDS: Final = ("stream", "operation", "request", "account", "from", "until")
_MARK: Final = "line-"
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_PLAIN: Final = r"^[^\x00-\x1f\x7f]*$"
_Typed = Annotated[str, Query(max_length=200, pattern=_PLAIN)]
_NO_INSTANT: Final = marked("Please write day and time in full, and one that has been.")
_NOT_ACCEPTED: Final = marked(
    "These lines cannot be asked for. Please mark up to 500 of them, or choose a time range that is over and has 500 "
    "lines at most."
)
_NO_REASON: Final = marked("Please give a reason: whoever decides reads it.")
_NO_LINES: Final = marked("Please mark the lines that are to be opened.")
_NO_RANGE: Final = marked("Please choose from when until when first, and show these lines.")
_OVER: Final = marked("These lines are not open: nobody approved that yet, or it was more than 24 hours ago.")
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page of the request shows it."}}


@dataclass(frozen=True, slots=True)
class Typed:
    """What the filter's form holds, as it was typed; all of it may be empty."""

    stream: str = ""
    operation: str = ""
    request: str = ""
    account: str = ""
    from_: str = ""
    until: str = ""

    def fields(self) -> dict[str, str]:
        """Return what is not empty, by the names of the form."""
        values = (self.stream, self.operation, self.request, self.account, self.from_, self.until)
        return {name: value for name, value in zip(FIELDS, values, strict=True) if value}

    def filter(self) -> Filter:
        """Return which lines are meant.

        Raises:
            ValueError: what was typed is no instant, or there is no such stream.
        """
        return Filter(
            Stream(self.stream) if self.stream else None,
            self.operation.strip() or None,
            self.request.strip() or None,
            self.account.strip() or None,
            _instant(self.from_),
            _instant(self.until),
        )


def _typed(  # noqa: PLR0913, PLR0917  # every field of the form is a parameter
    stream: _Typed = "",
    operation: _Typed = "",
    request: _Typed = "",
    account: _Typed = "",
    from_: Annotated[str, Query(alias="from", max_length=200, pattern=_PLAIN)] = "",
    until: _Typed = "",
) -> Typed:
    return Typed(stream, operation, request, account, from_, until)


def audit_pages(auditing: Auditing, gate: Gate, pages: Pages) -> APIRouter:
    """Return the pages."""
    router = APIRouter(
        prefix=PATH, tags=["audit"], default_response_class=HTMLResponse, responses=documented(401, 403, 422, 503)
    )
    # One at a time: taps are answered by the same processor.
    turn = asyncio.Lock()
    shell = _Shell(auditing, pages, turn)

    @router.get("", summary="The open part of the record")
    async def lines(
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("audit.read"))],
        typed: Annotated[Typed, Depends(_typed)],
        after: Annotated[str, Query(max_length=64, pattern=rf"^$|{CURSOR}")] = "",
    ) -> HTMLResponse:
        return await shell.record(actor, language, typed, after=after)

    @router.post("", summary="Ask for the names in some lines", response_model=None, responses=_SEES_OTHER)
    async def ask(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(OPEN))]
    ) -> Response:
        form = await read_form(request)
        typed = Typed(*(form.get(name, "")[:MAX_REASON] for name in FIELDS))
        try:
            wish, key = Wish(OPEN, _content(form, typed), _reason(form), USUAL_HOURS), _key(form)
            number = await asyncio.to_thread(auditing.desk.request, actor, key, wish)
        except _Unclear as error:
            return await shell.record(actor, language, typed, asked=form, message=str(error))
        except Conflict:
            return await shell.record(actor, language, typed, asked=form, message=_NOT_ACCEPTED)
        return RedirectResponse(f"/approvals/{number}", 303, headers={"Cache-Control": "no-store"})

    _add_opened(router, shell, gate)
    return router


def _add_opened(router: APIRouter, shell: "_Shell", gate: Gate) -> None:
    @router.get("/opened/{approval}", summary="Before lines are shown with names")
    async def before(
        approval: ApprovalNumber, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("audit.read"))]
    ) -> HTMLResponse:
        await asyncio.to_thread(shell.auditing.desk.approvals.one, actor, approval)
        return shell.opened(actor, language, approval, None)

    @router.post("/opened/{approval}", summary="The lines of an approved request, with names")
    async def opened(
        approval: ApprovalNumber,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("journal.read_opened"))],
    ) -> HTMLResponse:
        try:
            async with shell.turn:
                found = await asyncio.to_thread(shell.auditing.opened, actor, approval)
        except NotReadable:
            return shell.opened(actor, language, approval, None, message=_OVER)
        return shell.opened(actor, language, approval, found)


@dataclass(frozen=True, slots=True)
class _Shell:
    """Shows the pages."""

    auditing: Auditing
    pages: Pages
    turn: asyncio.Lock

    async def record(  # noqa: PLR0913  # what was asked for, and why it is not what they hoped for
        self,
        actor: Actor,
        language: Language,
        typed: Typed,
        *,
        after: str = "",
        asked: Mapping[str, str] | None = None,
        message: str | None = None,
    ) -> HTMLResponse:
        found: list[Line] = []
        try:
            wanted = typed.filter()
        except ValueError:
            message = _NO_INSTANT
        else:
            below = position_of(after) if after else None
            async with self.turn:
                found = await asyncio.to_thread(self.auditing.trail.lines, wanted, below, PAGE + 1)
        shown, more = parts_of(found, PAGE)
        older = urlencode({**typed.fields(), "after": cursor_of(shown[-1])}) if more else None
        content: dict[str, Any] = {
            "lines": [_shown(line, language) for line in shown],
            "typed": dict.fromkeys(FIELDS, "") | typed.fields(),
            "streams": spoken(language, {one.value: text for one, text in STREAMS.items()}),
            "older": older,
            "later": bool(after),
            "newest": urlencode(typed.fields()),
            "codes": codes(language),
            "may_open": allowed(OPERATIONS[OPEN], actor.roles),
            "asked": asked or {},
            "key": secrets.token_hex(16),
            "most": MAX_LINES,
            "message": message,
        }
        return self.pages.page("audit.html", language, actor=actor, **content)

    def opened(
        self, actor: Actor, language: Language, number: int, found: Opened | None, message: str | None = None
    ) -> HTMLResponse:
        lines = [] if found is None else [_named(one, language) for one in found.lines]
        content: dict[str, Any] = {"number": number, "opened": found, "lines": lines, "message": message}
        return self.pages.page("opened.html", language, actor=actor, **content)


def _shown(line: Line, language: Language) -> dict[str, Any]:
    title, code = title_of(line, language)
    return {
        "entry": entry_of(line.place),
        "at_ms": line.at_ms,
        "title": title,
        "code": code,
        "by": by_of(line, language),
        "details": details_of(line, language),
        "request": line.facts.get("request") or "",
    }


def _named(one: OpenedLine, language: Language) -> dict[str, Any]:
    return {
        **_shown(one.line, language),
        "who": one.who,
        "about": one.about,
        "reason": one.reason,
        "erased": one.erased,
    }


class _Unclear(CardServiceError):
    """What a form asks for cannot be told; the text says what is missing."""


def _content(form: Mapping[str, str], typed: Typed) -> dict[str, Any]:
    """Return what a form asks to open: the marked lines, or every line of the filter.

    Raises:
        _Unclear: no line is marked, or the filter has no range of time.
    """
    if form.get("which") != "range":
        entries = [name.removeprefix(_MARK) for name in form if name.startswith(_MARK)]
        if not entries:
            raise _Unclear(_NO_LINES)
        return {"entries": entries}
    try:
        wanted = typed.filter()
    except ValueError:
        raise _Unclear(_NO_INSTANT) from None
    if wanted.from_ms is None or wanted.until_ms is None:
        raise _Unclear(_NO_RANGE)
    texts = {"stream": typed.stream or None, "operation": wanted.operation}
    texts |= {"request": wanted.request, "account": wanted.account}
    times = {"from_ms": wanted.from_ms, "until_ms": wanted.until_ms}
    return {name: value for name, value in {**texts, **times}.items() if value is not None}


def _reason(form: Mapping[str, str]) -> str:
    said = form.get("reason", "").strip()
    if not said or len(said) > MAX_REASON or not said.isprintable():
        raise _Unclear(_NO_REASON)
    return said


def _instant(text: str) -> int | None:
    """Return the instant of a field of day and time, in Germany; None: it is empty.

    Raises:
        ValueError: it is none.
    """
    if not text:
        return None
    try:
        written = datetime.fromisoformat(text)
        at_ms = int(written.replace(tzinfo=written.tzinfo or ZONE).timestamp() * 1_000)
    except OverflowError as error:
        raise ValueError(text) from error
    if not 0 <= at_ms < MAX_INSTANT_MS:
        raise ValueError(text)
    return at_ms


def _key(form: Mapping[str, str]) -> str:
    """Return the key the page made, so that a form that is sent twice is one request.

    Raises:
        ApiProblem: 422, it is none.
    """
    key = form.get("key", "")
    if _KEY.fullmatch(key) is None:
        raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
    return key
