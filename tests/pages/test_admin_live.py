# SPDX-License-Identifier: EUPL-1.2
"""Taps and doors as they happen, in a real browser: by keyboard alone, in both languages."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from service_http.conftest import City, build
from support.browser import complaints_of, press
from support.door_agent import DoorAgent, at_the_doors
from support.doors import DOOR, state
from support.service import directory_in_thread

from cardservice.agents.messages import OutputState
from city.people import password_of

pytestmark = pytest.mark.browser
# Mehmet is in IT, Karl's colleague Jonas is in the town hall like everybody.
ANYBODY, SERVERS = "yilmaz", "serverraum.aussen"
ROLES = [{"role": "facility", "group": "IT"}, {"role": "auditor", "group": "IT"}]


@dataclass(frozen=True)
class Spoken:
    """What the pages say in one language."""

    locale: str
    connected: str
    lost: str
    pause: str
    go_on: str
    waits: str
    refused: str
    over: str
    released: str
    too_long: str
    opened: str
    away: str
    lock: str
    locked: str
    end: str


GERMAN = Spoken(
    locale="de-DE",
    connected="Verbunden",
    lost="Getrennt, neuer Versuch …",
    pause="Anhalten",
    go_on="Weiter",
    waits="Neue Zeilen, die warten: 1",
    refused="Keine Freigabe nennt diese Person",
    over="Sie sind abgemeldet.",
    released="entriegelt",
    too_long="zu lange offen",
    opened="Die Tür wurde entriegelt.",
    away="kann nicht geöffnet werden: ihr Agent ist nicht verbunden",
    lock="2 Türen jetzt abriegeln",
    locked="abgeriegelt",
    end="Beenden: 2 Türen öffnen wieder mit Karte",
)
ENGLISH = Spoken(
    locale="en-GB",
    connected="Connected",
    lost="Disconnected, trying again …",
    pause="Pause",
    go_on="Go on",
    waits="New rows that wait: 1",
    refused="No grant names this person",
    over="You are signed out.",
    released="released",
    too_long="open for too long",
    opened="The door was released.",
    away="cannot be opened: its agent is not connected",
    lock="Lock 2 doors down now",
    locked="locked down",
    end="End it: 2 doors open by card again",
)
BOTH = pytest.mark.parametrize("spoken", [GERMAN, ENGLISH], ids=["de", "en"])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with directory_in_thread() as directory:
        made = build(directory, tmp_path_factory.mktemp("live"), None, **{"": {"roles": ROLES}})
        yield made
        made.close()


@pytest.fixture
def agent(office: City) -> Iterator[DoorAgent]:
    with at_the_doors(office) as running:
        yield running


@pytest.fixture
def visit(browser: Browser, office: City, spoken: Spoken) -> Iterator[tuple[BrowserContext, Page, list[str]]]:
    """Somebody who signed in, and what their browser complains of."""
    context = browser.new_context(locale=spoken.locale)
    page = context.new_page()
    complaints = complaints_of(page)
    page.goto(f"{office.service.url}/login")
    write(page, "name", ANYBODY)
    write(page, "password", password_of(ANYBODY))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{office.service.url}/")
    yield context, page, complaints
    context.close()


def write(page: Page, field: str, text: str) -> None:
    """Go to a field and type."""
    page.locator(f"#{field}").focus()
    page.keyboard.type(text)


@BOTH
def test_taps_come_by_themselves_and_can_be_held_back(
    office: City, agent: DoorAgent, visit: tuple[BrowserContext, Page, list[str]], spoken: Spoken
) -> None:
    """A row on top a moment after its tap; while paused it waits; signed out elsewhere, the page says so."""
    context, page, complaints = visit
    page.goto(f"{office.service.url}/live")
    rows, connection = page.locator("#rows tr"), page.locator("#connection")
    expect(connection).to_contain_text(spoken.connected)
    before = rows.count()
    agent.tap("sabine", SERVERS)
    expect(rows).to_have_count(before + 1)
    expect(rows.first).to_contain_text(spoken.refused)
    expect(page.locator("#empty")).to_be_hidden()
    pause = page.get_by_role("button", name=spoken.pause)
    press(page, pause)
    agent.tap("sabine", DOOR)
    expect(connection).to_contain_text(spoken.waits)
    expect(rows).to_have_count(before + 1)
    press(page, page.get_by_role("button", name=spoken.go_on))
    expect(rows).to_have_count(before + 2)
    expect(rows.first).to_contain_text(DOOR)
    page.reload()
    expect(connection).to_contain_text(spoken.connected)
    expect(rows).to_have_count(before + 2)
    other = context.new_page()
    other.goto(f"{office.service.url}/")
    press(other, other.locator("form[action='/logout'] button"))
    expect(page.get_by_role("alert")).to_contain_text(spoken.over)
    assert complaints == []


@pytest.mark.parametrize("spoken", [GERMAN], ids=["de"])
def test_a_connection_that_broke_comes_back_and_shows_nothing_twice(
    office: City, visit: tuple[BrowserContext, Page, list[str]], spoken: Spoken
) -> None:
    """In words while it is away; what was there stays once, what comes afterwards is added."""
    _, page, _ = visit
    rows, connection = page.locator("#rows tr"), page.locator("#connection")
    page.goto(f"{office.service.url}/live")
    expect(connection).to_contain_text(spoken.connected)
    with at_the_doors(office) as agent:
        before = rows.count()
        agent.tap("sabine", SERVERS)
        expect(rows).to_have_count(before + 1)
    office.files.configure({"service": {"port": urlsplit(office.service.url).port}})
    office.service.stop()
    expect(connection).to_have_text(spoken.lost)
    office.service.start()
    expect(connection).to_contain_text(spoken.connected)
    with at_the_doors(office) as agent:
        agent.tap("sabine", SERVERS)
        expect(rows).to_have_count(before + 2)
    office.files.configure({"service": {"port": 0}})


@BOTH
def test_doors_are_watched_opened_and_locked_down_by_keyboard(
    office: City, visit: tuple[BrowserContext, Page, list[str]], spoken: Spoken
) -> None:
    """Every change shows by itself; what has the focus keeps it; two steps to each deed, and a way back."""
    _, page, complaints = visit
    page.goto(f"{office.service.url}/doors")
    row = page.locator(f"[id='door-{DOOR}']")
    expect(row).to_contain_text(spoken.away)
    with at_the_doors(office) as agent:
        opening = page.locator(f"[id='open-{DOOR}']")
        opening.focus()
        agent.say(OutputState(point=DOOR, state="released", led="green", buzzer="ok", at_ms=1), state("open"))
        expect(row).to_contain_text(spoken.released)
        expect(opening).to_be_focused()
        agent.say(state("open", "held_open", 7_000))
        expect(page.locator("#alarms")).to_contain_text(spoken.too_long)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{office.service.url}/doors/open/{DOOR}")
        # The field has the focus already.
        expect(page.locator("#reason")).to_be_focused()
        page.keyboard.type("Lieferung")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text(spoken.opened)
        assert agent.opened == [DOOR]
        page.goto(f"{office.service.url}/doors")
        press(page, page.locator("main a[href='/doors/lockdowns']"))
        press(page, page.locator("a[href='/doors/lockdowns/bauamt']"))
        expect(page.get_by_role("button", name=spoken.lock)).to_be_visible()
        expect(page.locator("#reason")).to_be_focused()
        page.keyboard.type("Übung")
        page.keyboard.press("Enter")
        page.wait_for_url(f"{office.service.url}/doors")
        expect(row).to_contain_text(spoken.locked)
        expect(page.locator("#lockdowns")).to_contain_text("Übung")
        press(page, page.locator("#lockdowns a"))
        press(page, page.get_by_role("button", name=spoken.end))
        page.wait_for_url(f"{office.service.url}/doors")
        expect(page.locator("#lockdowns li")).to_have_count(0)
        expect(opening).to_be_visible()
        agent.say(state("closed", "none", 8_000))
        expect(page.locator("#alarms li")).to_have_count(0)
    expect(row).to_contain_text(spoken.away)
    assert complaints == []


@pytest.mark.parametrize("spoken", [GERMAN], ids=["de"])
def test_without_scripts_the_pages_are_plain_lists(
    browser: Browser, office: City, visit: tuple[BrowserContext, Page, list[str]], spoken: Spoken
) -> None:
    """What happened until then stands there, and how to load it again; doors are opened all the same."""
    context, _, _ = visit
    with browser.new_context(
        locale=spoken.locale, java_script_enabled=False, storage_state=context.storage_state()
    ) as plain:
        page = plain.new_page()
        with at_the_doors(office) as agent:
            agent.tap("sabine", SERVERS)
            page.goto(f"{office.service.url}/live")
            count = page.locator("#rows tr").count()
            agent.tap("sabine", SERVERS)
            press(page, page.locator("#connection a"))
            expect(page.locator("#rows tr")).to_have_count(count + 1)
            expect(page.locator("#pause")).to_be_hidden()
            page.goto(f"{office.service.url}/doors/open/{DOOR}")
            page.locator("#reason").fill("Lieferung")
            page.keyboard.press("Enter")
            expect(page.get_by_role("status")).to_contain_text(spoken.opened)
            assert agent.opened == [DOOR]
