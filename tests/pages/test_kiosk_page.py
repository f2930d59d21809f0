# SPDX-License-Identifier: EUPL-1.2
"""The kiosk pages in a real browser, used as at a terminal: by keyboard and finger, in German and English."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect
from support.browser import complaints_of, launch_options
from support.kiosk import CLOCK, Kiosk

from cardservice.agents.messages import Prompt, Sentence
from readers.kiosk import screen as timing

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SIZES = {"kiosk": (1024, 768), "desk": (1280, 800), "phone": (390, 844)}
LONG = "Sie haben vor weniger als einer Minute schon gebucht. " * 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(**launch_options())
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="module")
async def kiosk() -> AsyncIterator[Kiosk]:
    running = Kiosk()
    await running.start()
    yield running
    await running.stop()


@contextlib.asynccontextmanager
async def opened(
    browser: Browser, kiosk: Kiosk, point: str, *, size: str = "kiosk", touch: bool = False
) -> AsyncIterator[tuple[Page, list[str]]]:
    """The terminal's page, and everything the browser complains about."""
    width, height = SIZES[size]
    context = await browser.new_context(
        viewport={"width": width, "height": height}, has_touch=touch, timezone_id="Asia/Tokyo", locale="en-US"
    )
    page = await context.new_page()
    complaints = complaints_of(page)
    await page.goto(f"http://127.0.0.1:{kiosk.port}/{point}")
    await until_view(page, "idle")
    yield page, complaints
    await context.close()


async def until_view(page: Page, view: str) -> None:
    await expect(page.locator("html")).to_have_attribute("data-view", view)


async def focus_by_tab(page: Page, name: str) -> None:
    """Press Tab until the button of this name has the focus."""
    button = page.get_by_role("button", name=name, exact=True)
    for _ in range(10):
        await page.keyboard.press("Tab")
        if await button.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"no way to {name} by keyboard")


@dataclass(frozen=True)
class Spoken:
    """What a page says in one language."""

    language: str
    first_key: str
    chosen: str
    ended: str
    today: str
    amount: str
    paid: str
    balance: str


GERMAN = Spoken(
    "de",
    "Kommen",
    "Jetzt Karte vorhalten.",
    "Pause beendet.",
    "Heute3 Std. 12 Min.",
    "5,45\N{NO-BREAK SPACE}€",
    "Bezahlt.",
    "23,10\N{NO-BREAK SPACE}€",
)
ENGLISH = Spoken(
    "en", "Arrive", "Now present your card.", "Break ended.", "Today3 h 12 min", "€5.45", "Paid.", "€23.10"
)
in_both_languages = pytest.mark.parametrize("spoken", [GERMAN, ENGLISH], ids=["de", "en"])


@in_both_languages
async def test_booking_by_keyboard_alone(browser, kiosk, monkeypatch, spoken):
    """Language, key, taking it back and another key without a mouse; the answer comes, and goes by itself."""
    monkeypatch.setattr(timing, "ANSWER_MS", 5_000)
    async with opened(browser, kiosk, "clock") as (page, complaints):
        if spoken is ENGLISH:
            await focus_by_tab(page, "English")
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("button", name="Deutsch")).to_be_focused()
        await expect(page.locator("html")).to_have_attribute("lang", spoken.language)
        await focus_by_tab(page, spoken.first_key)
        await page.keyboard.press("Enter")
        pressed = page.get_by_role("button", name=spoken.first_key, exact=True)
        await expect(pressed).to_have_attribute("aria-pressed", "true")
        await expect(page.get_by_role("status")).to_contain_text(spoken.chosen)
        await page.keyboard.press("Escape")
        await expect(pressed).to_have_attribute("aria-pressed", "false")
        await expect(pressed).to_be_focused()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Space")
        await until_view(page, "chosen")
        assert kiosk.points["clock"].card_came() == "break_end"
        await until_view(page, "reading")
        told = {"kind": "break_end", "at_ms": 1_760_000_000_000, "today_ms": 11_520_000, "working": True}
        kiosk.answer("clock", "green", "Pause beendet.", "Break ended.", **told)
        panel = page.get_by_role("status")
        await expect(panel).to_contain_text(spoken.ended)
        await expect(panel).to_contain_text(spoken.today)
        # The instant is in the city's time, wherever the browser believes to be.
        await expect(panel).to_contain_text("10:53")
        await until_view(page, "idle")
        assert spoken.ended not in await page.content()
        await expect(page.locator("html")).to_have_attribute("lang", "de")
        assert complaints == []


@in_both_languages
async def test_paying(browser, kiosk, monkeypatch, spoken):
    """The amount before the card, then the answer with what is left; the next guest sees neither."""
    monkeypatch.setattr(timing, "ANSWER_MS", 5_000)
    async with opened(browser, kiosk, "till") as (page, complaints):
        if spoken is ENGLISH:
            await page.get_by_role("button", name="English").click()
        ask = Sentence(de="Bitte Karte vorhalten", en="Please present your card")
        kiosk.points["till"].prompt(Prompt(point="till", text=ask, facts={"amount_cents": 545}, for_ms=60_000))
        await expect(page.locator("#amount")).to_have_text(spoken.amount)
        kiosk.points["till"].card_came()
        kiosk.points["till"].prompt(Prompt(point="till"))
        kiosk.answer("till", "green", "Bezahlt.", "Paid.", amount_cents=545, own_share_cents=195, balance_cents=2_310)
        await expect(page.get_by_role("status")).to_contain_text(spoken.paid)
        await expect(page.locator("#facts")).to_contain_text(spoken.balance)
        await until_view(page, "idle")
        assert spoken.balance not in await page.content()
        assert complaints == []


@pytest.mark.parametrize(("mode", "asks"), [("keys", "Bitte Buchung wählen"), ("alternating", "Bitte Karte vorhalten")])
async def test_a_time_clock_asks_for_what_it_needs(browser, kiosk, mode, asks):
    """For a key first, or for the card alone, as the centre set the point up; an open page follows a change."""
    async with opened(browser, kiosk, "clock") as (page, _):
        kiosk.points["clock"].set_up(CLOCK.model_copy(update={"options": {"mode": mode}}))
        await expect(page.locator("#headline")).to_have_text(asks)


async def test_printing_says_how_many_come_out(browser, kiosk):
    async with opened(browser, kiosk, "printer") as (page, complaints):
        await expect(page.get_by_role("status")).to_contain_text("Bitte Karte vorhalten")
        kiosk.answer("printer", "green", "Ihre Aufträge kommen.", "Your jobs come out.", released=3, waiting=1)
        await expect(page.locator("#facts")).to_have_text("Ausgegeben3Noch wartend1")
        assert complaints == []


async def test_an_absent_centre_is_said_and_the_keys_are_dead(browser, kiosk):
    """In words, and honestly: no key does anything until the centre is back, which the page notices by itself."""
    async with opened(browser, kiosk, "clock") as (page, complaints):
        kiosk.points["clock"].centre(connected=False)
        panel = page.get_by_role("status")
        await expect(panel).to_contain_text("Die Zentrale ist nicht erreichbar.")
        await expect(panel).to_contain_text("Buchen ist gerade nicht möglich.")
        for key in await page.locator(".key").all():
            await expect(key).to_be_disabled()
        await page.locator(".key").first.focus()
        await page.keyboard.press("Enter")
        kiosk.points["clock"].centre(connected=True)
        await until_view(page, "idle")
        assert kiosk.points["clock"].card_came() is None
        assert complaints == []


async def test_the_page_comes_back_by_itself_when_the_agent_does(browser, kiosk):
    """While the agent restarts the page says that the terminal is not ready; nobody has to reload it."""
    async with opened(browser, kiosk, "clock") as (page, complaints):
        await kiosk.stop()
        await expect(page.get_by_role("status")).to_contain_text("Dieses Terminal ist gerade nicht bereit.")
        await kiosk.start()
        await until_view(page, "idle")
        assert [said for said in complaints if "ERR_" not in said] == []


async def test_an_answer_goes_although_the_agent_hangs(browser, kiosk, monkeypatch):
    """The page takes it down itself when nothing tells it to."""
    monkeypatch.setattr(timing, "ANSWER_MS", 3_000)
    async with opened(browser, kiosk, "till") as (page, _):
        kiosk.answer("till", "green", "Bezahlt.", "Paid.", balance_cents=1)
        await until_view(page, "answer")
        monkeypatch.setattr(kiosk.terminals.of("till"), "wake", lambda: None)
        await until_view(page, "gone")
        assert "Bezahlt" not in await page.content()


async def test_a_double_tap_with_the_finger_is_one_choice(browser, kiosk):
    """The second touch lands on the same key and changes nothing; the card gets it once."""
    async with opened(browser, kiosk, "clock", size="phone", touch=True) as (page, complaints):
        key = page.get_by_role("button", name="Gehen", exact=True)
        await key.tap()
        await key.tap()
        await until_view(page, "chosen")
        await expect(key).to_have_attribute("aria-pressed", "true")
        assert (kiosk.points["clock"].card_came(), kiosk.points["clock"].card_came()) == ("out", None)
        assert complaints == []


@pytest.mark.parametrize("size", SIZES)
async def test_fits_every_screen_and_nothing_moves(browser, kiosk, size):
    """No text runs out of its place, targets suit a finger, and no key moves while answers come and go."""
    async with opened(browser, kiosk, "clock", size=size) as (page, _):
        places = (
            "all => all.map(one => { const box = one.getBoundingClientRect(); return [box.x, box.y, box.height]; })"
        )
        keys = page.locator(".key")
        at_rest = await keys.evaluate_all(places)
        await keys.first.click()
        await until_view(page, "chosen")
        heights = [height for _, _, height in await page.locator("button").evaluate_all(places)]
        assert len(heights) == 6
        assert min(heights) >= 44
        assert await keys.evaluate_all(places) == at_rest
        kiosk.points["clock"].card_came()
        kiosk.answer("clock", "red", LONG[:200], LONG[:200], kind="in", at_ms=1, today_ms=36_000_000, working=False)
        await until_view(page, "answer")
        assert await keys.evaluate_all(places) == at_rest
        for name in ("html", "#panel"):
            fits = "one => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight"
            assert await page.locator(name).evaluate(fits), f"{name} is too small for its content"


async def pin_asked(
    kiosk: Kiosk, page: Page, for_ms: int = 20_000, *, point: str = "clock"
) -> "asyncio.Future[str | None]":
    """The PIN is asked for at a terminal, as by its tap; waits until the page shows it."""
    pad = kiosk.points[point].pad
    assert pad is not None
    kiosk.points[point].card_came()
    typed = pad.ask(for_ms)
    await until_view(page, "pin")
    return typed


@pytest.mark.parametrize("by", ["finger", "keyboard"])
async def test_a_pin_is_typed_by_finger_or_keyboard_and_never_seen(browser, kiosk, by):
    """Masked, with a way to correct; OK only with enough digits; afterwards the page has forgotten them."""
    async with opened(browser, kiosk, "clock", touch=by == "finger") as (page, complaints):
        typed = await pin_asked(kiosk, page)
        await expect(page.locator("#headline")).to_have_text("Bitte PIN eingeben")
        await expect(page.locator("#keys")).to_be_hidden()
        pad = page.get_by_role("group", name="Bitte PIN eingeben")

        async def press(name: str, key: str) -> None:
            if by == "finger":
                await pad.get_by_role("button", name=name, exact=True).tap(force=True)
            else:
                await page.keyboard.press(key)

        for digit in "7049":
            await press(digit, digit)
        await press("Löschen", "Backspace")
        await expect(page.locator("#send")).to_have_attribute("aria-disabled", "true")
        await press("OK", "Enter")
        for digit in "28":
            await press(digit, digit)
        await expect(page.locator("#dots")).to_have_text("●●●●●")
        await expect(page.locator("#dots")).to_have_attribute("aria-label", "5 Ziffern eingegeben")
        assert "70428" not in await page.content()
        assert not typed.done()
        await press("OK", "Enter")
        async with asyncio.timeout(10):
            assert await typed == "70428"
        await until_view(page, "checking")
        await expect(page.locator("#headline")).to_have_text("Einen Moment bitte")
        await expect(pad).to_have_count(0)
        assert complaints == []


async def test_digits_are_gone_when_their_time_is_over_or_somebody_else_is_asked(browser, kiosk):
    """What one person left standing is not the beginning of the next one's PIN; cancelling hands on nothing."""
    async with opened(browser, kiosk, "clock") as (page, complaints):
        first = await pin_asked(kiosk, page)
        await page.keyboard.type("704")
        first.cancel()
        second = await pin_asked(kiosk, page)
        await expect(page.locator("#dots")).to_have_text("")
        await page.keyboard.type("704")
        await page.get_by_role("button", name="Abbrechen").click()
        async with asyncio.timeout(10):
            assert await second is None
        third = await pin_asked(kiosk, page, for_ms=5_000)
        await page.keyboard.type("704")
        await expect(page.locator("#pad")).to_have_count(0)
        assert not third.done()
        assert complaints == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("point", ["clock", "till"])
async def test_the_pad_fits_every_screen(browser, kiosk, point, size):
    """Keys a finger hits, none over another, nothing to scroll; whoever pays sees what while they type."""
    async with opened(browser, kiosk, point, size=size) as (page, _):
        if point == "till":
            ask = Sentence(de="Bitte Karte vorhalten", en="Please present your card")
            kiosk.points["till"].prompt(Prompt(point="till", text=ask, facts={"amount_cents": 123_456}, for_ms=60_000))
        typed = await pin_asked(kiosk, page, point=point)
        await expect(page.locator("#amount")).to_have_text("1.234,56\N{NO-BREAK SPACE}€" if point == "till" else "")
        for digit in "704281530942":
            await page.keyboard.press(digit)
        boxes = [await key.bounding_box() for key in await page.locator("#pad button").all()]
        assert len(boxes) == 12
        assert min(box["height"] for box in boxes) >= 48
        assert min(box["width"] for box in boxes) >= 80
        for name in ("html", "#panel"):
            fits = "one => one.scrollWidth <= one.clientWidth && one.scrollHeight <= one.clientHeight"
            assert await page.locator(name).evaluate(fits), f"{name} is too small for its content"
        typed.cancel()
        kiosk.points["till"].prompt(Prompt(point="till"))
