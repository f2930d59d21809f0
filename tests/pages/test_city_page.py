# SPDX-License-Identifier: EUPL-1.2
"""The demonstration's page in a real browser, as a visitor uses it: by keyboard, in two languages, at three sizes."""

import re
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from cardservice.demo.city import DemoCity
from pages.visitor import (
    CLOCK,
    ENGLISH,
    GERMAN,
    SIZES,
    TILL,
    USES,
    Visitor,
    hold,
    in_both_languages,
    mend_network,
    open_page,
    place,
    press,
    records,
    running_city,
    visit,
)

pytestmark = pytest.mark.browser


def test_a_card_opens_a_door(browser: Browser, address: str) -> None:
    """The door stands open, the sentence is German, the stages are shown, and the strike locks again by itself."""
    page, complaints = open_page(browser, address)
    hold(page, "mehmet", "serverraum.aussen")
    place = page.get_by_role("article", name="Serverraum")
    # First what stays for seconds alone.
    expect(place.locator(".word")).to_have_text("offen")
    expect(place.locator(".answer")).to_have_text("Bitte eintreten.")
    expect(page.locator("#taps li").first).to_contain_text("Entscheidung")
    expect(place.locator(".word")).to_have_text("verriegelt")
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
        expect(clock.locator(".screen")).to_contain_text("Bitte Karte vorhalten")
        expect(page.locator("[data-switch=network] .figure")).to_be_empty()
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
            expect(age).to_have_text(re.compile(r"Alter der Verzeichniskopie: [1-9]\d*,\d s"))
            expect(page.locator("#state")).to_have_text("eingeschränkt")
        finally:
            city.set_directory(running=True)
        expect(page.locator("[data-switch=directory] .badge")).to_have_text("antwortet")
        expect(page.get_by_role("button", name="Sperren: Anna Schmidt")).to_be_enabled()
        expect(page.locator("#state")).to_have_text("bereit")


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
