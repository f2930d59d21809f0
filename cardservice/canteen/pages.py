# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: what the wallet holds, and its newest movements."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.canteen.rules import euros
from cardservice.canteen.wallet import Movement, WalletView
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages, when
from cardservice.web.signin import SignIn

SHOWN: Final = 50
_TEXTS: Final[Mapping[Language, Mapping[str, str]]] = {
    "de": {
        "title": "Mein Guthaben",
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


def wallet_page(view: Callable[[int, int], WalletView], sign_in: SignIn, pages: Pages) -> APIRouter:
    """Return the page; it shows whoever signed in their own wallet and nobody else's.

    `view` returns somebody's wallet with at most so many movements; it blocks.
    """
    router = own_pages()

    @router.get("/canteen", summary="My wallet in the canteen", response_class=HTMLResponse)
    async def wallet(person: Annotated[int, Depends(sign_in)], language: PageLanguage) -> HTMLResponse:
        # Not in the recorder's thread: those who pay wait for that one.
        found = await asyncio.to_thread(view, person, SHOWN)
        balance = euros(found.balance_cents, language)
        lines = [_line(movement, language) for movement in found.movements]
        return pages.page("wallet.html", language, _TEXTS, balance=balance, lines=lines)

    return router


def _line(movement: Movement, language: Language) -> dict[str, Any]:
    return {
        "when": when(movement.at_ms, language),
        "what": _TEXTS[language].get(movement.kind, movement.kind),
        "terminal": movement.terminal,
        "amount": euros(movement.amount_cents, language),
        "balance": euros(movement.balance_cents, language),
    }
