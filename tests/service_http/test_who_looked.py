# SPDX-License-Identifier: EUPL-1.2
"""Whoever looks at somebody or their cards leaves a line, which that person finds on their page, and nobody else."""

import html
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from support.desks import ANNA, MEHMET, SABINE, Desk, account, desks
from support.service import directory_in_thread

from cardservice.access.record import STREAM
from cardservice.database import read, write
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry
from cardservice.people.store import person

OFFICE = ("schmidt", "nowak")


@pytest.fixture(scope="module")
def office(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """Mehmet administers everything, Sabine helps the people of the building office."""
    folder = tmp_path_factory.mktemp("looked")
    with directory_in_thread() as directory:
        made = build(directory, folder / "city", database_url, **desks(folder))
        with made.files.stores() as stores, write(stores.state) as connection:
            connection.execute(sa.update(person).where(person.c.login.in_(OFFICE)).values(department="Bauamt"))
        yield made
        made.close()


@pytest.fixture
def mehmet(office: City) -> Desk:
    return Desk(office.visitor(MEHMET))


def number_of(city: City, login: str) -> int:
    with city.files.stores() as stores, read(stores.state) as connection:
        return int(connection.execute(sa.select(person.c.id).where(person.c.login == login)).scalar_one())


def lines(city: City) -> list[dict[str, Any]]:
    """Return the open part of every line about looking, in order."""
    city.service.recorded()
    rows = [row for row in city.files.rows(journal_entry) if row.stream == STREAM]
    return [json.loads(row.payload) for row in sorted(rows, key=lambda row: (row.epoch, row.sequence))]


def looks_of(city: City, login: str) -> list[str]:
    """Return what stands under "who looked" on somebody's page."""
    page = html.unescape(city.visitor(login).get("/my", params={"lang": "en"}).text)
    return (
        page.partition("Who looked at my data?</h2>")[2].partition("<h2>")[0].partition("<tbody>")[2].split("<tr>")[1:]
    )


def test_each_reading_of_somebody_leaves_one_line_with_who_it_was(office: City, mehmet: Desk) -> None:
    """Over the API and on the page, the entry, the groups and the cards; sealed for the person, who reads it."""
    anna = number_of(office, ANNA)
    card = mehmet.get(f"/people/{anna}/cards")["cards"][0]["card"]
    before, mine = len(lines(office)), len(looks_of(office, ANNA))
    for path in (f"/people/{anna}", f"/people/{anna}/groups", f"/people/{anna}/cards", f"/cards/{card}"):
        mehmet.get(path)
    mehmet.get("/cards", person=anna)
    assert office.visitor(MEHMET).get(f"/people/{anna}").status_code == 200
    left = lines(office)[before:]
    kinds = ["person_read", "person_read", "cards_read", "cards_read", "cards_read", "person_and_cards_read"]
    assert [one["kind"] for one in left] == kinds
    assert {json.dumps(one) for one in left} == {json.dumps({"by": "person", "kind": kind}) for kind in kinds}
    newest = looks_of(office, ANNA)
    assert len(newest) == mine + len(kinds)
    assert all(f"({MEHMET})" in row for row in newest[: len(kinds)])
    assert "Your entry of the directory and your cards were looked at" in newest[0]
    assert looks_of(office, SABINE) == []
    with office.files.stores() as stores:
        verify(stores.record)


def test_a_system_is_named_as_one(office: City) -> None:
    anna = number_of(office, ANNA)
    with account(office, "identity") as identity:
        assert identity.get(f"/people/{anna}").status_code == 200
    assert lines(office)[-1] == {"kind": "person_read", "by": "system", "account": "identity"}
    assert "the system identity" in looks_of(office, ANNA)[0]


def test_a_list_leaves_one_line_with_the_count_alone(office: City, mehmet: Desk) -> None:
    """Not one for each person found; but a list of exactly one is a look at them. Nobody found leaves no line."""
    before = {login: len(looks_of(office, login)) for login in (ANNA, SABINE)}
    start = len(lines(office))
    found = len(mehmet.get("/people", text="a")["people"])
    cards = len(mehmet.get("/cards")["cards"])
    visitor = office.visitor(MEHMET)
    form = {"form_token": visitor.form_token(), "text": "schmidt"}
    assert "Schmidt" in visitor.post("/people", data=form).text
    mehmet.get("/people", text="nobody is called so")
    visitor.post("/people", data=form | {"text": "nobody is called so"})
    visitor.get("/people")
    assert lines(office)[start:] == [
        {"kind": "people_listed", "by": "person", "found": found},
        {"kind": "cards_listed", "by": "person", "found": cards},
        {"kind": "person_read", "by": "person"},
    ]
    assert {login: len(looks_of(office, login)) for login in (ANNA, SABINE)} == before | {ANNA: before[ANNA] + 1}


def test_whoever_is_alone_on_a_list_is_told(office: City, mehmet: Desk) -> None:
    """Over REST by a narrow search or pages of one; a list of cards of one person alone; oneself leaves none."""
    before, start = len(looks_of(office, ANNA)), len(lines(office))
    assert len(mehmet.get("/people", text="schmidt")["people"]) == 1
    mehmet.get("/people", limit="1")
    mehmet.get("/cards", limit="1")
    mehmet.get("/people", text=MEHMET)
    assert [line["kind"] for line in lines(office)[start:]] == ["person_read", "person_read", "cards_read"]
    assert len(looks_of(office, ANNA)) > before


def test_an_explanation_names_what_kind_of_somebody_asked(office: City) -> None:
    """Of somebody else it says that a person asked, and who; who explains what is about themselves leaves no line."""
    visitor, start, before = office.visitor(MEHMET), len(lines(office)), len(looks_of(office, ANNA))
    for login in (f"#{number_of(office, ANNA)}", MEHMET):
        form = {"form_token": visitor.form_token(), "login": login, "point": "bauamt.aussen"}
        assert visitor.post("/access/explain", data=form).status_code == 200
    assert lines(office)[start:] == [{"kind": "explained", "by": "person", "point": "bauamt.aussen"}]
    assert len(looks_of(office, ANNA)) == before + 1


def test_who_looks_at_themselves_leaves_no_line(office: City, mehmet: Desk) -> None:
    own, start = number_of(office, MEHMET), len(lines(office))
    for path in (f"/people/{own}", f"/people/{own}/groups", f"/people/{own}/cards"):
        mehmet.get(path)
    assert office.visitor(MEHMET).get(f"/people/{own}").status_code == 200
    assert lines(office)[start:] == []
    assert looks_of(office, MEHMET) == []


def test_what_is_beyond_reach_is_not_shown_and_leaves_no_line(office: City) -> None:
    """Whoever may not see somebody cannot make it look as if they had."""
    sabine, mehmet, start = Desk(office.visitor(SABINE)), number_of(office, MEHMET), len(lines(office))
    for path in (f"/people/{mehmet}", f"/people/{mehmet}/groups", "/people/999999"):
        assert sabine.ask("GET", path).status_code == 404
    assert sabine.get(f"/people/{mehmet}/cards")["cards"] == []
    assert sabine.get("/cards", person=mehmet)["cards"] == []
    assert lines(office)[start:] == []


def test_what_cannot_be_written_down_is_not_shown(office: City, mehmet: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal takes no line: a person, a list and a page answer 503, without a name."""
    anna = number_of(office, ANNA)
    recorder = office.service.service.recorder
    monkeypatch.setattr(recorder, "_max_waiting", 0)
    answers: list[httpx2.Response] = [mehmet.ask("GET", path) for path in (f"/people/{anna}", "/people", "/cards")]
    answers.append(office.visitor(MEHMET).get(f"/people/{anna}"))
    assert [(answer.status_code, "Schmidt" in answer.text) for answer in answers] == [(503, False)] * 4
