# SPDX-License-Identifier: EUPL-1.2
"""The places of the demonstration city on its page: by keyboard, in two languages, each tells what it did."""

import re

import pytest
from playwright.sync_api import Browser, expect

from cardservice.demo.texts import euros
from pages.visitor import (
    CLOCK,
    ENGLISH,
    OTHER_PRINTER,
    PRINTER,
    TILL,
    Visitor,
    hold,
    hold_by_keyboard,
    in_both_languages,
    place,
    press,
    records,
    visit,
)

pytestmark = pytest.mark.browser


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
        expect(page.locator("#print-note")).to_have_text(visitor.says("sent"))
        hold_by_keyboard(page, PRINTER)
        expect(place(page, PRINTER).locator(".answer.yes")).to_be_visible()
        expect(place(page, PRINTER).locator(".why")).to_contain_text("released")
        expect(trays[0]).to_have_text(str(before[0] + 1))
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
