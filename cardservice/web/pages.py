# SPDX-License-Identifier: EUPL-1.2
"""The shell of the service's pages: one layout, templates of every place, and the headers that let nothing else in."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

from cardservice.web.charts import draw
from cardservice.web.gate import Actor
from cardservice.web.i18n import (
    LANGUAGES,
    Language,
    LanguageChoice,
    PageLanguage,
    day,
    lasting,
    number,
    spoken,
    translations,
    when,
)
from cardservice.web.navigation import entries_for
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.problems import documented

__all__ = ["Language", "PageLanguage", "Pages", "own_pages", "when"]

_FINDS_PEOPLE: Final = OPERATIONS["people.read"]
_HERE: Final = Path(__file__).parent
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def own_pages() -> APIRouter:
    """Return a router for pages of whoever signed in, below `/my`."""
    return APIRouter(prefix="/my", tags=["my"], responses=documented(401, 422, 429, 503))


class Pages:
    """Renders the templates of the shell and of every place; `packages` are those that have some.

    `absent` are paths of pages of what is not set up here: nobody is led there.
    """

    def __init__(self, *packages: str, absent: Collection[str] = ()) -> None:
        self._absent = absent
        loader = ChoiceLoader([PackageLoader(package) for package in ("cardservice.web", *packages)])
        self._environments = {language: _environment(loader, language) for language in LANGUAGES}

    def install(self, app: FastAPI) -> None:
        """Serve the style and scripts the pages share, and remember the language somebody chooses."""
        app.add_middleware(LanguageChoice)
        app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")

    def page(
        self,
        template: str,
        language: Language,
        texts: Mapping[str, str] | None = None,
        *,
        actor: Actor | None = None,
        status: int = 200,
        **content: Any,
    ) -> HTMLResponse:
        """Return one page, or the part of one that a script asked for.

        A template finds the messages by `_`, the person who looks as `actor`, and in `t` the messages of `texts`.
        """
        words = {
            "lang": language,
            "other": next(one for one in LANGUAGES if one != language),
            "actor": actor,
            "navigation": () if actor is None else entries_for(actor.roles, self._absent),
            "t": spoken(language, texts or {}),
            # Whoever helps people reaches a card, and its loss, from every page; the search itself has its own field.
            "finds_people": actor is not None and template != "people.html" and allowed(_FINDS_PEOPLE, actor.roles),
        }
        body = self._environments[language].get_template(template).render(content | words)
        return HTMLResponse(body, status, headers=dict(HEADERS))


def _environment(loader: ChoiceLoader, language: Language) -> Environment:
    environment = Environment(
        loader=loader, autoescape=select_autoescape(), undefined=StrictUndefined, extensions=["jinja2.ext.i18n"]
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]  # of the extension
    environment.filters["when"] = partial(_either, when, language)
    environment.filters["day"] = partial(_either, day, language)
    environment.filters["draw"] = partial(_either, draw, language)
    environment.filters["number"] = partial(_either, number, language)
    environment.filters["lasting"] = partial(_either, lasting, language)
    return environment


def _either(write: Any, language: Language, value: Any, **options: Any) -> str:
    """Write an instant or a day; nothing where there is none."""
    return "" if value is None else write(value, language, **options)


def parts_of(values: Sequence[Any], size: int) -> tuple[Sequence[Any], bool]:
    """Return the first `size` of values that were asked for with one more, and whether there are more."""
    return values[:size], len(values) > size
