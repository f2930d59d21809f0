# SPDX-License-Identifier: EUPL-1.2
"""What the forms of outsiders hold and what is wrong with it. An end is typed as a day, at whose end it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from cardservice.errors import CardServiceError, NotFound
from cardservice.instants import instant_of
from cardservice.people.outsiders.api import OutsiderBody
from cardservice.people.outsiders.rules import DAY_MS, Bounds, Kind, State
from cardservice.people.outsiders.service import NameTaken, OwnSponsor, SponsorUnfit, TimeUnfit, Wish
from cardservice.people.outsiders.views import OutsiderView
from cardservice.web.i18n import ZONE, Language, day, marked, spoken, when

MAX_TYPED: Final = 200
GROUP: Final = "group-"
# What is said at which field.
_FAULTS: Final[Mapping[str, str]] = {
    "name": marked("Please type the name, up to 200 characters."),
    "company": marked("Up to 200 characters, please."),
    "mail": marked("This is no e-mail address. It may also be left empty."),
    "sponsor": marked("Please choose who answers for them."),
    "from_ms": marked("Please give a day, or leave it empty: then it is from now on."),
    "until_ms": marked("Please give the last day."),
    "reason": marked("Please say why, in up to 200 characters."),
    "groups": marked("One of the groups is not there any more."),
}
_REFUSED: Final[Mapping[type[CardServiceError], tuple[str, str]]] = {
    TimeUnfit: ("until_ms", marked("The last day must lie in the future, after the first one, and not too far off.")),
    OwnSponsor: (
        "sponsor",
        marked("You cannot answer for somebody you add or change yourself. A colleague can."),
    ),
    SponsorUnfit: (
        "sponsor",
        marked("This person cannot answer for anybody now: gone, disabled or not yours. Please choose somebody else."),
    ),
    NotFound: ("groups", _FAULTS["groups"]),
    NameTaken: ("name", marked("There is a group of that name already, here or in a directory.")),
}
UNREADABLE: Final = marked("Something in the form is missing or cannot be read. Nothing was changed.")
KINDS: Final[Mapping[str, str]] = {
    Kind.EXTERNAL: marked("external staff"),
    Kind.COUNCIL: marked("council member"),
    Kind.VISITOR: marked("visitor"),
}

STATES: Final[Mapping[str, str]] = {
    State.CURRENT: marked("valid"),
    State.NOT_YET: marked("not yet"),
    State.NO_SPONSOR: marked("nobody answers for them"),
    State.ENDED: marked("has ended"),
    State.ERASED: marked("name erased"),
}


def ending(until_ms: int, language: Language) -> str:
    """Return an end as people say it: a day that is over with its midnight is the last day itself."""
    midnight = datetime.fromtimestamp(until_ms / 1_000, ZONE).time() == time(0)
    return day(last_day(until_ms), language) if midnight else when(until_ms, language)


def outsider_words(language: Language) -> dict[str, Any]:
    """Return what kinds, states and ends of outsiders are called."""
    return {
        "kinds": spoken(language, KINDS),
        "states": spoken(language, STATES),
        "ending": partial(ending, language=language),
    }


@dataclass(frozen=True, slots=True)
class Unfit(Exception):
    """What was typed cannot be taken: field -> what is said there."""

    faults: Mapping[str, str]


def last_day(until_ms: int) -> date:
    """Return the day whose end an end is, or in which it lies; German time."""
    return datetime.fromtimestamp((until_ms - 1) / 1_000, ZONE).date()


def first_day(from_ms: int) -> date:
    """Return the day in which a beginning lies."""
    return datetime.fromtimestamp(from_ms / 1_000, ZONE).date()


def latest_day(now_ms: int, bounds: Bounds) -> date:
    """Return the last day that an end may be."""
    return last_day(now_ms + bounds.max_days * DAY_MS) - timedelta(days=1)


def typed_of(view: OutsiderView) -> dict[str, str]:
    """Return what the form of somebody holds before anybody types."""
    return {
        "name": view.name,
        "kind": view.kind.value,
        "company": view.company or "",
        "mail": view.mail or "",
        "sponsor": "",
        "from": first_day(view.from_ms).isoformat(),
        "until": last_day(view.until_ms).isoformat(),
        "reason": "",
        **{f"{GROUP}{one.group}": "1" for one in view.groups},
    }


def wish_of(form: Mapping[str, str], sponsor: int | None, before: OutsiderView | None = None) -> Wish:
    """Return what a form asks for; days that stand there as they were leave their instants as they are.

    Raises:
        Unfit: something is missing or cannot be read.
    """
    shown = {} if before is None else typed_of(before)
    faults: dict[str, str] = {} if sponsor is not None else {"sponsor": _FAULTS["sponsor"]}
    from_ms, until_ms = (None, None) if before is None else (before.from_ms, before.until_ms)
    if form.get("from", "") != shown.get("from", ""):
        from_ms = _instant(form.get("from", ""), "from_ms", faults)
    if form.get("until", "") != shown.get("until", ""):
        until_ms = _instant(form.get("until", ""), "until_ms", faults)
    values: dict[str, Any] = {name: form.get(name, "").strip() or None for name in ("name", "mail", "company")}
    values |= {"kind": form.get("kind", ""), "reason": form.get("reason", "").strip(), "sponsor": sponsor or 1}
    values |= {"from_ms": from_ms, "until_ms": until_ms, "groups": groups_of(form)}
    try:
        body = OutsiderBody.model_validate(values)
    except ValidationError as error:
        wrong = {str(one["loc"][0]) for one in error.errors(include_url=False, include_input=False)}
        raise Unfit({name: _FAULTS.get(name, UNREADABLE) for name in wrong} | faults) from None
    if faults:
        raise Unfit(faults)
    return body.wish()


def groups_of(form: Mapping[str, str]) -> list[int]:
    """Return the groups that are ticked."""
    numbers = (name.removeprefix(GROUP) for name, value in form.items() if name.startswith(GROUP) and value == "1")
    return [number for number in map(number_of, numbers) if number is not None]


def number_of(text: str) -> int | None:
    """Return a row number that was sent, None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) < 16 and int(text) else None


def faults_of(error: CardServiceError) -> dict[str, str]:
    """Return what a refusal says, by field; under "" what belongs to none."""
    field, said = next((one for kind, one in _REFUSED.items() if isinstance(error, kind)), ("", UNREADABLE))
    return {field: said}


def _instant(text: str, field: str, faults: dict[str, str]) -> int | None:
    """Return the instant of a day: its beginning, or for an end its end; nothing for nothing."""
    if not text:
        return None
    try:
        typed = date.fromisoformat(text)
        if field == "until_ms":
            return instant_of(typed.isoformat())
        return int(datetime.combine(typed, time(0), ZONE).astimezone(UTC).timestamp() * 1_000)
    except (ValueError, OverflowError):
        faults[field] = _FAULTS[field]
        return None
