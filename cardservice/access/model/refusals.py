# SPDX-License-Identifier: EUPL-1.2
"""Why a form was refused, at which field: the sentences of the service, said to a clerk in their language.

The rules stand where the service checks them; here is only what its sentences mean for a form. One that is not known
is shown as it is. Tests have the service say each of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cardservice.access.model.wording import PLAIN_HINT, hint_of
from cardservice.errors import CardServiceError, Conflict, NotFound
from cardservice.web.i18n import marked
from cardservice.web.problems import ApiProblem


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that cannot be: at which field (None: at none), a message and its parts, and a program's words."""

    place: str | None
    message: str
    parts: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""


class Refused(Conflict):
    """A form cannot be taken as it is."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(one.message for one in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class _Known:
    """A sentence of the service; groups of the pattern are parts of the message."""

    pattern: re.Pattern[str]
    place: str | None
    message: str


_NO_SUCH: Final = {
    "zone": "zone",
    "schedule": "schedule",
    "point": "point",
    "point class": "point_class",
    "directory group": "group",
    "person": "person",
    "special days": "special",
}
_KNOWN: Final = tuple(
    _Known(re.compile(pattern), place, message)
    for pattern, place, message in (
        (
            r"point (?P<point>\S+): its class accepts \w+, but zone (?P<zone>\S+) demands \w+",
            "level",
            marked(
                "The class of point %(point)s accepts less than zone %(zone)s demands. Please take another class, or"
                " give the point an exception with a reason and a last day."
            ),
        ),
        (r"it lies in itself", "parent", marked("A zone cannot lie in itself.")),
        (r"zones inside one another|a zone lies in \d+ others", "parent", marked("The zone would lie too deep.")),
        (r"is no Land", "land", hint_of("land")),
        (r"is no time zone", "time_zone", hint_of("time_zone")),
        (r"one or two people can be demanded", "people", hint_of("people")),
        (
            r"(?P<day>\d{4}-\d\d-\d\d) is one of (?P<days>\S+) and a public holiday",
            "special",
            marked("%(day)s is one of %(days)s and a public holiday there: it may be one of them only."),
        ),
        (
            r"(?P<day>\d{4}-\d\d-\d\d) is one of (?P<days>\S+) and of (?P<others>[^;]+);",
            "special",
            marked("%(day)s is one of %(days)s and of %(others)s: a day may be in one group of a schedule only."),
        ),
        (r"(?P<reason>option.*)", "options", marked("The place of this use refuses the options.")),
        (r"an exception needs a reason", "exception_reason", hint_of("exception_reason")),
        (
            r"is still in use",
            None,
            marked("It is still in use. Please remove the grants, points, zones or schedules that name it first."),
        ),
        (r"end the lockdown first", None, marked("It is locked down. Please have the lockdown ended first.")),
        (
            r"review (?P<review>\S+) waits for an answer",
            "valid_until",
            marked("Review %(review)s waits for an answer about it: please answer there before it gets a later end."),
        ),
    )
)
_NOBODY: Final = re.compile(r"there is no (zone|schedule|point class|point|directory group|person|special days) ")
_SEVERAL: Final = re.compile(r"there is more than one (directory group|person) ")
_AT_FIELD: Final = re.compile(r"^[^.]*?(?:'[^']*')?\.(\w+)(?:\.\w+)?: .*; allowed (?:is|are) ")
# Where the same is refused in a form of another kind.
_ELSEWHERE: Final[Mapping[str, Mapping[str, str]]] = {
    "points": {"level": "point_class"},
    "special_days": {"special": "days"},
}


def faults_of(error: CardServiceError | ApiProblem, kind: str) -> tuple[Fault, ...]:
    """Return what a refusal says to whoever filled in a form of a kind; store troubles are no refusals.

    Raises:
        The error itself, if it is no answer to what was typed.
    """
    if isinstance(error, Refused):
        return error.faults
    text = str(error)
    if isinstance(error, ApiProblem):
        if error.code != "foreign_point":
            raise error
        return (Fault(None, marked("This lies beyond what you may change.")),)
    if not isinstance(error, Conflict | NotFound):
        raise error
    return (_said(text, kind) or _named(text, kind) or Fault(None, PLAIN_HINT, {}, text),)


def _said(text: str, kind: str) -> Fault | None:
    """Return what a sentence with words of its own means."""
    for known in _KNOWN:
        if found := known.pattern.search(text):
            place = known.place and _ELSEWHERE.get(kind, {}).get(known.place, known.place)
            parts = found.groupdict()
            return Fault(place, known.message, parts, parts.get("reason", ""))
    return None


def _named(text: str, kind: str) -> Fault | None:
    """Return what a sentence about a name, or about one key of an entry, means."""
    if found := _NOBODY.search(text):
        place = "parent" if (kind, found[1]) == ("zones", "zone") else _NO_SUCH[found[1]]
        return Fault(place, marked("There is nothing of this name."))
    if found := _SEVERAL.search(text):
        return Fault(_NO_SUCH[found[1]], marked("Several are called so; it cannot be told which is meant."))
    found = _AT_FIELD.search(text)
    return Fault(found[1], hint_of(found[1])) if found else None
