# SPDX-License-Identifier: EUPL-1.2
"""Routes of certificates: lists, authorities' certificates and OCSP for everybody; a card's certificates for systems.

What everybody gets are bytes that are signed already: no proof of who asks is wanted, and none would help.
"""

import asyncio
from email.utils import format_datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from cardservice.cards.api import CardReference
from cardservice.cards.pki.authorities import Authorities, instant_utc
from cardservice.cards.pki.ocsp import MAX_REQUEST_BYTES, Answer, Responder, read_path
from cardservice.cards.pki.publisher import Publisher
from cardservice.cards.pki.service import Certificates
from cardservice.cards.pki.views import CertificateView
from cardservice.cards.register import CardRegister
from cardservice.clock import Clock
from cardservice.web.gate import Actor, Gate
from cardservice.web.looks import KeepLook, Look
from cardservice.web.problems import ApiProblem
from cardservice.web.requests import PROBLEMS

LIST_TYPE: Final = "application/pkix-crl"
CERTIFICATE_TYPE: Final = "application/pkix-cert"
ANSWER_TYPE: Final = "application/ocsp-response"
QUESTION_TYPE: Final = "application/ocsp-request"
# How long a cache may keep a list: what was revoked meanwhile is not in it.
_LIST_MAX_AGE_S: Final = 600
_CERTIFICATE_MAX_AGE_S: Final = 86_400


class CardCertificates(BaseModel):
    """A card's certificates, the newest first."""

    certificates: list[CertificateView]


def published_router(authorities: Authorities, publisher: Publisher, clock: Clock) -> APIRouter:
    """Return the routes of lists and authorities' certificates, for everybody."""
    router = APIRouter(prefix="/pki", include_in_schema=False)

    @router.get("/{name}.crl")
    async def revocation_list(name: str, request: Request) -> Response:
        out = publisher.current(name)
        if out is None:
            raise ApiProblem(404, "not_found", "there is no such list")
        left_s = max(0, (out.published.next_ms - clock.now_ms()) // 1000)
        headers = {
            "ETag": out.tag,
            "Cache-Control": f"public, max-age={min(_LIST_MAX_AGE_S, left_s)}",
            "Last-Modified": _http_date(out.published.made_ms),
        }
        if request.headers.get("if-none-match") == out.tag:
            return Response(status_code=304, headers=headers)
        return Response(out.der, media_type=LIST_TYPE, headers=headers)

    @router.get("/{name}.cer")
    async def authority_certificate(name: str) -> Response:
        authority = authorities.named(name)
        if authority is None:
            raise ApiProblem(404, "not_found", "there is no such authority")
        headers = {"Cache-Control": f"public, max-age={_CERTIFICATE_MAX_AGE_S}"}
        return Response(authority.der, media_type=CERTIFICATE_TYPE, headers=headers)

    return router


def ocsp_router(responder: Responder, clock: Clock) -> APIRouter:
    """Return the routes of OCSP, for everybody."""
    router = APIRouter(prefix="/pki", include_in_schema=False)

    @router.post("/ocsp")
    async def ask(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != QUESTION_TYPE:
            raise ApiProblem(415, "wrong_media_type", f"an OCSP request is {QUESTION_TYPE}")
        data = b""
        async for piece in request.stream():
            data += piece
            if len(data) > MAX_REQUEST_BYTES:
                break
        return _answer(await responder.answer(data, _address(request)), clock.now_ms(), kept=False)

    @router.get("/ocsp/{asked:path}")
    async def ask_by_path(asked: str, request: Request) -> Response:
        data = read_path(asked)
        found = await responder.answer(b"" if data is None else data, _address(request))
        return _answer(found, clock.now_ms(), kept=True)

    return router


def _answer(found: Answer, now_ms: int, *, kept: bool) -> Response:
    """Return the HTTP answer; caches keep what a GET asked for as long as it holds (RFC 5019, 6.2)."""
    headers = {"Cache-Control": "no-store"}
    if kept and found.fresh_until_ms is not None:
        left_s = max(0, (found.fresh_until_ms - now_ms) // 1000)
        headers = {
            "Cache-Control": f"max-age={left_s}, public, no-transform, must-revalidate",
            "Last-Modified": _http_date(found.made_ms),
            "Expires": _http_date(found.fresh_until_ms),
        }
    return Response(found.der, media_type=ANSWER_TYPE, headers=headers)


def _http_date(at_ms: int) -> str:
    return format_datetime(instant_utc(at_ms), usegmt=True)


def _address(request: Request) -> str:
    return "" if request.client is None else request.client.host


def certificates_router(certificates: Certificates, cards: CardRegister, gate: Gate, keep_look: KeepLook) -> APIRouter:
    """Return what systems and administrators are told of a card's certificates; whose card it is is told who looked."""
    router = APIRouter(prefix="/api/v1", tags=["cards"], responses=PROBLEMS)

    @router.get("/cards/{card}/certificates", summary="The certificates of one card")
    async def of_card(
        card: CardReference, caller: Annotated[Actor, Depends(gate.allows("cards.read"))]
    ) -> CardCertificates:
        life = await asyncio.to_thread(cards.one, card, caller.reaches)
        if life.line.person is not None:
            await asyncio.to_thread(keep_look, Look("cards_read", caller, life.line.person))
        return CardCertificates(certificates=await asyncio.to_thread(certificates.of_card, card))

    return router
