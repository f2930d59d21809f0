# SPDX-License-Identifier: EUPL-1.2
"""Every page there is, by axe-core in both colour schemes, and under its own policy without a complaint."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect
from service_http.conftest import City, build
from support.browser import complaints_of
from support.kiosk import Kiosk, KioskThread
from support.service import directory_in_thread

from cardservice.web.navigation import GROUPS
from cardservice.web.operations import Role
from city import people
from city.people import password_of
from readers.kiosk import screen

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
# The dark scheme changes colours and nothing else.
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
ANNA = people.ANNA.login
# Anna may open whatever stands in the navigation.
SETTINGS = {
    # Signed in once for all of it, however long the machine takes.
    "sign_in": {"confirmed_s": 3_600},
    "": {"roles": [{"role": str(role), "group": "Rathaus"} for role in Role if role is not Role.EMPLOYEE]},
    # Nobody listens there: the page of one's documents says so.
    "printing": {"socket": "/nonexistent/cups.sock"},
}
ACCOUNT = "/accounts/till-to-look-at"
LOST = "/my/lost"
# What Anna asked for herself, and what she would read if somebody else approved it.
REQUEST, OPENED = "/approvals/1", "/audit/opened/1"

# A page that joins the navigation needs no line here.
NAVIGATION = [entry.path for group in GROUPS for entry in group.entries]
DOORS = ["/doors/open/bauamt.aussen", "/doors/lockdowns", "/doors/lockdowns/bauamt"]
BESIDE = ["/", "/confirm", "/docs", "/privacy", "/accessibility", LOST, ACCOUNT, *DOORS, REQUEST, OPENED]
BESIDE += ["/agent/rathaus", "/outsiders/new", "/outsiders/groups", "/my/pin", "/people/1/pin"]
SIGNED_OUT = ["/login", "/login?out=1"]
# What a terminal shows, and how that comes.
KIOSK: dict[tuple[str, str], Callable[[Kiosk], object]] = {
    ("clock", "idle"): lambda kiosk: None,
    ("clock", "chosen"): lambda kiosk: kiosk.terminals.of("clock").screen.choose("in"),
    ("clock", "answer"): lambda kiosk: kiosk.answer(
        "clock", "green", "Gebucht.", "Booked.", kind="in", at_ms=1_760_000_000_000, today_ms=11_520_000, working=True
    ),
    ("clock", "away"): lambda kiosk: kiosk.points["clock"].centre(connected=False),
    ("till", "prompt"): lambda kiosk: kiosk.ask_to_pay(545),
    ("till", "answer"): lambda kiosk: kiosk.answer("till", "red", "Zu wenig Guthaben.", "Not enough.", balance_cents=1),
    ("printer", "idle"): lambda kiosk: None,
    ("door", "pin"): lambda kiosk: kiosk.ask_pin("door"),
}
# What leads to the terminals of a machine.
TERMINALS = ("", "list")
DEMONSTRATION = "demonstration"
PAGES = [*NAVIGATION, *BESIDE, *SIGNED_OUT, *KIOSK, TERMINALS, DEMONSTRATION]
# One policy for whatever a terminal shows.
DOCUMENTS = [name for name in PAGES if name not in KIOSK or name == ("clock", "chosen")]
TELEPHONE = {"width": 390, "height": 844}
SCREEN = {"width": 1024, "height": 768}


def called(name: str | tuple[str, str]) -> str:
    return name if isinstance(name, str) else f"kiosk {' '.join(name)}"


@dataclass(frozen=True)
class Looking:
    """Somebody who signed in, and somebody who did not, in the same browser."""

    signed_in: Page
    signed_out: Page


@dataclass(frozen=True)
class Sites:
    """Where pages come from."""

    request: pytest.FixtureRequest
    service: str

    @contextlib.contextmanager
    def opened(self, name: str | tuple[str, str], looking: Looking) -> Iterator[tuple[Page, Response]]:
        """Show one page of the list."""
        if isinstance(name, tuple):
            with kiosk_showing(looking.signed_out, *name) as response:
                yield looking.signed_out, response
            return
        page = looking.signed_out if name in {*SIGNED_OUT, DEMONSTRATION} else looking.signed_in
        address = self.service + name
        if name == DEMONSTRATION:
            address = self.request.getfixturevalue("address")
        if name == LOST:
            page.goto(f"{self.service}/my")
            address = self.service + str(page.locator(f"a[href^='{LOST}']").first.get_attribute("href"))
        response = page.goto(address)
        assert response is not None
        assert (response.status, page.url.rstrip("/")) == (200, address.rstrip("/"))
        if name == DEMONSTRATION:
            page.locator("input[value=anna]").check()
        yield page, response


@contextlib.contextmanager
def kiosk_showing(page: Page, point: str, view: str) -> Iterator[Response]:
    """A terminal's page, once it shows this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "ANSWER_MS", 60_000)
        kiosk = KioskThread()
        try:
            response = page.goto(f"{kiosk.url}/{point}")
            assert response is not None
            if point:
                # A PIN is asked for only where a page is open.
                expect(page.locator("html")).to_have_attribute("data-view", "idle")
                kiosk.bring(KIOSK[point, view])
                expect(page.locator("html")).to_have_attribute("data-view", view)
            yield response
        finally:
            # It would ask for its terminal for ever, and complain.
            page.goto("about:blank")
            kiosk.close()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(directory_in_thread())
        made = build(directory, tmp_path_factory.mktemp("office"), None, **SETTINGS)
        stack.callback(made.close)
        anna = made.visitor(ANNA)
        form = {"form_token": anna.form_token(), "name": ACCOUNT.rpartition("/")[2], "scope-canteen": "1"}
        form |= {"reason": "Ticket 4711", "requests_per_s": "5", "burst": "10"}
        form |= dict.fromkeys(("points", "zones", "organisation", "units", "attested_points"), "")
        added = anna.post("/accounts", data=form)
        assert added.headers.get("location") == ACCOUNT, added.text
        keyed = anna.post(f"{ACCOUNT}/keys", data={"form_token": anna.form_token(), "days": "9"})
        assert keyed.status_code in {200, 201}, keyed.text
        asked = {"form_token": anna.form_token(), "reason": "Ticket 4711", "key": "0" * 32, "which": "marked"}
        line = anna.get("/api/v1/audit", params={"limit": 1}).json()["lines"][0]["entry"]
        assert anna.post("/audit", data=asked | {f"line-{line}": "1"}).headers.get("location") == REQUEST
        yield made


@pytest.fixture
def sites(office: City, request: pytest.FixtureRequest) -> Sites:
    return Sites(request, office.service.url)


def looking(context: BrowserContext, stranger: BrowserContext, city: City) -> Looking:
    page = context.new_page()
    page.goto(f"{city.service.url}/login")
    page.locator("#name").fill(ANNA)
    page.locator("#password").fill(password_of(ANNA))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{city.service.url}/")
    return Looking(page, stranger.new_page())


@contextlib.contextmanager
def browsing(browser: Browser, city: City, **options: Any) -> Iterator[Looking]:
    """Two contexts with these options; nothing moves, so that a colour is never one between two."""
    options |= {"locale": "de-DE", "reduced_motion": "reduce", "viewport": SCREEN}
    with browser.new_context(**options) as context, browser.new_context(**options) as stranger:
        yield looking(context, stranger, city)


@pytest.fixture(scope="module")
def inspected(browser: Browser, office: City) -> Iterator[Looking]:
    """The pages' policy forbids the checker's own script, so it does not count here."""
    with browsing(browser, office, bypass_csp=True) as made:
        yield made


@pytest.fixture(scope="module")
def ordinary(browser: Browser, office: City) -> Iterator[Looking]:
    """As everybody has it."""
    with browsing(browser, office) as made:
        yield made


@pytest.mark.parametrize("name", PAGES, ids=called)
def test_no_page_has_a_barrier_that_a_machine_finds(sites: Sites, inspected: Looking, name: Any) -> None:
    """WCAG 2.1 A and AA: not one violation, in light and dark; nothing is wider than a telephone's screen."""
    with sites.opened(name, inspected) as (page, _):
        page.add_script_tag(content=AXE)
        for scheme, rules in (("light", RULES), ("dark", COLOURS)):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = page.evaluate("rules => axe.run(document, rules)", rules)
            assert found["passes"]
            assert [(one["id"], node["html"]) for one in found["violations"] for node in one["nodes"]] == [], scheme
        page.set_viewport_size(TELEPHONE)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.set_viewport_size(SCREEN)


@pytest.mark.parametrize("name", DOCUMENTS, ids=called)
def test_a_strict_policy_and_no_complaint(sites: Sites, ordinary: Looking, name: Any) -> None:
    """Nothing inline, nothing from elsewhere, and the page itself does not need it: the console stays empty."""
    complaints = [complaints_of(page) for page in (ordinary.signed_in, ordinary.signed_out)]
    with sites.opened(name, ordinary) as (page, response):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert not any(f"{scheme}:" in policy for scheme in ("http", "https"))
        page.wait_for_load_state("load")
        assert complaints == [[], []]


def test_the_checker_finds_a_barrier_and_the_browser_a_breach(browser: Browser, office: City) -> None:
    """What the tests above rest on: a picture without words is found, a style within the page complained of."""
    with browser.new_context(bypass_csp=True) as context:
        page = context.new_page()
        page.goto(f"{office.service.url}/login")
        page.evaluate("document.body.append(document.createElement('img'))")
        page.add_script_tag(content=AXE)
        found = page.evaluate("rules => axe.run(document, rules)", RULES)
        assert [one["id"] for one in found["violations"]] == ["image-alt"]
    with browser.new_context() as context:
        page = context.new_page()
        complaints = complaints_of(page)
        page.goto(f"{office.service.url}/login")
        page.evaluate("document.body.setAttribute('style', 'color: red')")
        assert any("Content Security Policy" in one for one in complaints)


def test_wishes_for_contrast_and_paper_are_met(ordinary: Looking, office: City) -> None:
    """More contrast shows in both schemes, buttons keep a border under the system's colours, paper has no forms."""
    page = ordinary.signed_in
    page.goto(f"{office.service.url}/access/explain")

    def style(selector: str, name: str) -> str:
        return str(page.locator(selector).first.evaluate("(one, name) => getComputedStyle(one)[name]", name))

    seen = set()
    for scheme in ("light", "dark"):
        for contrast in ("no-preference", "more"):
            page.emulate_media(color_scheme=scheme, contrast=contrast, reduced_motion="reduce")
            seen.add(style("footer a", "color"))
    assert len(seen) == 4
    page.emulate_media(color_scheme="light", contrast="no-preference", forced_colors="active")
    assert (style("main button", "borderStyle"), style("main button", "borderWidth")) == ("solid", "1px")
    page.emulate_media(forced_colors="none", media="print")
    assert not any(one.is_visible() for one in page.locator("main form, header, footer").all())
    page.emulate_media(media="screen")
