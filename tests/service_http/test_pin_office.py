# SPDX-License-Identifier: EUPL-1.2
"""PINs at the desk and at My card, over HTTP: who may, what is shown once, what is nowhere afterwards."""

import re
from collections.abc import Iterator

import httpx2
import pytest
import sqlalchemy as sa
from support.office import login_of, running_office, token_of
from support.pin_desk import pins_of
from support.signing_in import Visitor

from cardservice.cards.pin.rules import Verdict, fault_of
from cardservice.cards.store import card
from cardservice.database import RECORD, STATE, read
from cardservice.people.store import person
from cardservice.web.operations import Role, Scope

HELPDESK = Role.HELPDESK
CHOSEN, OTHER = "830519274617", "274617830519"


class Office:
    """A running city; `anna` is her number, `card` her card's row."""

    def __init__(self, service, files) -> None:
        self.service, self.files = service, files
        with files.stores() as stores, read(stores.state) as connection:
            chosen = sa.select(card.c.id, person.c.id).join(person).where(person.c.login == "schmidt")
            self.card, self.anna = connection.execute(chosen).first()
        self.visitors: dict[str, Visitor] = {}

    def visitor(self, login: str) -> Visitor:
        if login not in self.visitors:
            self.visitors[login] = Visitor(self.service.url).sign_in(login)
        return self.visitors[login]

    def ask(self, method: str, path: str, login: str = login_of(HELPDESK), **form: str):
        visitor = self.visitor(login)
        if path.startswith("/api/"):
            return visitor.request(method, path, headers={"X-Form-Token": visitor.form_token()})
        data = {"form_token": visitor.form_token(), **form} if method == "POST" else None
        return visitor.request(method, path, data=data)

    def verdict(self, pin: str) -> Verdict:
        with pins_of(self.files) as pins:
            return pins.check(self.card, self.anna, pin)

    def dump(self) -> str:
        """Everything in both stores and every file beside them."""
        found = [file.read_bytes().decode("latin-1") for file in self.files.folder.rglob("*") if file.is_file()]
        with self.files.stores() as databases:
            for engine, metadata in ((databases.state, STATE), (databases.record, RECORD)):
                for table in metadata.sorted_tables:
                    with read(engine) as connection:
                        found += [repr(tuple(row)) for row in connection.execute(sa.select(table))]
        return "\n".join(found)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("pins")) as (service, files):
        made = Office(service, files)
        yield made
        for visitor in made.visitors.values():
            visitor.client.close()


@pytest.fixture(autouse=True)
def no_pin(office: Office) -> None:
    with pins_of(office.files) as pins:
        pins.reset(office.anna)


def shown_pin(letter: str) -> str:
    (found,) = re.findall(r'<p class="pin">(\d+)</p>', letter)
    return found


def test_a_letter_shows_a_pin_that_counts_at_once_and_is_nowhere_else(office, capfd):
    """Once: the page before and after say only that there is one; no store, file, log or metric has it."""
    address = f"/people/{office.anna}/pin"
    assert "nicht gesetzt" in office.ask("GET", address).text
    letter = office.ask("POST", address)
    assert (letter.status_code, letter.headers["cache-control"]) == (200, "no-store")
    assert "Anna Schmidt" in letter.text
    made = shown_pin(letter.text)
    assert fault_of(made) is None
    assert office.verdict(made) is Verdict.RIGHT
    after = office.ask("GET", address).text
    assert "gesetzt, zuletzt" in after
    again = shown_pin(office.ask("POST", address).text)
    assert (office.verdict(made), office.verdict(again)) == (Verdict.WRONG, Verdict.RIGHT)
    office.service.recorded()
    said = [office.dump(), after, office.service.get("/metrics")[1], *capfd.readouterr()]
    for pin in (made, again):
        # As digits that stand alone: six of them are part of many a number.
        assert not [text for text in said if re.search(rf"(?<![\d.]){pin}(?!\d)", text)]


def test_over_rest_a_pin_is_in_one_answer(office):
    """Handed out, locked by wrong ones, unlocked, taken away."""
    path = f"/api/v1/people/{office.anna}/pin"
    made = office.ask("POST", path)
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    assert office.verdict(made.json()["pin"]) is Verdict.RIGHT
    assert [office.verdict("000000") for _ in range(4)] == [Verdict.WRONG] * 3 + [Verdict.LOCKED]
    (tries,) = office.ask("GET", path).json()["cards"]
    assert tries["wrong"] == 3
    assert tries["locked_until_ms"]
    assert "gesperrt bis" in office.ask("GET", f"/people/{office.anna}/pin").text
    assert office.ask("POST", f"{path}/unlock").status_code == 204
    assert office.verdict(made.json()["pin"]) is Verdict.RIGHT
    assert office.ask("DELETE", path).status_code == 204
    assert office.ask("GET", path).json() == {"changed_ms": None, "cards": []}
    assert office.verdict(made.json()["pin"]) is Verdict.WRONG
    assert office.ask("POST", "/api/v1/people/999999/pin").status_code == 404


def test_nobody_hands_a_pin_to_themselves_and_no_system_gets_one(office):
    """The helpdesk's own PIN is chosen like anybody's; an account with every scope is refused."""
    login = login_of(HELPDESK)
    with office.files.stores() as stores, read(stores.state) as connection:
        own = connection.execute(sa.select(person.c.id).where(person.c.login == login)).scalar_one()
    refused = office.ask("POST", f"/api/v1/people/{own}/pin")
    assert (refused.status_code, refused.json()["code"]) == (409, "own_pin")
    page = office.ask("POST", f"/people/{own}/pin").text
    assert "Niemand gibt sich selbst eine PIN aus" in page
    assert 'class="pin"' not in page
    with httpx2.Client(base_url=office.service.url) as client:
        for scope in (*Scope, "everything"):
            headers = {"Authorization": f"Bearer {token_of(scope)}"}
            answer = client.post(f"/api/v1/people/{office.anna}/pin", headers=headers)
            assert answer.status_code == 403, scope
    for role in (Role.EMPLOYEE, Role.AUDITOR, Role.FACILITY, Role.STAFF_COUNCIL):
        assert office.ask("POST", f"/api/v1/people/{office.anna}/pin", login_of(role)).status_code == 403


def test_holders_choose_their_own_after_their_password(office):
    """Twice the same; what cannot be one is refused with the rule, and no PIN comes back in a page."""
    visitor = office.visitor("schmidt")
    assert visitor.request("GET", "/my/pin").status_code == 200
    unfit = [(CHOSEN, OTHER), ("1234", "1234"), ("7777", "7777"), ("12", "12"), ("8305x", "8305x"), ("", "")]
    for pin, again in unfit:
        page = office.ask("POST", "/my/pin", "schmidt", pin=pin, again=again)
        assert "Das kann nicht Ihre PIN sein" in page.text
        assert not pin or pin not in re.sub(r"\s|4 bis 12", "", page.text) or pin == "12"
    done = office.ask("POST", "/my/pin", "schmidt", pin=CHOSEN, again=CHOSEN)
    assert "Ihre PIN ist gesetzt" in done.text
    assert CHOSEN not in done.text
    assert office.verdict(CHOSEN) is Verdict.RIGHT
    same = office.ask("POST", "/my/pin", "schmidt", pin=CHOSEN, again=CHOSEN)
    assert "eine andere als bisher" in same.text
    assert "/my/pin" in visitor.request("GET", "/my").text
    office.service.recorded()
    assert CHOSEN not in office.dump()
