# SPDX-License-Identifier: EUPL-1.2
"""People, their cards and explanations in a real browser: by keyboard, in both languages, at three sizes, by axe."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import complaints_of, press
from support.service import CityFiles, ServiceThread, directory_in_thread
from support.signing_in import Visitor

from city.people import password_of

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
SIZES = ((390, 844), (1280, 900), (1024, 768))
# Mehmet is in IT.
ADMINISTRATOR = "yilmaz"
SCHMIDT, DOOR = "schmidt", "bauamt.aussen"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": "administrator", "group": "IT"}]}}
        files = CityFiles(tmp_path_factory.mktemp("people") / "city", directory.address, None, roles)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        running.wait_health(lambda state: state["points"] == points)
        yield running
        running.stop()


def search_page(context: BrowserContext, service: ServiceThread) -> Page:
    page = context.new_page()
    page.goto(f"{service.url}/people")
    page.locator("#name").fill(ADMINISTRATOR)
    page.locator("#password").fill(password_of(ADMINISTRATOR))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{service.url}/people")
    return page


def open_schmidt(page: Page) -> None:
    page.locator("#text").focus()
    page.keyboard.type(SCHMIDT)
    press(page, page.locator("#found a").first)
    page.wait_for_url("**/people/*")


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("de-DE", ("Karte sperren", "Karte wieder aktivieren", "vorübergehend gesperrt", "aktiv", "Erklären")),
        ("en-GB", ("Suspend the card", "Activate the card again", "suspended", "active", "Explain")),
    ],
    ids=["de", "en"],
)
def test_a_card_is_suspended_and_activated_again_by_keyboard(
    browser: Browser, service: ServiceThread, locale: str, words: tuple[str, str, str, str, str]
) -> None:
    """Search as one types, suspend after a question, undo it, and ask why; the browser's strict policy is kept."""
    suspend, activate, suspended, active, explain = words
    with browser.new_context(locale=locale) as context:
        page = search_page(context, service)
        complaints = complaints_of(page)
        open_schmidt(page)
        page.on("dialog", lambda dialog: dialog.accept())
        badge = page.locator("ul.cards .badge").first
        expect(badge).to_have_text(active)
        press(page, page.get_by_role("button", name=suspend).first)
        expect(badge).to_have_text(suspended)
        press(page, page.get_by_role("button", name=activate).first)
        expect(badge).to_have_text(active)
        page.locator("#point").focus()
        page.keyboard.type(DOOR)
        press(page, page.get_by_role("button", name=explain))
        expect(page.locator("section.notice li").first).to_be_visible()
        assert SCHMIDT not in page.url
        assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["de-DE", "en-GB"])
def test_no_page_has_a_barrier_that_a_machine_finds(
    browser: Browser, service: ServiceThread, locale: str, scheme: str
) -> None:
    """WCAG 2.1 A and AA of the search, a person and an explanation; none is wider than a telephone."""
    # The policy of the pages forbids the checker's own script.
    with browser.new_context(locale=locale, color_scheme=scheme, bypass_csp=True) as context:
        page = search_page(context, service)
        page.add_init_script(AXE)
        page.reload()
        check(page)
        open_schmidt(page)
        check(page)
        page.locator("#point").fill(DOOR)
        page.keyboard.press("Enter")
        expect(page.locator("section.notice").first).to_be_visible()
        check(page)


def check(page: Page) -> None:
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (page.url, width)
    found = page.evaluate("rules => axe.run(document, rules)", RULES)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], page.url


def test_who_has_no_role_for_it_sees_nobody(service: ServiceThread) -> None:
    """Neither the search nor a person nor an explanation is for employees, and their navigation names none of them."""
    with Visitor(service.url) as visitor:
        visitor.sign_in("krueger")
        for path in ("/people", "/people/1", "/access/explain"):
            assert visitor.get(path).status_code == 403, path
        assert 'href="/people"' not in visitor.get("/").text


def test_a_change_that_is_sent_twice_is_made_once_and_an_old_page_changes_nothing(service: ServiceThread) -> None:
    """The same form again is the same change; an older page is told so; a reason that does not fit is refused."""
    with Visitor(service.url) as visitor:
        visitor.sign_in(ADMINISTRATOR)
        token = visitor.form_token()
        found = visitor.post("/people", data={"form_token": token, "text": "krueger"}).text
        person = str(re.findall(r'href="(/people/[0-9]+)"', found)[0])
        address = str(re.findall(r'action="(/people/[^"]+/state)"', visitor.get(person).text)[0])
        form = {"form_token": token, "key": "0" * 32, "state": "suspended", "reason": "missing"}
        assert visitor.post(address, data=form | {"reason": "stolen"}).status_code == 422
        assert visitor.post(address.replace(person, "/people/999999"), data=form).status_code == 404
        assert [visitor.post(address, data=form).status_code for _ in range(2)] == [303, 303]
        again = visitor.post(address, data=form | {"key": "1" * 32}, headers={"Accept-Language": "en"})
        assert "The card has changed meanwhile" in again.text
        back = {"form_token": token, "key": "2" * 32, "state": "active"}
        assert visitor.post(address, data=back).status_code == 303
