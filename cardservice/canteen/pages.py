# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: what the wallet holds, and its newest movements."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Header
from fastapi.responses import HTMLResponse

from cardservice.canteen.service import Canteen, StatementLine
from cardservice.canteen.tills import english, german
from cardservice.recorder import Recorder
from cardservice.web.pages import Language, Pages, language_of
from cardservice.web.problems import documented
from cardservice.web.signin import SignIn

SHOWN: Final = 50
_ZONE: Final = ZoneInfo("Europe/Berlin")
_TEXTS: Final[dict[Language, dict[str, str]]] = {
    "de": {
        "title": "Mein Guthaben",
        "language": "Sprache",
        "other": "English",
        "other_code": "en",
        "empty": "Noch keine Bewegungen.",
        "when": "Wann",
        "what": "Was",
        "amount": "Betrag",
        "balance": "Guthaben danach",
        "payment": "Zahlung",
        "refund": "Erstattung",
        "void": "Storno",
        "top_up": "Aufladung",
        "privacy": "Das steht nur in der Kantine. Türen, Zeiterfassung und Drucker wissen nichts davon.",
    },
    "en": {
        "title": "My credit",
        "language": "Language",
        "other": "Deutsch",
        "other_code": "de",
        "empty": "No movements yet.",
        "when": "When",
        "what": "What",
        "amount": "Amount",
        "balance": "Credit afterwards",
        "payment": "Payment",
        "refund": "Refund",
        "void": "Cancelled",
        "top_up": "Top-up",
        "privacy": "The canteen alone keeps this. Doors, time clock and printers know nothing of it.",
    },
}


def wallet_page(
    canteen: Canteen, recorder: Recorder, wallet_of: Callable[[int], str], sign_in: SignIn, pages: Pages
) -> APIRouter:
    """Return the page; it shows whoever signed in their own wallet and nobody else's."""
    router = APIRouter(prefix="/my", tags=["my"], responses=documented(401, 422, 429, 503))

    @router.get("/canteen", summary="My wallet in the canteen", response_class=HTMLResponse)
    async def wallet(
        person: Annotated[int, Depends(sign_in)],
        lang: Language | None = None,
        accept_language: Annotated[str, Header()] = "de",
    ) -> HTMLResponse:
        language, name = language_of(lang, accept_language), wallet_of(person)
        balance_cents, lines = await recorder.submit_here(
            lambda connection: (
                canteen.balance_cents(connection, name),
                canteen.statement(connection, name, SHOWN),
            )
        )
        money = german if language == "de" else english
        return pages.page(
            "wallet.html",
            lang=language,
            t=_TEXTS[language],
            balance=money(balance_cents),
            lines=[_line(line, language, money) for line in lines],
        )

    return router


def _line(line: StatementLine, language: Language, money: Callable[[int], str]) -> dict[str, Any]:
    at = datetime.fromtimestamp(line.at_ms / 1_000, _ZONE)
    return {
        "when": f"{at:%d.%m.%Y %H:%M}" if language == "de" else f"{at:%Y-%m-%d %H:%M}",
        "what": _TEXTS[language].get(line.kind, line.kind),
        "terminal": line.terminal,
        "amount": money(line.amount_cents),
        "balance": money(line.balance_cents),
    }
