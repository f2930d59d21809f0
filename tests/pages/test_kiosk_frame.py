# SPDX-License-Identifier: EUPL-1.2
"""What the frame of a terminal promises, whichever use fills it; time is the page's own clock, moved by the test."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import complaints_of
from support.kiosk import CLOCK, SETUPS, TILL, Kiosk, KioskThread

from cardservice.agents.messages import PointSetup, Prompt, Sentence
from readers.kiosk import screen as timing
from readers.kiosk import terminals as feeding
from readers.kiosk.faces import FACES, Face
from readers.kiosk.facts import Figure
from readers.kiosk.pages import STATIC

pytestmark = pytest.mark.browser

SIZES = {"kiosk": (1024, 768), "desk": (1280, 800), "phone": (390, 844)}
# The page takes an answer down by itself this much later than the agent.
LATE_MS = 500
SILENCE_MS = 15_000
RETRY_MS = 1_000
TARGET_PX = 44
SECRETS = {"german": "Bezahlt, Frau Muster.", "english": "Paid, Ms Muster.", "figure": "4.711,23"}
BOXES = """all => all.filter(one => one.checkVisibility()).map(one => {
    const box = one.getBoundingClientRect();
    return [one.textContent, box.width, box.height];
})"""
# Whatever a page can keep: what is in it, and what it stores.
KEPT = """() => [document.documentElement.outerHTML, document.title, location.href, JSON.stringify(history.state),
    JSON.stringify({...localStorage}), JSON.stringify({...sessionStorage}), document.cookie,
    ...[...document.querySelectorAll('*')].map(one => JSON.stringify({...one}))].join('\\n')"""
LOCKER = Face(
    words={
        "de": {
            "idle": "Fach wählen",
            "idle_detail": "Danach die Karte.",
            "away_detail": "Kein Fach geht auf.",
            "keys": "Fächer",
            "left_row": "Links",
            "right_row": "Rechts",
            "fact_fee_cents": "Pfand",
            "fact_since_ms": "Belegt seit",
        },
        "en": {
            "idle": "Choose a locker",
            "idle_detail": "Then your card.",
            "away_detail": "No locker opens.",
            "keys": "Lockers",
            "left_row": "Left",
            "right_row": "Right",
            "fact_fee_cents": "Deposit",
            "fact_since_ms": "Taken since",
        },
    },
    keys=("left_row", "right_row"),
    figures=(Figure("since_ms", "time"), Figure("fee_cents", "euros")),
    asked=Figure("fee_cents", "euros"),
)


@pytest.fixture(scope="module")
def kiosk() -> Iterator[KioskThread]:
    running = KioskThread()
    yield running
    running.close()


def until_view(page: Page, view: str) -> None:
    expect(page.locator("html")).to_have_attribute("data-view", view)


@contextmanager
def shown(browser: Browser, kiosk: KioskThread, point: str, view: str = "idle", **options: Any) -> Iterator[Page]:
    """A terminal's page in a context of its own; at the end the browser has complained of nothing but lost feeds."""
    options = {"viewport": {"width": 1024, "height": 768}, "locale": "de-DE", **options}
    context: BrowserContext = browser.new_context(**options)
    page = context.new_page()
    complaints = complaints_of(page)
    page.goto(f"{kiosk.url}/{point}")
    until_view(page, view)
    yield page
    assert [said for said in complaints if "ERR_" not in said] == []
    context.close()


def pay(kiosk: Kiosk) -> None:
    kiosk.answer("till", "green", SECRETS["german"], SECRETS["english"], balance_cents=471_123)


@contextmanager
def agent_that_hangs(kiosk: KioskThread, point: str) -> Iterator[None]:
    """It tells its pages nothing more, although their connection stands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kiosk.bring(lambda real: real.terminals.of(point)), "wake", lambda: None)
        yield


# One after the other, as a card and its answer bring them.
VIEWS: dict[str, Callable[[Kiosk, str], object]] = {
    "idle": lambda kiosk, point: None,
    "chosen": lambda kiosk, point: kiosk.terminals.of(point).screen.choose("in"),
    "pin": lambda kiosk, point: kiosk.ask_pin(point),
    "answer": lambda kiosk, point: kiosk.answer(point, "red", "Nein.", "No."),
    "away": lambda kiosk, point: (kiosk.points[point].card_came(), kiosk.points[point].centre(connected=False)),
}


@pytest.mark.parametrize("point", SETUPS)
def test_every_target_suits_a_finger(browser: Browser, kiosk: KioskThread, point: str) -> None:
    """At least 44 by 44 px whatever is shown, and nothing wider than its screen, at all three sizes."""
    with shown(browser, kiosk, point) as page:
        for view, bring in VIEWS.items():
            if view == "chosen" and point != "clock":
                continue
            kiosk.bring(partial(bring, point=point))
            until_view(page, view)
            for width, height in SIZES.values():
                page.set_viewport_size({"width": width, "height": height})
                targets = page.locator("button, a, input, select, [tabindex='0']").evaluate_all(BOXES)
                assert targets
                assert [one for one in targets if min(one[1:]) < TARGET_PX] == [], (view, width)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (view, width)
    kiosk.bring(lambda real: real.add(SETUPS[point]))


def stop_clock(page: Page) -> None:
    """Load the page anew with a clock that moves when the test says so, and never with the machine's."""
    now = datetime.now(UTC)
    page.clock.install(time=now)
    page.clock.pause_at(now + timedelta(minutes=1))
    page.reload()


@pytest.mark.parametrize("lang", ["de", "en"])
def test_an_answer_is_private_again_after_its_seconds(browser: Browser, kiosk: KioskThread, lang: str) -> None:
    """To the moment, by the page's own clock although the agent hangs; nothing of it is kept anywhere in the page."""
    with shown(browser, kiosk, "till") as page:
        if lang == "en":
            page.get_by_role("button", name="English").click()
            expect(page.locator("html")).to_have_attribute("lang", "en")
        stop_clock(page)
        until_view(page, "idle")
        kiosk.bring(pay)
        until_view(page, "answer")
        told = SECRETS["german" if lang == "de" else "english"]
        assert told in page.evaluate(KEPT)
        with agent_that_hangs(kiosk, "till"):
            page.clock.run_for(timing.ANSWER_MS)
            until_view(page, "answer")
            page.clock.run_for(LATE_MS)
            until_view(page, "gone")
            kept = page.evaluate(KEPT)
            assert [secret for secret in (*SECRETS.values(), "4711", "471123", "4,711.23") if secret in kept] == []
    kiosk.bring(lambda real: real.add(TILL))


def test_the_next_guest_finds_nothing_of_the_one_before(browser: Browser, kiosk: KioskThread) -> None:
    """When the agent itself ends the answer, the page keeps neither words nor figures."""
    with shown(browser, kiosk, "till") as page:
        kiosk.bring(lambda real: (pay(real), real.ask_to_pay(545)))
        until_view(page, "answer")
        # The next card ends it at once.
        kiosk.bring(lambda real: real.points["till"].card_came())
        until_view(page, "reading")
        kept = page.evaluate(KEPT)
        assert [secret for secret in SECRETS.values() if secret in kept] == []
        kiosk.bring(lambda real: real.add(TILL))


def test_a_silent_agent_is_noticed_and_its_return_too(
    browser: Browser, kiosk: KioskThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that stands and says nothing counts as lost after 15 s; the page asks again by itself."""
    monkeypatch.setattr(feeding, "TELL_EVERY_S", 3_600.0)
    with shown(browser, kiosk, "clock") as page:
        stop_clock(page)
        until_view(page, "idle")
        page.clock.run_for(SILENCE_MS - 1_000)
        until_view(page, "idle")
        page.clock.run_for(1_000)
        until_view(page, "gone")
        expect(page.get_by_role("status")).to_contain_text("Es meldet sich von selbst zurück.")
        for key in page.locator(".key").all():
            expect(key).to_be_disabled()
        page.clock.run_for(RETRY_MS)
        until_view(page, "idle")


def test_a_page_outlives_its_server_and_the_centre(browser: Browser, kiosk: KioskThread) -> None:
    """Each loss is said in words of its own, and each return ends it without a hand on the terminal."""
    with shown(browser, kiosk, "till") as page:
        panel = page.get_by_role("status")
        for _ in range(2):
            kiosk.stop()
            expect(panel).to_contain_text("Dieses Terminal ist gerade nicht bereit.")
            kiosk.start()
            until_view(page, "idle")
        kiosk.bring(lambda real: real.points["till"].centre(connected=False))
        expect(panel).to_contain_text("Die Zentrale ist nicht erreichbar.")
        expect(panel).to_contain_text("Bezahlen mit der Karte ist gerade nicht möglich.")
        kiosk.stop()
        expect(panel).to_contain_text("Dieses Terminal ist gerade nicht bereit.")
        kiosk.bring(lambda real: real.points["till"].centre(connected=True))
        kiosk.start()
        until_view(page, "idle")


def test_a_pin_is_typed_and_broken_off_by_keyboard(browser: Browser, kiosk: KioskThread) -> None:
    """The pad takes over from the key that had the keyboard, each of its keys is reached by Tab, and gives it back."""
    with shown(browser, kiosk, "clock") as page:
        key = page.get_by_role("button", name="Kommen", exact=True)
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        expect(key).to_be_focused()
        typed = kiosk.bring(lambda real: real.ask_pin("clock"))
        pad = page.get_by_role("group", name="Bitte PIN eingeben")
        expect(pad).to_be_focused()
        for digit in "123456789":
            page.keyboard.press("Tab")
            button = pad.get_by_role("button", name=digit, exact=True)
            expect(button).to_be_focused()
            assert button.evaluate("one => getComputedStyle(one).outlineStyle") != "none"
            if digit in "246":
                page.keyboard.press("Space")
        expect(page.locator("#dots")).to_have_text("●●●")
        page.keyboard.press("Tab")
        expect(pad.get_by_role("button", name="Löschen")).to_be_focused()
        page.keyboard.press("Space")
        expect(page.locator("#dots")).to_have_text("●●")
        page.keyboard.press("Escape")
        expect(pad).to_have_count(0)
        expect(key).to_be_focused()
        until_view(page, "checking")
        assert kiosk.bring(lambda _: typed.result()) is None
        kiosk.bring(lambda real: real.add(CLOCK))


def test_no_language_outlives_its_speaker(browser: Browser, kiosk: KioskThread) -> None:
    """All of a page changes at once, a key that was pressed stays pressed, and the other way round as well."""
    with shown(browser, kiosk, "clock", has_touch=True) as page:
        page.get_by_role("button", name="Gehen", exact=True).tap()
        until_view(page, "chosen")
        page.get_by_role("button", name="English").tap()
        expect(page.locator("html")).to_have_attribute("lang", "en")
        expect(page.get_by_role("button", name="Leave", exact=True)).to_have_attribute("aria-pressed", "true")
        expect(page.get_by_role("group", name="Choose a booking")).to_be_visible()
        german = {word for name, word in FACES["timeclock"].spoken()["de"].items() if not name.startswith("other_")}
        english = set(FACES["timeclock"].spoken()["en"].values())
        seen = {line.strip() for line in page.locator("body").inner_text().splitlines()}
        assert seen & (german - english) == set()
        page.get_by_role("button", name="Deutsch").tap()
        expect(page.locator("html")).to_have_attribute("lang", "de")
        kiosk.bring(lambda real: real.terminals.of("clock").screen.choose(None))


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_whoever_wants_that(browser: Browser, kiosk: KioskThread, motion: str) -> None:
    """A pressed key shrinks a little, and does not where less motion is asked for; nothing is ever animated."""
    with shown(browser, kiosk, "clock", reduced_motion=motion) as page:
        key = page.get_by_role("button", name="Pause Ende", exact=True)
        key.hover()
        page.mouse.down()
        moved = key.evaluate("one => getComputedStyle(one).transform")
        assert (moved == "none") is (motion == "reduce")
        assert page.evaluate("document.getAnimations().length") == 0
        page.mouse.up()
        until_view(page, "chosen")
        kiosk.bring(lambda real: real.terminals.of("clock").screen.choose(None))


def test_every_wish_for_colours_is_met(browser: Browser, kiosk: KioskThread) -> None:
    """Light, dark and more contrast differ; under the colours of the system a pressed key still stands out."""
    with shown(browser, kiosk, "clock") as page:
        page.get_by_role("button", name="Kommen", exact=True).click()
        until_view(page, "chosen")

        def colours(selector: str) -> tuple[str, str]:
            style = "one => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor]"
            return tuple(page.locator(selector).first.evaluate(style))

        seen = set()
        for scheme in ("light", "dark"):
            for contrast in ("no-preference", "more"):
                page.emulate_media(color_scheme=scheme, contrast=contrast)
                seen.add((*colours("body"), *colours(".detail")))
        assert len(seen) == 4
        page.emulate_media(color_scheme="dark", forced_colors="active", contrast="no-preference")
        assert colours(".key[aria-pressed=true]") != colours(".key[aria-pressed=false]")
        kiosk.bring(lambda real: real.terminals.of("clock").screen.choose(None))


def test_a_further_screen_is_declared_and_nothing_else(
    browser: Browser, kiosk: KioskThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A use nobody wrote a page for: its words, keys, amount, figures and PIN pad are there from its face alone."""
    monkeypatch.setitem(FACES, "locker", LOCKER)  # type: ignore[arg-type]
    setup = PointSetup.model_construct(**CLOCK.model_dump() | {"point": "locker", "use": "locker", "name": "Fächer EG"})
    kiosk.bring(lambda real: real.add(setup))
    with shown(browser, kiosk, "locker") as page:
        panel = page.get_by_role("status")
        expect(panel).to_contain_text("Fach wählen")
        expect(page.locator("#clock")).to_be_hidden()
        page.get_by_role("button", name="Rechts", exact=True).click()
        until_view(page, "chosen")
        assert kiosk.bring(lambda real: real.points["locker"].card_came()) == "right_row"
        asked = Prompt(point="locker", text=Sentence(de="Pfand", en="Deposit"), facts={"fee_cents": 250})
        kiosk.bring(lambda real: real.points["locker"].prompt(asked))
        expect(page.locator("#amount")).to_have_text("2,50\N{NO-BREAK SPACE}€")
        kiosk.bring(lambda real: real.ask_pin("locker"))
        expect(page.get_by_role("group", name="Bitte PIN eingeben")).to_be_visible()
        kiosk.bring(lambda real: real.answer("locker", "green", "Offen.", "Open.", since_ms=1_760_000_000_000))
        expect(page.locator("#facts")).to_have_text("Belegt seit10:53 Uhr")
        kiosk.bring(lambda real: real.points["locker"].centre(connected=False))
        kiosk.bring(lambda real: real.points["locker"].card_came())
        expect(panel).to_contain_text("Kein Fach geht auf.")
    kiosk.bring(lambda real: real.points["locker"].close())


def test_the_list_of_terminals_follows_them(browser: Browser, kiosk: KioskThread) -> None:
    """One that comes stands there without a hand on the screen; as long as nothing changes the keyboard stays."""
    with browser.new_context() as context:
        page = context.new_page()
        complaints = complaints_of(page)
        page.clock.install()
        page.goto(f"{kiosk.url}/not-yet")
        first = page.locator("main a").first
        first.focus()
        with page.expect_response("**/not-yet"):
            page.clock.run_for(5_000)
        expect(first).to_be_focused()
        late = CLOCK.model_copy(update={"point": "not-yet", "name": "Nebeneingang"})
        kiosk.bring(lambda real: real.add(late))
        page.clock.run_for(5_000)
        expect(page.get_by_role("heading", level=1)).to_have_text("Nebeneingang")
        assert [said for said in complaints if "404" not in said] == []
    kiosk.bring(lambda real: real.points["not-yet"].close())


def test_the_frame_names_no_use() -> None:
    """Neither the page, its style nor its scripts know which uses there are."""
    frame = STATIC.parent
    files = [*frame.glob("static/*.js"), *frame.glob("static/*.css"), *frame.glob("templates/*.html")]
    assert len(files) >= 8
    for file in files:
        assert re.findall("|".join((*FACES, "workstation")), file.read_text("utf-8")) == [], file.name
