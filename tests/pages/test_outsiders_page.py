# SPDX-License-Identifier: EUPL-1.2
"""People outside the directory in a real browser: added, handed over and ended by keyboard alone, in both languages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from support.browser import complaints_of, press
from support.service import CityFiles, ServiceThread, directory_in_thread
from support.signing_in import Visitor

from cardservice.web.i18n import ZONE
from city.people import password_of

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
SIZES = ((390, 844), (1280, 900), (1024, 768))
# Mehmet is in IT; he is the administrator.
ADMINISTRATOR, SPONSOR, COLLEAGUE = "yilmaz", "nowak", "krueger"


@dataclass(frozen=True)
class Spoken:
    """What the pages say in one language."""

    locale: str
    title: str
    add: str
    marked: str
    added: str
    change: str
    changed: str
    end: str
    ended: str
    over: str
    among: str
    mine: str


GERMAN = Spoken(
    locale="de-DE",
    title="Externe Personen",
    add="Person anlegen",
    marked="Bitte wählen Sie, wer verantwortlich ist",
    added="Angelegt",
    change="Ändern oder verlängern",
    changed="Geändert",
    end="Jetzt beenden",
    ended="Beendet",
    over="abgelaufen",
    among="extern, bis",
    mine="Externe Personen, für die Sie verantwortlich sind",
)
ENGLISH = Spoken(
    locale="en-GB",
    title="People outside the directory",
    add="Add somebody",
    marked="Please choose who answers for them",
    added="Added",
    change="Change or extend",
    changed="Changed",
    end="End now",
    ended="Ended",
    over="has ended",
    among="outside the directory, until",
    mine="People outside the directory you answer for",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": "administrator", "group": "IT"}]}}
        files = CityFiles(tmp_path_factory.mktemp("outsiders") / "city", directory.address, None, roles)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        yield running
        running.stop()


def write(page: Page, field: str, text: str) -> None:
    """Go to a field and type."""
    page.locator(f"#{field}").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(text)


def sign_in(context: BrowserContext, service: ServiceThread, path: str) -> Page:
    page = context.new_page()
    page.goto(service.url + path)
    write(page, "name", ADMINISTRATOR)
    write(page, "password", password_of(ADMINISTRATOR))
    page.keyboard.press("Enter")
    page.wait_for_url(service.url + path)
    return page


def choose(page: Page, login: str) -> None:
    """Type a login, and choose who appears for it."""
    write(page, "sponsor", login)
    fitting = page.locator("#sponsors label").filter(has_text=f"({login})")
    expect(fitting).to_have_count(1)
    fitting.locator("input").focus()
    page.keyboard.press("Space")


def type_day(page: Page, days: int) -> None:
    """Type a day as the browser's field takes it by keyboard."""
    page.locator("#until").fill(day_after(days))


def day_after(days: int) -> str:
    return (datetime.now(ZONE).date() + timedelta(days=days)).isoformat()


@pytest.mark.parametrize("spoken", [GERMAN, ENGLISH], ids=["de", "en"])
def test_added_handed_over_and_ended_by_keyboard(browser: Browser, service: ServiceThread, spoken: Spoken) -> None:
    """What is missing is said at its field with the rest still typed; the sponsor finds them on their own page."""
    name = f"Erika {spoken.locale}"
    with browser.new_context(locale=spoken.locale) as context:
        page = sign_in(context, service, "/outsiders")
        complaints = complaints_of(page)
        expect(page.get_by_role("heading", level=1)).to_have_text(spoken.title)
        press(page, page.get_by_role("button", name=spoken.add))
        page.wait_for_url("**/outsiders/new")
        write(page, "name", name)
        type_day(page, 20)
        write(page, "reason", "Ticket 4711")
        page.keyboard.press("Enter")
        expect(page.locator("#sponsor-fault")).to_contain_text(spoken.marked)
        expect(page.locator("#name")).to_have_value(name)
        choose(page, SPONSOR)
        press(page, page.locator("main form.narrow > button"))
        expect(page.get_by_role("status")).to_contain_text(spoken.added)
        assert [mine(service, who, name) for who in (SPONSOR, COLLEAGUE)] == [True, False]
        press(page, page.get_by_role("button", name=spoken.change))
        page.wait_for_url("**/change")
        choose(page, COLLEAGUE)
        write(page, "reason", "Vertretung")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_contain_text(spoken.changed)
        assert [mine(service, who, name) for who in (SPONSOR, COLLEAGUE)] == [False, True]
        among_people(page, service, name, spoken.among)
        page.locator('a[href^="/outsiders/"]').focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/outsiders/*")
        write(page, "reason", "fertig")
        page.once("dialog", lambda dialog: dialog.accept())
        press(page, page.get_by_role("button", name=spoken.end))
        expect(page.get_by_role("status")).to_contain_text(spoken.ended)
        expect(page.locator(".badge")).to_have_text(spoken.over)
        assert name not in page.url
        assert complaints == []


def among_people(page: Page, service: ServiceThread, name: str, says: str) -> None:
    """Find them among all people, marked as what they are, and go to their page."""
    page.goto(f"{service.url}/people")
    write(page, "text", name)
    expect(page.locator("#found tbody tr")).to_have_count(1)
    expect(page.locator("#found tbody")).to_contain_text(says)
    press(page, page.locator("#found a").first)
    page.wait_for_url("**/people/*")


def mine(service: ServiceThread, login: str, name: str) -> bool:
    """Whether somebody's own page names an outsider."""
    with Visitor(service.url) as visitor:
        return name in visitor.sign_in(login).get("/my").text


@pytest.mark.parametrize(("locale", "scheme"), [("de-DE", "light"), ("en-GB", "dark")])
def test_no_page_has_a_barrier_that_a_machine_finds(
    browser: Browser, service: ServiceThread, locale: str, scheme: str
) -> None:
    """WCAG 2.1 A and AA of each page, its faults and candidates too; none is wider than a telephone."""
    # The policy of the pages forbids the checker's own script.
    with browser.new_context(locale=locale, color_scheme=scheme, bypass_csp=True) as context:
        page = sign_in(context, service, "/outsiders/groups")
        page.add_init_script(AXE)
        page.reload()
        write(page, "name", f"Gruppe {locale} {scheme}")
        page.keyboard.press("Enter")
        expect(page.locator("tbody")).to_contain_text(f"Gruppe {locale} {scheme}")
        check(page)
        page.goto(f"{service.url}/outsiders/new")
        write(page, "sponsor", "e")
        expect(page.locator("#sponsors input").first).to_be_visible()
        check(page)
        write(page, "name", f"Otto {locale} {scheme}")
        choose(page, SPONSOR)
        page.locator("main form.narrow").evaluate("form => form.noValidate = true")
        press(page, page.locator("main form.narrow > button"))
        expect(page.get_by_role("alert")).to_be_visible()
        check(page)
        type_day(page, 3)
        write(page, "reason", "-")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_be_visible()
        check(page)
        for which in ("here", "soon", "no_sponsor", "ended"):
            page.goto(f"{service.url}/outsiders?which={which}")
            check(page)


def check(page: Page) -> None:
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (page.url, width)
    found = page.evaluate("rules => axe.run(document, rules)", RULES)
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], page.url


def test_an_old_page_changes_nothing_and_nobody_else_may_look(service: ServiceThread) -> None:
    """Who changed it meanwhile is told; employees have none of these pages."""
    with Visitor(service.url) as visitor, Visitor(service.url) as employee:
        visitor.sign_in(ADMINISTRATOR)
        form = {"form_token": visitor.form_token(), "key": "0" * 32, "name": "Ida Gast", "kind": "visitor"}
        form |= {"sponsor": SPONSOR, "until": day_after(9), "reason": "Besuch"}
        added = [visitor.post("/outsiders", data=form) for _ in range(2)]
        assert [one.status_code for one in added] == [303, 303]
        assert added[0].headers["location"] == added[1].headers["location"]
        path = added[0].headers["location"].partition("?")[0]
        seen = str(re.findall(r'name="seen" value="([^"]+)"', visitor.get(path + "/change").text)[0])
        new = form | {"seen": seen.replace("&#34;", '"'), "name": "Ida Neu", "sponsor": COLLEAGUE}
        assert visitor.post(path + "/change", data=new).status_code == 303
        late = visitor.post(path + "/change", data=new | {"name": "Ida Alt"}, headers={"Accept-Language": "en"})
        assert "Somebody changed this meanwhile" in late.text
        assert "Ida Neu" in visitor.get(path).text
        assert visitor.post("/outsiders", data=form | {"key": "x"}).status_code == 422
        assert visitor.post("/outsiders/search", data=form | {"text": "x" * 201}).status_code == 422
        employee.sign_in(COLLEAGUE)
        for address in ("/outsiders", "/outsiders/new", "/outsiders/groups", path, path + "/change"):
            assert employee.get(address).status_code == 403, address
        assert 'href="/outsiders"' not in employee.get("/").text
