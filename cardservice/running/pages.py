# SPDX-License-Identifier: EUPL-1.2
"""The page of operations, for facilities and administrators: what works now, what does not and until when, charts."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.access.rules import Reason
from cardservice.agents.pages import AWAY, KEPT, USES
from cardservice.cards.keys.closing import USE_WORDS
from cardservice.running.service import Running, Taps, Within
from cardservice.web.charts import Chart, Series
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import ZONE, Language, marked, number, spoken, time_of_day, translated
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import PageLanguage, Pages
from cardservice.web.problems import documented

PATH: Final = "/operations"
# How few days a certificate may be good for before somebody should act; an outbox that is longer is one that grows.
FEW_DAYS: Final = 21
LONG_OUTBOX: Final = 100
_FIRST_DAY: Final = date(1970, 1, 1)
_NO_TAPS: Final = marked("No tap of the last 24 hours is kept in the journal.")
_KEY_STATES: Final = {
    "active": marked("for new cards"),
    "previous": marked("still accepted"),
    "closed": marked("closed"),
}
_MAY: Final = {"may_see_agents": "agents.read", "may_see_directory": "directories.read"}


def operations_pages(running: Running, gate: Gate, pages: Pages) -> APIRouter:
    """Return the page."""
    router = APIRouter(
        prefix=PATH, tags=["health"], default_response_class=HTMLResponse, responses=documented(401, 403, 503)
    )
    reads = gate.allows("operations.read")

    async def shown(template: str, actor: Actor, language: Language) -> HTMLResponse:
        state = await asyncio.to_thread(running.state, actor)
        content: dict[str, Any] = {name: allowed(OPERATIONS[of], actor.roles) for name, of in _MAY.items()}
        content |= {"hours": _hours(state.taps, language), "answers": _answers(state.within, language)}
        content |= {"uses": USES, "away": AWAY, "kept": KEPT, "few_days": FEW_DAYS, "long_outbox": LONG_OUTBOX}
        content |= {"key_uses": spoken(language, USE_WORDS), "key_states": spoken(language, _KEY_STATES)}
        content |= {"state": state, "days": _days(state.taps), "time_of_day": time_of_day(state.now_ms)}
        return pages.page(template, language, actor=actor, **content)

    @router.get("", summary="What works now, what does not, and until when")
    async def operations(language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> HTMLResponse:
        return await shown("operations.html", actor, language)

    @router.get("/now", summary="The part of it that changes by itself")
    async def now(language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> HTMLResponse:
        return await shown("operations_now.html", actor, language)

    return router


def _hours(taps: Taps | None, language: Language) -> Chart:
    hours = () if taps is None else taps.hours
    return Chart(
        name="taps",
        title=translated(language, marked("Taps of the last 24 hours")),
        description=translated(
            language,
            marked("By hour and outcome, as far as the points keep them: some keep refusals alone, some none."),
        ),
        heading=translated(language, marked("Hour from")),
        labels=tuple(f"{datetime.fromtimestamp(hour.at_ms / 1_000, ZONE):%H:%M}" for hour in hours),
        series=(
            Series(translated(language, marked("permitted")), tuple(float(hour.permitted) for hour in hours), "good"),
            Series(translated(language, marked("refused")), tuple(float(hour.refused) for hour in hours), "bad"),
        ),
        empty=translated(language, _NO_TAPS),
    )


def _answers(within: tuple[Within, ...], language: Language) -> Chart:
    names = (marked("whole answer"), marked("of it: onto the disk"))
    return Chart(
        name="answers",
        title=translated(language, marked("How long taps wait for their answer")),
        description=translated(
            language,
            marked(
                "Which share of the answers took no longer at the centre, since the service started; with the card."
            ),
        ),
        heading=translated(language, marked("Within")),
        labels=tuple(f"{number(one.bound_us / 1_000, language, digits=2)} ms" for one in within),
        series=tuple(
            Series(translated(language, name), tuple(round(one.shares[place], 1) for one in within))
            for place, name in enumerate(names)
        ),
        empty=translated(language, marked("No tap was answered since the service started.")),
        kind="line",
        unit="%",
        digits=1,
    )


def _days(taps: Taps | None) -> list[tuple[date, str, int, int]]:
    """Return (day, use, permitted, refused) of points that count only, the newest first."""
    found: dict[tuple[int, str], list[int]] = {}
    for one in () if taps is None or taps.days is None else taps.days:
        counts = found.setdefault((one.day, one.use), [0, 0])
        counts[one.outcome != Reason.GRANTED] += one.count
    return [
        (_FIRST_DAY + timedelta(day), use, permitted, refused) for (day, use), (permitted, refused) in found.items()
    ]
