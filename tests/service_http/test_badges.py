# SPDX-License-Identifier: EUPL-1.2
"""Badges over HTTP: who may have one made, of which cards, with the photo of that moment; and who finds out."""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from io import BytesIO

import ldap3
import pytest
import sqlalchemy as sa
from PIL import Image
from support.office import login_of, running_office
from support.service import ADMIN_PASSWORD
from support.signing_in import Visitor

from cardservice.cards.rules import CardState
from cardservice.cards.service import NewState, change_state
from cardservice.cards.store import card
from cardservice.clock import SystemClock
from cardservice.database import read
from cardservice.journal.store import journal_entry
from cardservice.people.store import person
from cardservice.web.operations import Role
from city import people

pytestmark = pytest.mark.poppler


class Office:
    """A running city; `card` and `number` are Anna's."""

    def __init__(self, service, files) -> None:
        self.service, self.files = service, files
        with files.stores() as stores, read(stores.state) as connection:
            chosen = sa.select(card.c.reference, person.c.id).join(person).where(person.c.login == "schmidt")
            self.card, self.number = connection.execute(chosen).first()
            others = sa.select(card.c.reference).join(person).where(person.c.login == "weber")
            self.other = connection.execute(others).scalars().first()
        self.visitors: dict[str, Visitor] = {}

    def get(self, path: str, role: str = Role.ISSUER, body: object = None):
        if role not in self.visitors:
            self.visitors[role] = Visitor(self.service.url).sign_in(login_of(role))
        visitor = self.visitors[role]
        headers = {"X-Form-Token": visitor.form_token()}
        return visitor.request("GET" if body is None else "POST", path, headers=headers, json=body)

    def store_photo(self, login: str, data: bytes) -> None:
        section = tomllib.loads(self.files.config.read_text())["directory"]
        server = ldap3.Server(section["servers"][0], tls=ldap3.Tls(ca_certs_file=section["ca_file"]))
        connection = ldap3.Connection(server, people.ADMIN_DN, ADMIN_PASSWORD, auto_bind=True)
        try:
            done = connection.modify(f"uid={login},{people.PEOPLE}", {"jpegPhoto": [(ldap3.MODIFY_REPLACE, [data])]})
            assert done, connection.result
        finally:
            connection.unbind()


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("badges")) as (service, files):
        made = Office(service, files)
        yield made
        for visitor in made.visitors.values():
            visitor.client.close()


def images_in(pdf: bytes) -> int:
    done = subprocess.run(["pdfimages", "-list", "-"], input=pdf, capture_output=True, check=True)
    return len(done.stdout.splitlines()) - 2


def words_of(pdf: bytes) -> str:
    return subprocess.run(["pdftotext", "-", "-"], input=pdf, capture_output=True, check=True).stdout.decode()


def photo() -> bytes:
    made = BytesIO()
    Image.radial_gradient("L").resize((300, 400)).convert("RGB").save(made, "JPEG")
    return made.getvalue()


def test_the_badge_has_the_photo_that_the_directory_has_now(office):
    """Without one a silhouette, and with one that cannot be read as well; nobody keeps the file on the way."""
    path = f"/api/v1/cards/{office.card}/badge"
    without = office.get(path)
    assert (without.status_code, images_in(without.content)) == (200, 0)
    assert without.headers["content-type"] == "application/pdf"
    assert without.headers["cache-control"] == "no-store"
    assert "Anna Schmidt" in words_of(without.content)
    office.store_photo("schmidt", photo())
    assert images_in(office.get(path).content) == 1
    office.store_photo("schmidt", b"\xff\xd8\xff no photo \xff\xd9")
    broken = office.get(path)
    assert (broken.status_code, images_in(broken.content)) == (200, 0)


def test_sheets_leave_out_what_is_over(office):
    """Of several cards; none left is a refusal that says so."""
    found = office.get("/api/v1/badges", body={"cards": [office.card, office.other]})
    assert {name in words_of(found.content) for name in ("Anna Schmidt", "Jonas Weber")} == {True}
    with office.files.stores() as stores:
        lost = NewState(CardState.REVOKED, "lost")
        change_state(stores.state, office.other, lost, SystemClock().now_ms())
    assert "Jonas Weber" not in words_of(
        office.get("/api/v1/badges", body={"cards": [office.card, office.other]}).content
    )
    for refused in (
        office.get("/api/v1/badges", body={"cards": [office.other]}),
        office.get(f"/api/v1/cards/{office.other}/badge"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (409, "badge_refused")
    assert office.get("/api/v1/badges", body={"cards": []}).status_code == 422
    assert office.get("/api/v1/badges", body={"cards": ["0"]}).status_code == 404


def test_only_whoever_issues_cards_has_badges_made(office):
    for role in set(Role) - {Role.ISSUER, Role.ADMINISTRATOR}:
        assert office.get(f"/api/v1/cards/{office.card}/badge", role).status_code == 403, role


def test_the_page_of_a_card_leads_to_its_badge_and_its_holder_finds_out(office):
    """The file is of that person's card alone; the line about the look names who and whose, as any look does."""
    page = office.get(f"/people/{office.number}/cards/{office.card}")
    address = f"/people/{office.number}/cards/{office.card}/badge.pdf"
    assert f'href="{address}"' in page.text
    file = office.get(address)
    assert file.headers["content-disposition"] == 'attachment; filename="badge.pdf"'
    assert "Anna Schmidt" in words_of(file.content)
    assert office.get(f"/people/{office.number + 1}/cards/{office.card}/badge.pdf").status_code == 404
    looks = [json.loads(row.payload) for row in office.files.rows(journal_entry) if row.stream == "access"]
    assert "badge_made" in {one["kind"] for one in looks}
    assert f"{office.card}/badge" not in office.get(f"/people/{office.number}/cards/{office.card}", Role.HELPDESK).text
