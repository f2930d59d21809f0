# SPDX-License-Identifier: EUPL-1.2
"""The REST routes of accounts, for administrators: a key is told once, in the answer that made it."""

import asyncio
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from cardservice.web.accounts.rules import (
    CERTIFICATE_PATTERN,
    KEY_PATTERN,
    MAX_DAYS,
    MAX_PER_S,
    NAME_PATTERN,
    USUAL_DAYS,
    Pace,
    Terms,
)
from cardservice.web.accounts.service import Accounts, Who, Wish
from cardservice.web.etags import IfMatch, etag_of, require_match
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import Limit
from cardservice.web.operations import Scope
from cardservice.web.problems import documented
from cardservice.web.reach import Reach
from cardservice.web.repeats import asked_by
from cardservice.web.requests import CODE_PATTERN, PROBLEMS, Body, IdempotencyKey

# An account with as many as it can have still fits into the answer that is kept for its key.
_MANY: Final = 150
_MANY_UNITS: Final = 20
# What lists leave out of an account when its tag is made: keys are used without anybody changing the account.
_PROOFS: Final = frozenset({"keys", "certificates"})

AccountName = Annotated[str, Path(pattern=NAME_PATTERN, description="The account.")]
KeyName = Annotated[str, Path(pattern=KEY_PATTERN, description="The key, as lists call it.")]
CertificateName = Annotated[str, Path(pattern=CERTIFICATE_PATTERN, description="The certificate, as lists call it.")]
After = Annotated[str, Query(max_length=40, pattern=r"^[a-z0-9-]*$", description="The cursor of the page before.")]
Code = Annotated[str, Field(pattern=CODE_PATTERN)]
# Strict bodies take words for themselves; here they are the words of the table.
ScopeWord = Annotated[Scope, Field(strict=False)]
Unit = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Reason = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["ticket 4711"])]


class TermsBody(Body):
    """What an account may do: null is no bound, an empty list is nothing."""

    scopes: Annotated[list[ScopeWord], Field(min_length=1, max_length=20, examples=[["canteen"]])]
    organisation: Annotated[Code | None, Field(max_length=40)] = None
    points: Annotated[list[Code] | None, Field(max_length=_MANY, examples=[["kantine.kasse-1"]])] = None
    zones: Annotated[list[Code] | None, Field(max_length=_MANY)] = None
    units: Annotated[list[Unit] | None, Field(max_length=_MANY_UNITS)] = None
    attested_points: Annotated[list[Code], Field(max_length=_MANY, default_factory=list)]
    requests_per_s: Annotated[int, Field(ge=1, le=MAX_PER_S)] = Pace().per_s
    burst: Annotated[int, Field(ge=1, le=MAX_PER_S)] = Pace().burst
    needs_both: bool = Field(False, description="Neither a key nor a certificate is worth anything without the other.")
    disabled: bool = False
    reason: Reason

    def wish(self, name: str) -> Wish:
        """Return what is asked for."""
        reach = Reach(
            organisations=None if self.organisation is None else frozenset({self.organisation}),
            zones=_set(self.zones),
            units=_set(self.units),
            points=_set(self.points),
        )
        terms = Terms(
            frozenset(self.scopes),
            reach,
            Pace(self.requests_per_s, self.burst),
            frozenset(self.attested_points),
            needs_both=self.needs_both,
        )
        return Wish(name, terms, self.reason, self.disabled)


class NewAccountBody(TermsBody):
    """A new account; it has no key yet."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, examples=["till-2"])]


class NewKeyBody(Body):
    """How long a new key lives."""

    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] = USUAL_DAYS


class NewCertificateBody(Body):
    """A certificate to be bound, in PEM, and those between it and its authority; never its key."""

    pem: Annotated[str, Field(min_length=1, max_length=20_000, pattern=r"^[\t\n\r\x20-\x7e]+$")]


class CertificateView(BaseModel):
    """One certificate. What it says of itself is of the newest with this key; `last_used_ms` is known to the hour."""

    certificate: str
    state: Literal["valid", "waiting", "expired", "revoked"]
    public_key_sha256: str
    subject: str
    begins_ms: int
    expires_ms: int
    last_used_ms: int | None
    created_by: str
    created_ms: int
    revoked_ms: int | None
    revoked_by: str | None


class KeyView(BaseModel):
    """One key, never the token itself. `last_used_ms` is known to the hour."""

    key: str
    state: Literal["valid", "waiting", "expired", "revoked"]
    begins_ms: int
    expires_ms: int
    last_used_ms: int | None
    created_by: str
    revoked_ms: int | None
    revoked_by: str | None


class NewKeyView(KeyView):
    """A key that was made. `token` is told in the first answer alone, null when the same request comes again."""

    token: str | None


class AccountView(BaseModel):
    """One account; those of the settings file are changed there.

    Null in `organisation`, `points`, `zones`, `units`: no such bound; in `requests_per_s`: the settings bound nobody.
    """

    name: str
    source: Literal["database", "settings"]
    scopes: list[str]
    organisation: str | None
    points: list[str] | None
    zones: list[str] | None
    units: list[str] | None
    attested_points: list[str]
    requests_per_s: int | None
    burst: int | None
    needs_both: bool
    disabled: bool
    reason: str | None
    created_by: str | None
    created_ms: int | None
    changed_by: str | None
    changed_ms: int | None
    keys: list[KeyView]
    certificates: list[CertificateView]


class AccountPage(BaseModel):
    """Accounts by name; go on with `after` = `cursor`, null: those are all."""

    accounts: list[AccountView]
    cursor: str | None


def accounts_router(accounts: Accounts, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/accounts", tags=["accounts"], responses=PROBLEMS)
    _add_reading(router, accounts, gate)
    _add_keys(router, accounts, gate)
    _add_certificates(router, accounts, gate)

    @router.post("", status_code=201, summary="Add an account, without a key")
    async def add(
        body: NewAccountBody,
        key: IdempotencyKey,
        response: Response,
        actor: Annotated[Actor, Depends(gate.allows("accounts.add"))],
    ) -> AccountView:
        asked = asked_by(actor, key, "accounts.add", body.model_dump(mode="json"))
        made = await asyncio.to_thread(accounts.add, body.wish(body.name), who_of(actor), asked)
        return _told(made, response)

    @router.put("/{account}", summary="Change an account, as it was read (If-Match)", responses=documented(412, 428))
    async def change(
        account: AccountName,
        body: TermsBody,
        response: Response,
        actor: Annotated[Actor, Depends(gate.allows("accounts.change"))],
        if_match: IfMatch = None,
    ) -> AccountView:
        made = await asyncio.to_thread(
            accounts.change, body.wish(account), who_of(actor), lambda shown: require_match(if_match, shown)
        )
        return _told(made, response)

    return router


def _add_reading(router: APIRouter, accounts: Accounts, gate: Gate) -> None:
    @router.get("", summary="Which accounts there are, and when their keys end")
    async def list_accounts(
        actor: Annotated[Actor, Depends(gate.allows("accounts.list"))], after: After = "", limit: Limit = 100
    ) -> AccountPage:
        found = await asyncio.to_thread(accounts.list, who_of(actor), after, limit + 1)
        shown = [AccountView(**one) for one in found[:limit]]
        return AccountPage(accounts=shown, cursor=shown[-1].name if len(found) > limit else None)

    @router.get("/{account}", summary="One account; its ETag is what a change names")
    async def show(
        account: AccountName, response: Response, actor: Annotated[Actor, Depends(gate.allows("accounts.show"))]
    ) -> AccountView:
        found = await asyncio.to_thread(accounts.show, account, who_of(actor))
        return _told(accounts.document(found), response)


def _add_keys(router: APIRouter, accounts: Accounts, gate: Gate) -> None:
    @router.post(
        "/{account}/keys", status_code=201, summary="Make another key; at most two are valid, so that one replaces one"
    )
    async def issue(
        account: AccountName,
        body: NewKeyBody,
        key: IdempotencyKey,
        response: Response,
        actor: Annotated[Actor, Depends(gate.allows("accounts.issue_key"))],
    ) -> NewKeyView:
        asked = asked_by(actor, key, "accounts.issue_key", {"account": account, "days": body.days})
        made = await asyncio.to_thread(accounts.issue_key, account, who_of(actor), body.days, asked)
        response.headers["Cache-Control"] = "no-store"
        return NewKeyView(**made)

    @router.post("/{account}/keys/{key}/revoke", summary="End a key now, for good")
    async def revoke(
        account: AccountName,
        key: KeyName,
        response: Response,
        actor: Annotated[Actor, Depends(gate.allows("accounts.revoke_key"))],
    ) -> AccountView:
        return _told(await asyncio.to_thread(accounts.revoke_key, account, key, who_of(actor)), response)


def _add_certificates(router: APIRouter, accounts: Accounts, gate: Gate) -> None:
    @router.post(
        "/{account}/certificates",
        status_code=201,
        summary="Bind the account to a client certificate; at most two are valid, so that one replaces one",
    )
    async def bind(
        account: AccountName,
        body: NewCertificateBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows("accounts.bind_certificate"))],
    ) -> CertificateView:
        asked = asked_by(actor, key, "accounts.bind_certificate", {"account": account, "pem": body.pem})
        made = await asyncio.to_thread(accounts.bind_certificate, account, body.pem, who_of(actor), asked)
        return CertificateView(**made)

    @router.post("/{account}/certificates/{certificate}/revoke", summary="End a certificate's worth now, for good")
    async def revoke(
        account: AccountName,
        certificate: CertificateName,
        response: Response,
        actor: Annotated[Actor, Depends(gate.allows("accounts.revoke_certificate"))],
    ) -> AccountView:
        return _told(
            await asyncio.to_thread(accounts.revoke_certificate, account, certificate, who_of(actor)), response
        )


def who_of(actor: Actor) -> Who:
    """Return who manages accounts."""
    return Who(actor.name, actor.reaches)


def _told(document: dict[str, Any], response: Response) -> AccountView:
    response.headers["ETag"] = etag_of({name: value for name, value in document.items() if name not in _PROOFS})
    return AccountView(**document)


def _set(values: list[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
