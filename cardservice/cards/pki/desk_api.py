# SPDX-License-Identifier: EUPL-1.2
"""REST routes of certificates for issuers and systems: what ends soon, what waits, renewing, the authorities."""

import asyncio
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from cardservice.cards.api import CardReference
from cardservice.cards.pki.desk import CertificateDesk
from cardservice.cards.pki.requests import MAX_CERTIFICATE_BYTES, MAX_REQUEST_BYTES
from cardservice.cards.pki.rules import Slot
from cardservice.cards.pki.views import AuthorityView
from cardservice.cards.rules import ISSUE
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_PAGE, Limit
from cardservice.web.looks import KeepLook, look_at_list
from cardservice.web.pages import parts_of
from cardservice.web.repeats import asked_by
from cardservice.web.requests import PROBLEMS, Body, IdempotencyKey

READ: Final = "certificates.read"
ANSWER: Final = "certificates.answer"
# Half of what a body may have: the rest is how JSON writes it.
MAX_ANSWER_BYTES: Final = MAX_CERTIFICATE_BYTES // 2
SlotName = Literal["9A", "9C", "9D", "9E"]
SlotPath = Annotated[SlotName, Path(description="Where on the card.")]
Days = Annotated[int | None, Query(ge=1, le=3_650, description="Within how many days; none: as the settings say.")]


class EndingCertificate(BaseModel):
    """A certificate that has to be renewed."""

    card: str
    slot: SlotName
    authority: str
    not_after_ms: int


class EndingCertificates(BaseModel):
    """What ends soon and was not renewed, the first to end first; `more`: there are others."""

    certificates: list[EndingCertificate]
    more: bool


class WaitingRequest(BaseModel):
    """A certification request (PKCS #10, PEM) that the city's own PKI has to answer."""

    card: str
    slot: SlotName
    made_ms: int
    key_sha256: str
    request: str


class WaitingRequests(BaseModel):
    """What waits, the oldest first; `more`: there are others."""

    requests: list[WaitingRequest]
    more: bool


class AuthorityList(BaseModel):
    """Every authority of this installation, the oldest first."""

    authorities: list[AuthorityView]


class RequestBody(Body):
    """A certification request (PKCS #10, PEM), signed by the key that the card has made in a slot."""

    slot: SlotName
    request: Annotated[str, Field(min_length=1, max_length=MAX_REQUEST_BYTES)]


class AnswerBody(Body):
    """A certificate (PEM) of the city's own PKI."""

    certificate: Annotated[str, Field(min_length=1, max_length=MAX_ANSWER_BYTES)]


class Issued(BaseModel):
    """The certificate (PEM); null where `waits` says that the city's PKI has to answer first."""

    certificate: str | None
    waits: bool


class Answered(BaseModel):
    """The card that the certificate is for."""

    card: str


class Retired(BaseModel):
    """How many older certificates were revoked."""

    retired: int


def desk_router(desk: CertificateDesk, gate: Gate, keep_look: KeepLook) -> APIRouter:
    """Return the routes; whose cards a list shows is told who looked."""
    router = APIRouter(prefix="/api/v1", tags=["cards"], responses=PROBLEMS)
    _add_lists(router, desk, gate, keep_look)
    _add_changes(router, desk, gate)
    return router


def _add_lists(router: APIRouter, desk: CertificateDesk, gate: Gate, keep_look: KeepLook) -> None:
    @router.get("/certificates/ending", summary="Certificates that have to be renewed")
    async def ending(
        caller: Annotated[Actor, Depends(gate.allows(READ))], days: Days = None, limit: Limit = MAX_PAGE
    ) -> EndingCertificates:
        rows = await asyncio.to_thread(desk.certificates.ending, days, caller.reaches, limit + 1)
        found, more = parts_of(rows, limit)
        if found:
            await asyncio.to_thread(keep_look, look_at_list("cards_listed", caller, [one.person for one in found]))
        return EndingCertificates(
            certificates=[
                EndingCertificate(
                    card=one.card, slot=one.slot.value, authority=one.authority, not_after_ms=one.not_after_ms
                )
                for one in found
            ],
            more=more,
        )

    @router.get("/certificates/requests", summary="Requests that the city's own PKI has to answer")
    async def waiting(caller: Annotated[Actor, Depends(gate.allows(READ))], limit: Limit = 100) -> WaitingRequests:
        rows = await asyncio.to_thread(desk.certificates.waiting, caller.reaches, limit + 1)
        found, more = parts_of(rows, limit)
        if found:
            await asyncio.to_thread(keep_look, look_at_list("cards_listed", caller, [one.person for one in found]))
        return WaitingRequests(
            requests=[
                WaitingRequest(
                    card=one.card,
                    slot=one.slot.value,
                    made_ms=one.made_ms,
                    key_sha256=one.key_digest.hex(),
                    request=one.pem.decode("ascii"),
                )
                for one in found
            ],
            more=more,
        )

    @router.get("/certificates/authorities", summary="The authorities, their lists, and who answers for them by OCSP")
    async def authorities(_: Annotated[Actor, Depends(gate.allows(READ))]) -> AuthorityList:
        return AuthorityList(authorities=desk.authorities())


def _add_changes(router: APIRouter, desk: CertificateDesk, gate: Gate) -> None:
    @router.post(
        "/certificates/answers", status_code=201, summary="Take a certificate that the city's own PKI has issued"
    )
    async def answer(
        body: AnswerBody, key: IdempotencyKey, actor: Annotated[Actor, Depends(gate.allows(ANSWER))]
    ) -> Answered:
        asked = asked_by(actor, key, ANSWER, body.model_dump(mode="json"))
        done = await asyncio.to_thread(desk.bring_in, asked, actor, body.certificate.encode())
        return Answered(**done)

    @router.post(
        "/cards/{card}/certificates",
        status_code=201,
        summary="Issue or renew a certificate; the one before stays good until it is retired",
    )
    async def issue(
        card: CardReference,
        body: RequestBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows(ISSUE))],
    ) -> Issued:
        asked = asked_by(actor, key, "certificates.issue", {"card": card, **body.model_dump(mode="json")})
        done = await asyncio.to_thread(desk.issue, asked, actor, card, Slot(body.slot), body.request.encode())
        return Issued(**done)

    @router.post(
        "/cards/{card}/certificates/{slot}/retire",
        summary="The card has the newest certificate of a slot: revoke the older ones as superseded",
    )
    async def retire(
        card: CardReference,
        slot: SlotPath,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows(ISSUE))],
    ) -> Retired:
        asked = asked_by(actor, key, "certificates.retire", {"card": card, "slot": slot})
        return Retired(**await asyncio.to_thread(desk.retire, asked, actor, card, Slot(slot)))
