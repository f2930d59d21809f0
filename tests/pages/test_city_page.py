# SPDX-License-Identifier: EUPL-1.2
"""The demonstration's page in a real browser, as a visitor uses it: by keyboard, in two languages, at three sizes."""

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright
from support.waiting import wait_until

from cardservice.demo.city import AGENT, DemoCity, Options
from cardservice.demo.page import serve_page
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.demo.texts import Language, euros, page_words, script_words

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
CLOCK, TILL, PRINTER, OTHER_PRINTER = "zeit.eingang", "kantine.kasse-1", "druck.flur", "druck.bauamt"
USES = ("door", "workstation", "timeclock", "printer", "canteen")


@dataclass(frozen=True)
class Visitor:
    """Somebody with a language, and a card that nobody else uses at the time clock and the till."""

    language: Language
    locale: str
    card: str
    name: str

    def says(self, name: str) -> str:
        return {**page_words(self.language), **script_words(self.language)}[name]


GERMAN = Visitor("de", "de-DE", "anna", "Anna Schmidt")
ENGLISH = Visitor("en", "en-GB", "mehmet", "Mehmet Yılmaz")
in_both_languages = pytest.mark.parametrize("visitor", [GERMAN, ENGLISH], ids=["de", "en"])


@contextmanager
def running_city(state: Path) -> Iterator[DemoCity]:
    """A city without pcscd, started by a thread of its own: the browser's event loop has the one of the tests."""
    city = DemoCity(Options(state, "never"), lambda _: None)
    with ThreadPoolExecutor(1) as starter:
        try:
            starter.submit(city.start).result()
            yield city
        finally:
            starter.submit(city.stop).result()


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoCity]:
    with running_city(tmp_path_factory.mktemp("city") / "state") as running:
        yield running


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


@pytest.fixture(scope="module")
def drawer(browser: Browser, address: str) -> Iterator[tuple[Page, list[str]]]:
    """One open page, for many cards."""
    page, complaints = open_page(browser, address)
    yield page, complaints
    page.close()


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


@contextmanager
def visit(browser: Browser, address: str, visitor: Visitor = GERMAN) -> Iterator[Page]:
    """The page as a visitor has it, with their card in hand; at the end the browser must have had no complaint."""
    page, complaints = open_page(browser, address, locale=visitor.locale)
    assert page.locator("html").get_attribute("lang") == visitor.language
    page.locator(f"input[value={visitor.card}]").check()
    expect(page.locator("#apart-card")).to_have_text(visitor.name)
    yield page
    assert complaints == []
    page.close()


def hold(page: Page, card: str, point: str) -> None:
    page.locator(f"input[value={card}]").check()
    page.locator(f"button[data-point='{point}']").click()


def place(page: Page, point: str) -> Locator:
    return page.locator(f"[data-points~='{point}']")


def press(page: Page, selector: str) -> None:
    """Reach a button without a mouse and press it."""
    button = page.locator(selector)
    expect(button).to_be_enabled()
    button.focus()
    page.keyboard.press("Enter")


def hold_by_keyboard(page: Page, point: str) -> None:
    press(page, f"button[data-point='{point}']")


def mend_network(city: DemoCity) -> None:
    """Put the cable back; returns once both agents have noticed."""
    city.set_network(plugged=True)
    wait_until(lambda: {AGENT, PLACES_AGENT} <= set(city.health()["agents_online"]))


def records(page: Page, use: str) -> Locator:
    return page.locator(f".column[data-use={use}] .records")


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
def test_every_bad_card_is_told_why(drawer: tuple[Page, list[str]], card: str, point: str, sentence: str) -> None:
    """Each card of the drawer that must not open is refused with its own sentence."""
    page, complaints = drawer
    hold(page, card, point)
    answers = page.locator(f".door[data-points~='{point}'] .answer")
    expect(answers).to_have_text(sentence)
    expect(answers).to_have_class("answer no")
    assert complaints == []


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


@in_both_languages
def test_the_time_clock_by_keyboard(browser: Browser, address: str, visitor: Visitor) -> None:
    """A key and the card: the booking is said at the place, its reason stands below, and one use alone has a record."""
    with visit(browser, address, visitor) as page:
        clock = place(page, CLOCK)
        expect(clock.locator(".answer")).to_have_text(visitor.says("no_card_yet"))
        eaten = records(page, "canteen").inner_text()
        press(page, ".key[data-key=in]")
        expect(clock.locator(".key[data-key=in]")).to_have_attribute("aria-pressed", "true")
        hold_by_keyboard(page, CLOCK)
        expect(clock.locator(".answer.yes")).to_have_text(re.compile(r"\d\d:\d\d\.$"))
        expect(clock.locator(".why")).to_contain_text("granted · booked_in")
        expect(clock.locator(".why")).to_contain_text(visitor.says("at_reader"))
        expect(clock.locator(".screen")).to_have_attribute("data-view", "ok")
        expect(clock.locator(".key[data-key=in]")).to_have_attribute("aria-pressed", "false")
        # The terminal takes no key for a second after an answer; the visitor need not know.
        press(page, ".key[data-key=break_end]")
        hold_by_keyboard(page, CLOCK)
        expect(clock.locator(".answer.no")).to_be_visible()
        expect(clock.locator(".why")).to_contain_text(visitor.says("place_refused"))
        expect(records(page, "timeclock")).to_have_text("1")
        expect(records(page, "canteen")).to_have_text(eaten)


def test_without_money_nothing_is_charged(browser: Browser, address: str) -> None:
    """The amount stands on the terminal before the card comes; the place refuses, and the till says so."""
    with visit(browser, address) as page:
        page.locator("input[value=sabine]").check()
        till = place(page, TILL)
        page.locator(".dish[data-dish=menu]").click()
        expect(till.locator(".amount")).to_have_text(euros(980, "de"))
        hold(page, "sabine", TILL)
        expect(till.locator(".answer.no")).to_have_text("Das Guthaben reicht nicht. Es wurde nichts abgebucht.")
        expect(till.locator(".why")).to_contain_text("no_funds")
        expect(page.locator("#till-note")).to_have_text("Die Kasse meldet: nicht bezahlt.")
        expect(records(page, "canteen")).to_have_text("0")


@in_both_languages
def test_eating_by_keyboard(browser: Browser, address: str, visitor: Visitor) -> None:
    """Topped up, the menu is paid, and terminal and till both say so; two entries are the wallet's."""
    with visit(browser, address, visitor) as page:
        till, note = place(page, TILL), page.locator("#till-note")
        price = euros(980, visitor.language)
        press(page, "#top-up")
        expect(note).to_have_text(visitor.says("topped_up"))
        press(page, ".dish[data-dish=menu]")
        expect(note).to_have_text(visitor.says("till_asks").replace("{amount}", price))
        expect(page.locator("#cancel")).to_be_focused()
        hold_by_keyboard(page, TILL)
        expect(till.locator(".answer.yes")).to_contain_text(price)
        expect(note).to_have_text(visitor.says("till_paid").replace("{amount}", price))
        expect(till.locator(".facts")).to_contain_text(euros(1_020, visitor.language))
        expect(records(page, "canteen")).to_have_text("2")


def test_a_till_waits_for_everybody_and_is_called_off(browser: Browser, address: str) -> None:
    """What it waits for is the same on every page: neither can ask for more, either can call it off."""
    with visit(browser, address) as page, visit(browser, address, ENGLISH) as other:
        page.locator(".dish[data-dish=coffee]").click()
        expect(other.locator("#till-note")).to_contain_text("€1.40")
        expect(other.locator(".dish[data-dish=menu]")).to_be_disabled()
        other.locator("#cancel").click()
        expect(page.locator("#till-note")).to_have_text("Abgebrochen. Es wurde nichts abgebucht.")
        expect(page.locator(".dish[data-dish=menu]")).to_be_enabled()


@pytest.mark.cups
@in_both_languages
def test_printing_by_keyboard(browser: Browser, address: str, visitor: Visitor) -> None:
    """The document waits until the card is held, and comes out at that printer and at no other."""
    with visit(browser, address, visitor) as page:
        trays = [place(page, point).locator(".count") for point in (PRINTER, OTHER_PRINTER)]
        expect(place(page, PRINTER).locator(".screen .headline")).not_to_be_empty()
        before = [int(tray.inner_text()) for tray in trays]
        press(page, "#print")
        expect(page.locator("#print-note")).to_have_text(visitor.says("sent"), timeout=15_000)
        hold_by_keyboard(page, PRINTER)
        expect(place(page, PRINTER).locator(".answer.yes")).to_be_visible(timeout=15_000)
        expect(place(page, PRINTER).locator(".why")).to_contain_text("released")
        expect(trays[0]).to_have_text(str(before[0] + 1), timeout=20_000)
        expect(trays[1]).to_have_text(str(before[1]))
        expect(page.locator("#print-note")).to_be_empty()
        expect(records(page, "printer")).to_have_text("1")


@pytest.mark.logind
@in_both_languages
def test_the_pc_by_keyboard(browser: Browser, address: str, visitor: Visitor) -> None:
    """Its holder's card opens the screen, taking it out locks it; nothing of it is written down."""
    with visit(browser, address, visitor) as page:
        page.locator("input[value=anna]").check()
        monitor = page.locator(".monitor")
        expect(monitor).to_have_attribute("data-locked", "true")
        press(page, "#put-in")
        expect(monitor).to_have_attribute("data-locked", "false")
        expect(monitor).to_contain_text(visitor.says("screen_open"))
        expect(page.locator("#pc .answer.yes")).to_be_visible()
        expect(page.locator("#pc .slot")).to_contain_text("Anna Schmidt")
        expect(page.locator("#take-out")).to_be_focused()
        page.keyboard.press("Enter")
        expect(monitor).to_have_attribute("data-locked", "true")
        expect(page.locator("#pc .answer")).to_have_text(visitor.says("screen_locked"))
        expect(page.locator("#pc .why")).to_contain_text("ms")
        expect(page.locator("#put-in")).to_be_focused()
        expect(records(page, "workstation")).to_have_text("0")


@pytest.mark.logind
def test_whoever_goes_on_takes_their_card_along(browser: Browser, address: str) -> None:
    """A card in the PC opens a door as well: it is taken out before, and the PC locks. Nobody else opens the PC."""
    with visit(browser, address) as page:
        page.locator("#put-in").click()
        expect(page.locator(".monitor")).to_have_attribute("data-locked", "false")
        hold(page, "anna", "haupteingang.aussen")
        expect(place(page, "haupteingang.aussen").locator(".answer")).to_have_text("Bitte eintreten.")
        expect(page.locator(".monitor")).to_have_attribute("data-locked", "true")
        expect(page.locator("#pc .answer")).to_have_text("Bildschirm gesperrt")
        expect(page.locator("#pc .slot")).to_contain_text("keine Karte")
        page.locator("input[value=sabine]").check()
        page.locator("#put-in").click()
        expect(page.locator("#pc .answer.no")).to_have_text("An diesem PC ist jemand anderes angemeldet.")
        expect(page.locator(".monitor")).to_have_attribute("data-locked", "true")
        page.locator("#take-out").click()
        expect(page.locator("#pc .slot")).to_contain_text("keine Karte")


def test_without_the_network(browser: Browser, city: DemoCity, address: str) -> None:
    """Every open page says it; doors and terminals answer by themselves; what happened arrives when it is back."""
    with visit(browser, address) as page, visit(browser, address, ENGLISH) as other:
        try:
            press(page, "[data-switch=network] button")
            for one, word in ((page, "getrennt"), (other, "cut")):
                expect(one.locator("[data-switch=network] .badge")).to_have_text(word)
            expect(other.locator("[data-switch=network] .means")).to_contain_text("Doors stay shut")
            clock = place(page, CLOCK)
            expect(clock.locator(".screen")).to_contain_text("Buchen ist gerade nicht möglich.")
            for point in ("bauamt.aussen", CLOCK):
                hold(page, "anna", point)
                expect(place(page, point).locator(".answer.away")).to_have_text("Zentrale nicht erreichbar")
                expect(place(page, point).locator(".why")).to_contain_text("meldet ihn später")
            expect(page.locator("[data-switch=network] .figure")).to_have_text("Aufgehobene Ereignisse: 2")
        finally:
            mend_network(city)
        expect(page.locator("[data-switch=network] .badge")).to_have_text("verbunden")
        expect(clock.locator(".screen")).to_contain_text("Bitte Karte vorhalten", timeout=20_000)
        expect(page.locator("[data-switch=network] .figure")).to_be_empty(timeout=20_000)
        hold(page, "anna", "bauamt.aussen")
        expect(place(page, "bauamt.aussen").locator(".answer")).to_have_text("Bitte eintreten.")


@pytest.mark.logind
def test_the_pc_locks_without_the_network(browser: Browser, city: DemoCity, address: str) -> None:
    """The centre is not needed to lock: whoever takes their card leaves a locked PC behind."""
    with visit(browser, address) as page:
        page.locator("#put-in").click()
        expect(page.locator(".monitor")).to_have_attribute("data-locked", "false")
        try:
            page.locator("[data-switch=network] button").click()
            expect(page.locator("[data-switch=network] .badge")).to_have_text("getrennt")
            page.locator("#take-out").click()
            expect(page.locator(".monitor")).to_have_attribute("data-locked", "true")
            page.locator("#put-in").click()
            expect(page.locator("#pc .answer.away")).to_have_text("Zentrale nicht erreichbar")
            expect(page.locator(".monitor")).to_have_attribute("data-locked", "true")
            page.locator("#take-out").click()
            expect(page.locator("#pc .slot")).to_contain_text("keine Karte")
        finally:
            mend_network(city)


def test_without_the_directory(browser: Browser, city: DemoCity, address: str) -> None:
    """Every open page says it; taps go on from the copy, whose age is shown; nobody can be disabled meanwhile."""
    with visit(browser, address) as page, visit(browser, address, ENGLISH) as other:
        try:
            press(page, "[data-switch=directory] button")
            expect(other.locator("[data-switch=directory] .badge")).to_have_text("does not answer")
            expect(page.locator("[data-switch=directory] .means")).to_contain_text("aus der Kopie der Zentrale")
            expect(page.get_by_role("button", name="Sperren: Anna Schmidt")).to_be_disabled()
            hold(page, "anna", "bauamt.innen")
            expect(place(page, "bauamt.innen").locator(".answer")).to_have_text("Bitte eintreten.")
            age = page.locator("[data-switch=directory] .figure")
            expect(age).to_have_text(re.compile(r"Alter der Verzeichniskopie: [1-9]\d*,\d s"), timeout=10_000)
            expect(page.locator("#state")).to_have_text("eingeschränkt", timeout=10_000)
        finally:
            city.set_directory(running=True)
        expect(page.locator("[data-switch=directory] .badge")).to_have_text("antwortet")
        expect(page.get_by_role("button", name="Sperren: Anna Schmidt")).to_be_enabled()
        expect(page.locator("#state")).to_have_text("bereit", timeout=30_000)


def test_a_card_is_reported_missing_and_found(browser: Browser, address: str) -> None:
    """The desk's report holds at the next tap and shows in every drawer; found again, the card is good again."""
    with visit(browser, address) as page, visit(browser, address, ENGLISH) as other:
        page.locator("input[value=sabine]").check()
        expect(page.locator("#desk-says")).to_have_text("Diese Karte ist gültig.")
        press(page, "#missing")
        expect(page.locator("#desk-says")).to_have_text(re.compile(r"gilt nirgends\. Gilt überall, nach \d+ ms\.$"))
        expect(other.locator(".card", has_text="Sabine Krüger")).to_contain_text("reported missing")
        hold(page, "sabine", "buergerbuero.aussen")
        answer = place(page, "buergerbuero.aussen").locator(".answer")
        expect(answer).to_have_text("Diese Karte ist vorübergehend gesperrt. Bitte an die Kartenstelle wenden.")
        expect(page.locator("#missing")).to_have_text("Karte ist wieder da")
        press(page, "#missing")
        expect(other.locator(".card", has_text="Sabine Krüger")).not_to_contain_text("reported missing")
        hold(page, "sabine", "buergerbuero.aussen")
        expect(answer).to_have_text("Bitte eintreten.")
        for card in ("tomasz", "unbekannt"):
            page.locator(f"input[value={card}]").check()
            expect(page.locator("#missing")).to_be_disabled()


@in_both_languages
def test_the_data_of_the_uses_lie_apart(browser: Browser, address: str, visitor: Visitor) -> None:
    """Five numbers and five pseudonyms, no two alike; a card of nobody has none; a query over two uses is not run."""
    with visit(browser, address, visitor) as page:
        for kind, form in (("number", r"^[0-9a-f]{4} …$"), ("pseudonym", r"^[0-9a-f]{6} …$")):
            expect(page.locator(f".column[data-use=canteen] .{kind}")).to_have_text(re.compile(form))
            assert len(set(page.locator(f".column .{kind}").all_inner_texts())) == len(USES)
        before = int(records(page, "door").inner_text())
        refusing = "serverraum.aussen" if visitor is GERMAN else "bauamt.aussen"
        hold(page, visitor.card, refusing)
        expect(records(page, "door")).to_have_text(str(before + 1))
        press(page, "#link")
        expect(page.locator("#link-note code")).to_contain_text("would link canteen and timeclock")
        numbers = page.locator(".column .number").all_inner_texts()
        page.locator("input[value=kopie]").check()
        expect(page.locator("#nobodys")).to_have_text(visitor.says("nobodys"))
        expect(page.locator(".column[data-use=canteen] .pseudonym")).to_have_text("–")
        if visitor is GERMAN:
            # The copy of Anna's card carries her numbers, and no PIV.
            copied = page.locator(".column .number").all_inner_texts()
            assert [copied[0], *copied[2:]] == [numbers[0], *numbers[2:]]
            assert copied[1] == "–"


def test_the_tour_leads_to_every_place(browser: Browser, address: str) -> None:
    """Five steps, each with a link that brings its place into view."""
    with visit(browser, address) as page:
        links = page.locator(".steps a")
        assert links.count() == 5
        for number in range(5):
            links.nth(number).focus()
            page.keyboard.press("Enter")
            target = links.nth(number).get_attribute("href")
            expect(page.locator(str(target))).to_be_in_viewport()


def test_what_this_machine_lacks_is_said(city: DemoCity, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without printers or a screen the place says why in one sentence, and offers nothing that cannot work."""
    monkeypatch.setattr(city.around, "why_no_printers", "cupsd is not installed")
    monkeypatch.setattr(city.around, "why_no_desk", "Xvfb is not installed")
    for lang, words in (("de", "ist kein Drucksystem zu haben: cupsd"), ("en", "cannot have a print system: cupsd")):
        html = httpx2.get(address, params={"lang": lang}).text
        assert words in html
        assert "Xvfb is not installed." in html
        assert 'id="print"' not in html
        assert "druck.flur" not in html
    refused = httpx2.post(address + "documents", data={"card": "anna"})
    assert (refused.status_code, refused.json()["code"]) == (409, "no_printers")


@pytest.mark.parametrize("size", SIZES)
def test_fits_every_screen(browser: Browser, address: str, size: str) -> None:
    """Nothing runs out of the window at phone, desk and kiosk size, and targets are large enough for a finger."""
    page, complaints = open_page(browser, address, size=size)
    hold(page, "petra", "besuchereingang.innen")
    expect(place(page, "besuchereingang.innen").locator(".answer.no")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    expect(place(page, TILL).locator(".screen .headline")).not_to_be_empty()
    targets = page.locator("button, label.card, a:not(.skip), summary").filter(visible=True)
    heights = targets.evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    assert len(heights) > 60
    assert min(heights) >= 44
    assert complaints == []
    page.close()


DEEDS = {
    "tap": {"card": "anna", "point": "bauamt.aussen"},
    "pc": {"card": "anna"},
    "pc/away": {},
    f"keys/{CLOCK}": {"key": "in"},
    "till": {"dish": "menu"},
    "till/cancel": {},
    "wallet": {"card": "anna"},
    "documents": {"card": "anna"},
    "cards/anna": {"missing": "true"},
    "people/schmidt": {"disabled": "true"},
    "network": {"on": "false"},
    "directory": {"on": "false"},
    "link": {},
}


@pytest.mark.parametrize("deed", DEEDS)
def test_another_site_cannot_use_it(city: DemoCity, address: str, deed: str) -> None:
    """A request that another site's page caused, or one under a foreign host name, is refused and does nothing."""
    cross = httpx2.post(address + deed, data=DEEDS[deed], headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403
    rebound = httpx2.post(address + deed, data=DEEDS[deed], headers={"Host": "evil.example"})
    assert rebound.status_code == 400
    assert (city.cable.plugged, city.directory_runs, "schmidt" in city.disabled) == (True, True, False)


def test_what_cannot_be_done_is_said(address: str) -> None:
    """A card, point, key, dish or person that is not there gives a sentence with a code, not an error page."""
    for deed, fields, word in (
        ("tap", {"card": "anna", "point": "mond.aussen"}, "mond.aussen"),
        ("tap", {"card": "keine", "point": "bauamt.aussen"}, "keine"),
        ("tap", {"card": "anna", "point": "pc.bauamt"}, "put into"),
        ("keys/bauamt.aussen", {"key": "in"}, "no keys"),
        (f"keys/{CLOCK}", {"key": "dance"}, CLOCK),
        ("till", {"dish": "lobster"}, "lobster"),
        ("till/cancel", {}, "nothing waits"),
        ("wallet", {"card": "unbekannt"}, "nobody"),
        ("cards/unbekannt", {"missing": "true"}, "registered"),
        ("cards/tomasz", {"missing": "false"}, "revoked"),
        ("people/niemand", {"disabled": "true"}, "niemand"),
    ):
        refused = httpx2.post(address + deed, data=fields, timeout=20)
        assert (refused.status_code, word in refused.json()["detail"]) == (409, True), refused.text
    assert httpx2.get(address + "apart", params={"card": "keine"}).json()["code"] == "no_such_card"


def test_state_is_left_where_it_was_told(city: DemoCity, tmp_path: Path) -> None:
    """The running city knows its own state folder only; a second one beside it does not disturb it."""
    with running_city(tmp_path / "state") as other:
        assert other.url != city.url
        assert city.health()["status"] == "ready"
