# SPDX-License-Identifier: EUPL-1.2
"""Each page's main task by keyboard alone, in German and English: Tab, Enter, the space bar, typing, and nothing else.

`TASKS` is the table. A page of the navigation needs a line there; `read` is the line of a page that is only read.
"""

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from service_http.conftest import City, build
from support.browser import complaints_of
from support.kiosk import KioskThread
from support.service import directory_in_thread

from cardservice.web.navigation import GROUPS
from cardservice.web.operations import Role
from city import people
from city.people import password_of
from readers.kiosk.faces import FACES

pytestmark = pytest.mark.browser

LOCALES = {"de": "de-DE", "en": "en-GB"}
# Anna may do everything; whoever loses their card here has none afterwards.
ANNA = people.ANNA.login
LOSERS = {"de": "krueger", "en": "yilmaz"}
POINT = "haupteingang.aussen"
MOST_TABS = 150
SETTINGS = {
    # Signed in once for all of it, however long the machine takes.
    "sign_in": {"confirmed_s": 3_600},
    "": {"roles": [{"role": str(role), "group": "Rathaus"} for role in Role if role is not Role.EMPLOYEE]},
    "printing": {"socket": "/nonexistent/cups.sock"},
}
# What has the focus is seen to have it: framed, in the window, and nothing lies over all of it.
FOCUS = """wanted => {
    const one = document.activeElement;
    if (one === document.body) return "nowhere";
    const style = getComputedStyle(one);
    const framed = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== "none";
    if (!framed) return "no frame: " + one.outerHTML.slice(0, 120);
    const box = one.getBoundingClientRect();
    const inside = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
    if (!inside || !box.width || !box.height) return "not in the window: " + one.outerHTML.slice(0, 120);
    return one === wanted ? "there" : "elsewhere";
}"""


@dataclass(frozen=True)
class Hands:
    """Somebody at the keyboard of a page in one language."""

    page: Page
    lang: str
    site: str
    kiosk: KioskThread

    def reach(self, control: Locator) -> None:
        """Press Tab until the control has the keyboard; on the way each stop must be seen."""
        wanted = control.element_handle()
        for _ in range(MOST_TABS):
            self.page.keyboard.press("Tab")
            where = self.page.evaluate(FOCUS, wanted)
            if where == "there":
                return
            assert where in {"nowhere", "elsewhere"}, where
        raise AssertionError(f"no way to {control} by keyboard")

    def enter(self, control: Locator) -> None:
        """Go there and press Enter."""
        self.reach(control)
        self.page.keyboard.press("Enter")

    def write(self, field: Locator, text: str) -> None:
        """Go to a field, unless it has the keyboard already, and type."""
        if not field.evaluate("one => one === document.activeElement"):
            self.reach(field)
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(text)

    def main(self, selector: str) -> Locator:
        """Return the first such part of the page's content."""
        return self.page.locator(f"main {selector}").first

    def arrives(self, path: str) -> None:
        """The browser shows this page of the service."""
        self.page.wait_for_url(self.site + path)

    def confirm(self) -> None:
        """Type the password again where a change asks for it."""
        self.page.keyboard.type(password_of(ANNA))
        self.page.keyboard.press("Enter")


def read(hands: Hands) -> None:
    """Past the navigation by the link that comes first, then to whatever the content leads to."""
    page = hands.page
    page.keyboard.press("Tab")
    expect(page.locator("a.skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    controls = page.locator("main :is(a[href], button, input:not([type=hidden]), select, summary, [tabindex='0'])")
    if any(one.is_visible() for one in controls.all()[:1]):
        hands.reach(controls.first)


def find_the_own_card(hands: Hands) -> None:
    """The menu opens, and leads there."""
    hands.enter(hands.page.locator("header summary"))
    hands.enter(hands.page.locator("header nav a[href='/my']"))
    hands.arrives("/my")


def sign_in(hands: Hands) -> None:
    """The first field has the keyboard from the start."""
    expect(hands.page.locator("#name")).to_be_focused()
    hands.page.keyboard.type(LOSERS[hands.lang])
    hands.page.keyboard.press("Tab")
    hands.page.keyboard.type(password_of(LOSERS[hands.lang]))
    hands.page.keyboard.press("Enter")
    hands.arrives("/")


def confirm_the_password(hands: Hands) -> None:
    """The field has the keyboard from the start."""
    expect(hands.page.locator("#password")).to_be_focused()
    hands.confirm()
    hands.arrives("/")


def ask_about_a_loss(hands: Hands) -> None:
    """To the question whether it is lost, and back without an answer."""
    hands.enter(hands.main("a[href^='/my/lost']"))
    expect(hands.page.get_by_role("checkbox")).to_be_focused()
    hands.enter(hands.main("a[href='/my']"))
    hands.arrives("/my")


def choose_a_pin(hands: Hands) -> None:
    """Typed twice, after the password; it counts at once."""
    if "/confirm" in hands.page.url:
        hands.confirm()
        hands.arrives("/my/pin")
    expect(hands.page.locator("#pin")).to_be_focused()
    for _ in range(2):
        hands.page.keyboard.type({"de": "830519", "en": "519830"}[hands.lang])
        hands.page.keyboard.press("Tab")
    hands.page.keyboard.press("Enter")
    expect(hands.page.get_by_role("status").first).to_be_visible()


def report_a_loss(hands: Hands) -> None:
    """Whoever it is signs in, goes to the question and answers it."""
    sign_in(hands)
    hands.page.goto(f"{hands.site}/my")
    hands.enter(hands.main("a[href^='/my/lost']"))
    expect(hands.page.get_by_role("checkbox")).to_be_focused()
    hands.page.keyboard.press("Space")
    hands.enter(hands.main("button"))
    expect(hands.page.get_by_role("status").first).to_be_visible()
    expect(hands.page.locator("a[href^='/my/lost']")).to_have_count(0)


def turn_the_month_back(hands: Hands) -> None:
    """One month earlier."""
    hands.enter(hands.main("nav a"))
    expect(hands.page.get_by_role("heading", level=1)).to_be_visible()
    hands.page.wait_for_url("**/my/time?month=*")


def find_somebody(hands: Hands) -> None:
    """Whoever fits stands there while one types, and Enter opens them."""
    # Not one of those who lose their card, and a colleague: nobody activates their own again.
    hands.write(hands.page.locator("#text"), "erger")
    hands.enter(hands.main("#found a[href^='/people/']"))
    expect(hands.page.locator("main h2").first).to_be_visible()
    hands.page.wait_for_url("**/people/*")


def suspend_a_card(hands: Hands) -> None:
    """With a reason, after a question; and back again, so that nobody stands before a closed door."""
    find_somebody(hands)
    hands.page.on("dialog", lambda dialog: dialog.accept())
    hands.reach(hands.main("select[name=reason]"))
    hands.page.keyboard.press("ArrowDown")
    hands.enter(hands.main("form[action$='/state'] button"))
    expect(hands.main(".badge.bad")).to_be_visible()
    hands.enter(hands.main("form[action$='/state'] button"))
    expect(hands.main("select[name=reason]")).to_be_visible()


def count_blank_cards(hands: Hands) -> None:
    """A delivery came; it stands in the list and adds up."""
    hands.write(hands.main("#label"), f"Lieferung {hands.lang}")
    hands.write(hands.main("#delivered"), "25")
    hands.page.keyboard.press("Enter")
    expect(hands.page.locator("main tbody tr").filter(has_text=f"Lieferung {hands.lang}")).to_be_visible()


def bring_an_old_number_in(hands: Hands) -> None:
    """A list with one line is looked at and taken; the number counts."""
    number = {"de": "77001122", "en": "77001123"}[hands.lang]
    content = f"person;number;written;building;until\nweber;{number};hex;rathaus;2199-12-31\n".encode()
    hands.main("#file").set_input_files({"name": "old.csv", "mimeType": "text/csv", "buffer": content})
    hands.enter(hands.page.locator("main button[type=submit]").last)
    hands.page.wait_for_url("**/old-numbers/lists/*")
    hands.enter(hands.main("#preview button"))
    expect(hands.page.get_by_role("status").first).to_be_visible()


def report_somebodys_loss(hands: Hands) -> None:
    """From the search to the question that names them, and back without an answer."""
    hands.write(hands.page.locator("#text"), "erger")
    hands.enter(hands.main("#found a[href$='/lost']"))
    expect(hands.page.get_by_role("checkbox")).to_be_focused()
    hands.enter(hands.main("nav a"))
    hands.page.wait_for_url("**/people/*")


def explain(hands: Hands) -> None:
    """Who and where; the answer says why."""
    hands.write(hands.main("#login"), ANNA)
    hands.write(hands.main("#point"), POINT)
    hands.page.keyboard.press("Enter")
    expect(hands.main("section.notice h3")).to_be_visible()


def add_an_account(hands: Hands) -> None:
    """With one use and a reason; then its first key stands there once."""
    hands.enter(hands.page.locator("main summary").last)
    hands.write(hands.main("#name"), f"till-{hands.lang}")
    hands.reach(hands.main("[name='scope-canteen']"))
    hands.page.keyboard.press("Space")
    hands.write(hands.main("#reason"), "Ticket 4711")
    hands.page.keyboard.press("Enter")
    hands.arrives(f"/accounts/till-{hands.lang}")
    hands.enter(hands.main("form[action$='/keys'] button"))
    expect(hands.main("#token")).to_have_value(re.compile("^oc_"))


def look_a_route_up(hands: Hands) -> None:
    """One route opens and says what it wants."""
    hands.enter(hands.main("details summary"))
    expect(hands.main("details[open]")).to_be_visible()


def leave_for_the_own_card(hands: Hands) -> None:
    """The page on purposes leads to what is stored about oneself."""
    hands.enter(hands.main("a[href='/my']"))
    hands.page.wait_for_url(f"{hands.site}/my")


def book(hands: Hands) -> None:
    """A key, taken back, and another."""
    words = FACES["timeclock"].spoken()["en" if hands.lang == "en" else "de"]
    key = hands.page.get_by_role("button", name=words["in"], exact=True)
    hands.enter(key)
    expect(key).to_have_attribute("aria-pressed", "true")
    hands.page.keyboard.press("Escape")
    expect(key).to_have_attribute("aria-pressed", "false")
    hands.page.keyboard.press("ArrowRight")
    hands.page.keyboard.press("Space")
    expect(hands.page.locator("html")).to_have_attribute("data-view", "chosen")
    assert hands.kiosk.bring(lambda kiosk: kiosk.points["clock"].card_came()) == "out"


def type_a_pin(hands: Hands) -> None:
    """Digits, one of them taken back, and Enter."""
    typed = hands.kiosk.bring(lambda kiosk: kiosk.ask_pin("door"))
    expect(hands.page.locator("#pad")).to_be_visible()
    hands.page.keyboard.type("47119")
    hands.page.keyboard.press("Backspace")
    hands.page.keyboard.press("Enter")
    expect(hands.page.locator("html")).to_have_attribute("data-view", "checking")
    assert hands.kiosk.bring(lambda _: typed.result()) == "4711"


def change_the_language(hands: Hands) -> None:
    """For whoever stands there, and back."""
    before = hands.page.locator("#headline").inner_text()
    hands.enter(hands.page.locator("#language"))
    expect(hands.page.locator("#headline")).not_to_have_text(before)
    hands.page.keyboard.press("Enter")
    expect(hands.page.locator("#headline")).to_have_text(before)


def choose_a_terminal(hands: Hands) -> None:
    """The list of a machine leads to each."""
    hands.enter(hands.page.locator("a[href='/till']"))
    hands.page.wait_for_url(f"{hands.kiosk.url}/till")


def check_a_directory(hands: Hands) -> None:
    """It is looked at once, and what was found stands there."""
    hands.enter(hands.main("form[action$='/check'] button"))
    expect(hands.main("#findings li")).to_be_visible()


def look_what_a_class_would_do(hands: Hands) -> None:
    """A class opens, is typed into, and the page says what that would do to whom; nothing is stored."""
    hands.enter(hands.main("tbody a"))
    hands.enter(hands.main("a[href$='/change']"))
    hands.write(hands.main("#name"), "Another name")
    hands.page.keyboard.press("Enter")
    expect(hands.main("#preview")).to_be_visible()


def make_a_zone(hands: Hands) -> None:
    """A name, what that does, a reason; then the zone stands there."""
    hands.enter(hands.main("a[href='/access/new/zone']"))
    hands.write(hands.main("#code"), f"anbau-{hands.lang}")
    hands.write(hands.main("#name"), f"Anbau {hands.lang}")
    save(hands, f"/access/zones/anbau-{hands.lang}")


def make_a_schedule(hands: Hands) -> None:
    """Hours of one day, what that does, a reason; then the schedule's page shows them."""
    hands.enter(hands.main("a[href='/access/new/schedule']"))
    hands.write(hands.main("#code"), f"frueh-{hands.lang}")
    hands.write(hands.main("#name"), f"Früh {hands.lang}")
    hands.write(hands.main("fieldset input").first, "05:30-09:00")
    save(hands, f"/access/schedules/frueh-{hands.lang}")
    expect(hands.page.locator("main")).to_contain_text("05:30")


def save(hands: Hands, where: str) -> None:
    """Look at what a form would do, say why, and end at the page of what was made."""
    hands.page.keyboard.press("Enter")
    expect(hands.main("#preview")).to_be_visible()
    hands.write(hands.main("#preview [name=reason]"), "Ticket 4711")
    hands.page.keyboard.press("Enter")
    hands.arrives(f"{where}?**")


Task = Callable[[Hands], None]
# Where, and what is done there. One page may have several lines.
TASKS: list[tuple[str, Task]] = [
    ("/", find_the_own_card),
    ("/confirm", confirm_the_password),
    ("/my", ask_about_a_loss),
    ("/my/pin", choose_a_pin),
    ("/my/doors", read),
    ("/my/pc", read),
    ("/my/time", turn_the_month_back),
    ("/my/printing", read),
    ("/my/canteen", read),
    ("/operations", read),
    ("/agents", read),
    ("/directory", check_a_directory),
    ("/live", read),
    ("/doors", read),
    ("/people", find_somebody),
    ("/people", suspend_a_card),
    ("/people", report_somebodys_loss),
    ("/card-stock", count_blank_cards),
    ("/batches", read),
    ("/encoding", read),
    ("/old-numbers", bring_an_old_number_in),
    ("/outsiders", read),
    ("/certificates", read),
    ("/access/grants", read),
    ("/access/points", read),
    ("/access/zones", make_a_zone),
    ("/access/point-classes", look_what_a_class_would_do),
    ("/access/schedules", make_a_schedule),
    ("/access/explain", explain),
    ("/accounts", add_an_account),
    ("/approvals", read),
    ("/audit", read),
    ("/retention", read),
    ("/privacy", leave_for_the_own_card),
    ("/accessibility", read),
    ("/docs", look_a_route_up),
]
# Pages that are only read above: their task is done by keyboard alone, in both languages, by this test of their own.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "/agents": ("test_admin_operations.py", "test_an_agent_is_looked_at_locked_and_trusted_again_by_keyboard"),
    "/live": ("test_admin_live.py", "test_taps_come_by_themselves_and_can_be_held_back"),
    "/doors": ("test_admin_live.py", "test_doors_are_watched_opened_and_locked_down_by_keyboard"),
    "/batches": ("test_bulk.py", "test_a_list_is_sent_begun_and_watched_by_keyboard"),
    "/encoding": ("test_encoder.py", "test_a_card_is_encoded_by_keyboard"),
    "/outsiders": ("test_outsiders_page.py", "test_added_handed_over_and_ended_by_keyboard"),
    "/certificates": ("test_certificates.py", "test_an_answer_is_taken_by_keyboard_in_both_languages"),
    "/access/grants": ("test_admin_access.py", "test_a_grant_is_made_ended_and_had_back_by_keyboard"),
    "/access/points": ("test_admin_access.py", "test_a_grant_is_made_ended_and_had_back_by_keyboard"),
    "/approvals": ("test_audit_pages.py", "test_one_asks_and_another_approves_by_keyboard"),
    "/audit": ("test_audit_pages.py", "test_one_asks_and_another_approves_by_keyboard"),
}
MOUSE = frozenset({"click", "dblclick", "hover", "check", "uncheck", "drag_to", "select_option"})
SIGNED_OUT: list[tuple[str, Task]] = [("/login", sign_in), ("/login", report_a_loss)]
KIOSK: list[tuple[str, Task]] = [
    ("", choose_a_terminal),
    ("clock", book),
    ("till", change_the_language),
    ("printer", change_the_language),
    ("door", type_a_pin),
]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with directory_in_thread() as directory:
        made = build(directory, tmp_path_factory.mktemp("keyboard"), None, **SETTINGS)
        yield made
        made.close()


@pytest.fixture(scope="module")
def kiosk() -> Iterator[KioskThread]:
    running = KioskThread()
    yield running
    running.close()


@pytest.fixture(scope="module")
def annas(browser: Browser, office: City, kiosk: KioskThread) -> Iterator[dict[str, Hands]]:
    """Anna, signed in, in each language."""
    hands = {}
    for lang, locale in LOCALES.items():
        page = browser.new_page(locale=locale, viewport={"width": 1024, "height": 768})
        hands[lang] = Hands(page, lang, office.service.url, kiosk)
        page.goto(f"{office.service.url}/login")
        expect(page.locator("#name")).to_be_focused()
        page.keyboard.type(ANNA)
        page.keyboard.press("Tab")
        page.keyboard.type(password_of(ANNA))
        page.keyboard.press("Enter")
        hands[lang].arrives("/")
    yield hands
    for one in hands.values():
        one.page.context.close()


@contextmanager
def stranger(browser: Browser, lang: str, site: str, kiosk: KioskThread) -> Iterator[Hands]:
    """Somebody nobody knows yet."""
    with browser.new_context(locale=LOCALES[lang], viewport={"width": 1024, "height": 768}) as context:
        yield Hands(context.new_page(), lang, site, kiosk)


def done(hands: Hands, address: str, task: Task) -> None:
    """Open the page and do it; the browser has nothing to complain of."""
    complaints = complaints_of(hands.page)
    hands.page.goto(address)
    assert hands.page.url.rstrip("/") == address.rstrip("/")
    if hands.page.locator("html[data-view]").count():
        expect(hands.page.locator("html")).to_have_attribute("data-view", "idle")
    task(hands)
    assert complaints == []


def called(line: Any) -> str:
    return f"{line[0] or 'terminals'} {line[1].__name__}" if isinstance(line, tuple) else str(line)


@pytest.mark.parametrize("line", TASKS, ids=called)
@pytest.mark.parametrize("lang", LOCALES)
def test_a_page_by_keyboard_alone(annas: dict[str, Hands], lang: str, line: tuple[str, Task]) -> None:
    """Its main task is done without a mouse, in whichever language, and one always sees where one is."""
    path, task = line
    hands = annas[lang]
    done(hands, hands.site + path, task)
    expect(hands.page.locator("html")).to_have_attribute("lang", lang)


@pytest.mark.parametrize("line", SIGNED_OUT, ids=called)
@pytest.mark.parametrize("lang", LOCALES)
def test_a_page_of_strangers_by_keyboard_alone(
    browser: Browser, office: City, kiosk: KioskThread, lang: str, line: tuple[str, Task]
) -> None:
    """From the form on; whoever lost their card gets as far as its end."""
    path, task = line
    with stranger(browser, lang, office.service.url, kiosk) as hands:
        done(hands, hands.site + path, task)
        expect(hands.page.locator("html")).to_have_attribute("lang", lang)


@pytest.mark.parametrize("line", KIOSK, ids=called)
@pytest.mark.parametrize("lang", LOCALES)
def test_a_terminal_by_keyboard_alone(browser: Browser, kiosk: KioskThread, lang: str, line: tuple[str, Task]) -> None:
    """What is done at a terminal is done at its keyboard as well, in either language."""
    point, task = line
    terminal = kiosk.bring(lambda real: real.terminals.of(point)) if point else None
    if terminal is not None:
        kiosk.bring(lambda _: terminal.screen.speak(lang))
    with stranger(browser, lang, kiosk.url, kiosk) as hands:
        done(hands, f"{kiosk.url}/{point}", task)


def test_every_page_of_the_navigation_has_a_line() -> None:
    """Whoever adds a page says what is done there without a mouse."""
    assert {entry.path for group in GROUPS for entry in group.entries} - {path for path, _ in TASKS} == set()


@pytest.mark.parametrize("path", ELSEWHERE)
def test_what_is_done_elsewhere_is_done_there(path: str) -> None:
    """The test that is named exists, is about the page, runs once for each language, and has no mouse."""
    file, name = ELSEWHERE[path]
    assert (path, read) in TASKS
    found = importlib.import_module(f"pages.{file.removesuffix('.py')}")
    tested = getattr(found, name)
    (languages,) = [mark for mark in tested.pytestmark if mark.name == "parametrize"]
    assert len(list(languages.args[1])) == len(LOCALES)
    source = (Path(__file__).parent / file).read_text("utf-8")
    assert path in source
    body = next(one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef) and one.name == name)
    used = {
        one.func.attr for one in ast.walk(body) if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)
    }
    assert not used & MOUSE


def test_a_focus_that_is_not_seen_is_found(annas: dict[str, Hands]) -> None:
    """What the tests above rest on: without its frame, or outside of the window, a stop fails."""
    hands = annas["de"]
    hands.page.goto(f"{hands.site}/privacy")
    hands.reach(hands.page.locator("footer a").first)
    rules = {
        "no frame": "a { outline: none !important; box-shadow: none !important; transition: none !important; }",
        "not in the window": "a { position: fixed; top: -99px; }",
    }
    for trouble, rule in rules.items():
        unseen = "rule => { const s = new CSSStyleSheet(); s.replaceSync(rule); document.adoptedStyleSheets = [s]; }"
        hands.page.evaluate(unseen, rule)
        assert hands.page.evaluate(FOCUS, None).startswith(trouble)
