# SPDX-License-Identifier: EUPL-1.2
"""The first page after signing in: what the person may do here, by their roles."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, translated
from cardservice.web.login_paths import HOME
from cardservice.web.operations import Role
from cardservice.web.pages import PageLanguage, Pages
from cardservice.web.problems import documented

ROLES: Final[Mapping[Role, str]] = {
    Role.EMPLOYEE: marked("Employee"),
    Role.HELPDESK: marked("Help desk"),
    Role.ISSUER: marked("Card desk"),
    Role.APPROVER: marked("Approver"),
    Role.FACILITY: marked("Facilities"),
    Role.CANTEEN: marked("Canteen administration"),
    Role.TIMEKEEPING: marked("Timekeeping"),
    Role.AUDITOR: marked("Auditor"),
    Role.STAFF_COUNCIL: marked("Staff council"),
    Role.DATA_PROTECTION: marked("Data protection"),
    Role.ADMINISTRATOR: marked("Administrator"),
}


def home_page(gate: Gate, pages: Pages) -> APIRouter:
    """Return the page."""
    router = APIRouter(tags=["my"], responses=documented(401, 422, 429, 503))

    @router.get(HOME, summary="What I may do here", response_class=HTMLResponse)
    async def home(actor: Annotated[Actor, Depends(gate.allows("home"))], language: PageLanguage) -> HTMLResponse:
        roles = [translated(language, ROLES[role]) for role in Role if role in actor.roles]
        return pages.page("home.html", language, actor=actor, roles=roles)

    return router
