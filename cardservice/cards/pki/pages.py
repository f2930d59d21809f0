# SPDX-License-Identifier: EUPL-1.2
"""Pages of certificates: the authorities, what ends soon, what waits for the city's PKI, and those of one card."""

import asyncio
import secrets
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.cards.pages import KEY
from cardservice.cards.pki.desk import CertificateDesk
from cardservice.cards.pki.desk_api import ANSWER, READ
from cardservice.cards.pki.rules import AuthorityKind, CertificateState, Reason
from cardservice.errors import Conflict, NotFound
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.looks import KeepLook, Look, look_at_list
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages, parts_of
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.uploads import read_upload

PATH: Final = "/certificates"
MAX_SHOWN: Final = 100
REQUEST_TYPE: Final = "application/pkcs10"
SAID: Final = {
    CertificateState.GOOD: marked("good"),
    CertificateState.HELD: marked("on hold"),
    CertificateState.REVOKED: marked("revoked"),
    Reason.KEY_COMPROMISE: marked("the card was lost or stolen"),
    Reason.AFFILIATION_CHANGED: marked("the holder has left"),
    Reason.SUPERSEDED: marked("there is a newer one"),
    Reason.CESSATION: marked("the card is out of use"),
    Reason.HOLD: marked("the card is suspended"),
    AuthorityKind.CARD: marked("cards: signing, mail, readers"),
    AuthorityKind.LOGON: marked("logging on to PCs"),
}
_NO_FILE: Final = marked("Please choose a file.")
_NO_SUCH_REQUEST: Final = marked("No request waits for the key of this certificate. Nothing was taken.")
_NOT_TAKEN: Final = marked("The certificate is not taken, and the request goes on waiting. The reason:")
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Taken; the page says for which card."}}
_REFERENCE: Final = r"^[0-9a-f-]{1,36}$"
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the request's public key.")]
TakenFor = Annotated[str | None, Query(pattern=_REFERENCE, description="The card whose certificate was just taken.")]


def certificate_pages(desk: CertificateDesk, web: tuple[Gate, Pages], keep_look: KeepLook) -> APIRouter:
    """Return the pages; whose cards they show is told who looked."""
    router = APIRouter(
        prefix=PATH, tags=["cards"], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 422, 503)
    )
    shown = _Shown(desk, web[1], keep_look)
    _add_overview(router, web[0], shown)
    _add_requests(router, web[0], shown)
    return router


class _Shown:
    """Renders both pages, and keeps who looked."""

    def __init__(self, desk: CertificateDesk, pages: Pages, keep_look: KeepLook) -> None:
        self.desk, self._pages, self._keep_look = desk, pages, keep_look

    async def overview(self, actor: Actor, language: Language, **told: Any) -> HTMLResponse:
        """Show authorities, what ends soon and what waits; `told` is what became of an upload."""
        found = self.desk.certificates
        ending = await asyncio.to_thread(found.ending, None, actor.reaches, MAX_SHOWN + 1)
        waiting = await asyncio.to_thread(found.waiting, actor.reaches, MAX_SHOWN + 1)
        ends, more_end = parts_of(ending, MAX_SHOWN)
        waits, more_wait = parts_of(waiting, MAX_SHOWN)
        listed = [one.person for one in (*ends, *waits)]
        if listed:
            await asyncio.to_thread(self._keep_look, look_at_list("cards_listed", actor, listed))
        content: dict[str, Any] = {"authorities": self.desk.authorities(), "said": SAID, "key": secrets.token_hex(16)}
        content |= {"ends": ends, "more_end": more_end, "waits": waits, "more_wait": more_wait}
        content |= {"may_answer": allowed(OPERATIONS[ANSWER], actor.roles)}
        content |= {"taken_for": None, "fault": None, "reason": None} | told
        return self._pages.page("certificates.html", language, actor=actor, **content)

    async def of_card(self, actor: Actor, language: Language, card: str) -> HTMLResponse:
        """Show the certificates of a card.

        Raises:
            NotFound: there is no such card within reach.
        """
        life = await asyncio.to_thread(self.desk.cards.one, card, actor.reaches)
        if life.line.person is not None:
            await asyncio.to_thread(self._keep_look, Look("cards_read", actor, life.line.person))
        found = await asyncio.to_thread(self.desk.certificates.of_card, card)
        content: dict[str, Any] = {"life": life, "certificates": found, "said": SAID}
        content["may_overview"] = allowed(OPERATIONS[READ], actor.roles)
        return self._pages.page("card_certificates.html", language, actor=actor, **content)


def _add_overview(router: APIRouter, gate: Gate, shown: _Shown) -> None:
    @router.get("", summary="Authorities, certificates that end soon, requests that wait")
    async def overview(
        language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(READ))], taken_for: TakenFor = None
    ) -> HTMLResponse:
        return await shown.overview(actor, language, taken_for=taken_for)

    @router.get("/cards/{card}", summary="The certificates of one card", name="certificates of a card")
    async def of_card(
        card: Annotated[str, Path(pattern=_REFERENCE, description="The card.")],
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("cards.read"))],
    ) -> HTMLResponse:
        return await shown.of_card(actor, language, card)


def _add_requests(router: APIRouter, gate: Gate, shown: _Shown) -> None:
    @router.get("/requests/{digest}.csr", summary="A request for the city's PKI, as a file", response_class=Response)
    async def request_file(digest: Digest, actor: Annotated[Actor, Depends(gate.allows(READ))]) -> Response:
        waiting = await asyncio.to_thread(shown.desk.certificates.waiting_for, bytes.fromhex(digest), actor.reaches)
        headers = {"Content-Disposition": f'attachment; filename="{digest[:32]}.csr"', "Cache-Control": "no-store"}
        return Response(waiting.pem, media_type=REQUEST_TYPE, headers=headers)

    @router.post(
        "/answers",
        summary="Take a certificate that the city's PKI has issued",
        response_model=None,
        responses=_SEES_OTHER,
    )
    async def answer(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(ANSWER))]
    ) -> Response:
        upload = await read_upload(request)
        key = upload.fields.get("key", "")
        if KEY.fullmatch(key) is None:
            raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
        if not upload.content:
            return await shown.overview(actor, language, fault=_NO_FILE)
        asked = asked_by(actor, key, ANSWER, {"certificate": upload.content.hex()})
        try:
            done = await asyncio.to_thread(shown.desk.bring_in, asked, actor, upload.content)
        except NotFound:
            return await shown.overview(actor, language, fault=_NO_SUCH_REQUEST)
        except Conflict as error:
            return await shown.overview(actor, language, fault=_NOT_TAKEN, reason=str(error))
        where = f"{PATH}?taken_for={done['card']}"
        return RedirectResponse(where, 303, headers={"Cache-Control": "no-store"})
