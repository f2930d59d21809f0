# SPDX-License-Identifier: EUPL-1.2
"""Zones, points, schedules and grants in a real browser: by keyboard, in both languages, at three sizes, by axe."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import complaints_of, press
from support.service import CityFiles, ServiceThread, directory_in_thread

from cardservice.database import write
from cardservice.people.web_sessions import web_session
from city.people import password_of

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
SIZES = ((390, 844), (1280, 900), (1024, 768))
# Mehmet is in IT.
ADMINISTRATOR = "yilmaz"
DOOR = "bauamt.aussen"
PREVIEW = "/access/new/grant?step=preview&effect=grant&group=IT&zone=bauamt&schedule=buerozeit"
PAGES = (
    *("/access/zones", "/access/zones/rathaus", "/access/zones/rathaus/change", "/access/zones/rathaus/remove"),
    *("/access/points", f"/access/points/{DOOR}", f"/access/points/{DOOR}/change", f"/access/points/{DOOR}/remove"),
    *("/access/schedules", "/access/schedules/buerozeit", "/access/schedules/buerozeit/change"),
    *("/access/import", "/access/point-classes", "/access/point-classes/office/change", "/access/new/point-class"),
    *("/access/new/schedule", "/access/new/special-days", "/access/choose/person"),
    *("/access/grants", "/access/grants/1", "/access/grants/1/change", "/access/grants/1/end"),
    *(PREVIEW, "/access/new/grant?step=preview&effect=block", "/access/new/zone?step=preview&code=x&name="),
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": role, "group": "IT"} for role in ("administrator", "auditor")]}}
        files = CityFiles(tmp_path_factory.mktemp("access") / "city", directory.address, None, roles)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        running.wait_health(lambda state: state["points"] == points)
        yield running
        running.stop()


def signed_in(context: BrowserContext, service: ServiceThread, path: str) -> Page:
    page = context.new_page()
    page.goto(service.url + path)
    page.locator("#name").fill(ADMINISTRATOR)
    page.locator("#password").fill(password_of(ADMINISTRATOR))
    page.keyboard.press("Enter")
    page.wait_for_url(service.url + path)
    return page


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("de-DE", ("Hier freigeben", "Speichern", "Jetzt beenden", "Rückgängig", "jederzeit")),
        ("en-GB", ("Grant here", "Save", "End it now", "Undo", "at any time")),
    ],
    ids=["de", "en"],
)
def test_a_grant_is_made_ended_and_had_back_by_keyboard(
    browser: Browser, service: ServiceThread, locale: str, words: tuple[str, ...]
) -> None:
    """From a point: the group found as one types, the effect first, then saved; ended; undone. No complaint."""
    here, save, end, undo, always = words
    with browser.new_context(locale=locale) as context:
        page = signed_in(context, service, "/access/points")
        complaints = complaints_of(page)
        page.locator("#text").focus()
        page.keyboard.type("bauamt, au")
        press(page, page.locator(f"#found a[href='/access/points/{DOOR}']"))
        page.wait_for_url(f"**/access/points/{DOOR}")
        expect(page.locator("#rules, [hx-get] table").first).to_be_visible()
        press(page, page.get_by_role("button", name=here))
        page.locator("#group").focus()
        page.keyboard.type("bürger")
        expect(page.locator("#groups option[value='Bürgerbüro']")).to_be_attached()
        page.locator("#group").fill("Bürgerbüro")
        page.keyboard.press("Enter")
        preview = page.locator("#preview")
        expect(preview.locator("li strong")).to_have_text(["1 person"] if locale == "en-GB" else ["1 Person"])
        press(page, preview.get_by_role("button", name=save))
        page.wait_for_url("**/access/grants/*?done=added")
        expect(page.locator("dl.facts")).to_contain_text(always)
        press(page, page.get_by_role("button", name=end))
        press(page, page.locator("#preview").get_by_role("button", name=end))
        expect(page.locator("dl.facts .badge").first).not_to_have_class("badge good")
        press(page, page.get_by_role("button", name=undo))
        page.wait_for_url("**?done=restored")
        expect(page.locator("dl.facts .badge").first).to_have_class("badge good")
        press(page, page.locator("a[href$='/remove']"))
        press(page, page.locator("#preview button[type=submit]"))
        expect(page.locator("form[action='/access/grants/restore']")).to_be_visible()
        assert complaints == []


def test_what_is_found_keeps_the_keyboard_when_it_is_found_again(browser: Browser, service: ServiceThread) -> None:
    """A list that is replaced while somebody stands on a line leaves the keyboard on that line."""
    with browser.new_context(locale="de-DE") as context:
        page = signed_in(context, service, "/access/points")
        line = page.locator(f"#found a[href='/access/points/{DOOR}']")
        line.focus()
        line.evaluate("one => { one.dataset.before = '' }")
        page.locator("#text").evaluate("one => one.form.requestSubmit()")
        expect(line).not_to_have_attribute("data-before", "")
        expect(line).to_be_focused()


def test_two_clerks_at_one_zone_and_a_refusal_at_its_field(browser: Browser, service: ServiceThread) -> None:
    """Who comes second sees what the first one changed beside their own; what cannot be is told at the field."""
    path = "/access/zones/technik/change"
    with browser.new_context(locale="de-DE") as context:
        page = signed_in(context, service, path)
        complaints = complaints_of(page)
        other = context.new_page()
        other.goto(service.url + path)
        for clerk, name in ((page, "Haustechnik"), (other, "Gebäudetechnik")):
            clerk.locator("#name").fill(name)
            press(clerk, clerk.get_by_role("button", name="Wirkung zeigen"))
        press(page, page.get_by_role("button", name="Speichern"))
        page.wait_for_url("**/access/zones/technik?done=saved")
        press(other, other.get_by_role("button", name="Speichern"))
        expect(other.locator("[role=alert] td")).to_have_text(["Haustechnik", "Gebäudetechnik"])
        expect(other.locator("#name")).to_have_value("Gebäudetechnik")
        page.goto(f"{service.url}/access/zones/rathaus/change")
        page.locator("#level").select_option("card_pin")
        press(page, page.get_by_role("button", name="Wirkung zeigen"))
        expect(page.locator("#level")).to_have_attribute("aria-invalid", "true")
        press(page, page.locator("[role=alert] a"))
        assert page.evaluate("document.activeElement.id || location.hash") in {"level", "#level"}
        assert complaints == []


def test_whoever_has_to_confirm_their_password_comes_back_to_what_they_typed(
    browser: Browser, service: ServiceThread
) -> None:
    """The preview is an address: after the password it stands there again, and saving goes on."""
    with browser.new_context(locale="en-GB") as context:
        page = signed_in(context, service, "/access/new/zone")
        page.locator("#code").fill("anbau")
        page.locator("#name").fill("Anbau")
        press(page, page.get_by_role("button", name="Show the effect"))
        with service.files.stores() as databases, write(databases.state) as connection:
            connection.execute(sa.update(web_session).values(confirmed_ms=web_session.c.confirmed_ms - 3_600_000))
        press(page, page.locator("#preview").get_by_role("button", name="Save"))
        page.wait_for_url("**/confirm?*")
        page.locator("#password").fill(password_of(ADMINISTRATOR))
        page.keyboard.press("Enter")
        page.wait_for_url("**/access/new/zone?*")
        press(page, page.locator("#preview").get_by_role("button", name="Save"))
        page.wait_for_url("**/access/zones/anbau?done=saved")


def test_no_page_has_a_barrier_that_a_machine_finds(browser: Browser, service: ServiceThread) -> None:
    """WCAG 2.1 A and AA of every page, in light and dark; none is wider than the window."""
    # The policy of the pages forbids the checker's own script; nothing moves, so that no colour is between two.
    with browser.new_context(locale="de-DE", bypass_csp=True, reduced_motion="reduce") as context:
        page = signed_in(context, service, "/access/zones")
        for path in PAGES:
            fits(page, service, path)
            page.add_script_tag(content=AXE)
            for scheme, rules in (("light", RULES), ("dark", COLOURS)):
                page.emulate_media(color_scheme=scheme)
                found = page.evaluate("rules => axe.run(document, rules)", rules)
                assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], (path, scheme)


def test_every_page_fits_in_english_too_and_no_browser_complains(browser: Browser, service: ServiceThread) -> None:
    """A telephone, a desk, a terminal; under the pages' own policy the console stays empty."""
    with browser.new_context(locale="en-GB") as context:
        page = signed_in(context, service, "/access/zones")
        complaints = complaints_of(page)
        for path in PAGES:
            fits(page, service, path)
        assert complaints == []


def fits(page: Page, service: ServiceThread, path: str) -> None:
    response = page.goto(service.url + path)
    assert response is not None
    assert response.status == 200, path
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
