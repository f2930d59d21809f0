# SPDX-License-Identifier: EUPL-1.2
"""The shell of the service's pages: templates, style, language, and the headers that let nothing else in."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, FastAPI, Header
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import ChoiceLoader, Environment, PackageLoader, select_autoescape

from cardservice.web.problems import documented

Language = Literal["de", "en"]
_ZONE: Final = ZoneInfo("Europe/Berlin")
_HERE: Final = Path(__file__).parent
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# What the shell itself says: of the way to the content, and of the way to the other language.
_SHELL: Final[Mapping[Language, Mapping[str, str]]] = {
    "de": {"skip": "Zum Inhalt", "language": "Sprache", "other": "English", "other_code": "en"},
    "en": {"skip": "To the content", "language": "Language", "other": "Deutsch", "other_code": "de"},
}


def own_pages() -> APIRouter:
    """Return a router for pages of whoever signed in, below `/my`."""
    return APIRouter(prefix="/my", tags=["my"], responses=documented(401, 422, 429, 503))


def _language_of(lang: Language | None = None, accept_language: Annotated[str, Header()] = "de") -> Language:
    """Return the language of a page: the one chosen, else English where the browser prefers it, else German."""
    return lang or ("en" if accept_language.lower().startswith("en") else "de")


PageLanguage = Annotated[Language, Depends(_language_of)]


def when(at_ms: int, language: Language, *, year: bool = True) -> str:
    """Return day and time of an instant (Unix milliseconds) in Germany, as the language writes them."""
    at = datetime.fromtimestamp(at_ms / 1_000, _ZONE)
    if language == "de":
        return f"{at:%d.%m.%Y %H:%M}" if year else f"{at:%d.%m. %H:%M}"
    return f"{at:%Y-%m-%d %H:%M}" if year else f"{at:%m-%d %H:%M}"


class Pages:
    """Renders the templates of the shell and of every place; `packages` are those that have some."""

    def __init__(self, *packages: str) -> None:
        loaders = [PackageLoader(package) for package in ("cardservice.web", *packages)]
        self._environment = Environment(loader=ChoiceLoader(loaders), autoescape=select_autoescape())

    def install(self, app: FastAPI) -> None:
        """Serve the style the pages share."""
        app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    def page(
        self, template: str, language: Language, texts: Mapping[Language, Mapping[str, str]], **content: Any
    ) -> HTMLResponse:
        """Return one page; its template finds the words of the language in `t`, those of the shell in `shell`."""
        words = {"lang": language, "shell": _SHELL[language], "t": texts[language]}
        return HTMLResponse(self._environment.get_template(template).render(content | words), headers=dict(_HEADERS))
