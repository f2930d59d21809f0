# SPDX-License-Identifier: EUPL-1.2
"""The page `/encoding` in a real browser: a card is encoded, pulled and gone on with by keyboard, in both languages."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from playwright.sync_api import Browser, Page, expect
from support.bought_token import bought_token
from support.browser import complaints_of, press
from support.encoder_agent import READER, EncoderAgent, blank
from support.service import CityFiles, ServiceThread, directory_in_thread
from support.signing_in import Visitor

from city.people import password_of

pytestmark = pytest.mark.browser

AXE = (Path(__file__).parents[1] / "vectors" / "axe" / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
WIDTHS = (390, 1280)
# Mehmet is in IT.
ADMINISTRATOR, AGENT = "yilmaz", "counter"
GERMAN = (
    "Kodieren",
    "Bitte legen Sie eine leere Karte auf den Leser.",
    "Bitte legen Sie dieselbe Karte wieder auf",
    "Das ist eine andere Karte",
    "Fertig. Sie können die Karte wegnehmen.",
    "Was ist das für eine Karte?",
    "Unsere Karte",
    "eine Karte liegt auf",
)
ENGLISH = (
    "Encode",
    "Please lay a blank card on the reader.",
    "Please lay the same card on again",
    "That is another card",
    "Done. You can take the card away.",
    "What is this card?",
    "Ours",
    "a card lies there",
)


@dataclass(frozen=True)
class Place:
    """A running city, and the key of the agent with the encoder."""

    service: ServiceThread
    key: Ed25519PrivateKey

    def agent(self) -> EncoderAgent:
        return EncoderAgent(self.service.agents_url, AGENT, self.key)

    def number_of(self, login: str) -> int:
        with Visitor(self.service.url).sign_in(ADMINISTRATOR) as visitor:
            found = visitor.request("GET", f"/api/v1/people?text={login}").json()["people"]
            return int(next(one["person"] for one in found if one["login"] == login))

    def order(self, login: str) -> str:
        """Order a card for somebody."""
        number = self.number_of(login)
        with Visitor(self.service.url).sign_in(ADMINISTRATOR) as visitor:
            headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": uuid.uuid4().hex}
            body = {"profile": "canteen_guest"}
            answer = visitor.request("POST", f"/api/v1/people/{number}/cards", headers=headers, json=body)
            return str(answer.json()["line"]["card"])[:8]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": "administrator", "group": "IT"}]}}
        files = CityFiles(tmp_path_factory.mktemp("encoder") / "city", directory.address, None, roles)
        files.upgrade()
        running = ServiceThread(files)
        running.start()
        running.wait_health(lambda state: state.get("status") == "ready")
        points = files.seed()
        running.wait_health(lambda state: state["points"] == points)
        yield Place(running, files.enrol(AGENT))
        running.stop()


def open_encoder(page: Page, place: Place) -> None:
    page.goto(f"{place.service.url}/encoding")
    page.locator("#name").fill(ADMINISTRATOR)
    page.locator("#password").fill(password_of(ADMINISTRATOR))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{place.service.url}/encoding")


@pytest.mark.parametrize(
    ("locale", "login", "words"), [("de-DE", "schmidt", GERMAN), ("en-GB", "nowak", ENGLISH)], ids=["de", "en"]
)
def test_a_card_is_encoded_by_keyboard(
    browser: Browser, place: Place, locale: str, login: str, words: tuple[str, ...]
) -> None:
    """Chosen, laid on, taken away too early, another one refused, gone on with, done; and then looked at."""
    encode, lay_on, again, other, done, what, ours, lies = words
    card, begun = place.order(login), blank()
    with place.agent() as agent, browser.new_context(locale=locale) as context:
        page = context.new_page()
        open_encoder(page, place)
        complaints = complaints_of(page)
        expect(page.locator("#bench")).to_contain_text(READER)
        press(page, page.get_by_role("button", name=f"{encode}: {card}"))
        bench = page.locator("#bench")
        expect(bench).to_contain_text(lay_on)
        agent.lay(begun, pull_after=30)
        expect(bench).to_contain_text(again)
        expect(page.locator("progress")).to_have_attribute("max", "5")
        agent.lay(blank())
        expect(bench).to_contain_text(other)
        agent.lay(begun)
        expect(bench).to_contain_text(done)
        expect(page.get_by_role("button", name=f"{encode}: {card}")).to_have_count(0)
        agent.take()
        expect(bench).not_to_contain_text(lies)
        press(page, page.get_by_role("button", name=what))
        expect(bench.get_by_role("status")).not_to_contain_text(done)
        agent.lay(begun)
        expect(bench).to_contain_text(ours)
        expect(bench).to_contain_text("DESFire EV2")
        assert complaints == []


@pytest.mark.parametrize(
    ("locale", "login", "words"),
    [
        ("de-DE", "schmidt", ("Vorhandene Karte erfassen", "ihrem eigenen Schlüssel", "Aushändigen", "aktiv")),
        ("en-GB", "nowak", ("Register a card that they have", "its own key", "Hand it out", "active")),
    ],
    ids=["de", "en"],
)
def test_a_token_that_they_have_is_registered_in_two_clicks(
    browser: Browser, place: Place, locale: str, login: str, words: tuple[str, ...]
) -> None:
    """From the page of a person: registered as it lies there, handed out; and it is theirs."""
    register, known_by, hand_out, active = words
    with place.agent() as agent, browser.new_context(locale=locale) as context:
        agent.lay(bought_token())
        page = context.new_page()
        open_encoder(page, place)
        page.goto(f"{place.service.url}/people/{place.number_of(login)}")
        complaints = complaints_of(page)
        press(page, page.get_by_role("button", name=register))
        bench = page.locator("#bench")
        expect(bench).to_contain_text(known_by)
        press(page, page.get_by_role("button", name=hand_out))
        expect(page.get_by_role("main")).to_contain_text(active)
        assert complaints == []


def test_a_card_that_proves_nothing_counts_by_its_number_where_somebody_says(browser: Browser, place: Place) -> None:
    """The page says what that means, and asks for a building and a day."""
    with place.agent() as agent, browser.new_context(locale="de-DE") as context:
        agent.lay(blank())
        page = context.new_page()
        open_encoder(page, place)
        page.goto(f"{place.service.url}/people/{place.number_of('weber')}")
        press(page, page.get_by_role("button", name="Vorhandene Karte erfassen"))
        bench = page.locator("#bench")
        expect(bench).to_contain_text("die jeder kopieren kann")
        page.get_by_label("Gebäude").select_option("rathaus")
        page.get_by_label("Letzter Tag").fill("2099-01-31")
        # Another card is ordered meanwhile: the list is brought anew, and nothing that was typed is lost.
        expect(page.get_by_role("button", name=f"Kodieren: {place.order('krueger')}")).to_have_count(1)
        press(page, page.get_by_role("button", name="Nummer erfassen"))
        expect(bench).to_contain_text("ihrer Nummer, die jeder kopieren kann")
        expect(page.get_by_role("button", name="Aushändigen")).to_have_count(1)


def test_a_card_gets_new_keys_from_its_page(browser: Browser, place: Place) -> None:
    """Encoded first; its page sends whoever helps to the reader, where it is done at once: it lies there."""
    card = place.order("krueger")
    with place.agent() as agent, browser.new_context(locale="de-DE") as context:
        agent.lay(blank())
        page = context.new_page()
        open_encoder(page, place)
        press(page, page.get_by_role("button", name=f"Kodieren: {card}"))
        bench = page.locator("#bench")
        # Until its own heading is there, the page shows how the job before it ended.
        expect(page.get_by_role("heading", name=f"Kodieren {card}")).to_have_count(1)
        expect(bench).to_contain_text("Fertig.")
        page.goto(f"{place.service.url}/people/{place.number_of('krueger')}")
        press(page, page.get_by_role("link", name=card))
        press(page, page.get_by_role("button", name="Neue Schlüssel, am Kodierplatz"))
        expect(page.get_by_role("heading", name=f"Neue Schlüssel {card}")).to_have_count(1)
        expect(bench).to_contain_text("Fertig.")


def test_without_a_reader_nothing_is_ordered(browser: Browser, place: Place) -> None:
    with browser.new_context(locale="de-DE") as context:
        page = context.new_page()
        open_encoder(page, place)
        page.goto(f"{place.service.url}/people/{place.number_of('schmidt')}")
        press(page, page.get_by_role("button", name="Vorhandene Karte erfassen"))
        expect(page.get_by_role("alert").first).to_contain_text("Es wurde nichts bestellt")


def test_a_job_is_cancelled_and_a_reader_that_is_away_is_said_so(browser: Browser, place: Place) -> None:
    """The card waits again; without an agent the page says that no reader is there, and offers nothing."""
    card = place.order("weber")
    with browser.new_context(locale="de-DE") as context:
        page = context.new_page()
        with place.agent():
            open_encoder(page, place)
            press(page, page.get_by_role("button", name=f"Kodieren: {card}"))
            press(page, page.get_by_role("button", name="Auftrag abbrechen"))
            expect(page.locator("#bench")).to_contain_text("Abgebrochen.")
            expect(page.get_by_role("button", name=f"Kodieren: {card}")).to_have_count(1)
        expect(page.locator("#bench")).to_contain_text("Kein Kodierplatz ist verbunden")
        expect(page.get_by_role("button", name=f"Kodieren: {card}")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_barrier_that_a_machine_finds(browser: Browser, place: Place, scheme: str) -> None:
    """WCAG 2.1 A and AA with a card that waits and one that was pulled, at a telephone's width and at a desk's."""
    place.order("weber")
    with place.agent() as agent, browser.new_context(locale="de-DE", color_scheme=scheme, bypass_csp=True) as context:
        page = context.new_page()
        page.add_init_script(AXE)
        open_encoder(page, place)
        press(page, page.get_by_role("button", name="Kodieren").first)
        agent.lay(blank(), pull_after=30)
        expect(page.locator("progress")).to_have_count(1)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        found = page.evaluate("rules => axe.run(document, rules)", RULES)
        assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
        page.get_by_role("button", name="Auftrag abbrechen").click()
        expect(page.locator("#bench")).to_contain_text("Abgebrochen.")
