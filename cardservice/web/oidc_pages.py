# SPDX-License-Identifier: EUPL-1.2
"""Signing in at a provider, and confirming there who one is: the way there, and the way back with its answer.

What an attempt is known by (state, nonce, the proof key of RFC 7636) is sealed into a cookie of the browser that
began it: the answer to another browser's attempt is nobody's here. Each attempt ends with its first answer.
"""

import asyncio
import hmac
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, TypeVar

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.clock import Clock
from cardservice.errors import CardServiceError, Conflict, Overloaded
from cardservice.web.login import ConfirmAgain, Entrance, Happening, confirm_page, confirms_there, session_of
from cardservice.web.login_paths import HOME, OIDC, OIDC_BACK, OIDC_CONFIRM, local_path
from cardservice.web.login_texts import LOGIN_TEXTS
from cardservice.web.oidc import Attempt, NotAskedAgain, Provider, SomebodyElse, TokenRefused
from cardservice.web.pages import Language, PageLanguage
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.session import Proof, SignedIn, give

COOKIE: Final = "__Host-onecard-oidc"
HOW: Final = "oidc"
ATTEMPT_S: Final = 600
MAX_COOKIE: Final = 4_000
MAX_CODE: Final = 2_000
THREADS: Final = 4
MAX_ASKING: Final = 32
_NONCE_BYTES: Final = 12
_log = structlog.get_logger()
Result = TypeVar("Result")

# Returns the row number of whoever has the name that the claim says, None for nobody; blocks, raises Conflict for two.
FindPerson = Callable[[str], int | None]


class Attempts:
    """Seals attempts into cookies and opens them again; used from the event loop."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        self._cipher = AESGCM(secret[:32])
        self._clock = clock

    def begun(self, attempt: Attempt) -> Attempt:
        """Return an attempt as one that begins now."""
        return replace(attempt, begun_s=self._clock.now_ms() // 1_000)

    def seal(self, attempt: Attempt) -> str:
        """Return the cookie of an attempt that begins now."""
        until_s = self._clock.now_ms() // 1_000 + ATTEMPT_S
        about = [attempt.wanted, attempt.session, attempt.begun_s]
        text = json.dumps([attempt.state, attempt.nonce, attempt.verifier, *about, until_s])
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return (nonce + self._cipher.encrypt(nonce, text.encode(), COOKIE.encode())).hex()

    def open(self, cookie: str | None, state: str | None) -> Attempt | None:
        """Return the attempt of this browser that `state` is of, None if there is none."""
        if not cookie or not state or len(cookie) > 2 * MAX_COOKIE:
            return None
        try:
            sealed = bytes.fromhex(cookie)
            text = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], COOKIE.encode())
        except (InvalidTag, ValueError):
            return None
        *parts, until_s = json.loads(text)
        attempt = Attempt(*parts)
        same = hmac.compare_digest(attempt.state.encode(), state.encode("utf-8", "surrogatepass"))
        return attempt if same and self._clock.now_ms() // 1_000 < until_s else None


class OidcDesk:
    """Signs people in at one provider; used from the event loop, `close` ends its threads."""

    def __init__(self, provider: Provider, find: FindPerson, attempts: Attempts) -> None:
        self.attempts = attempts
        self._provider = provider
        self._find = find
        # Threads of its own: a provider that hangs holds up whoever signs in there, and nobody else.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="oidc")
        self._asking = 0

    async def begin(self, wanted: str | None, session: int | None = None) -> tuple[str, str]:
        """Return where the browser goes, and its cookie; `session`: see `Attempt`.

        Raises:
            CardServiceError: the provider is away, or too many ask it.
        """
        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        attempt = self.attempts.begun(Attempt(state, nonce, verifier, wanted, session))
        address = await self._ask(lambda: self._provider.address(attempt))
        return address, self.attempts.seal(attempt)

    async def identify(self, attempt: Attempt | None, code: str | None, issuer: str | None) -> tuple[int, bytes]:
        """Return the row number of whoever signed in at the provider, and what stands for them there.

        Raises:
            TokenRefused: the answer proves nobody, or nobody of ours.
            CardServiceError: the provider is away, or too many ask it.
        """
        if attempt is None:
            raise TokenRefused("the answer is to no attempt of this browser")
        if not code or len(code) > MAX_CODE:
            raise TokenRefused("the provider gave no code")

        def look() -> tuple[int | None, bytes]:
            identity = self._provider.identity_for(attempt, code, issuer)
            try:
                return self._find(identity.name), identity.subject
            except Conflict:
                return None, identity.subject

        person, subject = await self._ask(look)
        if person is None:
            raise TokenRefused("nobody here has this name")
        return person, subject

    def close(self) -> None:
        """Take nobody in any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, question: Callable[[], Result]) -> Result:
        if self._asking >= MAX_ASKING:
            raise Overloaded("too many people sign in at once; try again in a moment")
        self._asking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, question)
        finally:
            self._asking -= 1


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the browser brought back from the provider."""

    attempt: Attempt | None
    code: str | None
    issuer: str | None


def oidc_router(entrance: Entrance, desk: OidcDesk | None) -> APIRouter:
    """Return the addresses; without a provider there is nothing there."""
    router = APIRouter(tags=["login"], default_response_class=HTMLResponse)

    def configured() -> OidcDesk:
        if desk is None:
            raise ApiProblem(404, "not_found", "no provider is set up to sign in at")
        return desk

    @router.get(OIDC, summary="Go to the provider to sign in", response_model=None, responses=_ANSWERS)
    async def begin(language: PageLanguage, next: str | None = None) -> Response:  # noqa: A002
        found, wanted = configured(), local_path(next)
        try:
            return _there(*await found.begin(wanted))
        except CardServiceError as error:
            return _login_again(entrance, language, error, wanted)

    @router.get(
        OIDC_CONFIRM, summary="Go to the provider to confirm who one is", response_model=None, responses=_ANSWERS
    )
    async def confirm(request: Request, language: PageLanguage, next: str | None = None) -> Response:  # noqa: A002
        found, wanted = configured(), local_path(next)
        session = await session_of(entrance, request, wanted)
        if not confirms_there(entrance, session):
            # By password they came in, by password they confirm.
            return confirm_page(entrance, session, language, ConfirmAgain(wanted))
        try:
            return _there(*await found.begin(wanted, session.number))
        except CardServiceError as error:
            return _confirm_again(entrance, session, language, error, wanted)

    _add_back(router, entrance, configured)
    return router


def _add_back(router: APIRouter, entrance: Entrance, configured: Callable[[], OidcDesk]) -> None:
    @router.get(OIDC_BACK, summary="Back from the provider", response_model=None, responses=_ANSWERS)
    async def back(
        request: Request,
        language: PageLanguage,
        state: str | None = None,
        code: str | None = None,
        iss: str | None = None,
    ) -> Response:
        found = configured()
        attempt = found.attempts.open(request.cookies.get(COOKIE), state)
        answer, wanted = _Answer(attempt, code, iss), None if attempt is None else attempt.wanted
        session = None
        try:
            if attempt is not None and attempt.session is not None:
                session = await session_of(entrance, request, wanted)
                token = await _confirmed(entrance, found, session, answer)
            else:
                token = await _signed_in(entrance, found, request, answer)
        except CardServiceError as error:
            if session is not None:
                return _confirm_again(entrance, session, language, error, wanted)
            return _login_again(entrance, language, error, wanted)
        response = RedirectResponse(wanted or HOME, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
        _forget(response)
        give(response, token)
        return response


_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    303: {"description": "On to the next page"},
    **{
        status: {"description": "The page one came from, and why", "content": {"text/html": {}}}
        for status in (403, 503)
    },
    **documented(404),
}


def _there(address: str, cookie: str) -> Response:
    response = RedirectResponse(address, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
    response.set_cookie(COOKIE, cookie, max_age=ATTEMPT_S, path="/", secure=True, httponly=True, samesite="lax")
    return response


def _login_again(entrance: Entrance, language: Language, error: CardServiceError, wanted: str | None) -> Response:
    status, message = _told(error)
    shown = {"name": "", "wanted": wanted, "message": message, "oidc": OIDC}
    page = entrance.pages.page("login.html", language, LOGIN_TEXTS, actor=None, status=status, **shown)
    _forget(page)
    return page


def _confirm_again(
    entrance: Entrance, session: SignedIn, language: Language, error: CardServiceError, wanted: str | None
) -> Response:
    status, message = _told(error)
    causes: dict[type[CardServiceError], str] = {NotAskedAgain: "not_again", SomebodyElse: "somebody_else"}
    page = confirm_page(entrance, session, language, ConfirmAgain(wanted, status, causes.get(type(error), message)))
    _forget(page)
    return page


def _told(error: CardServiceError) -> tuple[HTTPStatus, str]:
    # Which of the checks failed is for the log: it names no one.
    _log.warning("oidc.failed", cause=str(error))
    if isinstance(error, TokenRefused):
        return HTTPStatus.FORBIDDEN, "oidc_refused"
    return HTTPStatus.SERVICE_UNAVAILABLE, "oidc_away"


async def _signed_in(entrance: Entrance, desk: OidcDesk, request: Request, answer: _Answer) -> str:
    """Return the token of a new session of whoever the provider names."""
    try:
        person, subject = await desk.identify(answer.attempt, answer.code, answer.issuer)
    except TokenRefused:
        await entrance.keep(Happening("refused", HOW))
        raise
    # On record first: nobody is in whose coming is not.
    await entrance.keep(Happening("signed_in", HOW, person))
    # When somebody last typed a password there is the provider's to know: before a change it is asked again.
    token = await entrance.sessions.open(request, person, Proof(HOW, subject=subject))
    if token is None:
        await entrance.keep(Happening("refused", HOW, person))
        raise TokenRefused("whoever this is may not sign in now")
    return token


async def _confirmed(entrance: Entrance, desk: OidcDesk, session: SignedIn, answer: _Answer) -> str:
    """Return the new token of a session whose person has just proved again at the provider who they are."""
    person = session.person
    try:
        row, subject = await desk.identify(_attempt_of(session, answer), answer.code, answer.issuer)
        _require_same(session, row, subject)
    except TokenRefused:
        await entrance.keep(Happening("not_confirmed", HOW, person.row, person.login))
        raise
    await entrance.keep(Happening("confirmed", HOW, person.row, person.login))
    return await entrance.sessions.confirm(session)


def _attempt_of(session: SignedIn, answer: _Answer) -> Attempt:
    if answer.attempt is None or answer.attempt.session != session.number:
        raise TokenRefused("the answer is to an attempt of another session")
    return answer.attempt


def _require_same(session: SignedIn, row: int, subject: bytes) -> None:
    """Refuse whoever is another person here, or another one at the provider under the same name."""
    known = session.subject or b""
    if row != session.person.row or not hmac.compare_digest(subject, known):
        raise SomebodyElse("the provider names another person")


def _forget(response: Response) -> None:
    """End the attempt."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")
