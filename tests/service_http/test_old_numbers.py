# SPDX-License-Identifier: EUPL-1.2
"""Old numbers beside the new ones, the whole way: in their building alone, to their end, and what is left of them."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa
from support.command import run_cli
from support.office import login_of, running_office
from support.signing_in import Visitor

from cardservice import changes
from cardservice.access.rules import Level
from cardservice.access.store import point, point_class
from cardservice.cards.numbers.rules import Written, read_number
from cardservice.database import write
from cardservice.web.operations import Role

HERE, ELSEWHERE = "bauamt.aussen", "haupteingang.aussen"
UNTIL = "2199-12-31"
OLD = "04A2B3C4"


def listed(*lines: str) -> bytes:
    return "\n".join(("person;number;written;building;until", *lines)).encode()


class Office:
    """A running city whose points take numbers that a system reports; issuers and others at their pages."""

    def __init__(self, service, files) -> None:
        self.service, self.files = service, files
        self.visitors: dict[str, Visitor] = {}
        self.asked = 0
        with files.stores() as databases, write(databases.state) as connection:
            connection.execute(sa.update(point_class).values(methods="attested", level=Level.UID))
            connection.execute(sa.update(point).values(agent=None))
            changes.append(connection, "access", [0])
            revision = changes.latest(connection)
        service.wait_health(lambda state: state["snapshot_revision"] >= revision)

    def visitor(self, role: str) -> Visitor:
        if role not in self.visitors:
            self.visitors[role] = Visitor(self.service.url).sign_in(login_of(role))
        return self.visitors[role]

    def ask(self, method: str, path: str, body: object = None, role: str = Role.ISSUER) -> httpx2.Response:
        visitor = self.visitor(role)
        self.asked += 1
        headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": f"old-cards-{self.asked:06}"}
        return visitor.request(method, f"/api/v1/old-numbers{path}", headers=headers, json=body)

    def send(self, path: str, *lines: str, uses: tuple[str, ...] = ("door",)) -> httpx2.Response:
        return self.ask("POST", path, {"content": b64encode(listed(*lines)).decode(), "uses": list(uses)})

    def tap(self, number: str, at: str) -> str:
        value = read_number(number, Written.HEX).number().hex()
        headers = {"Authorization": "Bearer tap-token"}
        answer = httpx2.post(f"{self.service.url}/api/v1/taps", json={"point": at, "number": value}, headers=headers)
        return str(answer.json()["reason"])

    def left(self) -> dict[str, dict[str, int]]:
        return {one["building"]: one for one in self.ask("GET", "").json()["buildings"]}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("old")) as (service, files):
        made = Office(service, files)
        yield made
        for visitor in made.visitors.values():
            visitor.client.close()


def test_an_old_number_opens_in_its_building_until_the_building_is_done(office):
    """At the first tap after it was brought in, nowhere else, and not once more after its end."""
    assert office.tap(OLD, HERE) == "card_unknown"
    look = office.send("/look", f"schmidt;{OLD};hex;bauamt;{UNTIL}").json()
    assert look == {"cards": 1, "faults": []}
    assert office.tap(OLD, HERE) == "card_unknown"
    assert office.send("", f"schmidt;{OLD};hex;bauamt;{UNTIL}").json() == {"cards": 1}
    assert (office.tap(OLD, HERE), office.tap(OLD, ELSEWHERE)) == ("granted", "card_unknown")
    left = office.left()["bauamt"]
    assert (left["cards"], left["people"], left["only_old"]) == (1, 1, 0)
    assert office.ask("POST", "/bauamt/end").json() == {"cards": 1}
    assert office.tap(OLD, HERE) == "card_revoked"
    assert "bauamt" not in office.left()


def test_whoever_has_nothing_newer_is_counted(office):
    """Two buildings, three cards; a person whose only card is an old one is left."""
    login = login_of(Role.EMPLOYEE)
    lines = [f"{login};11223344;hex;rathaus;{UNTIL}", "yilmaz;11223355;hex;rathaus;2198-12-31"]
    assert office.send("", *lines, uses=("door", "canteen")).json() == {"cards": 2}
    left = office.left()["rathaus"]
    assert (left["cards"], left["people"], left["only_old"]) == (2, 2, 1)
    assert left["first_end_ms"] < left["last_end_ms"]
    assert office.ask("POST", "/rathaus/end").json() == {"cards": 2}


def test_a_list_with_a_fault_is_taken_in_no_part(office):
    """Each fault with its line and column; unknown people and zones, a number that is known there."""
    office.send("", f"schmidt;55667788;hex;bauamt;{UNTIL}")
    lines = [
        f"schmidt;55667799;hex;bauamt;{UNTIL}",
        f"niemand;55667711;hex;bauamt;{UNTIL}",
        f"schmidt;55667722;hex;nirgends;{UNTIL}",
        f"schmidt;55667788;hex;bauamt;{UNTIL}",
        f"{login_of(Role.ISSUER)};55667733;hex;bauamt;{UNTIL}",
        "schmidt;55667744;hex;bauamt;",
    ]
    faults = office.send("/look", *lines).json()["faults"]
    assert [(one["line"], one["column"]) for one in faults] == [
        (3, "person"),
        (4, "building"),
        (5, "number"),
        (6, "person"),
        (7, "until"),
    ]
    refused = office.send("", *lines)
    assert (refused.status_code, refused.json()["code"]) == (409, "list_unfit")
    assert office.tap("55667799", HERE) == "card_unknown"
    assert office.send("", f"schmidt;55667799;hex;bauamt;{UNTIL}", uses=("moon",)).status_code == 422
    assert office.ask("POST", "/nirgends/end").status_code == 404
    for broken in ("z", "zzzzz", "z==="):
        assert office.ask("POST", "", {"content": broken, "uses": ["door"]}).status_code == 422
    office.ask("POST", "/bauamt/end")


def test_only_whoever_issues_cards_may(office):
    for role in set(Role) - {Role.ISSUER, Role.ADMINISTRATOR}:
        assert office.ask("GET", "", role=role).status_code == 403, role
        assert office.ask("POST", "/bauamt/end", role=role).status_code == 403, role


def test_the_page_shows_what_is_left_and_ends_it_after_a_question(office):
    """Without the answer nothing ends; numbers are on no page."""
    office.send("", f"schmidt;66778899;hex;bauamt;{UNTIL}")
    visitor = office.visitor(Role.ISSUER)
    page = visitor.request("GET", "/old-numbers").text
    assert "Alte Karten in bauamt jetzt beenden" in page
    assert "66778899" not in page
    form = {"form_token": visitor.form_token(), "key": "0" * 32}
    assert visitor.request("POST", "/old-numbers/bauamt/end", data=form).status_code == 422
    assert office.tap("66778899", HERE) == "granted"
    done = visitor.request("POST", "/old-numbers/bauamt/end", data={**form, "sure": "1"})
    assert (done.status_code, done.headers["location"]) == (303, "/old-numbers?ended=1")
    assert office.tap("66778899", HERE) == "card_revoked"


def test_the_command_line_checks_brings_in_tells_and_ends(office, tmp_path: Path):
    file, config = tmp_path / "old.csv", ("--config", str(office.files.config))
    file.write_bytes(listed(f"schmidt;77889900;hex;bauamt;{UNTIL}", "x;y;z;w;v"))
    checked = run_cli("cards", "old", "check", str(file), *config)
    assert checked.returncode != 0
    assert "line 3, written" in checked.stdout
    file.write_bytes(listed(f"schmidt;77889900;hex;bauamt;{UNTIL}"))
    assert "1 old cards count now" in run_cli("cards", "old", "bring-in", str(file), *config).stdout
    assert "bauamt: 1 old cards of 1 people, 0 of them without" in run_cli("cards", "old", "left", *config).stdout
    assert "1 old cards have ended" in run_cli("cards", "old", "end", "bauamt", *config).stdout
    assert "no old card counts" in run_cli("cards", "old", "left", *config).stdout
