# SPDX-License-Identifier: EUPL-1.2
"""The record and approvals in a real browser: one asks by keyboard, another approves, and everybody named is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import complaints_of, press
from support.office import login_of, running_office
from support.service import ServiceThread

from cardservice.web.operations import Role
from city.people import password_of

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
SIZES = ((390, 844), (1280, 900), (1024, 768))
WORDS = {
    "de-DE": {
        "ask": "Markierte Zeilen beantragen",
        "mark": "Bitte markieren Sie",
        "own": "Jemand anderes entscheidet darüber",
        "approve": "Genehmigen",
        "approved": "genehmigt",
        "open": "Zu dem, was genehmigt wurde",
        "show": "Zeilen mit Namen anzeigen",
        "told": "Zeilen des Protokolls, in denen Sie genannt sind",
    },
    "en-GB": {
        "ask": "Ask for the marked lines",
        "mark": "Please mark the lines",
        "own": "Somebody else decides on it",
        "approve": "Approve",
        "approved": "approved",
        "open": "To what was approved",
        "show": "Show the lines with names",
        "told": "Lines of the record that name you",
    },
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with running_office(tmp_path_factory.mktemp("audit")) as (running, _):
        yield running


def signed_in(context: BrowserContext, service: ServiceThread, role: Role, path: str) -> Page:
    page = context.new_page()
    page.goto(service.url + path)
    page.locator("#name").fill(login_of(role))
    page.locator("#password").fill(password_of(login_of(role)))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{service.url}{path}")
    return page


def ask_for_a_line(page: Page, words: dict[str, str]) -> str:
    """Mark the newest line and ask for its names; return the address of the request."""
    page.locator("#reason").fill("Beschwerde vom 12. Mai")
    press(page, page.get_by_role("button", name=words["ask"]))
    expect(page.get_by_role("alert")).to_contain_text(words["mark"])
    page.locator("tbody input[type=checkbox]").first.focus()
    page.keyboard.press("Space")
    expect(page.locator("#reason")).to_have_value("Beschwerde vom 12. Mai")
    press(page, page.get_by_role("button", name=words["ask"]))
    page.wait_for_url("**/approvals/*")
    expect(page.locator("main")).to_contain_text(words["own"])
    return page.url


@pytest.mark.parametrize("locale", WORDS)
def test_one_asks_and_another_approves_by_keyboard(browser: Browser, service: ServiceThread, locale: str) -> None:
    """The asker sees no button to approve; the other one decides; then the names stand there, and both are told."""
    words = WORDS[locale]
    with browser.new_context(locale=locale) as one, browser.new_context(locale=locale) as other:
        auditor = signed_in(one, service, Role.AUDITOR, "/audit?stream=sign_in")
        council = signed_in(other, service, Role.STAFF_COUNCIL, "/approvals")
        complaints = [complaints_of(page) for page in (auditor, council)]
        address = ask_for_a_line(auditor, words)
        expect(auditor.get_by_role("button", name=words["approve"])).to_have_count(0)
        council.reload()
        press(council, council.get_by_role("table").first.get_by_role("link").first)
        council.wait_for_url(address)
        press(council, council.get_by_role("button", name=words["approve"], exact=True))
        expect(council.locator("dl .badge")).to_have_text(words["approved"])
        auditor.reload()
        press(auditor, auditor.get_by_role("button", name=words["open"]))
        press(auditor, auditor.get_by_role("button", name=words["show"]))
        expect(auditor.locator("tbody tr")).to_have_count(1)
        expect(auditor.locator("tbody")).to_contain_text("role-")
        assert complaints == [[], []]
        named = str(auditor.locator("tbody td").nth(1).text_content()).partition(" ")[0]
        assert named.startswith("role-")
        council.goto(f"{service.url}/my")
        if named == login_of(Role.STAFF_COUNCIL):
            expect(council.locator("main")).to_contain_text(words["told"])


@pytest.mark.parametrize(("locale", "scheme"), [("de-DE", "light"), ("en-GB", "dark")])
def test_no_page_has_a_barrier_that_a_machine_finds(
    browser: Browser, service: ServiceThread, locale: str, scheme: str
) -> None:
    """WCAG 2.1 A and AA of the record, a request for both sides, and opened lines; none is wider than a telephone."""
    options = {"locale": locale, "color_scheme": scheme, "bypass_csp": True, "reduced_motion": "reduce"}
    words = WORDS[locale]
    with browser.new_context(**options) as one, browser.new_context(**options) as other:
        auditor = signed_in(one, service, Role.AUDITOR, "/audit")
        council = signed_in(other, service, Role.DATA_PROTECTION, "/approvals")
        for page in (auditor, council):
            page.add_init_script(AXE)
            page.reload()
        check(auditor)
        address = ask_for_a_line(auditor, words)
        check(auditor)
        council.reload()
        check(council)
        council.goto(address)
        check(council)
        press(council, council.get_by_role("button", name=words["approve"], exact=True))
        expect(council.locator("dl .badge")).to_have_text(words["approved"])
        auditor.goto(address.replace("/approvals/", "/audit/opened/"))
        check(auditor)
        press(auditor, auditor.get_by_role("button", name=words["show"]))
        expect(auditor.locator("tbody tr")).to_have_count(1)
        check(auditor)


def check(page: Page) -> None:
    if page.evaluate("typeof axe === 'undefined'"):
        page.add_script_tag(content=AXE)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (page.url, width)
    found = page.evaluate("rules => axe.run(document, rules)", RULES)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], page.url
