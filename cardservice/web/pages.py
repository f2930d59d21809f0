# SPDX-License-Identifier: EUPL-1.2
"""The shell of the service's pages: templates, style, and the headers that let nothing else in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import ChoiceLoader, Environment, PackageLoader, select_autoescape

Language = Literal["de", "en"]
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


class Pages:
    """Renders the templates of the shell and of every place; `packages` are those that have some."""

    def __init__(self, *packages: str) -> None:
        loaders = [PackageLoader(package) for package in ("cardservice.web", *packages)]
        self._environment = Environment(loader=ChoiceLoader(loaders), autoescape=select_autoescape())

    def install(self, app: FastAPI) -> None:
        """Serve the style the pages share."""
        app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    def page(self, template: str, **content: Any) -> HTMLResponse:
        """Return one page."""
        return HTMLResponse(self._environment.get_template(template).render(content), headers=dict(_HEADERS))


def language_of(chosen: Language | None, accept_language: str) -> Language:
    """Return the language of a page: the one chosen, else English where the browser prefers it, else German."""
    return chosen or ("en" if accept_language.lower().startswith("en") else "de")
