# SPDX-License-Identifier: EUPL-1.2
"""Agents, directories and what works now, in a real browser: by keyboard, in both languages, live, at three sizes."""

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, expect
from service_http.test_directory_holds import MANY, Crowd, clerk, directory
from support.browser import complaints_of, press
from support.scripted_agent import ScriptedAgent, now_ms
from support.service import AGENT, OTHER_AGENT, SERVICE_PASSWORD, CityFiles, ServiceThread
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.agents.messages import Health, ReaderHealth
from city import people
from city.people import password_of

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
# The dark scheme changes colours and nothing else.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
SIZES = ((390, 844), (1280, 900), (1024, 768))
ADMINISTRATOR, AUDITOR, FACILITY, HELPDESK = "yilmaz", "krueger", "schmidt", "berger"
READER = "ACS ACR1252 00 00"


class AgentThread:
    """A connected agent in an event loop of its own: the browser's is in the way of the tests'."""

    def __init__(self, make: Callable[[], ScriptedAgent]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agent")
        self._thread.start()
        self._make = make
        self.agent = make()

    def join(self) -> None:
        """Connect anew, and say how it is: one reader, two events waiting, a clock seven seconds ahead."""
        self.agent = self._make()
        self._run(self.agent.join())
        readers = (ReaderHealth(reader=READER, present=True, last_good_tap_ms=now_ms()),)
        health = Health(pcsc="up", readers=readers, outbox_depth=2, at_ms=now_ms() + 7_000)
        self._run(self.agent.send(health))

    def tap(self, *what: Any) -> None:
        """Hold a card to a point."""
        self._run(self.agent.tap(*what))

    def leave(self) -> None:
        """Disconnect."""
        self._run(self.agent.socket.close())

    def stop(self) -> None:
        """Disconnect for good."""
        self.leave()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


@dataclass
class Office(Crowd):
    """A city with thirty clerks, in which groups are departments; one of its two agents is connected."""

    agent: AgentThread
    left: str = "Bürgerbüro"
    joined: str = "Bauamt"

    def held(self) -> int:
        """Return how many people wait for a decision."""
        return int(self.service.wait_health(lambda _: True)["directories"][0]["held_removals"])

    def lose_clerks(self) -> int:
        """Have many clerks disabled at once, if they are not; return how many of them are held."""
        if not self.held():
            self.set_disabled(range(MANY), disabled=False)
            wait_until(lambda: self.overview().disabled == 1)
            self.set_disabled(range(MANY), disabled=True)
            wait_until(lambda: self.held() > 0 and self.held() + self.overview().disabled == 1 + MANY)
        return self.held()

    def move(self) -> None:
        """Take Tomasz from the department he is in to the other one, if no window of his counts already."""
        if not self.overview().movers:
            self.left, self.joined = self.joined, self.left
            self._put(self.joined, member=True)
            self._put(self.left, member=False)
            wait_until(lambda: self.overview().movers == 1)

    def _put(self, group: str, *, member: bool) -> None:
        dn = f"uid=nowak,{people.PEOPLE}"
        self.directory.editor.set_member(f"cn={group},{people.GROUPS}", dn, member=member)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    entries = [*people.entries(SERVICE_PASSWORD), *(clerk(number) for number in range(MANY))]
    roles = (
        ("administrator", "IT"),
        ("auditor", "Bürgerbüro"),
        ("helpdesk", "Gäste anderer Behörden"),
        ("facility", "Bauamt"),
    )
    settings = {
        "": {"roles": [{"role": role, "group": group} for role, group in roles]},
        "directory": {"beat_s": 60, "mover_groups": people.GROUPS, "mover_overlap_days": 14},
    }
    with directory(people.SUFFIX, entries) as one:
        files = CityFiles(tmp_path_factory.mktemp("operations") / "city", one.address, changes=settings)
        files.upgrade()
        service = ServiceThread(files)
        service.start()
        service.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        service.wait_health(lambda state: state["points"] == points)
        key, _ = files.enrol(AGENT), files.enrol(OTHER_AGENT)
        agent = AgentThread(lambda: ScriptedAgent(service.agents_url, AGENT, key))
        agent.join()
        made = Office(one, files, service, agent)
        agent.tap(files.cards()["anna"], "serverraum.aussen")
        agent.tap(files.cards()["mehmet"], "serverraum.aussen")
        yield made
        agent.stop()
        service.stop()


def signed_in(context: BrowserContext, office: Office, path: str) -> Page:
    return sign_in(context.new_page(), office, path)


def sign_in(page: Page, office: Office, path: str) -> Page:
    page.goto(f"{office.service.url}{path}")
    page.locator("#name").fill(ADMINISTRATOR)
    page.locator("#password").fill(password_of(ADMINISTRATOR))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{office.service.url}{path}")
    return page


def accept(dialog: Dialog) -> None:
    dialog.accept()


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("de-DE", ("gesperrt", "offline", "7 s", "eine Karte liegt auf", "Türen öffnen nicht mit Karte")),
        ("en-GB", ("locked", "offline", "7 s", "a card lies on it", "Doors do not open by card")),
    ],
    ids=["de", "en"],
)
def test_an_agent_is_looked_at_locked_and_trusted_again_by_keyboard(
    browser: Browser, office: Office, locale: str, words: tuple[str, ...]
) -> None:
    """Its state, reader, clock and what works without it; locked with a reason after a question, and undone."""
    locked, offline, clock, lies, away = words
    with browser.new_context(locale=locale) as context:
        page = signed_in(context, office, "/agents")
        complaints = complaints_of(page)
        expect(page.locator("tbody tr").first).to_contain_text(OTHER_AGENT)
        press(page, page.locator(f"#agent-{AGENT}"))
        page.wait_for_url(f"**/agent/{AGENT}")
        live = page.locator("#live")
        expect(live.locator("dl .badge")).to_have_text("online")
        expect(live).to_contain_text(lies)
        # Less the way of the message.
        expect(live).to_contain_text(re.compile(rf"(6[.,]\d|{clock})"))
        expect(page.locator("main")).to_contain_text(away)
        page.on("dialog", accept)
        for state in (locked, offline):
            page.locator("#reason").focus()
            page.keyboard.type("Ticket 4711")
            page.keyboard.press("Enter")
            expect(live.locator("dl .badge")).to_have_text(state)
            # The live part may be newer than the form beside it.
            expect(page.locator("#lock input[name=locked]")).to_have_value("0" if state == locked else "1")
        assert complaints == []
    office.agent.join()


def test_the_table_follows_by_itself_and_says_once_when_the_service_is_away(browser: Browser, office: Office) -> None:
    """An agent that leaves is shown a few seconds later; while nothing answers the page says so, and goes on after."""
    with browser.new_context(locale="de-DE") as context:
        page = context.new_page()
        page.clock.install()
        sign_in(page, office, "/agents")
        row = page.locator("tr", has=page.locator(f"#agent-{AGENT}"))
        expect(row).to_contain_text("online")
        office.agent.leave()
        follow(page, lambda: expect(row).to_contain_text("offline", timeout=500))
        context.set_offline(True)
        follow(page, lambda: expect(page.locator("#live [role=alert]")).to_have_count(1, timeout=500))
        page.clock.fast_forward(6_000)
        expect(page.locator("#live [role=alert]")).to_have_count(1)
        context.set_offline(False)
        office.agent.join()
        follow(page, lambda: expect(row).to_contain_text("online", timeout=500))
        expect(page.locator("#live [role=alert]")).to_have_count(0)


def test_a_page_that_was_left_open_does_not_keep_its_session(browser: Browser, office: Office) -> None:
    """After a quarter of an hour without a touch nothing is asked any more, until somebody is back."""
    with browser.new_context(locale="de-DE") as context:
        page = context.new_page()
        page.clock.install()
        sign_in(page, office, "/agents")
        page.clock.fast_forward(16 * 60_000)
        expect(page.locator("#live [role=status]")).to_contain_text("Angehalten")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.fast_forward(6_000)
        assert asked == []
        page.keyboard.press("Shift")
        follow(page, lambda: expect(page.locator("#live [role=status]")).to_have_count(0, timeout=500))


def follow(page: Page, shown: Callable[[], None]) -> None:
    """Let time pass until this is so; the page asks every five seconds."""

    def is_so() -> bool:
        page.clock.fast_forward(5_100)
        try:
            shown()
        except AssertionError:
            return False
        return True

    wait_until(is_so)


def test_no_page_has_a_barrier_that_a_machine_finds(browser: Browser, office: Office) -> None:
    """WCAG 2.1 A and AA of pages with much on them, in light and dark; none is wider than a telephone."""
    office.lose_clerks()
    office.move()
    # The policy of the pages forbids the checker's own script.
    with browser.new_context(locale="de-DE", bypass_csp=True, reduced_motion="reduce") as context:
        page = signed_in(context, office, f"/agent/{AGENT}")
        for path in (f"/agent/{AGENT}", "/directory", "/operations"):
            page.goto(f"{office.service.url}{path}")
            page.add_script_tag(content=AXE)
            for width, height in SIZES:
                page.set_viewport_size({"width": width, "height": height})
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            for scheme, rules in (("light", RULES), ("dark", COLOURS)):
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                found = page.evaluate("rules => axe.run(document, rules)", rules)
                assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], (path, scheme)


def test_each_role_sees_its_part_and_no_more(office: Office) -> None:
    """Facilities lock no agent; help desks see no losses; auditors see losses, and no names."""
    kept = office.lose_clerks()
    office.move()
    facility, helpdesk, auditor = (Visitor(office.service.url) for _ in range(3))
    with facility.sign_in(FACILITY), helpdesk.sign_in(HELPDESK), auditor.sign_in(AUDITOR):
        assert 'id="lock"' not in facility.get(f"/agent/{AGENT}").text
        assert facility.get("/operations").status_code == 200
        assert facility.get("/directory").status_code == 403
        form = {"form_token": facility.form_token(), "locked": "1", "reason": "weil"}
        assert facility.post(f"/agent/{AGENT}/state", data=form).status_code == 403
        page = helpdesk.get("/directory").text
        assert 'id="holds"' not in page
        assert 'id="movers"' not in page
        page = auditor.get("/directory", headers={"Accept-Language": "en"}).text
        assert f"{kept} are disabled" in page
        assert "Your role shows no names." in page
        assert "Clerk" not in page
        assert "Nowak" not in page
        assert "/confirm" not in page.partition('id="holds"')[2]
        assert [auditor.get(path).status_code for path in ("/operations", "/agents")] == [403, 403]


def test_what_a_page_asks_for_again_and_again_names_nobody(office: Office) -> None:
    """The part of directories that follows by itself shows counts alone: a look at people leaves a line each time."""
    office.lose_clerks()
    office.move()
    with Visitor(office.service.url).sign_in(ADMINISTRATOR) as visitor:
        names = ("Clerk", "Nowak")
        assert all(name in visitor.get("/directory").text for name in names)
        part = visitor.get("/directory/now").text
        assert 'id="live"' in part
        assert not any(name in part for name in names)


def test_losses_are_rejected_with_a_reason_then_confirmed_all_the_same(browser: Browser, office: Office) -> None:
    """How many, of which department, who; the reason is asked for; after the second decision nothing waits."""
    kept = office.lose_clerks()
    with browser.new_context(locale="de-DE") as context:
        page = signed_in(context, office, "/directory")
        complaints = complaints_of(page)
        hold = page.locator("ul.cards > li")
        expect(hold).to_contain_text(f"{kept} sind deaktiviert")
        expect(hold.locator("tbody tr")).to_have_count(1)
        press(page, hold.locator("summary"))
        expect(hold.locator("details li")).to_have_count(kept)
        page.on("dialog", accept)
        press(page, hold.get_by_role("button", name="Das Verzeichnis irrt: ablehnen"))
        # The field is empty: the browser itself asks for it.
        expect(hold.locator("input[name=reason]").last).to_be_focused()
        page.keyboard.type("Skript lief aus Versehen")
        page.keyboard.press("Enter")
        expect(hold.locator("h3 .badge")).to_have_text("abgelehnt")
        hold.locator("input[name=reason]").focus()
        page.keyboard.type("Doch kein Versehen")
        page.keyboard.press("Enter")
        wait_until(lambda: office.overview().disabled == 1 + MANY)
        page.reload()
        expect(page.locator("section[aria-labelledby=holds] .empty")).to_be_visible()
        assert complaints == []


def test_a_mover_stops_counting_at_once(browser: Browser, office: Office) -> None:
    """Who left which group until when, ended by keyboard after a question; then nobody has moved."""
    office.move()
    with browser.new_context(locale="de-DE") as context:
        page = signed_in(context, office, "/directory")
        movers = page.locator("section[aria-labelledby=movers]")
        expect(movers.locator("tbody tr")).to_contain_text(["Tomasz Nowak"])
        expect(movers).to_contain_text(office.left)
        page.on("dialog", accept)
        press(page, movers.get_by_role("button", name="Jetzt beenden"))
        wait_until(lambda: office.overview().movers == 0)
        page.reload()
        expect(movers).to_contain_text("In letzter Zeit hat niemand")


def test_a_directory_is_read_again_and_checked(browser: Browser, office: Office) -> None:
    """Both by keyboard: a check says in sentences what it found, and the copy is read completely anew."""
    with browser.new_context(locale="de-DE") as context:
        page = signed_in(context, office, "/directory")
        page.on("dialog", accept)
        press(page, page.get_by_role("button", name="Prüfen"))
        expect(page.locator("#findings li").first).to_contain_text("In Ordnung")
        read_ms = office.overview().read_ms or 0
        press(page, page.get_by_role("button", name="Jetzt alle"))
        wait_until(lambda: (office.overview().read_ms or 0) > read_ms)


def test_until_when_each_class_of_points_works_stands_there(browser: Browser, office: Office) -> None:
    """By class while the directory is there, and from what instant on once it is not; charts have their table."""
    with browser.new_context(locale="de-DE") as context:
        page = signed_in(context, office, "/operations")
        complaints = complaints_of(page)
        high = page.locator("#live tr", has=page.get_by_text("Hochschutzbereich"))
        expect(high).to_contain_text("Würde 1 Minute nach dem Ausfall")
        taps = page.locator("figure#taps")
        expect(taps.locator("svg")).to_have_attribute("role", "img")
        assert taps.locator("tbody tr").count() == 24
        cells = [cell for cell in taps.locator("tbody td").all_inner_texts() if cell != "0"]
        assert sum(map(int, cells)) == 2
        expect(page.locator("figure#answers svg polyline").first).to_be_attached()
        office.directory.switches.refuse()
        office.directory.switches.drop_connections()
        try:
            office.service.wait_health(lambda state: not state["directories"][0]["connected"])
            page.reload()
            expect(high).to_contain_text(re.compile(r"geht noch|lehnt ab"))
            expect(page.locator("#live tr", has=page.get_by_text("Außentür"))).to_contain_text("Lehnt ab")
        finally:
            office.directory.switches.accept()
            office.service.wait_health(lambda state: state["directories"][0]["connected"])
        assert complaints == []


def test_an_empty_reason_changes_nothing(office: Office) -> None:
    """A form without its reason, as no browser sends it, is answered by the page and what to do."""
    with Visitor(office.service.url) as visitor:
        visitor.sign_in(ADMINISTRATOR)
        form = {"form_token": visitor.form_token(), "locked": "1", "reason": " "}
        answer = visitor.post(f"/agent/{OTHER_AGENT}/state", data=form, headers={"Accept-Language": "en"})
        assert "Please say why" in answer.text
        assert "Lock the agent" in answer.text
