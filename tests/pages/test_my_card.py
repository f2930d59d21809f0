# SPDX-License-Identifier: EUPL-1.2
"""One's own card in a real browser: reported lost by keyboard alone, in both languages."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import complaints_of
from support.service import CityFiles, ServiceThread, directory_in_thread

from city.people import password_of

pytestmark = pytest.mark.browser

LOCALES = {"de": "de-DE", "en": "en-GB"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with directory_in_thread() as directory:
        files = CityFiles(tmp_path_factory.mktemp("mine") / "city", directory.address)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        running.wait_health(lambda state: state["points"] == points)
        yield running
        running.stop()


def signed_in(context: BrowserContext, service: ServiceThread, login: str) -> Page:
    page = context.new_page()
    page.goto(f"{service.url}/login")
    page.locator("#name").fill(login)
    page.locator("#password").fill(password_of(login))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{service.url}/")
    return page


@pytest.mark.parametrize(
    ("login", "lang", "words"),
    [
        ("krueger", "de", ("Ich habe diese Karte verloren", "Meine Karte jetzt sperren", "Ihre Karte ist für alles")),
        ("schmidt", "en", ("I have lost this card", "Block my card now", "Your card is blocked for everything")),
    ],
    ids=["de", "en"],
)
def test_a_card_is_reported_lost_by_keyboard(
    browser: Browser, service: ServiceThread, login: str, lang: str, words: tuple[str, str, str]
) -> None:
    """From My card to the question, which takes the keyboard at once, and back to a card that is blocked."""
    report, block, told = words
    with browser.new_context(locale=LOCALES[lang]) as context:
        page = signed_in(context, service, login)
        complaints = complaints_of(page)
        page.goto(f"{service.url}/my")
        page.get_by_role("button", name=report).or_(page.get_by_role("link", name=report)).focus()
        page.keyboard.press("Enter")
        sure = page.get_by_role("checkbox")
        expect(sure).to_be_focused()
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=block)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text(told)
        expect(page.locator("a[href^='/my/lost']")).to_have_count(0)
        assert complaints == []
