# SPDX-License-Identifier: EUPL-1.2
"""Certificates in a real browser: an answer of the city's PKI taken by keyboard, in German and in English, by axe."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import complaints_of
from support.pki_office import ISSUER, Office, running_pki_office

from cardservice.cards.pki.rules import Slot
from city.people import password_of

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
SIZES = ((390, 844), (1280, 900))


@dataclass(frozen=True)
class Spoken:
    """What the pages say in one language."""

    locale: str
    title: str
    refused: str
    taken: str
    signs: str
    good: str
    revoked: str
    reason: str


GERMAN = Spoken(
    locale="de-DE",
    title="Zertifikate",
    refused="Das Zertifikat wird nicht übernommen",
    taken="Das Zertifikat wurde übernommen.",
    signs="unterschreibt jetzt",
    good="gültig",
    revoked="widerrufen",
    reason="die Karte ging verloren oder wurde gestohlen",
)
ENGLISH = Spoken(
    locale="en-GB",
    title="Certificates",
    refused="The certificate is not taken",
    taken="The certificate was taken.",
    signs="signs now",
    good="good",
    revoked="revoked",
    reason="the card was lost or stolen",
)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_pki_office(tmp_path_factory.mktemp("certificates")) as running:
        yield running


def sign_in(browser: Browser, office: Office, spoken: Spoken) -> Page:
    page = browser.new_context(locale=spoken.locale).new_page()
    page.goto(f"{office.city.service.url}/login")
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type(ISSUER)
    page.keyboard.press("Tab")
    page.keyboard.type(password_of(ISSUER))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{office.city.service.url}/")
    return page


def looks_right(page: Page) -> None:
    """Nothing for axe to find, and nothing sticks out, on a telephone and on a screen."""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        wide, seen = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= seen, f"{page.url} is wider than {width}"
        page.evaluate(AXE)
        found = page.evaluate("rules => axe.run(document, rules)", RULES)
        assert [one["id"] for one in found["violations"]] == []


def by_keyboard(page: Page, selector: str) -> None:
    """Come to a control by Tab alone."""
    wanted = page.locator(selector)
    for _ in range(150):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"no way to {selector} by keyboard")


@pytest.mark.parametrize("spoken", [GERMAN, ENGLISH], ids=["de", "en"])
def test_an_answer_is_taken_by_keyboard_in_both_languages(
    browser: Browser, office: Office, spoken: Spoken, tmp_path: Path
) -> None:
    """The request is saved, a wrong file refused with its reason, the right one taken; the card shows it."""
    card = office.card()
    assert office.issue(card, Slot.LOGON).json()["waits"]
    assert office.issue(card, Slot.CARD).status_code == 201
    page = sign_in(browser, office, spoken)
    complaints = complaints_of(page)
    page.goto(f"{office.city.service.url}/certificates")
    expect(page.get_by_role("heading", level=1)).to_have_text(spoken.title)
    expect(page.locator("#authorities")).to_contain_text(spoken.signs)
    looks_right(page)
    row = page.locator("#waiting tr").filter(has=page.locator(f"a[href$='/cards/{card}']"))
    with page.expect_download() as saved:
        by_keyboard(page, f"#waiting tr:has(a[href$='/cards/{card}']) a[download]")
        page.keyboard.press("Enter")
    request = Path(saved.value.path()).read_text("ascii")
    for content, said in ((b"nonsense", spoken.refused), (office.answer_to(request), spoken.taken)):
        (tmp_path / "answer.pem").write_bytes(content)
        by_keyboard(page, "#file")
        # What the system's own dialogue would do.
        page.locator("#file").set_input_files(tmp_path / "answer.pem")
        by_keyboard(page, "form[action='/certificates/answers'] button")
        page.keyboard.press("Enter")
        expect(page.locator(".notice").first).to_contain_text(said)
        looks_right(page)
    expect(row).to_have_count(0)
    by_keyboard(page, ".notice.good a")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/certificates/cards/{card}")
    expect(page.locator("main li")).to_have_count(2)
    expect(page.locator(".badge.good")).to_have_text([spoken.good, spoken.good])
    looks_right(page)
    assert complaints == []
    page.context.close()


@pytest.mark.parametrize("spoken", [GERMAN, ENGLISH], ids=["de", "en"])
def test_certificates_are_seen_to_follow_their_card(browser: Browser, office: Office, spoken: Spoken) -> None:
    """A stolen card's certificate is revoked, why, and until when others may believe it."""
    card = office.card()
    assert office.issue(card, Slot.CARD).status_code == 201
    body = {"state": "revoked", "reason": "stolen"}
    assert office.ask("POST", f"cards/{card}/state", json=body).status_code == 200
    page = sign_in(browser, office, spoken)
    page.goto(f"{office.city.service.url}/certificates/cards/{card}")
    expect(page.locator(".badge.bad")).to_have_text(spoken.revoked)
    expect(page.locator("dl.facts")).to_contain_text(spoken.reason)
    looks_right(page)
    page.context.close()
