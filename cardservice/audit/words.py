# SPDX-License-Identifier: EUPL-1.2
"""What lines of the record are called on pages: plain words, with the word programs use beside them."""

from collections.abc import Mapping
from typing import Final

from cardservice.audit.rules import Line, Stream
from cardservice.web.i18n import Language, marked, translated
from cardservice.web.operations import OPERATIONS

# By the first part of an operation.
AREAS: Final[Mapping[str, str]] = {
    "doors": marked("Doors"),
    "canteen": marked("Canteen"),
    "directory": marked("Directory"),
    "reviews": marked("Reviews of grants"),
    "accounts": marked("Service accounts"),
    "webhooks": marked("Webhooks"),
    "cards": marked("Cards"),
    "people": marked("People"),
    "outsiders": marked("People"),
    "zones": marked("Zones"),
    "points": marked("Points"),
    "point_classes": marked("Point classes"),
    "schedules": marked("Schedules"),
    "grants": marked("Grants"),
    "agents": marked("Agents"),
    "approvals": marked("Approvals"),
    "journal": marked("Record"),
    "keys": marked("Keys of the cards"),
    "my": marked("One's own card"),
}
KINDS: Final[Mapping[str, str]] = {
    "explained": marked("Somebody's access was looked up"),
    "what_if": marked("A change of the access model was tried out, and people were listed"),
    "people_listed": marked("People were searched for"),
    "cards_listed": marked("Cards were listed"),
    "person_read": marked("Somebody's entry was looked at"),
    "cards_read": marked("Somebody's cards were looked at"),
    "badge_made": marked("The badge of somebody's card was made, with their photo"),
    "person_and_cards_read": marked("Somebody's entry and cards were looked at"),
    "journal_read": marked("Lines of the record were opened"),
    "journal_opened": marked("A line about somebody was opened"),
    "model_changed": marked("The access model was changed"),
    "model_imported": marked("An access model was imported"),
    "model_exported": marked("The access model was exported"),
    "owner_set": marked("Somebody was made responsible for grants"),
    "review_begun": marked("A review of grants was begun"),
    "review_extended": marked("A review of grants was extended"),
    "review_aborted": marked("A review of grants was aborted"),
    "signed_in": marked("Somebody signed in"),
    "refused": marked("A sign-in was refused"),
    "confirmed": marked("Somebody confirmed their password"),
    "not_confirmed": marked("A password was not confirmed"),
    "signed_out": marked("Somebody signed out"),
}
_STEPS: Final[Mapping[str, str]] = {
    "asked": marked("A request was made"),
    "approved": marked("A request was approved"),
    "rejected": marked("A request was rejected"),
    "withdrawn": marked("A request was withdrawn"),
}
_BY: Final[Mapping[str, str]] = {
    "person": marked("a person"),
    "system": marked("a system"),
    "command line": marked("the command line"),
}
# What else is told of a line, if it is there.
_DETAILS: Final[Mapping[str, str]] = {
    "point": marked("point"),
    "found": marked("found"),
    "listed": marked("listed"),
    "lines": marked("lines"),
    "approval": marked("approval no."),
    "review": marked("review"),
}


def codes(language: Language) -> dict[str, str]:
    """Return what can be looked for -> what it is in words: operations that leave a line, kinds, outcomes."""
    changes = (name for name, operation in OPERATIONS.items() if operation.changes)
    areas = {name: _area_of(name, language) for name in changes}
    return areas | {code: translated(language, said) for code, said in KINDS.items()}


def _area_of(operation: str, language: Language) -> str:
    area = operation.partition(".")[0]
    return translated(language, AREAS[area]) if area in AREAS else area


def title_of(line: Line, language: Language) -> tuple[str, str]:
    """Return what a line is about, in words and as programs call it."""
    facts = line.facts
    if line.place.stream == Stream.SIGN_IN:
        code = str(facts.get("outcome", ""))
        return translated(language, KINDS.get(code, code)), code
    kind = str(facts.get("kind", ""))
    if kind == "approval":
        step = str(facts.get("step", ""))
        return translated(language, _STEPS.get(step, step)), f"{facts.get('what', '')}"
    if kind == "asked":
        code = str(facts.get("operation", ""))
        return _area_of(code, language), code
    return translated(language, KINDS[kind]) if kind in KINDS else kind, kind


def by_of(line: Line, language: Language) -> str:
    """Return what kind of somebody it was; an account of a system has a name."""
    by, account = line.facts.get("by"), line.facts.get("account")
    if isinstance(account, str):
        return account
    if line.place.stream == Stream.SIGN_IN:
        by = "person"
    return translated(language, _BY[by]) if isinstance(by, str) and by in _BY else ""


def details_of(line: Line, language: Language) -> str:
    """Return what else is told openly."""
    found = ((translated(language, word), line.facts.get(name)) for name, word in _DETAILS.items())
    return ", ".join(f"{word}: {value}" for word, value in found if value is not None)
