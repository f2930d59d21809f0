# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: what the wallet holds, and its newest movements."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.canteen.rules import euros
from cardservice.canteen.wallet import Movement, WalletView
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, translated
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages, when

SHOWN: Final = 50
_TEXTS: Final[Mapping[str, str]] = {
    "title": marked("My credit"),
    "empty": marked("No movements yet."),
    "when": marked("When"),
    "what": marked("What"),
    "amount": marked("Amount"),
    "balance": marked("Credit afterwards"),
    "payment": marked("Payment"),
    "refund": marked("Refund"),
    "void": marked("Cancelled"),
    "top_up": marked("Top-up"),
    "carry": marked("Carried over from earlier years"),
    "privacy": marked("The canteen alone keeps this. Doors, time clock and printers know nothing of it."),
}


def wallet_page(view: Callable[[int, int], WalletView], gate: Gate, pages: Pages) -> APIRouter:
    """Return the page; it shows whoever signed in their own wallet and nobody else's.

    `view` returns somebody's wallet with at most so many movements; it blocks.
    """
    router = own_pages()

    @router.get("/canteen", summary="My wallet in the canteen", response_class=HTMLResponse)
    async def wallet(
        actor: Annotated[Actor, Depends(gate.allows("my.canteen"))], language: PageLanguage
    ) -> HTMLResponse:
        # Not in the recorder's thread: those who pay wait for that one.
        found = await asyncio.to_thread(view, actor.own, SHOWN)
        balance = euros(found.balance_cents, language)
        lines = [_line(movement, language) for movement in found.movements]
        return pages.page("wallet.html", language, _TEXTS, actor=actor, balance=balance, lines=lines)

    return router


def _line(movement: Movement, language: Language) -> dict[str, Any]:
    return {
        "when": when(movement.at_ms, language),
        "what": translated(language, _TEXTS.get(movement.kind, movement.kind)),
        "terminal": movement.terminal,
        "amount": euros(movement.amount_cents, language),
        "balance": euros(movement.balance_cents, language),
    }
