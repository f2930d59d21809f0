# SPDX-License-Identifier: EUPL-1.2
"""Lists in every language, reaches as a batch keeps them, and a report that no spreadsheet takes for a formula."""

import pytest

from cardservice.cards.bulk import rules
from cardservice.cards.bulk.reaches import reaches_from, text_of
from cardservice.cards.bulk.report import report
from cardservice.cards.bulk.rules import fault, read_list
from cardservice.cards.bulk.service import CANCELLED, LineDone
from cardservice.cards.bulk.wording import COLUMNS, FAULTS, said_of
from cardservice.web.i18n import translations
from cardservice.web.reach import EVERYWHERE, Reach

TEMPLATES = {
    name: value
    for name, value in vars(rules).items()
    if name.isupper() and not name.startswith(("_", "MAX")) and isinstance(value, str) and name != "TEMPORARY"
}


def test_every_fault_has_its_words():
    """What the rules say is what the catalogue has, and nothing that nobody says any more."""
    assert set(TEMPLATES.values()) == FAULTS
    german = translations("de")
    for template in FAULTS:
        assert german.gettext(template) != template


@pytest.mark.parametrize(
    ("line", "column", "german"),
    [
        (b"a;king", "Profil", "erlaubt sind canteen_guest, council_member, employee, external, trainee, visitor"),
        (b";employee", "Personalnummer oder Anmeldename", "Personalnummer oder Anmeldename fehlt"),
        (b"a", "die ganze Zeile", "eine andere Zahl von Spalten als die erste Zeile"),
        (b"b;trainee", "Personalnummer oder Anmeldename", "dasselbe wie in Zeile 2"),
    ],
)
def test_a_fault_is_said_in_german(line, column, german):
    """With what it is about put in."""
    _, (found,) = read_list(b"person;profile\nb;trainee\n" + line)
    assert said_of(found, "de") == {"line": 3, "column": column, "message": german}
    assert said_of(found, "en")["message"] == found.message


def test_what_a_fault_names_is_no_template():
    """Percent signs of a stranger stay what they are."""
    found = fault(2, "profile", rules.NO_PROFILE, allowed="%(first)s %d")
    assert found.message == "allowed are %(first)s %d"
    assert found.column in COLUMNS


@pytest.mark.parametrize(
    "reaches",
    [
        (EVERYWHERE,),
        (),
        (Reach(organisations=frozenset({"b", "a"})), Reach(units=frozenset(), zones=frozenset({"z"}))),
    ],
)
def test_a_reach_comes_back_as_it_was(reaches):
    """None is everything and empty is nothing, also after they were stored."""
    assert reaches_from(text_of(reaches)) == reaches


def test_a_report_says_what_came_of_each_line():
    """One word each; a fault that begins as a formula does is text."""
    lines = [
        LineDone(2, 1, "trainee", "c-1", None),
        LineDone(3, 2, "trainee", None, "=1+1;2"),
        LineDone(4, 3, "trainee", None, CANCELLED),
        LineDone(5, 4, "trainee", None, None),
    ]
    assert report(lines).split("\r\n") == [
        "line;profile;card;outcome;fault",
        "2;trainee;c-1;done;",
        '3;trainee;;failed;"\'=1+1;2"',
        "4;trainee;;cancelled;",
        "5;trainee;;waiting;",
        "",
    ]
