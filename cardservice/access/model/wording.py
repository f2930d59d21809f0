# SPDX-License-Identifier: EUPL-1.2
"""What the pages of the access model call things; the words of files and programs stand in `plan/parts.py`."""

from collections.abc import Mapping
from typing import Final

from cardservice.access.plan.effects import Effect
from cardservice.access.plan.parts import DAYS as DAY_FIELDS
from cardservice.access.rules import Level, Use
from cardservice.web.i18n import marked

LEVELS: Final[Mapping[int, str]] = {
    Level.NONE: marked("nothing"),
    Level.UID: marked("the number a card shows"),
    Level.READER_ATTESTED: marked("a card that its reader checked"),
    Level.CARD: marked("a genuine card"),
    Level.CARD_PIN: marked("card and PIN"),
}
USES: Final[Mapping[Use, str]] = {
    Use.DOOR: marked("Door"),
    Use.WORKSTATION: marked("PC"),
    Use.TIMECLOCK: marked("Time clock"),
    Use.PRINTER: marked("Printer"),
    Use.CANTEEN: marked("Canteen"),
}
DAYS: Final = (
    marked("Monday"),
    marked("Tuesday"),
    marked("Wednesday"),
    marked("Thursday"),
    marked("Friday"),
    marked("Saturday"),
    marked("Sunday"),
    marked("Public holiday"),
)
EFFECTS: Final[Mapping[Effect, str]] = {
    Effect.GAINS: marked("May pass who could not before"),
    Effect.LOSES: marked("May no longer pass"),
    Effect.NEEDS_MORE: marked("Need a stronger proof or a second person"),
    Effect.NEEDS_LESS: marked("Need less than before"),
}
METHODS: Final[Mapping[str, str]] = {
    "desfire": marked("the card's DESFire side"),
    "piv": marked("the card's PIV side"),
    "attested": marked("a reader that checks cards itself"),
}
# What a class may say where there are only so many answers.
CHOICES: Final[Mapping[str, Mapping[str, str]]] = {
    "stale_policy": {"deny": marked("nobody passes"), "permit": marked("what was known last counts")},
    "journal_mode": {
        "full": marked("every tap"),
        "refusals": marked("refusals by name, the rest as a count"),
        "counts": marked("counts alone"),
    },
    "directory_check": {
        "copy": marked("the service's copy"),
        "live": marked("the directory itself, before each permit"),
    },
}
# What a form's fields are called where a page says that one of them changed.
FIELDS: Final[Mapping[str, str]] = {
    "name": marked("Name"),
    "parent": marked("Lies in"),
    "level": marked("Demands at least"),
    "use": marked("Use"),
    "zone": marked("Zone"),
    "point_class": marked("Class"),
    "time_zone": marked("Time zone"),
    "agent": marked("Agent"),
    "reader": marked("Reader"),
    "options": marked("Options"),
    "exception": marked("Exception"),
    "land": marked("Holidays of"),
    "special": marked("Special days"),
    "days": marked("Days"),
    "schedule": marked("Schedule"),
    "valid_from_ms": marked("From"),
    "valid_until_ms": marked("Until"),
    "code": marked("Code"),
    "group": marked("Group"),
    "person": marked("Person"),
    "point": marked("Point"),
    "where": marked("Where"),
    "file": marked("File"),
    "methods": marked("How cards prove themselves"),
    "people": marked("People"),
    "second_within_ms": marked("The second person comes within (seconds)"),
    "open_ms": marked("Stays open (seconds)"),
    "freshness_ms": marked("What is known of people may be as old as (seconds)"),
    "stale_policy": marked("When it is older"),
    "journal_mode": marked("What is kept"),
    "answer_budget_ms": marked("Time for an answer (seconds)"),
    "tap_budget_ms": marked("Time for a whole tap (seconds)"),
    "directory_check": marked("Whether somebody may still pass is asked of"),
    "demands": marked("During a schedule"),
    **dict(zip(DAY_FIELDS, DAYS, strict=True)),
}
# What is asked for in a field, said where something else was typed.
HINTS: Final[Mapping[str, str]] = {
    "code": marked("Please give a code of small letters, digits, dots, hyphens and underscores, up to 64 characters."),
    "name": marked("Please give a name of up to 200 characters."),
    "zone": marked("Please choose a zone."),
    "point_class": marked("Please choose a class."),
    "use": marked("Please choose a use."),
    "time_zone": marked("Please give a time zone such as Europe/Berlin."),
    "agent": marked("Please give the name of an agent, up to 40 characters, or leave it empty."),
    "reader": marked("Please give the name of a reader, up to 127 characters, or leave it empty."),
    "options": marked("Please write one option in a line, such as: escape_route = true"),
    "exception_until": marked("Please give the last day of the exception, and a reason."),
    "exception_reason": marked("Please give a reason of up to 200 characters, and the last day."),
    "days": marked("Please write one day in a line, such as 2026-12-24."),
    "group": marked("Please give the name of one group as the directory has it."),
    "person": marked("Please choose a person."),
    "where": marked("Please choose one place: a point, a zone or a whole use."),
    "valid_from": marked("Please give a day."),
    "valid_until": marked("Please give a day that is not before the first one."),
    **dict.fromkeys(
        ("second_within_ms", "open_ms", "freshness_ms", "answer_budget_ms", "tap_budget_ms"),
        marked("Please give seconds, such as 5 or 0.3."),
    ),
    "people": marked("Please give how many people it takes, 1 or 2."),
    "methods": marked("Please choose at least one way."),
    "demands": marked("Please choose a proof and how many people it takes, 1 or 2."),
    "land": marked("Please choose a Land from the list."),
}
HOURS_HINT: Final = marked("Please write hours as 07:30-18:00, several separated by commas; the end after the start.")
PLAIN_HINT: Final = marked("This cannot stand here.")


def hint_of(field: str) -> str:
    """Return what is asked for in a field."""
    if field.startswith("demand."):
        return HINTS["demands"]
    return HOURS_HINT if field in DAY_FIELDS or field.startswith("special") else HINTS.get(field, PLAIN_HINT)
