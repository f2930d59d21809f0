# SPDX-License-Identifier: EUPL-1.2
"""The city in the browser: pick a card, hold it to a door, see what happens and why. German and English.

Served by the demonstration itself, on loopback. It moves cards through the rig's hand, people through the directory,
and shows what the service's live feed says; it decides nothing.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import uvicorn
from fastapi import FastAPI, Form, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.middleware.trustedhost import TrustedHostMiddleware

from cardservice.demo.city import DemoCity
from cardservice.demo.processes import DemoError
from cardservice.demo.script import TapWatch, tap
from cardservice.demo.seeding import HOST_POINT
from cardservice.demo.texts import TEXTS, Texts
from cardservice.server import listen
from city import building, deck, people
from integrations.ldap import LdapTrouble
from rig.errors import RigError

_HERE: Final = Path(__file__).parent
_CSP: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_MAX_WATCHERS: Final = 20
_MAX_WAITING: Final = 200
Language = Literal["de", "en"]


class _Page:
    """One open page: what it has not been told yet."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque(maxlen=_MAX_WAITING)
        self.news = asyncio.Event()


class _Feed:
    """Hands the live feed's events, which arrive in another thread, to the pages that watch."""

    def __init__(self, city: DemoCity) -> None:
        self._city = city
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

    async def events(self, request: Request) -> AsyncIterator[str]:
        """Yield server-sent events until the page is closed."""
        page = _Page()
        self._watchers.add(page)
        try:
            yield ": watching\n\n"
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

    @property
    def full(self) -> bool:
        """Whether as many pages watch as are served."""
        return len(self._watchers) >= _MAX_WATCHERS


def make_app(city: DemoCity) -> FastAPI:
    """Return the page's application for a started city."""
    feed = _Feed(city)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        feed.open()
        yield
        feed.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.feed = feed
    # A page on another site must not be able to reach the city through the visitor's browser (DNS rebinding).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    templates = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=select_autoescape())

    @app.get("/", response_class=HTMLResponse)
    async def page(lang: Language | None = None, accept_language: Annotated[str, Header()] = "de") -> HTMLResponse:
        language: Language = lang or ("en" if accept_language.lower().startswith("en") else "de")
        html = templates.get_template("city.html").render(_content(city, language))
        return HTMLResponse(html, headers={"Content-Security-Policy": _CSP, "Cache-Control": "no-store"})

    @app.post("/tap")
    def hold_card(request: Request, card: Annotated[str, Form()], point: Annotated[str, Form()]) -> JSONResponse:
        _only_our_page(request)
        try:
            with TapWatch(city, point) as watch:
                seen = tap(city, card, point, watch)
        except (RigError, DemoError) as error:
            raise HTTPException(409, str(error)) from error
        return JSONResponse(seen)

    @app.post("/people/{login}")
    def set_disabled(request: Request, login: str, disabled: Annotated[bool, Form()]) -> dict[str, bool]:
        _only_our_page(request)
        try:
            city.set_disabled(login, disabled=disabled)
        except (DemoError, LdapTrouble) as error:
            raise HTTPException(409, str(error)) from error
        return {"disabled": disabled}

    @app.get("/status")
    def status() -> Mapping[str, Any]:
        return city.health()

    @app.get("/events")
    async def events(request: Request) -> StreamingResponse:
        if feed.full:
            raise HTTPException(503, "too many pages watch already")
        return StreamingResponse(
            feed.events(request), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return app


def _only_our_page(request: Request) -> None:
    """Refuse a change asked for by another site's page."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in {"same-origin", "none"}:
        raise HTTPException(403, "only the city's own page may do this")


def _content(city: DemoCity, language: Language) -> dict[str, Any]:
    german = language == "de"
    texts: Texts = TEXTS[language]
    return {
        "lang": language,
        "t": texts,
        "pcsc": city.pcsc,
        "pcsc_note": city.pcsc_note,
        "host_point": HOST_POINT if city.host_readers_served else None,
        "cards": [{"id": card.card_id, "label": card.label_de if german else card.label_en} for card in deck.CARDS],
        "doors": [
            {
                "name": door.name_de if german else door.name_en,
                "groups": ", ".join(door.groups),
                "sides": [
                    {"point": building.point_code(door, side), "label": building.SIDES[side][1 if german else 2]}
                    for side in range(len(building.SIDES))
                ],
            }
            for door in building.DOORS
        ],
        "people": [
            {"login": citizen.login, "name": citizen.name, "disabled": citizen.login in city.disabled}
            for citizen in people.CITIZENS
        ],
    }


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
