# SPDX-License-Identifier: EUPL-1.2
"""Somebody in front of the demonstration's page: what they see there and do, with the mouse or by keyboard."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from support.browser import complaints_of
from support.waiting import wait_until

from cardservice.demo.city import AGENT, DemoCity, Options
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.demo.texts import Language, page_words, script_words

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


def open_page(browser: Browser, address: str, *, locale: str = "de-DE", size: str = "desk") -> tuple[Page, list[str]]:
    """Open the page; the list collects everything the browser complains about."""
    width, height = SIZES[size]
    page = browser.new_page(locale=locale, viewport={"width": width, "height": height})
    complaints = complaints_of(page)
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
