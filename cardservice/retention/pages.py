# SPDX-License-Identifier: EUPL-1.2
"""The page of retention, for data protection, the staff council and auditors: is what should be gone, gone?"""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.clock import Clock
from cardservice.retention.api import KeptLimit, kept
from cardservice.retention.service import Retention
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import spoken
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import documented
from cardservice.web.public import KEPT_WORDS

PATH: Final = "/retention"
_HOUR_MS: Final = 3_600_000


def retention_pages(retention: Retention, clock: Clock, gate: Gate, pages: Pages) -> APIRouter:
    """Return the page."""
    router = APIRouter(
        tags=["retention"], default_response_class=HTMLResponse, responses=documented(401, 403, 422, 503)
    )

    def shown(actor: Actor, language: Language) -> HTMLResponse:
        found = kept(retention, clock.now_ms())
        by_name = {one.limit: one for one in found.limits}
        content: dict[str, Any] = {
            "limits": [_shown(by_name[name]) for name in KEPT_WORDS],
            "words": spoken(language, KEPT_WORDS),
            "doubt": found.doubt,
            "late": any(one.late for one in found.limits),
            "ran_ms": max((one.last_run_ms for one in found.limits if one.last_run_ms is not None), default=None),
        }
        return pages.page("retention.html", language, actor=actor, **content)

    @router.get(PATH, summary="For how long what concerns people is kept, and how far erasing is")
    async def page(
        actor: Annotated[Actor, Depends(gate.allows("retention.read"))], language: PageLanguage
    ) -> HTMLResponse:
        return await asyncio.to_thread(shown, actor, language)

    return router


def _shown(one: KeptLimit) -> dict[str, Any]:
    hours = one.overdue_ms // _HOUR_MS
    return {**one.model_dump(), "overdue_hours": hours if one.late else 0}
