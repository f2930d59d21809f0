# SPDX-License-Identifier: EUPL-1.2
"""What the pages say of lists: each message of `rules.py` again, where the translations are gathered."""

from collections.abc import Mapping
from typing import Final

from cardservice.cards.bulk.rules import Fault
from cardservice.web.i18n import Language, marked, translated

FAULTS: Final = frozenset(
    {
        marked("the same as line %(first)s"),
        marked("another number of columns than the first line"),
        marked("up to %(most)s characters that can be printed"),
        marked("a personnel number or a login is missing"),
        marked("allowed are %(allowed)s"),
        marked("a day: 2027-09-01 or 01.09.2027"),
        marked("nobody within your reach is called so"),
        marked("several people are called so"),
        marked("nobody gives a card to themselves"),
        marked("the same person as line %(first)s"),
    }
)
COLUMNS: Final[Mapping[str, str]] = {
    "person": marked("Personnel number or login"),
    "profile": marked("Profile"),
    "valid_from": marked("Valid from"),
    "": marked("the whole line"),
}


def said_of(fault: Fault, language: Language) -> dict[str, str | int]:
    """Return what a page shows of a fault."""
    message = translated(language, fault.template) % fault.facts
    return {"line": fault.line, "column": translated(language, COLUMNS[fault.column]), "message": message}
