# SPDX-License-Identifier: EUPL-1.2
"""Keys over HTTP: how far a change of them is, and closing the older ones by two people, with cards at the door."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from support.office import login_of, running_office, token_of
from support.scripted_agent import ScriptedAgent
from support.service import AGENT, CityFiles, ServiceThread
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.parts import key_file
from cardservice.web.operations import Role, Scope

DOOR = "bauamt.aussen"
REASON = "Umstellung abgeschlossen"


class Office:
    """A running city, and whoever has a role in it."""

    def __init__(self, service: ServiceThread, files: CityFiles) -> None:
        self.service, self.files = service, files
        self.visitors: dict[str, Visitor] = {}
        self.asked = 0

    def visitor(self, role: str) -> Visitor:
        if role not in self.visitors:
            self.visitors[role] = Visitor(self.service.url).sign_in(login_of(role))
        return self.visitors[role]

    def ask(self, role: str, method: str, path: str, body: Any = None) -> httpx2.Response:
        visitor = self.visitor(role)
        self.asked += 1
        headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": f"keys-{self.asked:08}"}
        return visitor.request(method, f"/api/v1{path}", headers=headers, json=body)

    def doors(self) -> dict[str, Any]:
        uses = self.ask(Role.AUDITOR, "GET", "/keys").json()["uses"]
        found: dict[str, Any] = next(one for one in uses if one["use"] == "door")
        return found

    def states(self) -> dict[int, str]:
        return {one["generation"]: one["state"] for one in self.doors()["generations"]}

    def close(self, generation: int, left: int) -> httpx2.Response:
        body = {"reason": REASON, "cards_left": left}
        return self.ask(Role.ADMINISTRATOR, "POST", f"/keys/door/{generation}/close", body)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("keys")) as (service, files):
        made = Office(service, files)
        yield made
        for visitor in made.visitors.values():
            visitor.client.close()


def test_no_account_of_a_system_and_no_other_role_sees_or_closes_keys(office: Office) -> None:
    """Auditors and administrators read how far it is; administrators alone ask for a closing."""
    for scope in Scope:
        headers = {"Authorization": f"Bearer {token_of(scope)}"}
        assert httpx2.get(f"{office.service.url}/api/v1/keys", headers=headers).status_code == 403
    for role in (Role.HELPDESK, Role.ISSUER, Role.APPROVER):
        assert office.ask(role, "GET", "/keys").status_code == 403
    assert office.ask(Role.AUDITOR, "POST", "/keys/door/1/close", {"reason": REASON}).status_code == 403
    assert office.ask(Role.AUDITOR, "GET", "/keys/door/1/left").status_code == 403


async def test_two_people_close_what_everybody_has_left(office: Office) -> None:
    """A card counts when it is tapped; a wrong number and the active generation are refused; then old cards are too."""
    key = office.files.enrol(AGENT)
    async with ScriptedAgent(office.service.agents_url, AGENT, key) as agent:
        assert (await agent.tap(office.files.cards()["anna"], DOOR)).permit
        wait_until(lambda: office.doors()["moved"] == 1, 90)
        assert key_file(office.files.settings()).rotate("door", None, 1_790_000_000_000) == 2
        wait_until(lambda: office.states() == {2: "active", 1: "previous"}, 90)
        assert (await agent.tap(office.files.cards()["anna"], DOOR)).permit
        left = office.doors()["cards"]
        assert len(office.ask(Role.ADMINISTRATOR, "GET", "/keys/door/1/left").json()["cards"]) == left > 0

        refused = [office.close(1, left - 1), office.close(2, 0), office.close(9, 0)]
        assert [answer.status_code for answer in refused] == [409, 409, 409]
        assert f"shuts out {left} cards" in refused[0].json()["detail"]
        number = office.close(1, left).json()["approval"]
        request = office.ask(Role.APPROVER, "GET", f"/approvals/{number}").json()
        assert request["content"] == {"use": "door", "generation": 1, "cards_left": left}
        answer = {"digest": request["digest"]}
        assert office.ask(Role.AUDITOR, "POST", f"/approvals/{number}/approve", answer).status_code in {403, 404}
        assert office.states()[1] == "previous"
        approved = office.ask(Role.APPROVER, "POST", f"/approvals/{number}/approve", answer)
        assert approved.status_code == 200, approved.text
        wait_until(lambda: office.states() == {2: "active", 1: "closed"}, 90)
        after = await agent.tap(office.files.cards()["anna"], DOOR)
        assert (after.permit, after.reason) == (False, "card_not_genuine")
    assert office.close(1, left).status_code == 409


def test_the_page_of_operations_shows_them(office: Office) -> None:
    """For whoever runs the city: each use, its generations, how many cards."""
    page = office.visitor(Role.ADMINISTRATOR).get("/operations").text
    assert "Schlüssel der Karten" in page or "Keys of the cards" in page


def test_the_gauges_are_there(office: Office) -> None:
    page = office.service.get("/metrics")[1]
    assert 'cardservice_key_generation{generation="1",state="' in page
    assert 'cardservice_key_cards{generation="unseen",use="canteen"}' in page
