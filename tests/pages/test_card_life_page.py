# SPDX-License-Identifier: EUPL-1.2
"""A person's cards in a real browser: ordered, moved on, replaced and reported lost by keyboard, in both languages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import complaints_of, press
from support.service import CityFiles, ServiceThread, directory_in_thread

from city.people import password_of

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
WIDTHS = (390, 1280)
# Mehmet is in IT.
ADMINISTRATOR = "yilmaz"
GERMAN = ("Karte bestellen", "Verlauf und Schritte", "Jetzt: hergestellt", "Alle Karten verloren melden", "verloren")
ENGLISH = ("Order the card", "History and steps", "Now: produced", "Report all cards lost", "lost")
# Suspending, undoing that, revoking for good, and lending.
GERMAN_DESK = (
    "Karte sperren",
    "Sperre aufheben",
    "Karte wieder aktivieren",
    "Endgültig: ",
    "Jetzt: ",
    "Tageskarte ausleihen",
)
ENGLISH_DESK = (
    "Suspend the card",
    "Undo the suspension",
    "Activate the card again",
    "For good: ",
    "Now: ",
    "Lend a temp",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": "administrator", "group": "IT"}]}}
        files = CityFiles(tmp_path_factory.mktemp("life") / "city", directory.address, None, roles)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        running.wait_health(lambda state: state["points"] == points)
        yield running
        running.stop()


def open_person(page: Page, service: ServiceThread, login: str) -> None:
    page.goto(f"{service.url}/people")
    page.locator("#name").fill(ADMINISTRATOR)
    page.locator("#password").fill(password_of(ADMINISTRATOR))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{service.url}/people")
    page.locator("#text").focus()
    page.keyboard.type(login)
    press(page, page.locator("#found a").first)
    page.wait_for_url("**/people/*")


def check(page: Page) -> None:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (page.url, width)
    found = page.evaluate("rules => axe.run(document, rules)", RULES)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], page.url


@pytest.mark.parametrize(
    ("locale", "login", "words"),
    [("de-DE", "schmidt", GERMAN), ("en-GB", "nowak", ENGLISH)],
    ids=["de", "en"],
)
def test_a_card_is_ordered_moved_on_and_lost_by_keyboard(
    browser: Browser, service: ServiceThread, locale: str, login: str, words: tuple[str, ...]
) -> None:
    """From the person's page and the card's; a loss is asked about once; the strict policy is kept."""
    order, history, produced, lose, lost = words
    with browser.new_context(locale=locale) as context:
        page = context.new_page()
        open_person(page, service, login)
        complaints = complaints_of(page)
        page.on("dialog", lambda dialog: dialog.accept())
        cards = page.locator("ul.cards > li")
        before = cards.count()
        press(page, page.get_by_role("button", name=order))
        expect(cards).to_have_count(before + 1)
        press(page, page.get_by_role("link", name=history).last)
        press(page, page.get_by_role("button", name=produced))
        expect(cards).to_have_count(before + 1)
        press(page, page.get_by_role("link", name=lose))
        expect(page.get_by_role("checkbox")).to_be_focused()
        page.keyboard.press("Space")
        press(page, page.get_by_role("button", name=lose))
        expect(page.get_by_role("status")).to_be_visible()
        press(page, page.locator("nav.own a"))
        expect(cards.filter(has_text=lost)).to_have_count(before + 1)
        press(page, page.get_by_role("link", name=history).last)
        expect(page.locator("ol.cards > li")).to_have_count(3)
        assert complaints == []


@pytest.mark.parametrize(
    ("locale", "login", "words"),
    [("de-DE", "krueger", GERMAN_DESK), ("en-GB", "berger", ENGLISH_DESK)],
    ids=["de", "en"],
)
def test_a_card_is_suspended_had_back_lent_for_and_revoked_by_keyboard(
    browser: Browser, service: ServiceThread, locale: str, login: str, words: tuple[str, ...]
) -> None:
    """What can be undone is undone in two steps; what cannot is asked about, and needs a tick."""
    suspend, undo, activate, for_good, now, lend = words
    with browser.new_context(locale=locale) as context:
        page = context.new_page()
        open_person(page, service, login)
        complaints = complaints_of(page)
        page.on("dialog", lambda dialog: dialog.accept())
        badge = page.locator("ul.cards .badge").first
        press(page, page.get_by_role("button", name=suspend).first)
        expect(badge).to_have_class("badge bad")
        press(page, page.get_by_role("link", name=undo))
        page.wait_for_url("**/reinstatement")
        press(page, page.get_by_role("button", name=activate))
        expect(badge).to_have_class("badge good")
        press(page, page.locator("ul.cards a[href*='/cards/']").first)
        press(page, page.get_by_role("button", name=lend))
        page.locator("#number-door").focus()
        page.keyboard.type(f"{len(locale) + ord(locale[0]):024x}")
        page.keyboard.press("Enter")
        expect(badge).to_have_class("badge bad")
        press(page, page.locator("ul.cards a[href*='/cards/']").first)
        press(page, page.get_by_role("button", name=for_good).first)
        page.get_by_role("checkbox").press("Space")
        press(page, page.get_by_role("button", name=now))
        page.wait_for_url("**/people/*")
        expect(badge).to_have_class("badge bad")
        assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_card_has_no_barrier_that_a_machine_finds(
    browser: Browser, service: ServiceThread, scheme: str
) -> None:
    """WCAG 2.1 A and AA, at a telephone's width and at a desk's."""
    with browser.new_context(locale="de-DE", color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        page.add_init_script(AXE)
        open_person(page, service, "weber")
        check(page)
        page.get_by_role("link", name="Verlauf und Schritte").first.click()
        page.wait_for_url("**/cards/*")
        check(page)
        card = page.url
        for question in ("sure?state=revoked", "temporary", "reinstatement"):
            page.goto(f"{card}/{question}")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            check(page)
        page.goto(f"{card.partition('/cards/')[0]}/lost")
        expect(page.get_by_role("checkbox")).to_be_visible()
        check(page)


@pytest.mark.parametrize(
    ("locale", "find"), [("de-DE", "Jemanden finden"), ("en-GB", "Find somebody")], ids=["de", "en"]
)
def test_from_any_page_a_loss_is_a_name_and_one_click_away(
    browser: Browser, service: ServiceThread, locale: str, find: str
) -> None:
    """The search at the head of every page leads to who is meant, and the link beside their name to the question."""
    with browser.new_context(locale=locale) as context:
        page = context.new_page()
        open_person(page, service, "weber")
        page.goto(f"{service.url}/card-stock")
        page.get_by_role("search").get_by_placeholder(find).fill("Weber")
        page.keyboard.press("Enter")
        page.locator("#found a[href$='/lost']").click()
        expect(page.get_by_role("checkbox")).to_be_focused()
