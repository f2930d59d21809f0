# SPDX-License-Identifier: EUPL-1.2
"""The pages of accounts, for administrators: all of them, one of them with its proofs, and a new key, shown once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from cardservice.errors import CardServiceError, Conflict
from cardservice.web.accounts.api import AccountName, CertificateName, KeyName, NewAccountBody, NewKeyBody, who_of
from cardservice.web.accounts.rules import MAX_DAYS, USUAL_DAYS, Pace
from cardservice.web.accounts.service import (
    Accounts,
    CertificateTaken,
    CertificateUseless,
    ForeignReach,
    TooManyCertificates,
    TooManyKeys,
)
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.operations import Scope
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.session_guard import read_form

PATH: Final = "/accounts"
_LISTS: Final = ("points", "zones", "units", "attested_points")
_NUMBERS: Final = ("requests_per_s", "burst")


_SAID: Final[Mapping[type[CardServiceError], str]] = {
    TooManyKeys: marked("The account has two keys already. Please revoke the one that nobody uses any more."),
    ForeignReach: marked("The account would reach further than your own right does."),
    TooManyCertificates: marked(
        "The account has two certificates already. Please revoke the one that nobody uses any more."
    ),
    CertificateTaken: marked("This certificate's key is bound to an account already, or was revoked."),
    Conflict: marked("There is an account of that name already, or there are too many."),
}
# Of a certificate that no request could be made with, by its code.
_USELESS: Final[Mapping[str | None, str]] = {
    "certificate_unreadable": marked("This is no certificate in PEM that can be read. Nothing was changed."),
    "certificate_untrusted": marked(
        "This certificate is of no authority that counts here, or is not for clients. If there are others between it "
        "and the authority, please add them below it."
    ),
    "certificate_expired": marked("This certificate has expired."),
}
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page of the account shows it."}}
# What the form of a new account holds before anybody typed.
_USUAL: Final[Mapping[str, str]] = {"requests_per_s": str(Pace().per_s), "burst": str(Pace().burst)}
# For whoever chooses; what is not explained here is called by its word alone.
_SCOPES: Final[Mapping[str, str]] = {
    "access": marked("ask who may pass, and why not"),
    "canteen": marked("a till: charge, cancel, refund"),
    "cards": marked("read cards, suspend and revoke them"),
    "directory": marked("decide on people the directory lost"),
    "door": marked("open and lock down doors, read their events"),
    "live": marked("watch what happens now"),
    "model": marked("keep zones, points, schedules and grants"),
    "payroll": marked("fill wallets"),
    "people": marked("read people"),
    "review": marked("have grants confirmed or ended"),
    "tap": marked("report cards held to a reader without an agent"),
}
_INVALID: Final = marked("Something in the form is missing or cannot be read. Nothing was changed.")


# Returns the page of an account, with more for it to say.
Shown = Callable[..., Awaitable[HTMLResponse]]


def accounts_pages(accounts: Accounts, gate: Gate, pages: Pages) -> APIRouter:
    """Return the pages."""
    router = APIRouter(
        prefix=PATH, tags=["accounts"], default_response_class=HTMLResponse, responses=documented(401, 403, 422, 503)
    )

    async def overview(
        actor: Actor, language: Language, message: str | None = None, typed: Mapping[str, str] = _USUAL
    ) -> HTMLResponse:
        found = await asyncio.to_thread(accounts.list, who_of(actor))
        scopes = {str(scope): _SCOPES[scope] for scope in sorted(Scope)}
        content: dict[str, Any] = {"accounts": found, "scopes": scopes, "typed": typed, "message": message}
        return pages.page("accounts.html", language, actor=actor, **content)

    @router.get("", summary="All accounts")
    async def all_accounts(
        language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("accounts.list"))]
    ) -> HTMLResponse:
        return await overview(actor, language)

    @router.post("", summary="Add an account", response_model=None, responses=_SEES_OTHER)
    async def add(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("accounts.add"))]
    ) -> Response:
        form = await read_form(request)
        try:
            body = NewAccountBody.model_validate(_fields(form))
            await asyncio.to_thread(accounts.add, body.wish(body.name), who_of(actor))
        except (ValidationError, Conflict) as error:
            return await overview(actor, language, _message(error), form)
        return _see_other(body.name)

    _add_one(router, accounts, gate, pages)
    return router


def _add_one(router: APIRouter, accounts: Accounts, gate: Gate, pages: Pages) -> None:
    async def shown(actor: Actor, language: Language, name: str, **more: Any) -> HTMLResponse:
        found = await asyncio.to_thread(accounts.show, name, who_of(actor))
        content: dict[str, Any] = {"account": accounts.document(found), "usual_days": USUAL_DAYS, "max_days": MAX_DAYS}
        content |= {"new": None, "message": None, "pem": "", "takes_certificates": accounts.takes_certificates}
        return pages.page("account.html", language, actor=actor, **content | more)

    @router.get("/{account}", summary="One account and its keys")
    async def one(
        account: AccountName, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("accounts.show"))]
    ) -> HTMLResponse:
        return await shown(actor, language, account)

    @router.post("/{account}/keys", summary="Make another key and show it, this once")
    async def issue(
        account: AccountName,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("accounts.issue_key"))],
    ) -> HTMLResponse:
        form = await read_form(request)
        try:
            days = NewKeyBody.model_validate({"days": _number(form.get("days", ""))}).days
            made = await asyncio.to_thread(accounts.issue_key, account, who_of(actor), days)
        except (ValidationError, Conflict) as error:
            return await shown(actor, language, account, message=_message(error))
        return await shown(actor, language, account, new=made)

    @router.post("/{account}/keys/{key}/revoke", summary="End a key", response_model=None, responses=_SEES_OTHER)
    async def revoke(
        account: AccountName, key: KeyName, actor: Annotated[Actor, Depends(gate.allows("accounts.revoke_key"))]
    ) -> Response:
        await asyncio.to_thread(accounts.revoke_key, account, key, who_of(actor))
        return _see_other(account)

    _add_certificates(router, accounts, gate, shown)

    @router.post(
        "/{account}/state", summary="Disable an account, or enable it again", response_model=None, responses=_SEES_OTHER
    )
    async def switch(
        account: AccountName, request: Request, actor: Annotated[Actor, Depends(gate.allows("accounts.change"))]
    ) -> Response:
        form = await read_form(request)
        disabled = form.get("disabled") == "1"
        await asyncio.to_thread(accounts.disable, account, who_of(actor), _reason(form), disabled=disabled)
        return _see_other(account)


def _add_certificates(router: APIRouter, accounts: Accounts, gate: Gate, shown: Shown) -> None:
    @router.post("/{account}/certificates", summary="Bind a certificate", response_model=None, responses=_SEES_OTHER)
    async def bind(
        account: AccountName,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("accounts.bind_certificate"))],
    ) -> Response:
        pem = (await read_form(request)).get("pem", "").strip()
        try:
            await asyncio.to_thread(accounts.bind_certificate, account, pem, who_of(actor))
        except Conflict as error:
            return await shown(actor, language, account, message=_message(error), pem=pem)
        return _see_other(account)

    @router.post(
        "/{account}/certificates/{certificate}/revoke",
        summary="End a certificate's worth",
        response_model=None,
        responses=_SEES_OTHER,
    )
    async def revoke_certificate(
        account: AccountName,
        certificate: CertificateName,
        actor: Annotated[Actor, Depends(gate.allows("accounts.revoke_certificate"))],
    ) -> Response:
        await asyncio.to_thread(accounts.revoke_certificate, account, certificate, who_of(actor))
        return _see_other(account)

    @router.post("/{account}/proof", summary="Ask for key and certificate", response_model=None, responses=_SEES_OTHER)
    async def prove(
        account: AccountName, request: Request, actor: Annotated[Actor, Depends(gate.allows("accounts.change"))]
    ) -> Response:
        form = await read_form(request)
        both = form.get("both") == "1"
        await asyncio.to_thread(accounts.ask_for_both, account, who_of(actor), _reason(form), both=both)
        return _see_other(account)


def _reason(form: Mapping[str, str]) -> str:
    reason = form.get("reason", "").strip()
    if not reason or len(reason) > 200 or not reason.isprintable():
        raise ApiProblem(422, "invalid", "reason: up to 200 characters")
    return reason


def _fields(form: Mapping[str, str]) -> dict[str, Any]:
    """Return a new account as its form says it: lists stand line by line, what is left empty bounds nothing."""
    lists = {name: [line.strip() for line in form.get(name, "").splitlines() if line.strip()] for name in _LISTS}
    fields: dict[str, Any] = {name: values or None for name, values in lists.items() if name != "attested_points"}
    numbers = {name: _number(form[name]) for name in _NUMBERS if form.get(name)}
    return {
        "name": form.get("name", "").strip(),
        "organisation": form.get("organisation", "").strip() or None,
        "scopes": [str(scope) for scope in Scope if form.get(f"scope-{scope}") == "1"],
        "reason": form.get("reason", "").strip(),
        "attested_points": lists["attested_points"],
        "needs_both": form.get("needs_both") == "1",
        **fields,
        **numbers,
    }


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def _message(error: Exception) -> str:
    if isinstance(error, CertificateUseless):
        return _USELESS[error.code]
    return next((said for kind, said in _SAID.items() if isinstance(error, kind)), _INVALID)


def _see_other(name: str) -> RedirectResponse:
    return RedirectResponse(f"{PATH}/{name}", 303, headers={"Cache-Control": "no-store"})
