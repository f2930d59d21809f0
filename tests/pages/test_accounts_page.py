# SPDX-License-Identifier: EUPL-1.2
"""Service accounts in a real browser: an account and its first key by keyboard alone, in both languages."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import complaints_of, press
from support.service import CityFiles, ServiceThread, directory_in_thread

from city.people import password_of

pytestmark = pytest.mark.browser
# Mehmet is in IT.
ADMINISTRATOR = "yilmaz"


@dataclass(frozen=True)
class Spoken:
    """What the pages say in one language."""

    locale: str
    title: str
    new: str
    taken: str
    add: str
    make: str
    shown: str
    revoke: str
    revoked: str


GERMAN = Spoken(
    locale="de-DE",
    title="Dienstkonten",
    new="Neues Konto",
    taken="Ein Konto dieses Namens gibt es schon",
    add="Konto anlegen",
    make="Neuen Schlüssel anlegen",
    shown="Er wird nur dieses eine Mal gezeigt",
    revoke="widerrufen",
    revoked="widerrufen",
)
ENGLISH = Spoken(
    locale="en-GB",
    title="Service accounts",
    new="New account",
    taken="There is an account of that name already",
    add="Add the account",
    make="Make a new key",
    shown="It is shown this once",
    revoke="Revoke the key",
    revoked="revoked",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": "administrator", "group": "IT"}]}}
        files = CityFiles(tmp_path_factory.mktemp("accounts") / "city", directory.address, None, roles)
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


@pytest.mark.parametrize("spoken", [GERMAN, ENGLISH], ids=["de", "en"])
def test_an_account_and_its_key_by_keyboard(browser: Browser, service: ServiceThread, spoken: Spoken) -> None:
    """A name that is taken is told with what was typed still there; the key stands there once and is then revoked."""
    context = browser.new_context(locale=spoken.locale)
    page = context.new_page()
    complaints = complaints_of(page)
    page.goto(f"{service.url}/accounts")
    write(page, "name", ADMINISTRATOR)
    write(page, "password", password_of(ADMINISTRATOR))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(spoken.title)
    press(page, page.locator("main summary").filter(has_text=spoken.new))
    write(page, "name", "till-1")
    page.locator('[name="scope-canteen"]').focus()
    page.keyboard.press("Space")
    write(page, "points", "kantine.kasse-1")
    write(page, "reason", "Ticket 4711")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text(spoken.taken)
    expect(page.locator("#points")).to_have_value("kantine.kasse-1")
    name = f"till-{spoken.locale.lower()}"
    write(page, "name", name)
    press(page, page.get_by_role("button", name=spoken.add))
    expect(page).to_have_url(f"{service.url}/accounts/{name}")
    press(page, page.get_by_role("button", name=spoken.make))
    expect(page.get_by_role("status")).to_contain_text(spoken.shown)
    token = page.locator("#token").input_value()
    assert token.startswith("oc_")
    page.once("dialog", lambda dialog: dialog.accept())
    press(page, page.get_by_role("button", name=spoken.revoke))
    expect(page.locator("tbody td").first).to_have_text(spoken.revoked)
    assert token not in page.content()
    page.reload()
    expect(page.locator("tbody td").first).to_have_text(spoken.revoked)
    assert complaints == []
    context.close()
