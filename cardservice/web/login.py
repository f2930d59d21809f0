# SPDX-License-Identifier: EUPL-1.2
"""Signing in with name and password, signing out, and confirming the password before a change: three small pages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.clock import Clock
from cardservice.errors import DatabaseUnavailable, Overloaded
from cardservice.web.gate import Actor
from cardservice.web.login_devices import DEVICE_COOKIE, Devices, give_device
from cardservice.web.login_paths import (
    CONFIRM,
    HOME,
    LOGIN,
    LOGOUT,
    OIDC_CONFIRM,
    ConfirmationNeeded,
    SignInNeeded,
    local_path,
)
from cardservice.web.login_texts import CONFIRM_AGAIN_TEXTS, CONFIRM_TEXTS, LOGIN_TEXTS
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented, refusal
from cardservice.web.session import Proof, SessionDesk, SignedIn, give, take_back
from cardservice.web.session_guard import read_form, require_same_origin
from cardservice.web.signin import Checked, Credentials, SignIn, TooManyAttempts

# Whatever the reason, a refusal does not come sooner: how a directory checks passwords cannot be told from outside.
REFUSED_AFTER_S: Final = 0.4
_NS: Final = 1_000_000_000

Outcome = Literal["signed_in", "refused", "limited", "unavailable", "confirmed", "not_confirmed", "signed_out"]


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened at the sign-in page; `person` and `login` of whom, None if the name is nobody's."""

    outcome: Outcome
    how: str
    person: int | None = None
    login: str | None = None


# Keeps what happened; what it cannot keep, it raises, and nobody is let in.
Keep = Callable[[Happening], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Entrance:
    """What the sign-in pages need."""

    sign_in: SignIn
    sessions: SessionDesk
    devices: Devices
    keep: Keep
    pages: Pages
    clock: Clock
    # Where the provider is that people may sign in at, None for nowhere.
    oidc: str | None = None


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    """A password was not accepted; `why` names the sentence to show."""

    status: HTTPStatus
    why: Literal["wrong", "limited", "unavailable"]
    wait_s: int = 0


def install(app: FastAPI) -> None:
    """Send browsers where they are needed first: to the sign-in page, or to the one that confirms the password."""

    async def to_login(_: Request, error: Exception) -> Response:
        if not isinstance(error, SignInNeeded):
            raise error
        return RedirectResponse(error.location, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})

    async def to_confirm(request: Request, error: Exception) -> Response:
        if not isinstance(error, ConfirmationNeeded):
            raise error
        if "hx-request" not in request.headers and "text/html" in request.headers.get("accept", "").lower():
            return RedirectResponse(error.location, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})
        response = await refusal(request, error)
        # A part of a page that a script asked for: the script follows it.
        response.headers["HX-Redirect"] = error.location
        return response

    app.add_exception_handler(SignInNeeded, to_login)
    app.add_exception_handler(ConfirmationNeeded, to_confirm)


def login_router(entrance: Entrance) -> APIRouter:
    """Return the pages."""
    router = APIRouter(tags=["login"], default_response_class=HTMLResponse)
    refusals = documented(400, 403, 413, 415, 503)

    def page(language: Language, status: int = HTTPStatus.OK, **shown: str | None) -> HTMLResponse:
        return entrance.pages.page(
            "login.html", language, LOGIN_TEXTS, actor=None, status=status, oidc=entrance.oidc, **shown
        )

    @router.get(LOGIN, summary="The sign-in page")
    async def login_page(language: PageLanguage, next: str | None = None, out: str | None = None) -> HTMLResponse:  # noqa: A002
        message = None if out is None else "out"
        return page(language, name="", wanted=local_path(next), message=message)

    @router.post(LOGIN, summary="Sign in", response_model=None, responses=refusals)
    async def login(request: Request, language: PageLanguage) -> Response:
        require_same_origin(request)
        form = await read_form(request)
        name, wanted = form.get("name", ""), local_path(form.get("next"))
        try:
            token = await _signed_in(entrance, request, name, form.get("password", ""))
        except _Refused as refused:
            return _with_wait(page(language, refused.status, name=name, wanted=wanted, message=refused.why), refused)
        response = _see_other(wanted or HOME)
        give(response, token)
        give_device(response, entrance.devices.cookie_for(name))
        return response

    @router.post(LOGOUT, summary="Sign out", response_model=None, responses=refusals)
    async def logout(request: Request) -> Response:
        # Also of whoever seems to have no session: a foreign page's request comes without it, and the answer ends it.
        require_same_origin(request)
        found = await entrance.sessions.signed_in(request)
        if found is not None:
            await entrance.sessions.require_own_page(request)
            await entrance.sessions.end(request)
            await entrance.keep(Happening("signed_out", found.how, found.person.row, found.person.login))
        response = _see_other(f"{LOGIN}?out=1")
        take_back(response)
        return response

    _add_confirm(router, entrance)
    return router


@dataclass(frozen=True, slots=True)
class ConfirmAgain:
    """What the page says on which somebody confirms who they are: where to go then, and why it is shown again."""

    wanted: str | None
    status: HTTPStatus = HTTPStatus.OK
    message: str | None = None


def confirm_page(entrance: Entrance, found: SignedIn, language: Language, shown: ConfirmAgain) -> HTMLResponse:
    """Return the page: it asks for the password, or leads whoever signed in at the provider back there."""
    person, there = found.person, confirms_there(entrance, found)
    actor = Actor(person.login, (), person=person.row, roles=frozenset(person.roles), form_token=person.form_token)
    return entrance.pages.page(
        "confirm.html",
        language,
        CONFIRM_AGAIN_TEXTS if there else CONFIRM_TEXTS,
        actor=actor,
        status=shown.status,
        wanted=shown.wanted,
        message=shown.message,
        there=OIDC_CONFIRM if there else None,
    )


def confirms_there(entrance: Entrance, found: SignedIn) -> bool:
    """Tell whether somebody confirms who they are where they signed in: it may ask for more than a password."""
    return entrance.oidc is not None and found.how == "oidc"


def _add_confirm(router: APIRouter, entrance: Entrance) -> None:
    refusals = documented(400, 403, 413, 415, 503)

    @router.get(CONFIRM, summary="The page to confirm who one is")
    async def confirm_form(request: Request, language: PageLanguage, next: str | None = None) -> HTMLResponse:  # noqa: A002
        wanted = local_path(next)
        return confirm_page(entrance, await session_of(entrance, request, wanted), language, ConfirmAgain(wanted))

    @router.post(CONFIRM, summary="Confirm one's password, for changes", response_model=None, responses=refusals)
    async def confirm(request: Request, language: PageLanguage) -> Response:
        form = await read_form(request)
        wanted = local_path(form.get("next"))
        found = await session_of(entrance, request, wanted)
        await entrance.sessions.require_own_page(request)
        if confirms_there(entrance, found):
            return confirm_page(entrance, found, language, ConfirmAgain(wanted, HTTPStatus.FORBIDDEN, "only_there"))
        try:
            token = await _confirmed(entrance, request, found, form.get("password", ""))
        except _Refused as refused:
            again = ConfirmAgain(wanted, refused.status, refused.why)
            return _with_wait(confirm_page(entrance, found, language, again), refused)
        response = _see_other(wanted or HOME)
        give(response, token)
        return response


async def session_of(entrance: Entrance, request: Request, wanted: str | None) -> SignedIn:
    """Return the session of a request.

    Raises:
        SignInNeeded: there is none.
    """
    found = await entrance.sessions.signed_in(request)
    if found is None:
        raise SignInNeeded(wanted or HOME)
    return found


async def _signed_in(entrance: Entrance, request: Request, name: str, password: str) -> str:
    """Return the token of a new session of whoever name and password are of."""
    began_ns = entrance.clock.monotonic_ns()
    checked = await _checked(entrance, request, name, password)
    login = None if checked.person is None else name
    token = None
    if checked.fits and checked.person is not None:
        # On record first: nobody is in whose coming is not.
        await entrance.keep(Happening("signed_in", "password", checked.person, login))
        token = await entrance.sessions.open(request, checked.person, Proof("password", confirmed=True))
    if token is None:
        await entrance.keep(Happening("refused", "password", checked.person, login))
        await _wait_until(entrance.clock, began_ns)
        raise _Refused(HTTPStatus.FORBIDDEN, "wrong")
    return token


async def _confirmed(entrance: Entrance, request: Request, found: SignedIn, password: str) -> str:
    """Return the session's new token, once the password was right."""
    began_ns, person = entrance.clock.monotonic_ns(), found.person
    checked = await _checked(entrance, request, person.login, password)
    right = checked.fits and checked.person == person.row
    outcome: Outcome = "confirmed" if right else "not_confirmed"
    await entrance.keep(Happening(outcome, "password", person.row, person.login))
    if not right:
        await _wait_until(entrance.clock, began_ns)
        raise _Refused(HTTPStatus.FORBIDDEN, "wrong")
    return await entrance.sessions.confirm(found)


async def _checked(entrance: Entrance, request: Request, name: str, password: str) -> Checked:
    known = entrance.devices.knows(request.cookies.get(DEVICE_COOKIE), name)
    address = "" if request.client is None else request.client.host
    try:
        return await entrance.sign_in.check(Credentials(name, password, address, known_device=known))
    except TooManyAttempts as error:
        await entrance.keep(Happening("limited", "password"))
        raise _Refused(HTTPStatus.TOO_MANY_REQUESTS, "limited", error.wait_s) from None
    except (ApiProblem, Overloaded, DatabaseUnavailable):
        await entrance.keep(Happening("unavailable", "password"))
        raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable") from None


async def _wait_until(clock: Clock, began_ns: int) -> None:
    """Wait until a refusal may be told."""
    await asyncio.sleep(max(0.0, REFUSED_AFTER_S - (clock.monotonic_ns() - began_ns) / _NS))


def _see_other(path: str) -> RedirectResponse:
    return RedirectResponse(path, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})


def _with_wait(page: HTMLResponse, refused: _Refused) -> HTMLResponse:
    if refused.wait_s:
        page.headers["Retry-After"] = str(refused.wait_s)
    return page
