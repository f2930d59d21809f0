# SPDX-License-Identifier: EUPL-1.2
"""Signing in in a real browser: by keyboard alone, in both languages, and what the browser makes of the cookies."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import complaints_of
from support.service import CityFiles, ServiceThread, directory_in_thread

from cardservice.web.login_devices import DEVICE_COOKIE
from cardservice.web.session import COOKIE
from city.people import password_of

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Spoken:
    """What the pages say in one language."""

    locale: str
    sign_in: str
    wrong: str
    page: str
    confirm: str
    sign_out: str
    out: str


GERMAN = Spoken(
    locale="de-DE",
    sign_in="Anmelden",
    wrong="Anmeldename oder Kennwort stimmt nicht.",
    page="Meine Arbeitsplätze",
    confirm="Kennwort bestätigen",
    sign_out="Abmelden",
    out="Sie sind abgemeldet.",
)
ENGLISH = Spoken(
    locale="en-GB",
    sign_in="Sign in",
    wrong="Login or password is wrong.",
    page="My workstations",
    confirm="Confirm your password",
    sign_out="Sign out",
    out="You are signed out.",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with directory_in_thread() as directory:
        files = CityFiles(tmp_path_factory.mktemp("login") / "city", directory.address)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        yield running
        running.stop()


def heading(page: Page, text: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


@pytest.mark.parametrize(("spoken", "login"), [(GERMAN, "schmidt"), (ENGLISH, "yilmaz")], ids=["de", "en"])
def test_in_and_out_by_keyboard(browser: Browser, service: ServiceThread, spoken: Spoken, login: str) -> None:
    """A page is asked for, the form takes the keyboard at once, a wrong password is told, then the page is there."""
    context = browser.new_context(locale=spoken.locale)
    page = context.new_page()
    complaints = complaints_of(page)
    page.goto(f"{service.url}/my/pc")
    heading(page, spoken.sign_in)
    name, password = page.locator("#name"), page.locator("#password")
    expect(name).to_be_focused()
    page.keyboard.type(login)
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(spoken.wrong)
    expect(name).to_have_value(login)
    expect(password).to_be_focused()
    expect(password).to_have_value("")
    page.keyboard.type(password_of(login))
    page.keyboard.press("Enter")
    heading(page, spoken.page)
    assert page.url == f"{service.url}/my/pc"
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    for kept in (COOKIE, DEVICE_COOKIE):
        assert (cookies[kept]["secure"], cookies[kept]["httpOnly"], cookies[kept]["sameSite"]) == (True, True, "Lax")
    assert cookies[COOKIE]["expires"] == -1
    assert "onecard" not in page.evaluate("document.cookie")
    page.goto(f"{service.url}/confirm?next=/my/pc")
    heading(page, spoken.confirm)
    expect(password).to_be_focused()
    page.keyboard.type(password_of(login))
    page.keyboard.press("Enter")
    heading(page, spoken.page)
    page.get_by_role("button", name=spoken.sign_out).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text(spoken.out)
    page.go_back()
    heading(page, spoken.sign_in)
    # The browser reports every refused page; nothing else is to be told.
    assert [told for told in complaints if "403" not in told] == []
    context.close()


def test_the_other_language_leads_to_the_same_page(browser: Browser, service: ServiceThread) -> None:
    with browser.new_context(locale="de-DE") as context:
        page = context.new_page()
        page.goto(f"{service.url}/my/time?month=2026-03")
        page.get_by_role("link", name="English").click()
        heading(page, ENGLISH.sign_in)
        page.locator("#name").fill("schmidt")
        page.locator("#password").fill(password_of("schmidt"))
        page.keyboard.press("Enter")
        heading(page, "My times: March 2026")


def test_another_site_signs_nobody_out(browser: Browser, service: ServiceThread) -> None:
    """A form on another origin, sent by the browser of somebody who is signed in here, changes nothing."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{service.url}/login")
        page.locator("#name").fill("krueger")
        page.locator("#password").fill(password_of("krueger"))
        page.keyboard.press("Enter")
        page.wait_for_url(f"{service.url}/")
        page.route(
            "http://localhost:9/evil",
            lambda route: route.fulfill(
                content_type="text/html",
                body=f'<form method="post" action="{service.url}/logout"><button>win</button></form>',
            ),
        )
        page.goto("http://localhost:9/evil")
        with page.expect_response("**/logout") as answered:
            page.get_by_role("button", name="win").click()
        assert answered.value.status == 403
        page.goto(f"{service.url}/my/doors")
        assert page.url == f"{service.url}/my/doors"
