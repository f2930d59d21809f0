# SPDX-License-Identifier: EUPL-1.2
"""The life of cards over HTTP: given, lent, replaced, lost, taken back, by whoever may and by nobody else."""

from base64 import b64encode
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx2
import pytest
from support.office import login_of, running_office
from support.service import AGENT, OTHER_AGENT, CityFiles, ServiceThread
from support.signing_in import Visitor

from cardservice.access.store import agents_serving
from cardservice.cards.rules import CardState
from cardservice.database import read
from cardservice.web.operations import Role

ISSUER, HELPDESK, APPROVER = Role.ISSUER, Role.HELPDESK, Role.APPROVER
NUMBERS = (f"{number:024x}" for number in count(0xABC000))


class Office:
    """A running city, and whoever has a role in it."""

    def __init__(self, service: ServiceThread, files: CityFiles) -> None:
        self.service, self.files = service, files
        self.visitors: dict[str, Visitor] = {}
        self.asked = 0

    def ask(self, role: str, method: str, path: str, body: Any = None) -> httpx2.Response:
        if role not in self.visitors:
            self.visitors[role] = Visitor(self.service.url).sign_in(login_of(role))
        visitor = self.visitors[role]
        self.asked += 1
        headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": f"cards-{self.asked:08}"}
        return visitor.request(method, f"/api/v1{path}", headers=headers, json=body)

    def person(self, login: str) -> int:
        found = self.ask(ISSUER, "GET", f"/people?text={login}").json()["people"]
        return int(next(one["person"] for one in found if one["login"] == login))

    def give(self, login: str = "schmidt", **values: Any) -> str:
        body = {"profile": "employee", "numbers": {"door": next(NUMBERS)}} | values
        answer = self.ask(ISSUER, "POST", f"/people/{self.person(login)}/cards", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["line"]["card"])

    def state(self, card: str) -> tuple[str, str | None]:
        line = self.ask(ISSUER, "GET", f"/cards/{card}").json()["line"]
        return line["state"], line["reason"]

    def step(self, card: str, state: str, role: str = ISSUER, way: str = "step", **values: Any) -> tuple[int, str]:
        return told(self.ask(role, "POST", f"/cards/{card}/{way}", {"state": state} | values))


def told(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def numbers() -> dict[str, Any]:
    return {"numbers": {"door": next(NUMBERS)}}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("life")) as (service, files):
        made = Office(service, files)
        yield made
        for visitor in made.visitors.values():
            visitor.client.close()


def test_a_forgotten_card_is_lent_for_and_handed_back_at_the_desk(office):
    """By the helpdesk, which gives no cards; the history names who did it and what ended."""
    main = office.give()
    lent = office.ask(HELPDESK, "POST", f"/cards/{main}/temporary", numbers())
    assert (lent.status_code, lent.json()["line"]["profile"]) == (201, "temporary")
    assert office.state(main) == ("suspended", "forgotten")
    assert office.step(main, "active", HELPDESK, "state") == (409, "conflict")
    back = office.ask(HELPDESK, "POST", f"/cards/{lent.json()['line']['card']}/hand-back")
    assert (back.status_code, back.json()["line"]["card"]) == (200, main)
    events = office.ask(HELPDESK, "GET", f"/cards/{main}/history").json()["events"]
    assert [(one["after"], one["actor"], one["uses_ended"]) for one in events] == [
        ("active", login_of(HELPDESK), 0),
        ("suspended", login_of(HELPDESK), 1),
        ("active", login_of(ISSUER), 0),
    ]


def test_a_card_goes_its_whole_way(office):
    """Delivered, given, replaced, returned, erased, blank again; the stock adds up all the time."""
    delivered = {"organisation": "city", "label": "spring", "delivered": 3}
    organisation = office.ask(ISSUER, "GET", f"/people/{office.person('schmidt')}").json()["organisation"]
    number = office.ask(ISSUER, "POST", "/card-stock", delivered | {"organisation": organisation}).json()["delivery"]
    old = office.give(delivery=number)
    new = office.ask(ISSUER, "POST", f"/cards/{old}/replacement", numbers() | {"delivery": number})
    assert new.status_code == 201
    assert office.state(old) == ("revoked", "replaced")
    for state in ("returned", "erased", "stock"):
        assert office.step(old, state)[0] == 200
    void = office.ask(ISSUER, "POST", f"/card-stock/{number}/void", {"organisation": organisation, "count": 2})
    assert void.status_code == 200
    too_many = office.ask(ISSUER, "POST", f"/card-stock/{number}/void", {"organisation": organisation, "count": 1})
    assert told(too_many) == (409, "stock_short")
    (found,) = office.ask(ISSUER, "GET", "/card-stock").json()["deliveries"]
    assert {name: found[name] for name in ("delivered", "issued", "void", "stock", "adds_up")} == {
        "delivered": 3,
        "issued": 1,
        "void": 2,
        "stock": 0,
        "adds_up": True,
    }


def test_each_right_makes_its_own_steps(office):
    """Every state asked for by both ways and by every role: only what the table gives to a right is ever made."""
    card = office.give("weber")
    for role in set(Role) - {Role.HELPDESK, Role.ISSUER, Role.ADMINISTRATOR}:
        for way in ("step", "state"):
            assert office.step(card, "revoked", role, way, reason="lost") == (403, "foreign_role"), role
    assert office.step(card, "expired", HELPDESK) == (403, "foreign_role")
    assert office.step(card, "expired", HELPDESK, "state") == (409, "foreign_step")
    assert office.step(card, "suspended", ISSUER, reason="missing") == (409, "foreign_step")
    for state in CardState:
        if state not in {"expired", "suspended", "revoked"}:
            assert office.step(card, state) == (409, "conflict"), state
    assert office.state(card) == ("active", None)


def test_a_loss_ends_everything_by_one_request(office):
    """All cards of a person, whoever helps them asks; a second time there is nothing left."""
    person = office.person("nowak")
    before = office.give("nowak")
    lost = office.ask(HELPDESK, "POST", f"/people/{person}/lost").json()
    assert before in lost["cards"]
    assert "door" in lost["uses_ended"]
    assert lost["agents"] == [OTHER_AGENT, AGENT]
    assert {office.state(card) for card in lost["cards"]} == {("revoked", "lost")}
    with office.files.stores() as stores, read(stores.state) as connection:
        assert agents_serving(connection, ["canteen"]) == ["plaetze"]
    again = office.ask(HELPDESK, "POST", f"/people/{person}/lost").json()
    assert (again["cards"], again["agents"]) == ([], [])
    assert told(office.ask(HELPDESK, "POST", "/people/999999/lost")) == (404, "not_found")


def test_a_step_tells_what_followed_from_it(office):
    """Uses and certificates that ended, and the agents to inform; looking at the card tells none of it."""
    card = office.give("weber")
    asked = {"state": "suspended", "reason": "missing"}
    answer = office.ask(HELPDESK, "POST", f"/cards/{card}/state", asked).json()
    ended = {"uses_ended": ["door"], "certificates_changed": 0, "agents": [OTHER_AGENT, AGENT]}
    assert answer["effects"] == ended
    assert office.ask(HELPDESK, "GET", f"/cards/{card}").json()["effects"] is None
    back = office.ask(HELPDESK, "POST", f"/cards/{card}/state", {"state": "active"}).json()
    assert back["effects"] == {"uses_ended": [], "certificates_changed": 0, "agents": []}
    expired = office.ask(ISSUER, "POST", f"/cards/{card}/step", {"state": "expired"}).json()
    assert expired["effects"] == ended


def test_nobody_gives_a_card_to_themselves(office):
    """Whatever their role."""
    own = office.person(login_of(ISSUER))
    answer = office.ask(ISSUER, "POST", f"/people/{own}/cards", {"profile": "employee"})
    assert told(answer) == (409, "own_card")


def test_two_people_make_a_council_members_card_valid(office):
    """The issuer asks, the approver approves, and both stand in the history; alone it is refused."""
    card = office.give(profile="council_member")
    assert office.state(card) == ("ready_for_pickup", None)
    assert office.step(card, "active") == (409, "second_person_needed")
    asked = office.ask(ISSUER, "POST", f"/cards/{card}/activation", {"reason": "gewählt"})
    assert asked.status_code == 200, asked.text
    number = asked.json()["approval"]
    shown = office.ask(APPROVER, "GET", f"/approvals/{number}").json()
    body = {"digest": shown["digest"]}
    assert office.ask(APPROVER, "POST", f"/approvals/{number}/approve", body).status_code == 200
    assert office.state(card) == ("active", None)
    event = office.ask(ISSUER, "GET", f"/cards/{card}/history").json()["events"][0]
    assert (event["actor"], event["second_actor"]) == (login_of(ISSUER), login_of(APPROVER))


def test_nobody_approves_a_card_of_their_own(office):
    """Though another person asked for it: the request stays open, and the card is not valid."""
    card = office.give(login_of(APPROVER), profile="council_member")
    number = office.ask(ISSUER, "POST", f"/cards/{card}/activation", {"reason": "gewählt"}).json()["approval"]
    shown = office.ask(APPROVER, "GET", f"/approvals/{number}").json()
    refused = office.ask(APPROVER, "POST", f"/approvals/{number}/approve", {"digest": shown["digest"]})
    assert told(refused) == (409, "own_card")
    assert office.ask(APPROVER, "GET", f"/approvals/{number}").json()["state"] == "open"
    assert office.state(card) == ("ready_for_pickup", None)


def test_a_list_is_looked_at_stored_and_carried_out(office):
    """Its faults by line and column, then each card reported; another clerk does not see the batch."""

    def sent(text: str) -> dict[str, str]:
        return {"content": b64encode(text.encode("latin-1")).decode()}

    look = office.ask(ISSUER, "POST", "/card-batches/look", sent("Personalnummer;Profil\nmüller;trainee\nweber;king\n"))
    assert [(one["line"], one["column"]) for one in look.json()["faults"]] == [(2, "person"), (3, "profile")]
    assert told(office.ask(ISSUER, "POST", "/card-batches", sent("x"))) == (409, "list_unfit")
    made = office.ask(ISSUER, "POST", "/card-batches", sent("person,profile\nweber,trainee\nschmidt,trainee\n"))
    assert made.status_code == 201
    path = f"/card-batches/{made.json()['batch']}"
    assert made.json()["waiting"] == 2
    assert office.ask(ISSUER, "POST", f"{path}/go-on").json()["done"] == 2
    lines = office.ask(ISSUER, "GET", f"{path}/lines").json()["lines"]
    assert {office.state(one["card"])[0] for one in lines} == {"in_production"}
    assert told(office.ask(Role.ADMINISTRATOR, "GET", path)) == (404, "not_found")
