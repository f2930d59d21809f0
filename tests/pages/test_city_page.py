# SPDX-License-Identifier: EUPL-1.2
"""The demonstration's page in a real browser, used as a visitor would: in German, by keyboard, at three sizes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from cardservice.demo.city import DemoCity, Options
from cardservice.demo.page import serve_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"phone": (390, 844), "desk": (1280, 900), "kiosk": (1024, 768)}


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoCity]:
    running = DemoCity(Options(tmp_path_factory.mktemp("city") / "state", "never"), lambda _: None)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def address(city: DemoCity) -> Iterator[str]:
    with serve_page(city, "127.0.0.1", 0) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        chromium = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield chromium
        chromium.close()


def open_page(browser: Browser, address: str, *, locale: str = "de-DE", size: str = "desk") -> tuple[Page, list[str]]:
    """Open the page; the list collects everything the browser complains about."""
    width, height = SIZES[size]
    page = browser.new_page(locale=locale, viewport={"width": width, "height": height})
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    return page, complaints


def hold(page: Page, card: str, point: str) -> None:
    page.locator(f"input[value={card}]").check()
    page.locator(f"button[data-point='{point}']").click()


def test_a_card_opens_a_door(browser: Browser, address: str) -> None:
    """The door stands open, the sentence is German, the stages are shown, and the strike locks again by itself."""
    page, complaints = open_page(browser, address)
    hold(page, "mehmet", "serverraum.aussen")
    place = page.get_by_role("article", name="Serverraum")
    expect(place.locator(".answer")).to_have_text("Bitte eintreten.")
    expect(place.locator(".word")).to_have_text("offen")
    expect(page.locator("#taps li").first).to_contain_text("Entscheidung")
    expect(place.locator(".word")).to_have_text("verriegelt", timeout=10_000)
    assert complaints == []
    page.close()


@pytest.mark.parametrize(
    ("card", "point", "sentence"),
    [
        ("sabine", "bauamt.aussen", "Sie haben hier keine Berechtigung."),
        ("petra", "haupteingang.aussen", "Ihr Konto ist gesperrt. Bitte an die Personalstelle wenden."),
        ("karl", "haupteingang.innen", "Ihr Konto ist abgelaufen. Bitte an die Personalstelle wenden."),
        ("jonas", "kantine.aussen", "Diese Karte ist vorübergehend gesperrt. Bitte an die Kartenstelle wenden."),
        ("tomasz", "kantine.innen", "Diese Karte ist gesperrt. Bitte an die Kartenstelle wenden."),
        ("unbekannt", "tiefgarage.aussen", "Diese Karte ist nicht registriert."),
        ("kopie", "bauamt.innen", "Diese Karte wurde nicht anerkannt."),
        ("uid", "archiv.aussen", "Diese Karte gehört nicht zu diesem System."),
        ("stoerer", "archiv.innen", "Karte nicht lesbar. Bitte noch einmal vorhalten."),
        ("ute-alt", "besuchereingang.aussen", "Diese Karte wurde nicht anerkannt."),
    ],
)
def test_every_bad_card_is_told_why(browser: Browser, address: str, card: str, point: str, sentence: str) -> None:
    """Each card of the drawer that must not open is refused with its own sentence."""
    page, complaints = open_page(browser, address)
    hold(page, card, point)
    answers = page.locator(f".door[data-points~='{point}'] .answer")
    expect(answers).to_have_text(sentence)
    expect(answers).to_have_class("answer no")
    assert complaints == []
    page.close()


def test_disabling_in_the_directory_refuses_the_next_tap(browser: Browser, address: str) -> None:
    """The switch changes the directory and nothing else; the next tap is refused, and permitted again afterwards."""
    page, complaints = open_page(browser, address)
    answer = page.locator(".door[data-points~='bauamt.aussen'] .answer")
    person = page.locator("li[data-login=schmidt]")
    person.get_by_role("button", name="Sperren: Anna Schmidt").click()
    expect(person.locator(".badge")).to_have_text("gesperrt")
    hold(page, "anna", "bauamt.aussen")
    expect(answer).to_have_text("Ihr Konto ist gesperrt. Bitte an die Personalstelle wenden.")
    page.reload()
    expect(person.locator(".badge")).to_have_text("gesperrt")
    person.get_by_role("button", name="Entsperren: Anna Schmidt").click()
    expect(person.locator(".badge")).to_have_text("aktiv")
    hold(page, "anna", "bauamt.aussen")
    expect(answer).to_have_text("Bitte eintreten.")
    assert complaints == []
    page.close()


def test_by_keyboard_alone_in_english(browser: Browser, address: str) -> None:
    """Language, card and door are reached without a mouse; the focus stays where it was."""
    page, complaints = open_page(browser, address, locale="en-GB")
    assert page.locator("html").get_attribute("lang") == "en"
    page.locator("input[value=anna]").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("input[value=mehmet]")).to_be_checked()
    button = page.locator("button[data-point='serverraum.innen']")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".door[data-points~='serverraum.innen'] .answer")).to_have_text("Please come in.")
    expect(button).to_be_focused()
    page.get_by_role("link", name="Deutsch").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Eine Karte für die Stadt")
    assert complaints == []
    page.close()


@pytest.mark.parametrize("size", SIZES)
def test_fits_every_screen(browser: Browser, address: str, size: str) -> None:
    """Nothing runs out of the window at phone, desk and kiosk size, and targets are large enough for a finger."""
    page, _ = open_page(browser, address, size=size)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    heights = page.locator("button, label.card").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().height)"
    )
    assert len(heights) > 20
    assert min(heights) >= 44
    page.close()


def test_another_site_cannot_use_it(address: str) -> None:
    """A request that another site's page caused, or one under a foreign host name, is refused."""
    fields = {"card": "anna", "point": "bauamt.aussen"}
    cross = httpx2.post(address + "tap", data=fields, headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403
    rebound = httpx2.get(address, headers={"Host": "evil.example"})
    assert rebound.status_code == 400


def test_what_cannot_be_done_is_said(address: str) -> None:
    """A card, point or person that is not there gives a sentence, not an error page."""
    nowhere = httpx2.post(address + "tap", data={"card": "anna", "point": "mond.aussen"})
    assert (nowhere.status_code, "mond.aussen" in nowhere.json()["detail"]) == (409, True)
    nothing = httpx2.post(address + "tap", data={"card": "keine", "point": "bauamt.aussen"})
    assert nothing.status_code == 409
    nobody = httpx2.post(address + "people/niemand", data={"disabled": "true"})
    assert (nobody.status_code, "niemand" in nobody.json()["detail"]) == (409, True)


def test_state_is_left_where_it_was_told(city: DemoCity, tmp_path: Path) -> None:
    """The running city knows its own state folder only; a second one beside it does not disturb it."""
    other = DemoCity(Options(tmp_path / "state", "never"), lambda _: None)
    try:
        other.start()
        assert other.url != city.url
        assert city.health()["status"] == "ready"
    finally:
        other.stop()
