# SPDX-License-Identifier: EUPL-1.2
"""The pages of cards' lives without a script: what is for good is asked about first, what is not can be undone."""

import re
from collections.abc import Iterator
from itertools import count

import httpx2
import pytest
import sqlalchemy as sa
from support.command import run_cli
from support.office import login_of, running_office
from support.service import CityFiles, ServiceThread
from support.signing_in import Visitor

from cardservice.cards.pki.store import certificate
from cardservice.cards.service import NewCard, register
from cardservice.cards.store import card
from cardservice.database import open_databases, read, write
from cardservice.people.store import organisation, person
from cardservice.web.operations import Role

ENGLISH = {"Accept-Language": "en"}
DIGITS = (f"{number:024x}" for number in count(0xFACE00))
KEYS = (f"{number:032x}" for number in count(1))


class Desk:
    """A running city, somebody at a desk for each role, and its store."""

    def __init__(self, service: ServiceThread, files: CityFiles) -> None:
        self.service, self.files = service, files
        self.state = open_databases(files.database_url).state
        self.visitors: dict[str, Visitor] = {}

    def visitor(self, role: str) -> Visitor:
        if role not in self.visitors:
            self.visitors[role] = Visitor(self.service.url).sign_in(login_of(role))
        return self.visitors[role]

    def get(self, role: str, path: str) -> httpx2.Response:
        return self.visitor(role).get(path, headers=ENGLISH)

    def post(self, role: str, path: str, **fields: str) -> httpx2.Response:
        form = {"form_token": self.visitor(role).form_token(), "key": next(KEYS)} | fields
        return self.visitor(role).post(path, data=form, headers=ENGLISH)

    def person(self, login: str) -> int:
        with read(self.state) as connection:
            return int(connection.execute(sa.select(person.c.id).where(person.c.login == login)).scalar_one())

    def give(self, login: str = "schmidt") -> str:
        """Register a card with a door number; return its page."""
        number = self.person(login)
        with read(self.state) as connection:
            home = connection.execute(sa.select(person.c.organisation_id).where(person.c.id == number)).scalar_one()
        key = bytes((1,)) + bytes.fromhex(next(DIGITS))
        (reference,) = register(self.state, [NewCard(home, number, (key,))])
        return f"/people/{number}/cards/{reference}"

    def now(self, page: str) -> tuple[str, str | None]:
        """Return state and reason of the card of a page."""
        with read(self.state) as connection:
            chosen = sa.select(card).where(card.c.reference == page.rpartition("/")[2])
            row = connection.execute(chosen).one()
        return row.state, row.state_reason


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_office(tmp_path_factory.mktemp("pages")) as (service, files):
        made = Desk(service, files)
        yield made
        for visitor in made.visitors.values():
            visitor.client.close()
        made.state.dispose()


def add_certificate(desk: Desk, page: str, state: str) -> None:
    """Store a certificate of a card as it is after an authority made it."""
    with write(desk.state) as connection:
        chosen = sa.select(card.c.id).where(card.c.reference == page.rpartition("/")[2])
        number = connection.execute(chosen).scalar_one()
        values: dict[str, object] = {"card_id": number, "slot": "9a", "authority": "outside", "state": state}
        values |= {"issuer_key": bytes(32), "serial": next(DIGITS), "not_before_ms": 0, "not_after_ms": 2**50}
        needed = {one.name for one in certificate.columns if not one.nullable and one.server_default is None}
        spare = {name: b"" if name in {"digest", "der"} else 0 for name in needed - values.keys() - {"id"}}
        connection.execute(sa.insert(certificate).values(**values, **spare))


def test_a_loss_names_the_person_and_what_ends_and_says_what_ended(desk):
    """From the search in two steps; the certificates are those that were revoked by it, held ones among them."""
    first, second = desk.give("nowak"), desk.give("nowak")
    for page, state in ((first, "good"), (second, "held"), (second, "revoked")):
        add_certificate(desk, page, state)
    number = desk.person("nowak")
    found = desk.post(Role.HELPDESK, "/people", text="nowak")
    assert f'href="/people/{number}/lost"' in found.text
    assert f'href="/people/{number}/lost"' in desk.get(Role.HELPDESK, f"/people/{number}").text
    question = desk.get(Role.HELPDESK, f"/people/{number}/lost").text
    assert "Nowak" in question
    assert "This cannot be undone" in question
    assert all(page.rpartition("/")[2][:8] in question for page in (first, second))
    assert desk.post(Role.HELPDESK, f"/people/{number}/lost").status_code == 422
    assert desk.now(first) == ("active", None)
    fields = {"sure": "1", "key": "f" * 32}
    done = desk.post(Role.HELPDESK, f"/people/{number}/lost", **fields)
    assert done.status_code == 200
    assert {desk.now(first), desk.now(second)} == {("revoked", "lost")}
    assert re.search(r"Certificates revoked</dt><dd>2<", done.text), done.text
    assert "Doors" in done.text
    # Reloading the page sends it again: it is the same answer.
    assert re.search(
        r"Certificates revoked</dt><dd>2<", desk.post(Role.HELPDESK, f"/people/{number}/lost", **fields).text
    )
    again = desk.post(Role.HELPDESK, f"/people/{number}/lost", sure="1")
    assert "They had no card that could end" in again.text


def test_whoever_helps_may_report_their_own_loss(desk):
    """All of it, an ordered card as well, though they may issue none for themselves."""
    own = desk.person(login_of(Role.HELPDESK))
    page = desk.give(login_of(Role.HELPDESK))
    assert desk.post(Role.ISSUER, f"/people/{own}/give", profile="employee").status_code == 303
    assert desk.post(Role.HELPDESK, f"/people/{own}/lost", sure="1").status_code == 200
    assert desk.now(page) == ("revoked", "lost")
    with read(desk.state) as connection:
        states = connection.execute(sa.select(card.c.state).where(card.c.person_id == own)).scalars().all()
    assert set(states) == {"revoked"}


@pytest.mark.parametrize("path", ["/people/999999/lost", "/people/0/lost"])
def test_nobody_is_reported_who_is_not_there(desk, path):
    """Neither asked about nor ended."""
    assert desk.get(Role.HELPDESK, path).status_code in {404, 422}
    assert desk.post(Role.HELPDESK, path, sure="1").status_code in {404, 422}


def test_who_may_not_change_cards_is_not_asked(desk):
    """An auditor sees neither the question nor its answer."""
    number = desk.person("weber")
    assert desk.get(Role.AUDITOR, f"/people/{number}/lost").status_code == 403
    assert desk.post(Role.AUDITOR, f"/people/{number}/lost", sure="1").status_code == 403


def test_what_is_for_good_is_asked_about_first(desk):
    """Revoked at the helpdesk, then returned, erased and destroyed by an issuer; without being sure nothing happens."""
    page = desk.give()
    assert f'href="{page}/sure?state=revoked"' in desk.get(Role.HELPDESK, page).text
    question = desk.get(Role.HELPDESK, f"{page}/sure?state=revoked").text
    assert "This cannot be undone" in question
    assert f'action="{page}/revocation"' in question
    assert desk.post(Role.HELPDESK, f"{page}/revocation", reason="stolen").status_code == 422
    assert desk.now(page) == ("active", None)
    assert desk.post(Role.HELPDESK, f"{page}/revocation", reason="stolen", sure="1").status_code == 303
    assert desk.now(page) == ("revoked", "stolen")
    assert desk.post(Role.ISSUER, f"{page}/step", state="returned").status_code == 303
    for state in ("erased", "destroyed"):
        assert desk.get(Role.HELPDESK, f"{page}/sure?state={state}").status_code == 403
        assert f'action="{page}/step"' in desk.get(Role.ISSUER, f"{page}/sure?state={state}").text
        assert desk.post(Role.ISSUER, f"{page}/step", state=state).status_code == 422
        assert desk.post(Role.ISSUER, f"{page}/step", state=state, sure="1").status_code == 303
        assert desk.now(page)[0] == state
    assert desk.get(Role.ISSUER, f"{page}/sure?state=revoked").status_code == 409


def test_only_what_is_for_good_is_asked_about(desk):
    """A step that can be taken back has no such question, and a wrong word none either."""
    page = desk.give()
    assert desk.get(Role.ISSUER, f"{page}/sure?state=suspended").status_code == 409
    assert desk.get(Role.ISSUER, f"{page}/sure?state=sold").status_code == 422
    assert desk.get(Role.ISSUER, f"{page}/sure").status_code == 422


def test_a_suspension_is_undone_from_where_it_was_made(desk):
    """The page says so at once; the question tells why not, if something stands against it."""
    page = desk.give()
    number, _, reference = page.removeprefix("/people/").partition("/cards/")
    made = desk.post(Role.HELPDESK, f"{page}/state", state="suspended", reason="missing")
    assert made.headers["location"] == f"/people/{number}?suspended={reference}"
    assert desk.get(Role.HELPDESK, made.headers["location"]).text.count(f'href="{page}/reinstatement"') == 1
    assert f'action="{page}/state"' in desk.get(Role.HELPDESK, f"{page}/reinstatement").text
    assert desk.post(Role.HELPDESK, f"{page}/state", state="active").status_code == 303
    assert desk.now(page) == ("active", None)
    assert "not suspended any more" in desk.get(Role.HELPDESK, f"{page}/reinstatement").text
    assert f"{page}/reinstatement" not in desk.get(Role.HELPDESK, made.headers["location"]).text


def test_what_stands_against_undoing_is_told(desk):
    """A temporary card, one's own card, and a time that is over; and then it is refused as well."""
    page = desk.give()
    assert desk.post(Role.HELPDESK, f"{page}/temporary", **{"number-door": next(DIGITS)}).status_code == 303
    told = desk.get(Role.HELPDESK, f"{page}/reinstatement").text
    assert "Another card stands in for it" in told
    assert f'action="{page}/state"' not in told
    own = desk.give(login_of(Role.HELPDESK))
    assert desk.post(Role.HELPDESK, f"{own}/state", state="suspended", reason="missing").status_code == 303
    assert "It is your own card" in desk.get(Role.HELPDESK, f"{own}/reinstatement").text
    over = desk.give()
    assert desk.post(Role.HELPDESK, f"{over}/state", state="suspended", reason="missing").status_code == 303
    with write(desk.state) as connection:
        chosen = card.c.reference == over.rpartition("/")[2]
        connection.execute(sa.update(card).where(chosen).values(valid_until_ms=1))
    assert "The time of the card is over" in desk.get(Role.HELPDESK, f"{over}/reinstatement").text


def test_a_temporary_card_is_lent_at_the_desk(desk):
    """By the helpdesk, with the numbers that are typed; what is no number is refused and not repeated."""
    page = desk.give("weber")
    form = desk.get(Role.HELPDESK, f"{page}/temporary").text
    assert "23:59" in form or "11:59" in form
    wrong = desk.post(Role.HELPDESK, f"{page}/temporary", **{"number-door": "secret"})
    assert (wrong.status_code, "secret" in wrong.text) == (422, False)
    number = next(DIGITS)
    assert desk.post(Role.HELPDESK, f"{page}/temporary", **{"number-door": number.upper()}).status_code == 303
    assert desk.now(page) == ("suspended", "forgotten")
    twice = desk.post(Role.HELPDESK, f"{page}/temporary", **{"number-door": next(DIGITS)})
    assert "Another card stands in for it already" in twice.text
    other = desk.give("weber")
    taken = desk.post(Role.HELPDESK, f"{other}/temporary", **{"number-door": number})
    assert "A number belongs to another card already" in taken.text
    assert desk.now(other) == ("active", None)
    own = desk.give(login_of(Role.HELPDESK))
    refused = desk.post(Role.HELPDESK, f"{own}/temporary", **{"number-door": next(DIGITS)})
    assert "It is your own card" in refused.text


def test_nothing_stands_in_for_a_card_that_is_not_in_use(desk):
    """The form says so instead."""
    page = desk.give()
    assert desk.post(Role.HELPDESK, f"{page}/revocation", reason="lost", sure="1").status_code == 303
    assert "Nothing can stand in for this card" in desk.get(Role.HELPDESK, f"{page}/temporary").text


def test_who_stands_in_two_directories_issues_for_neither_entry(desk):
    """A second entry with the issuer's login is theirs: nothing is given, moved on, lent or reinstated for it."""
    login = login_of(Role.ISSUER)
    with write(desk.state) as connection:
        row = connection.execute(sa.select(person).where(person.c.login == login)).one()._asdict()
        del row["id"]
        row |= {"directory": "works", "stable_id": "works-issuer", "dn": "cn=works", "login": login.upper()}
        connection.execute(sa.insert(person).values(**row))
    number = desk.person(login.upper())
    refused = desk.post(Role.ISSUER, f"/people/{number}/give", profile="employee")
    assert (refused.status_code, "own_card" in refused.text or "yourself" in refused.text) == (409, True), refused.text
    page = desk.give(login.upper())
    assert desk.post(Role.ISSUER, f"{page}/state", state="suspended", reason="missing").status_code == 303
    assert "A colleague has to do this" in desk.post(Role.ISSUER, f"{page}/state", state="active").text
    assert desk.now(page) == ("suspended", "missing")
    assert desk.post(Role.ISSUER, f"{page}/revocation", reason="damaged", sure="1").status_code == 303
    assert desk.post(Role.ISSUER, f"{page}/step", state="returned").status_code == 200
    assert desk.now(page) == ("revoked", "damaged")
    assert desk.post(Role.ADMINISTRATOR, f"{page}/step", state="returned").status_code == 303


def test_blank_cards_are_counted_on_their_page(desk):
    """Delivered, void, and what is left; more than that is refused, and so is what is no number."""
    with read(desk.state) as connection:
        code = connection.execute(sa.select(organisation.c.code).order_by(organisation.c.code)).scalars().first()
    sent = {"organisation": str(code), "label": "spring", "delivered": "30"}
    assert desk.post(Role.ISSUER, "/card-stock", **sent).status_code == 303
    assert "a delivery called so already" in desk.post(Role.ISSUER, "/card-stock", **sent).text
    page = desk.get(Role.ISSUER, "/card-stock").text
    delivery = int(re.findall(r'action="/card-stock/([0-9]+)/void"', page)[0])
    void = {"organisation": str(code), "count": "4"}
    assert desk.post(Role.ISSUER, f"/card-stock/{delivery}/void", **void).status_code == 303
    short = desk.post(Role.ISSUER, f"/card-stock/{delivery}/void", **void | {"count": "27"})
    assert "not left of this delivery" in short.text
    row = re.search(r"<th scope=\"row\">spring.*?</tr>", desk.get(Role.ISSUER, "/card-stock").text, re.DOTALL)
    assert row is not None
    assert re.findall(r'class="number">([0-9]+)<', row[0]) == ["30", "0", "4", "26"]
    for wrong in ("0", "-1", "x", "", "1e3", "100001", "٣"):
        assert desk.post(Role.ISSUER, "/card-stock", **sent | {"label": "b", "delivered": wrong}).status_code == 422
    assert desk.post(Role.ISSUER, "/card-stock", **sent | {"label": "a\nb"}).status_code == 422
    assert desk.post(Role.ISSUER, "/card-stock", **sent | {"label": "b", "organisation": "none"}).status_code == 404
    assert desk.post(Role.ISSUER, "/card-stock/999999/void", **void).status_code == 404


def test_blank_cards_are_for_whoever_issues(desk):
    """The helpdesk neither sees nor counts them."""
    assert desk.get(Role.HELPDESK, "/card-stock").status_code == 403
    sent = {"organisation": "x", "label": "y", "delivered": "1"}
    assert desk.post(Role.HELPDESK, "/card-stock", **sent).status_code == 403


def test_what_a_card_is_for_is_told_before_it_is_given(desk):
    """Its uses, how long it lasts at most, and what two people do together."""
    page = desk.get(Role.ISSUER, f"/people/{desk.person('weber')}").text
    rows = dict(re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', page))
    assert rows["canteen guest"] == "<td>Canteen</td><td>31 days</td><td>no</td>"
    assert rows["council member"] == "<td>Doors, Printers</td><td>1826 days</td><td>to become: active</td>"
    assert "temporary" not in rows
    assert "canteen guest" not in desk.get(Role.HELPDESK, f"/people/{desk.person('weber')}").text


def cli(desk: Desk, *words: str) -> tuple[int, str]:
    """Run a command about cards; return its exit code and what it said."""
    done = run_cli("cards", *words, "--config", str(desk.files.config))
    return done.returncode, done.stdout + done.stderr


def test_a_loss_is_reported_by_the_command_line(desk):
    """It says what ended, and a second time that nothing is left."""
    page = desk.give("krueger")
    add_certificate(desk, page, "held")
    code, said = cli(desk, "lost", "krueger")
    assert code == 0, said
    assert f"card {page.rpartition('/')[2]} is revoked\n" in said
    assert said.rstrip().endswith("certificates: 1")
    assert desk.now(page) == ("revoked", "lost")
    assert cli(desk, "lost", "krueger") == (0, "they have no card that could end\n")


def test_blank_cards_are_counted_by_the_command_line(desk):
    """Delivered and void; too many are refused, and so is an organisation that nobody knows."""
    with read(desk.state) as connection:
        code = str(connection.execute(sa.select(organisation.c.code).order_by(organisation.c.code)).scalars().first())
    done, said = cli(desk, "deliver", code, "by hand", "5")
    found = re.fullmatch(r"delivery ([0-9]+) has 5 blank cards\n", said)
    assert done == 0
    assert found is not None, said
    assert cli(desk, "void", code, found[1], "2") == (0, f"2 blank cards of delivery {found[1]} are void\n")
    assert "fewer than 4" in cli(desk, "void", code, found[1], "4")[1]
    assert "delivered 5 = issued 0 + void 2 + stock 3" in cli(desk, "stock")[1]
    refused, why = cli(desk, "deliver", "nowhere", "x", "5")
    assert refused != 0
    assert "there is no organisation nowhere" in why
    assert "1 to 100000" in cli(desk, "deliver", code, "y", "0")[1]
