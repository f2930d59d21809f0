# SPDX-License-Identifier: EUPL-1.2
"""Lists of cards in a real browser: sent, begun and watched by keyboard, in both languages."""

import re
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
BATCH = re.compile(r"/batches/[0-9]+$")
# Mehmet is in IT.
ISSUER = "yilmaz"
GERMAN = ("Liste ansehen", "Karten bestellen", "fertig", "erlaubt sind", "Fortschritt")
ENGLISH = ("Look at the list", "Order the cards", "done", "allowed are", "Progress")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": "issuer", "group": "IT"}]}}
        files = CityFiles(tmp_path_factory.mktemp("lists") / "city", directory.address, None, roles)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        yield running
        running.stop()


def open_lists(page: Page, service: ServiceThread) -> None:
    page.goto(f"{service.url}/batches")
    page.locator("#name").fill(ISSUER)
    page.locator("#password").fill(password_of(ISSUER))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{service.url}/batches")


def send(page: Page, look: str, *lines: str) -> None:
    content = "\n".join(("person;profile", *lines)).encode()
    page.locator("#file").set_input_files({"name": "list.csv", "mimeType": "text/csv", "buffer": content})
    before = page.url
    press(page, page.get_by_role("button", name=look))
    page.wait_for_url(lambda url: url != before and "/batches/lists/" in url)


def check(page: Page) -> None:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (page.url, width)
    found = page.evaluate("rules => axe.run(document, rules)", RULES)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], page.url


@pytest.mark.parametrize(
    ("locale", "profile", "words"),
    [("de-DE", "trainee", GERMAN), ("en-GB", "external", ENGLISH)],
    ids=["de", "en"],
)
def test_a_list_is_sent_begun_and_watched_by_keyboard(
    browser: Browser, service: ServiceThread, locale: str, profile: str, words: tuple[str, ...]
) -> None:
    """A fault first, then the list as it should be; how far it is comes by itself, under the strict policy."""
    look, order, done, allowed, progress = words
    with browser.new_context(locale=locale) as context:
        page = context.new_page()
        open_lists(page, service)
        complaints = complaints_of(page)
        send(page, look, "schmidt;king")
        expect(page.locator("#preview td").last).to_contain_text(allowed)
        send(page, look, f"schmidt;{profile}", f"weber;{profile}")
        press(page, page.get_by_role("button", name=order))
        page.wait_for_url(BATCH)
        expect(page.get_by_role("progressbar", name=progress)).to_be_visible()
        # No page is loaded again: the stream brings it.
        expect(page.locator("#progress .badge.good")).to_have_text(done)
        with page.expect_download() as download:
            press(page, page.locator("a[download][href$='.csv']"))
        assert Path(download.value.path()).read_text("utf-8").count(";done;") == 2
        assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_of_lists_have_no_barrier_that_a_machine_finds(
    browser: Browser, service: ServiceThread, scheme: str
) -> None:
    """The form, a list with a fault, one without, and a batch: at a telephone's width and at a desk's."""
    profile = {"light": "visitor", "dark": "canteen_guest"}[scheme]
    with browser.new_context(locale="de-DE", color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        page.add_init_script(AXE)
        open_lists(page, service)
        check(page)
        send(page, GERMAN[0], "schmidt;king")
        check(page)
        send(page, GERMAN[0], f"schmidt;{profile}")
        check(page)
        press(page, page.get_by_role("button", name=GERMAN[1]))
        page.wait_for_url(BATCH)
        check(page)
