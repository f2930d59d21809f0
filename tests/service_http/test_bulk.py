# SPDX-License-Identifier: EUPL-1.2
"""Lists of cards over HTTP, by the pages and by the command line: carried out by themselves, after any restart."""

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from support.command import run_cli
from support.office import login_of, running_office
from support.service import CityFiles, ServiceProcess, ServiceThread, directory_in_thread
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.cards.bulk.service import progress
from cardservice.cards.bulk.store import card_batch_line
from cardservice.cards.store import card
from cardservice.database import read
from cardservice.journal.store import journal_entry
from cardservice.web.operations import Role

ISSUER, HELPDESK = Role.ISSUER, Role.HELPDESK
# People of the sample city; each line a card of its own for them.
LOGINS = ("schmidt", "weber", "nowak", "yilmaz")
PROFILES = ("trainee", "employee", "external", "visitor", "canteen_guest")
ENGLISH = {"Accept-Language": "en"}
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServiceThread, CityFiles]]:
    with running_office(tmp_path_factory.mktemp("lists")) as running:
        yield running


@pytest.fixture(scope="module")
def issuer(office: tuple[ServiceThread, CityFiles]) -> Iterator[Visitor]:
    with Visitor(office[0].url) as visitor:
        yield visitor.sign_in(login_of(ISSUER))


def a_list(*lines: str) -> bytes:
    return "\n".join(("Personalnummer;Profil", *lines)).encode("latin-1")


def many() -> bytes:
    """Twenty lines that can all be carried out."""
    return a_list(*(f"{login};{profile}" for login in LOGINS for profile in PROFILES))


def sent(visitor: Visitor, content: bytes) -> str:
    """Send a list as the form does; return the page that says how it is understood."""
    files = {"file": ("list.csv", content, "text/csv")}
    answer = visitor.request("POST", "/batches", data={"form_token": visitor.form_token()}, files=files)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def begun(visitor: Visitor, content: bytes) -> str:
    """Begin with a list by the pages; return the batch's page."""
    address = sent(visitor, content)
    answer = visitor.post(address, data=hidden(visitor.get(address).text))
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def hidden(text: str) -> dict[str, str]:
    preview = text.split('id="preview"')[1].split("</section>", maxsplit=1)[0]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', preview))


def how_far(visitor: Visitor, address: str) -> dict[str, Any]:
    return dict(visitor.get(f"/api/v1/card-batches/{address.rpartition('/')[2]}").json())


def ended(visitor: Visitor, address: str) -> dict[str, Any]:
    wait_until(lambda: how_far(visitor, address)["waiting"] == 0, LIMIT_S)
    return how_far(visitor, address)


def test_a_list_is_looked_at_begun_and_carried_out_by_itself(office, issuer):
    """Nobody goes on with it; the report has each line by its number and names nobody."""
    address = begun(issuer, a_list("schmidt;trainee", "weber;trainee"))
    done = ended(issuer, address)
    assert (done["lines"], done["done"], done["failed"], done["cancelled"]) == (2, 2, 0, 0)
    assert done["ended_ms"] >= done["made_ms"]
    report = issuer.get(f"{address}/report.csv")
    assert report.headers["content-type"] == "text/csv; charset=utf-8"
    head, *lines = report.text.splitlines()
    assert head == "line;profile;card;outcome;fault"
    assert [re.sub(r"[0-9a-f-]{36}", "CARD", line) for line in lines] == [
        "2;trainee;CARD;done;",
        "3;trainee;CARD;done;",
    ]
    listed = issuer.get("/api/v1/card-batches").json()["batches"]
    assert done in listed
    assert f'href="{address}"' in issuer.get("/batches").text
    kept = [row.payload.replace(" ", "") for row in office[1].rows(journal_entry)]
    assert any('"kind":"asked"' in line and '"operation":"cards.issue"' in line for line in kept)


@pytest.mark.parametrize(
    ("language", "line", "said"),
    [("en", "nobody;trainee", "nobody within your reach"), ("de", "weber;koenig", "erlaubt sind canteen_guest")],
)
def test_the_faults_of_a_list_are_told_and_nothing_can_begin(issuer, language, line, said):
    """By line and column, in the reader's own language; there is no button."""
    text = issuer.get(sent(issuer, a_list("schmidt;employee", line)), headers={"Accept-Language": language}).text
    preview = text.split('id="preview"')[1].split("</section>")[0]
    assert said in preview
    assert ">3</th>" in preview
    assert "<button" not in preview


@pytest.mark.parametrize("content", [b"\x00\x00", b"name;street\nx;y\n", b'person;profile\n"open;x\n'], ids=repr)
def test_what_is_no_list_is_refused_with_what_is_allowed(issuer, content):
    text = issuer.get(sent(issuer, content), headers=ENGLISH).text
    assert "This is no list that can be read" in text
    assert 'id="preview"' not in text


def test_a_form_without_a_file_and_a_file_too_long_are_told(issuer):
    """Each in a sentence beside the field; what is far too long is not even read."""
    fields = {"form_token": issuer.form_token()}
    none = issuer.request("POST", "/batches", data=fields, files={"file": ("", b"", "text/csv")}, headers=ENGLISH)
    assert "Please choose a file." in none.text
    long = {"file": ("list.csv", b"x" * 1_100_000, "text/csv")}
    assert "up to one megabyte" in issuer.request("POST", "/batches", data=fields, files=long, headers=ENGLISH).text
    huge = {"file": ("list.csv", b"x" * 2_200_000, "text/csv")}
    assert issuer.request("POST", "/batches", data=fields, files=huge).status_code == 413


def test_a_list_begun_twice_by_one_page_is_one_batch(issuer):
    """The button pressed twice."""
    address = sent(issuer, a_list("nowak;trainee"))
    fields = hidden(issuer.get(address).text)
    first, second = (issuer.post(address, data=fields).headers["location"] for _ in range(2))
    assert first == second
    assert ended(issuer, first)["done"] == 1


def test_what_is_somebody_else_s_is_not_there_and_the_helpdesk_may_not(office, issuer):
    """Neither the batch, its stream and its report, nor the list that was sent."""
    address, file = begun(issuer, a_list("yilmaz;trainee")), sent(issuer, a_list("yilmaz;visitor"))
    with Visitor(office[0].url) as other:
        other.sign_in(login_of(Role.ADMINISTRATOR))
        for path in (address, f"{address}/parts", f"{address}/report.csv", file):
            assert other.get(path).status_code == 404, path
        assert other.post(f"{address}/cancel", data={"form_token": other.form_token()}).status_code == 404
    with Visitor(office[0].url) as helper:
        helper.sign_in(login_of(HELPDESK))
        for path in ("/batches", address, "/api/v1/card-batches"):
            assert helper.get(path).status_code == 403, path


def test_the_stream_tells_how_far_it_is(office, issuer):
    """At once, as a part of the page, with what it came to."""
    address = begun(issuer, a_list("weber;visitor"))
    ended(issuer, address)
    with httpx2.stream("GET", f"{office[0].url}{address}/parts", headers=issuer.headers() | ENGLISH) as answer:
        assert answer.status_code == 200
        told = ""
        for piece in answer.iter_text():
            told += piece
            if "event: parts" in told and told.endswith("\n\n"):
                break
    assert 'id="progress"' in told
    assert ">done<" in told


def test_the_command_line_checks_begins_shows_and_reports(office, issuer, tmp_path):
    """The running service carries out what a command began; the stores are the same."""
    files = office[1]

    def run(*arguments: str) -> tuple[int, str, str]:
        done = run_cli("cards", "batch", *arguments, "--config", str(files.config))
        return done.returncode, done.stdout, done.stderr

    wrong, good = tmp_path / "wrong.csv", tmp_path / "good.csv"
    wrong.write_bytes(a_list("schmidt;king"))
    good.write_bytes(a_list("schmidt;canteen_guest", "weber;canteen_guest"))
    code, said, error = run("check", str(wrong))
    assert code != 0
    assert said.startswith("line 2, profile: allowed are canteen_guest, ")
    assert "correct 1 lines first" in error
    assert run("check", str(tmp_path / "none.csv"))[0] != 0
    assert run("check", str(good))[:2] == (0, "2 cards would be ordered, 0 lines have a fault\n")
    code, said, error = run("begin", str(good))
    assert code == 0, error
    number = re.findall(r"batch (\d+) is begun", said)[0]
    wait_until(lambda: json.loads(run("show", number, "--json")[1])["waiting"] == 0, LIMIT_S)
    assert json.loads(run("show", number, "--json")[1])["done"] == 2
    assert "2 lines = 2 done + 0 failed + 0 cancelled + 0 waiting" in run("list")[1]
    assert run("report", number)[1].count(";done;") == 2
    assert run("cancel", number)[:2] == (0, f"batch {number}: 0 lines are cancelled\n")
    assert run("show", "99999")[0] != 0
    assert issuer.get(f"/batches/{number}").status_code == 404


def test_what_is_left_is_cancelled_and_what_is_made_stays(issuer):
    """Each line is one of both; nothing waits, and nobody goes on with it."""
    address = begun(issuer, many())
    answer = issuer.post(f"{address}/cancel", data={"form_token": issuer.form_token()})
    assert answer.headers["location"] == address
    found = how_far(issuer, address)
    assert (found["done"] + found["cancelled"] + found["failed"], found["waiting"]) == (20, 0)
    assert found["ended_ms"] is not None
    report = issuer.get(f"{address}/report.csv").text
    assert (report.count(";done;"), report.count(";cancelled;")) == (found["done"], found["cancelled"])
    headers = {"X-Form-Token": issuer.form_token(), "Idempotency-Key": "cancelled-batch-1"}
    again = issuer.post(f"/api/v1/card-batches/{address.rpartition('/')[2]}/cancel", headers=headers)
    assert again.json() == found


def test_a_service_killed_in_the_middle_of_a_batch_goes_on_by_itself(tmp_path):
    """By the signal nobody hears: all is done after the next start, each line has one card, and no card is nobody's."""
    content = tmp_path / "many.csv"
    content.write_bytes(many())
    with directory_in_thread() as directory:
        files = CityFiles(tmp_path / "city", directory.address)
        files.upgrade()
        with ServiceProcess(files, tmp_path / "log") as service:
            service.wait_health(lambda state: state.get("status") == "ready")
            told = run_cli("cards", "batch", "begin", str(content), "--config", str(files.config))
            assert told.returncode == 0, told.stderr
            number = int(re.findall(r"batch (\d+) is begun", told.stdout)[0])
            wait_until(lambda: done_of(files, number) > 0, LIMIT_S, every_s=0.002)
            service.stop(signal.SIGKILL)
        with ServiceProcess(files, tmp_path / "log") as again:
            wait_until(lambda: done_of(files, number) == len(LOGINS) * len(PROFILES), LIMIT_S)
            assert again.stop() == 0
        with files.stores() as stores, read(stores.state) as connection:
            cards = connection.execute(sa.select(card.c.id).order_by(card.c.id)).scalars().all()
            line = card_batch_line.c
            made = connection.execute(sa.select(line.card_id).order_by(line.card_id)).scalars().all()
    assert cards == made


def done_of(files: CityFiles, number: int) -> int:
    with files.stores() as stores:
        return progress(stores.state, number, None).done
