# SPDX-License-Identifier: EUPL-1.2
"""The city in the browser: pick a card, use it at one of the five places, see what happens and why.

Served by the demonstration itself, on loopback, in German and English. What a visitor does goes to the tour, what is
seen comes from it and from the service's live feed; nothing is decided here.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Form, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.middleware.trustedhost import TrustedHostMiddleware

from cardservice.demo.city import DemoCity
from cardservice.demo.seeding import HOST_POINT
from cardservice.demo.surroundings import PC_USER
from cardservice.demo.texts import Language, euros, page_words, script_words
from cardservice.demo.till import DISHES
from cardservice.demo.tour import TOP_UP_CENTS, Tour
from cardservice.errors import CardServiceError
from cardservice.server import listen
from city import building, deck, people
from integrations.ldap import LdapTrouble
from readers.kiosk.faces import BOOKING_KINDS, FACES
from readers.kiosk.pages import STATIC as TERMINAL_STATIC
from rig.errors import RigError

_HERE: Final = Path(__file__).parent
_CSP: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_MAX_WATCHERS: Final = 20
_MAX_WAITING: Final = 200
# Expired accounts and cards of other authorities are the only traits of a card that nothing on this page changes.
_PIV_ONLY: Final = "piv"


class _Page:
    """One open page: what it has not been told yet."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque(maxlen=_MAX_WAITING)
        self.news = asyncio.Event()


class _Feed:
    """Hands the live feed's events, which arrive in another thread, to the pages that watch."""

    def __init__(self, city: DemoCity, tour: Tour) -> None:
        self._city = city
        self._tour = tour
        self._watchers: set[_Page] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = False

    def open(self) -> None:
        """Begin to listen; call from the event loop."""
        self._loop = asyncio.get_running_loop()
        self._end = self._city.live.listen(self._take)

    def close(self) -> None:
        """Stop listening."""
        self._end()
        self._loop = None

    def end(self) -> None:
        """Let every page's feed end, so that no open page holds up the end; from any thread."""
        self._ended = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for page in self._watchers:
            page.news.set()

    def _take(self, event: Mapping[str, Any]) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell, json.dumps(event))

    def _tell(self, event: str) -> None:
        for page in self._watchers:
            page.waiting.append(event)
            page.news.set()

    def _now(self) -> Iterator[Mapping[str, Any]]:
        """Yield how everything is at this moment, for a page that has just come (back)."""
        yield self._tour.state()
        for point, screen in tuple(self._city.screens.items()):
            yield {"kind": "screen", "point": point, "screen": screen}

    async def events(self, request: Request) -> AsyncIterator[str]:
        """Yield server-sent events until the page is closed."""
        page = _Page()
        self._watchers.add(page)
        try:
            yield ": watching\n\n"
            for event in self._now():
                yield f"data: {json.dumps(event)}\n\n"
            while not self._ended and not await request.is_disconnected():
                try:
                    async with asyncio.timeout(5):
                        await page.news.wait()
                except TimeoutError:
                    yield ": still here\n\n"
                page.news.clear()
                while page.waiting:
                    yield f"data: {page.waiting.popleft()}\n\n"
        finally:
            self._watchers.discard(page)

    def watched(self) -> bool:
        """Tell whether any page is open."""
        return bool(self._watchers)

    @property
    def full(self) -> bool:
        """Whether as many pages watch as are served."""
        return len(self._watchers) >= _MAX_WATCHERS


def make_app(city: DemoCity) -> FastAPI:
    """Return the page's application for a started city."""
    tour = Tour(city)
    feed = _Feed(city, tour)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        feed.open()
        tour.start(feed.watched)
        yield
        await asyncio.to_thread(tour.stop)
        feed.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.feed = feed
    # A page on another site must not be able to reach the city through the visitor's browser (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    # Its own, and what the service's pages have as well.
    static = StaticFiles(directory=_HERE / "static", packages=[("cardservice.web", "static")])
    app.mount("/static", static, name="static")
    # What a terminal's screen shows is written once, beside the screen itself.
    app.mount("/terminal", StaticFiles(directory=TERMINAL_STATIC), name="terminal")
    for trouble in (CardServiceError, RigError, LdapTrouble):
        app.add_exception_handler(trouble, _say_why_not)
    app.include_router(_views(city, tour, feed))
    app.include_router(_deeds_at_places(tour))
    app.include_router(_deeds_around(tour))
    return app


def _views(city: DemoCity, tour: Tour, feed: _Feed) -> APIRouter:
    """Return the routes that change nothing."""
    router = APIRouter()
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    templates.filters["euros"] = euros

    @router.get("/", response_class=HTMLResponse)
    async def page(lang: Language | None = None, accept_language: Annotated[str, Header()] = "de") -> HTMLResponse:
        language: Language = lang or ("en" if accept_language.lower().startswith("en") else "de")
        html = templates.get_template("city.html").render(_content(city, language))
        return HTMLResponse(html, headers={"Content-Security-Policy": _CSP, "Cache-Control": "no-store"})

    @router.get("/status")
    def status() -> Mapping[str, Any]:
        return city.health()

    @router.get("/apart")
    def lies_apart(card: str) -> Mapping[str, Any]:
        return tour.lies_apart(card)

    @router.get("/events")
    async def events(request: Request) -> StreamingResponse:
        if feed.full:
            raise HTTPException(503, "too many pages watch already")
        return StreamingResponse(
            feed.events(request), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return router


def _deeds_at_places(tour: Tour) -> APIRouter:
    """Return the routes by which a visitor uses a card, a key or a till."""
    router = APIRouter(dependencies=[Depends(_only_our_page)])

    @router.post("/tap")
    def hold_card(card: Annotated[str, Form()], point: Annotated[str, Form()]) -> Mapping[str, Any]:
        return tour.hold(card, point)

    @router.post("/pc")
    def put_in(card: Annotated[str, Form()]) -> Mapping[str, Any]:
        return tour.put_in(card)

    @router.post("/pc/away")
    def take_out() -> Mapping[str, Any]:
        return tour.take_out()

    @router.post("/keys/{point}", status_code=204)
    def choose(point: str, key: Annotated[str, Form()]) -> None:
        tour.choose(point, key)

    @router.post("/till", status_code=204)
    def ask_to_pay(dish: Annotated[str, Form()]) -> None:
        tour.till.ask(dish)

    @router.post("/till/cancel", status_code=204)
    def cancel_payment() -> None:
        tour.till.cancel()

    @router.post("/wallet", status_code=204)
    def top_up(card: Annotated[str, Form()]) -> None:
        tour.top_up(card)

    @router.post("/documents", status_code=204)
    def print_document(card: Annotated[str, Form()]) -> None:
        tour.print_document(card, "Bescheid")

    return router


def _deeds_around(tour: Tour) -> APIRouter:
    """Return the routes by which a visitor changes what holds at every place."""
    router = APIRouter(dependencies=[Depends(_only_our_page)])

    @router.post("/cards/{card}")
    def set_missing(card: str, missing: Annotated[bool, Form()]) -> Mapping[str, Any]:
        return {"took_ms": tour.set_missing(card, missing=missing)}

    @router.post("/people/{login}")
    def set_disabled(login: str, disabled: Annotated[bool, Form()]) -> Mapping[str, Any]:
        return {"took_ms": tour.set_disabled(login, disabled=disabled)}

    @router.post("/network", status_code=204)
    def set_network(on: Annotated[bool, Form()]) -> None:
        tour.set_network(plugged=on)

    @router.post("/directory", status_code=204)
    def set_directory(on: Annotated[bool, Form()]) -> None:
        tour.set_directory(running=on)

    @router.post("/link")
    def try_to_link() -> Mapping[str, Any]:
        return {"refused": tour.try_to_link()}

    return router


def _only_our_page(request: Request) -> None:
    """Refuse a change asked for by another site's page."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"}:
        raise HTTPException(403, "only the city's own page may do this")


async def _say_why_not(_: Request, error: Exception) -> JSONResponse:
    """Answer with one sentence; the page says it in the visitor's language if it knows the code."""
    if isinstance(error, LdapTrouble):
        code: str | None = "directory_silent"
    elif isinstance(error, RigError):
        code = "card_not_free"
    else:
        code = getattr(error, "code", None)
    return JSONResponse({"detail": str(error), "code": code}, 409)


def _content(city: DemoCity, language: Language) -> dict[str, Any]:
    around = city.around
    return {
        "lang": language,
        "t": page_words(language),
        "js": {**script_words(language), "terminals": _terminal_faces()},
        "pcsc": city.pcsc,
        "pcsc_note": city.pcsc_note,
        "host_point": HOST_POINT if city.host_readers_served else None,
        "cards": [_card(card, language) for card in deck.CARDS],
        "doors": [_door(door, language) for door in building.DOORS],
        "places": {place.code: _place(place, city, language) for place in building.PLACES},
        "printers": [place.code for place in building.PLACES if place.use == "printer"],
        "keys": BOOKING_KINDS,
        "till": building.TILL,
        "pc": building.PC,
        "pc_user": next(citizen.name for citizen in people.CITIZENS if citizen.login == PC_USER),
        "top_up_cents": TOP_UP_CENTS,
        "dishes": {name: dish.amount_cents for name, dish in DISHES.items()},
        "why_no_printers": around.why_no_printers,
        "why_no_desk": around.why_no_desk,
        "people": [
            {"login": citizen.login, "name": citizen.name, "disabled": citizen.login in city.disabled}
            for citizen in people.CITIZENS
        ],
    }


def _terminal_faces() -> dict[str, Mapping[str, Any]]:
    """Return what the terminals' own screens show, by use."""
    uses = {place.use for place in building.PLACES if place.kind == "terminal"}
    return {use: FACES[use].document() for use in uses}


def _card(card: deck.CityCard, language: Language) -> dict[str, Any]:
    """Return a card of the drawer; what may change about it (missing, disabled) the page adds by itself."""
    words = page_words(language)
    holder = next((citizen for citizen in people.CITIZENS if citizen.login == card.login), None)
    note = ""
    if card.chip == _PIV_ONLY:
        note = words["card_piv"]
    elif holder is not None:
        note = ", ".join(group for group, members in people.MEMBERS.items() if holder.login in members)
    return {
        "id": card.card_id,
        "label": holder.name if holder else (card.label_de if language == "de" else card.label_en),
        "note": note,
        "login": card.login or "",
        "registered": card.state is not None,
        "expired": holder is not None and holder.expired_on_day is not None,
    }


def _door(door: building.Door, language: Language) -> dict[str, Any]:
    german = language == "de"
    return {
        "name": door.name_de if german else door.name_en,
        "groups": ", ".join(door.groups),
        "sides": [
            {"point": building.point_code(door, side), "label": names[1 if german else 2]}
            for side, names in enumerate(building.SIDES)
        ],
    }


def _place(place: building.Place, city: DemoCity, language: Language) -> dict[str, str]:
    name = place.name_de if language == "de" else place.name_en
    return {"name": name, "use": place.use, "kiosk": f"{city.kiosk_url}{place.code}"}


@contextmanager
def serve_page(city: DemoCity, host: str, port: int) -> Iterator[str]:
    """Serve the page while the context lasts; yields its URL.

    Raises:
        SettingsError: the port is in use.
    """
    listener = listen(host, port)
    app = make_app(city)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="page", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{listener.getsockname()[1]}/"
    finally:
        app.state.feed.end()
        server.should_exit = True
        thread.join(timeout=5)
