# SPDX-License-Identifier: EUPL-1.2
"""Certificates of accounts, and confirming at a provider, in a real browser: by keyboard, in German and in English."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browser import complaints_of, press
from support.client_certificates import Authority
from support.oidc_provider import CLIENT, SECRET, OidcProvider, running_provider
from support.service import CityFiles, ServiceThread, directory_in_thread

from cardservice.server import listen
from city.people import password_of

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
# Mehmet is in IT.
ADMINISTRATOR = "yilmaz"


@dataclass(frozen=True)
class Spoken:
    """What the pages say in one language."""

    locale: str
    add: str
    bind: str
    unreadable: str
    valid: str
    both: str
    together: str
    revoke: str
    revoked: str
    there: str
    not_asked: str


GERMAN = Spoken(
    locale="de-DE",
    add="Konto anlegen",
    bind="Zertifikat hinterlegen",
    unreadable="kein lesbares Zertifikat",
    valid="gültig",
    both="Ab jetzt beides verlangen",
    together="Schlüssel und Zertifikat zusammen",
    revoke="Zertifikat",
    revoked="widerrufen",
    there="Dort noch einmal anmelden",
    not_asked="nicht noch einmal gefragt",
)
ENGLISH = Spoken(
    locale="en-GB",
    add="Add the account",
    bind="Bind the certificate",
    unreadable="no certificate in PEM",
    valid="valid",
    both="Ask for both from now on",
    together="a key and a certificate together",
    revoke="Revoke the certificate",
    revoked="revoked",
    there="Sign in there once more",
    not_asked="You were not asked there",
)
BOTH = pytest.mark.parametrize("spoken", [GERMAN, ENGLISH], ids=["de", "en"])


@dataclass
class Office:
    """A service that takes certificates and knows a provider."""

    service: ServiceThread
    authority: Authority
    provider: OidcProvider


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder, authority = tmp_path_factory.mktemp("certificates"), Authority()
    (folder / "clients.pem").write_bytes(authority.pem)
    (folder / "oidc.secret").write_text(SECRET + "\n")
    (folder / "oidc.secret").chmod(0o600)
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        # The provider sends browsers back to where the service will be.
        port = listener.getsockname()[1]
    with directory_in_thread() as directory, running_provider() as provider:
        provider.login = ADMINISTRATOR
        oidc = {"issuer": provider.issuer, "client_id": CLIENT, "secret_file": str(folder / "oidc.secret")}
        changes = {
            "": {"roles": [{"role": "administrator", "group": "IT"}]},
            "service": {"trusted_proxies": ["127.0.0.1"], "port": port},
            "api": {"client_ca_file": str(folder / "clients.pem")},
            "sign_in.oidc": oidc | {"own_url": f"http://127.0.0.1:{port}"},
        }
        files = CityFiles(folder / "city", directory.address, None, changes)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        yield Office(running, authority, provider)
        running.stop()


def write(page: Page, field: str, text: str) -> None:
    """Go to a field and type; what is long is pasted."""
    page.locator(f"#{field}").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(text)


def sound(page: Page) -> None:
    """Nothing is wrong with the page, in either colour scheme."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        # Colours that are on their way are neither of both.
        page.wait_for_function("document.getAnimations().length === 0")
        page.evaluate(AXE)
        found = page.evaluate("rules => axe.run(rules)", RULES)["violations"]
        assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []


@BOTH
def test_a_certificate_is_bound_asked_for_and_revoked_by_keyboard(
    browser: Browser, office: Office, spoken: Spoken
) -> None:
    """What cannot be read is told beside the field; then it stands there, and after a question it is revoked."""
    context = browser.new_context(locale=spoken.locale, bypass_csp=True)
    page = context.new_page()
    page.goto(f"{office.service.url}/accounts")
    write(page, "name", ADMINISTRATOR)
    write(page, "password", password_of(ADMINISTRATOR))
    page.keyboard.press("Enter")
    name = f"till-{spoken.locale.lower()}"
    summary = page.locator("main summary")
    if not page.locator("#reason").is_visible():
        press(page, summary)
    write(page, "name", name)
    page.locator('[name="scope-canteen"]').focus()
    page.keyboard.press("Space")
    write(page, "reason", "Ticket 4711")
    press(page, page.get_by_role("button", name=spoken.add))
    expect(page).to_have_url(f"{office.service.url}/accounts/{name}")
    write(page, "pem", "no certificate")
    press(page, page.get_by_role("button", name=spoken.bind))
    expect(page.get_by_role("alert")).to_contain_text(spoken.unreadable)
    expect(page.locator("#pem")).to_have_value("no certificate")
    write(page, "pem", office.authority.issue(name).pem)
    press(page, page.get_by_role("button", name=spoken.bind))
    expect(page.locator("tbody th")).to_contain_text(f"CN={name}")
    expect(page.locator("tbody td").first).to_have_text(spoken.valid)
    write(page, "proof-reason", "Ticket 4712")
    press(page, page.get_by_role("button", name=spoken.both))
    expect(page.locator("dl")).to_contain_text(spoken.together)
    sound(page)
    page.once("dialog", lambda dialog: dialog.accept())
    press(page, page.locator("tbody button"))
    expect(page.locator("tbody td").first).to_have_text(spoken.revoked)
    context.close()


@BOTH
def test_somebody_of_the_provider_confirms_there_by_keyboard(browser: Browser, office: Office, spoken: Spoken) -> None:
    """A form that comes too early leads there; who is not asked is told so, who is asked comes back and goes on."""
    context = browser.new_context(locale=spoken.locale)
    page = context.new_page()
    complaints = complaints_of(page)
    page.goto(f"{office.service.url}/login?next=/accounts")
    press(page, page.locator("#oidc"))
    expect(page).to_have_url(f"{office.service.url}/accounts")
    if not page.locator("#reason").is_visible():
        press(page, page.locator("main summary"))
    write(page, "name", f"late-{spoken.locale.lower()}")
    page.locator('[name="scope-canteen"]').focus()
    page.keyboard.press("Space")
    write(page, "reason", "Ticket 4711")
    press(page, page.get_by_role("button", name=spoken.add))
    there = page.get_by_role("button", name=spoken.there)
    expect(there).to_be_visible()
    # A refusal is no complaint of the page's own.
    complaints.clear()
    office.provider.asks_again = False
    try:
        press(page, there)
        expect(page.get_by_role("alert")).to_contain_text(spoken.not_asked)
    finally:
        office.provider.asks_again = True
    assert [one for one in complaints if "403" not in one] == []
    press(page, page.get_by_role("button", name=spoken.there))
    expect(page).to_have_url(f"{office.service.url}/accounts")
    context.close()


def test_the_page_that_leads_to_the_provider_has_no_barriers(browser: Browser, office: Office) -> None:
    context = browser.new_context(locale="de-DE", bypass_csp=True)
    page = context.new_page()
    page.goto(f"{office.service.url}/login?next=/confirm")
    press(page, page.locator("#oidc"))
    expect(page.locator("#oidc")).to_have_count(0)
    page.goto(f"{office.service.url}/confirm?next=/accounts")
    expect(page.locator("#there")).to_be_visible()
    sound(page)
    context.close()
