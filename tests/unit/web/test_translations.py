# SPDX-License-Identifier: EUPL-1.2
"""Everything a page says is said in German and in English."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from jinja2 import Environment

from cardservice.web.i18n import CATALOGUES, translated

ROOT = Path(__file__).parents[3]
CODE = ROOT / "cardservice"
# The demonstration city has texts of its own, and is no page of the service.
TEMPLATES = sorted(file for file in CODE.glob("**/templates/**/*.html") if "demo" not in file.parts)
SPOKEN = ("alt", "aria-label", "placeholder", "title")
# What is the same in both languages, and the names of the languages themselves.
COMMON = {"PIN", "CSV", "English", "Deutsch", "·"}


def messages() -> set[str]:
    methods = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "translated": (2,), "marked": None}
    found = extract_from_dir(CODE, methods, {"**/templates/**.html": {"silent": "false"}}, keywords=keywords)
    texts: set[str] = set()
    for _, _, message, _, _ in found:
        texts.update([message] if isinstance(message, str) else [one for one in message if one])
    return texts


def german() -> dict[str, object]:
    with (CATALOGUES / "de.po").open("rb") as source:
        return {
            form: message.string
            for message in read_po(source, locale="de")
            if message.id and not message.fuzzy
            for form in ((message.id,) if isinstance(message.id, str) else message.id)
        }


def test_every_message_has_its_german():
    """A message that the catalogue lacks, or has without a translation, is named; run scripts/messages.sh."""
    known = german()
    missing = [text for text in messages() if not known.get(text) or not all(known[text])]
    assert sorted(missing) == []


def test_the_catalogue_holds_no_message_that_nobody_says():
    assert sorted(set(german()) - messages()) == []


def test_what_is_filled_into_a_message_is_the_same_in_both_languages():
    """A name that only one language has would fail when the page is shown."""
    for text, other in german().items():
        for one in [other] if isinstance(other, str) else other:
            assert set(re.findall(r"%\((\w+)\)", one)) <= set(re.findall(r"%\((\w+)\)", text)) | {"num"}, text


class Spoken(HTMLParser):
    """Collects what a template says without asking for a translation."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in SPOKEN and value]

    def handle_data(self, data):
        self.found.append(data)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: str(file.relative_to(CODE)))
def test_a_template_says_nothing_untranslated(file):
    """Words between the tags, and in the attributes that are read out, come from `_` or from the page."""
    # Inside a trans block the words are the message itself; `asked` is a part of an address.
    plain = re.sub(r"\{%-?\s*trans\b.*?endtrans\s*-?%\}", " ", file.read_text(), flags=re.DOTALL)
    plain = re.sub(r"\{% block asked %\}.*?\{% endblock %\}", " ", plain, flags=re.DOTALL)
    kept = [value if kind == "data" else " " for _, kind, value in Environment().lex(plain)]
    parser = Spoken()
    parser.feed("".join(kept))
    words = {word for text in parser.found for word in re.findall(r"[^\W\d_]{2,}", text)}
    assert sorted(words - COMMON) == []


def test_german_is_what_the_pages_say():
    assert translated("de", "Sign out") == "Abmelden"
    assert translated("en", "Sign out") == "Sign out"
