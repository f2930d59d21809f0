# SPDX-License-Identifier: EUPL-1.2
"""The words of the demonstration's page: both languages say everything, and the page says nothing that is not there."""

import re
from pathlib import Path

import pytest

from cardservice.access.rules import Reason
from cardservice.demo import page
from cardservice.demo.texts import LANGUAGES, euros, page_words, script_words

HERE = Path(page.__file__).parent
SCRIPTS = sorted((HERE / "static").glob("*.js"))
TEMPLATES = sorted((HERE / "templates").rglob("*.html"))
# Put beside the words for each page.
GIVEN = {"terminals", "reasons", "problems"}


def source(files: list[Path]) -> str:
    assert files, "nothing to look at"
    return "\n".join(file.read_text("utf-8") for file in files)


def test_both_languages_have_the_same_words() -> None:
    """No word exists in one language only, at whatever depth, and none is empty or the same sentence."""
    german, english = (page_words(language) for language in LANGUAGES)
    assert german.keys() == english.keys()
    spoken_german, spoken_english = (script_words(language) for language in LANGUAGES)
    assert spoken_german.keys() == spoken_english.keys()
    for name in ("problems", "reasons"):
        assert spoken_german[name].keys() == spoken_english[name].keys()
    assert all(german.values())
    assert all(english.values())
    alike = {name for name in german if german[name] == english[name]}
    assert alike <= {"directory", "pseudonym"}


def test_every_word_of_the_script_is_there() -> None:
    """What the script asks for by name exists."""
    named = set(re.findall(r"\bwords\.([a-z_]+)", source(SCRIPTS)))
    assert named
    assert named - GIVEN <= set(script_words("de"))


def test_every_word_is_used() -> None:
    """What nobody says any more is not kept: each name stands somewhere, or the two halves it is put together from."""
    everything = source([*SCRIPTS, *TEMPLATES, HERE / "page.py"])
    for name in (*page_words("de"), *script_words("de")):
        first, _, rest = name.partition("_")
        halves = (rf"[\"']{first}_[\"']", rf"[\"']_{rest}[\"']")
        assert any(re.search(form, everything) for form in (rf"\b{name}\b", *halves)), f"nobody says {name}"


def test_every_reason_is_said_in_words() -> None:
    """Whatever the service decides, the page has a sentence for it in both languages."""
    for language in LANGUAGES:
        assert set(script_words(language)["reasons"]) == set(Reason)


@pytest.mark.parametrize(
    ("cents", "german", "english"),
    [(140, "1,40\N{NO-BREAK SPACE}€", "€1.40"), (2_005, "20,05\N{NO-BREAK SPACE}€", "€20.05")],
)
def test_amounts_are_written_as_the_language_does(cents: int, german: str, english: str) -> None:
    assert (euros(cents, "de"), euros(cents, "en")) == (german, english)
