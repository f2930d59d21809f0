# SPDX-License-Identifier: EUPL-1.2
"""The languages of the pages: messages are English in code and templates, and German by `cardservice/locale/de.po`.

The catalogue is read as it is written: no compiled file can be older than it. `scripts/messages.sh` brings it up to
date with the templates; a test fails while a message has no German.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations
from babel.units import format_unit
from fastapi import Depends, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Language = Literal["de", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("de", "en")
CATALOGUES: Final = Path(__file__).parents[1] / "locale"
COOKIE: Final = "language"
ZONE: Final = ZoneInfo("Europe/Berlin")
KEPT_S: Final = 31_536_000
_CHOICE: Final = re.compile(rb"(?:^|&)lang=(de|en)(?:&|$)")
# Numeric, so that nobody takes a day for a month.
_DATES: Final[dict[Language, str]] = {"de": "dd.MM.yyyy", "en": "yyyy-MM-dd"}
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_DAYS: Final[dict[Language, str]] = {"de": "dd.MM.", "en": "MM-dd"}


@cache
def translations(language: Language) -> NullTranslations:
    """Return the messages of `language`; English is what stands in the code."""
    file = CATALOGUES / f"{language}.po"
    if not file.is_file():
        return NullTranslations()
    with file.open("rb") as source:
        catalogue = read_po(source, locale=language)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)


def marked(message: str) -> str:
    """Return `message` as it is: a text that is said later, and stands in the catalogue because it is marked here."""
    return message


def spoken(language: Language, messages: Mapping[str, str]) -> dict[str, str]:
    """Return messages by the same names in `language`."""
    return {name: translated(language, message) for name, message in messages.items()}


def translated(language: Language, message: str) -> str:
    """Return `message` in `language`, for texts that no template holds."""
    found: str = translations(language).gettext(message)
    return found


def when(at_ms: int, language: Language, *, year: bool = True) -> str:
    """Return day and time of an instant (Unix milliseconds) in Germany, as the language writes them."""
    at = datetime.fromtimestamp(at_ms / 1_000, ZONE)
    days = _DATES[language] if year else _DAYS[language]
    return str(format_datetime(at, f"{days} HH:mm", tzinfo=ZONE, locale=language))


def day(at: date, language: Language) -> str:
    """Return a day as the language writes it."""
    return str(format_date(at, _DATES[language], locale=language))


def time_of_day(at_ms: int) -> str:
    """Return the time of an instant in Germany to the second, written alike in both languages."""
    return f"{datetime.fromtimestamp(at_ms / 1_000, ZONE):%H:%M:%S}"


def number(value: float, language: Language, *, digits: int = 0) -> str:
    """Return a number as the language writes it, with at most `digits` behind the comma."""
    pattern = "#,##0" + ("." + "#" * digits if digits else "")
    return str(format_decimal(value, pattern, locale=language))


def lasting(length_ms: float, language: Language) -> str:
    """Return a length of time in words: its two largest units, cut off behind."""
    left = int(length_ms // 1_000)
    words: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or words or unit == "second":
            words.append((count, format_unit(count, f"duration-{unit}", locale=language)))
    return " ".join(word for place, (count, word) in enumerate(words[:2]) if count or place == 0)


class LanguageChoice:
    """ASGI middleware: a language that an address asks for is remembered in a cookie. Nothing personal, no secret."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the cookie to its answer."""
        chosen = _CHOICE.search(scope.get("query_string", b"")) if scope["type"] == "http" else None

        async def answer(message: Message) -> None:
            if chosen is not None and message["type"] == "http.response.start":
                cookie = f"{COOKIE}={chosen[1].decode()}; Max-Age={KEPT_S}; Path=/; SameSite=Lax; HttpOnly"
                message["headers"] = [*message.get("headers", ()), (b"set-cookie", cookie.encode())]
            await send(message)

        await self._app(scope, receive, answer)


def language_of(request: Request) -> Language:
    """Return the language of a page: the one asked for, else the one chosen before, else the browser's, else German.

    What is no language is passed over. It reads the request itself: as parameters of every page, the framework would
    build three validators for each, a third of the time a service takes to start.
    """
    for one in (request.query_params.get("lang"), request.cookies.get(COOKIE)):
        if one in LANGUAGES:
            return "en" if one == "en" else "de"
    return "en" if request.headers.get("accept-language", "").lower().startswith("en") else "de"


PageLanguage = Annotated[Language, Depends(language_of)]
