# SPDX-License-Identifier: EUPL-1.2
"""What the page says of lists of old numbers: each message of `rules.py` again, where the translations are gathered."""

from collections.abc import Mapping
from typing import Final

from cardservice.cards.bulk.rules import Fault
from cardservice.web.i18n import Language, marked, translated

FAULTS: Final = frozenset(
    {
        marked("no number that is written so: %(why)s"),
        marked("an old number needs the day it ends: 2027-09-30 or 30.09.2027"),
        marked("this day is over"),
        marked("there is no zone of this code"),
        marked("the same number in the same building as line %(first)s"),
        marked("this number is known in this building already"),
    }
)
COLUMNS: Final[Mapping[str, str]] = {
    "person": marked("Personnel number or login"),
    "number": marked("Number"),
    "written": marked("How it is written"),
    "building": marked("Building"),
    "until": marked("Valid until"),
    "": marked("the whole line"),
}


def said_of(fault: Fault, language: Language) -> dict[str, str | int]:
    """Return what a page shows of a fault."""
    message = translated(language, fault.template) % fault.facts
    return {"line": fault.line, "column": translated(language, COLUMNS[fault.column]), "message": message}
