# SPDX-License-Identifier: EUPL-1.2
"""`cardservice access` beside a running service: explanations, and what may be asked."""

import asyncio
import json

import pytest
from support.command import run_cli
from support.waiting import wait_until
from typer.testing import CliRunner

from cardservice import logs
from cardservice.cli import app
from cardservice.demo.seeding import references
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry
from city import people

POINT = "serverraum.aussen"


@pytest.fixture(scope="module")
def database_url():
    """On SQLite alone: what the commands ask of a store is tested on both elsewhere."""
    return


@pytest.fixture(autouse=True)
def one_log(monkeypatch):
    """The service in this process keeps its log: a command would turn it to the terminal of its own."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)


def run(city, *arguments):
    """Run a command in this process."""
    return CliRunner().invoke(app, ["access", *arguments, "--config", str(city.files.config)])


def card_of(city, name):
    with city.files.stores() as stores:
        return references(stores.state)[name]


def test_a_person_s_cards_are_explained_in_plain_words(city):
    """One block for each card, a mark before each step that refuses, the decision last."""
    arguments = ("explain", "--person", people.ANNA.login, "--point", POINT, "--language", "en")
    # The one that is a program of its own.
    told = run_cli("access", *arguments, "--config", str(city.files.config))
    assert told.returncode == 0, told.stderr
    heading, *lines = told.stdout.splitlines()
    assert heading.startswith(f"{POINT}, ")
    assert any(line.startswith("  ✗ Grants:") for line in lines)
    assert lines[-1] == "  = Decision: no_grant: No grant names this person or one of their groups."


def test_a_card_is_explained_as_one_document(city):
    """A local time is the point's; the same steps as over HTTP."""
    reference = card_of(city, "anna")
    told = run(city, "explain", "--card", reference, "--point", POINT, "--at", "2027-01-04T08:00", "--json")
    assert told.exit_code == 0, told.stderr
    document = json.loads(told.stdout)
    assert document["at_ms"] == 1_799_046_000_000
    assert [(one["card"], one["method"], one["reason"]) for one in document["answers"]] == [
        (reference, "desfire", "no_grant")
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--person", "nobody"), 66, "this login"),
        (("--card", "none"), 66, "there is no card"),
        ((), 65, "name one of them"),
        (("--person", "schmidt", "--at", "tomorrow"), 78, "2026-11-22T08:00"),
        (("--person", "schmidt", "--at", "1999-01-01T00:00"), 65, "2000 to 2099"),
        (("--person", "schmidt", "--level", "strong"), 78, "card_pin"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_sentence(city, arguments, code, says):
    told = run(city, "explain", "--point", POINT, *arguments)
    assert (told.exit_code, told.stdout) == (code, "")
    assert says in told.stderr
    assert "Traceback" not in told.stderr


async def test_the_model_goes_out_and_comes_back(city, tmp_path):
    """Exported, changed, looked at, taken over while the service runs, which then answers by it; and taken back."""
    exported = run(city, "export")
    assert exported.exit_code == 0, exported.stderr
    original, changed = tmp_path / "model.toml", tmp_path / "changed.toml"
    original.write_text(exported.stdout)
    grant = f'[[grant]]\ngroup = "Bauamt"\npoint = "{POINT}"\n'
    changed.write_text(exported.stdout + grant)
    looked = run(city, "import", str(changed), "--dry-run")
    heading, change, told = looked.stdout.splitlines()
    assert (heading, change) == ("not stored: 1 added, 0 changed, 0 removed", f"+ grant for 'Bauamt' at point {POINT}")
    assert told.startswith("2 people gain (2 points in all); 0 people lose")
    counted = run(city, "what-if", str(changed), "--list", "--json")
    assert {one["login"] for one in json.loads(counted.stdout)["people"]} == {"schmidt", "nowak"}
    assert run(city, "export").stdout == exported.stdout
    assert await tapped(city) == "no_grant"
    stored = await following(city, "import", str(changed), "--json")
    assert json.loads(stored.stdout) == {"stored": True, "changes": [f"+ grant for 'Bauamt' at point {POINT}"]}
    assert await tapped(city) == "granted"
    refused = run(city, "import", str(original))
    assert (refused.exit_code, "lacks what is stored: 1 x rule" in refused.stderr) == (65, True)
    assert (await following(city, "import", str(original), "--remove")).exit_code == 0
    assert run(city, "export").stdout == exported.stdout
    lines = [json.loads(row.payload) for row in city.files.rows(journal_entry) if row.stream == "access"]
    imported = [line for line in lines if line["kind"] == "model_imported"]
    assert [(line["added"], line["removed"]) for line in imported] == [(1, 0), (0, 1)]
    with city.files.stores() as stores:
        verify(stores.record)


async def tapped(city):
    async with city.agent() as agent:
        return (await agent.tap(city.card("anna"), POINT)).reason


async def following(city, *arguments):
    """Run a command that changes the city, and wait until the service has seen that."""
    snapshot = city.service.service.city.snapshot
    done = await asyncio.to_thread(run, city, *arguments)
    await asyncio.to_thread(wait_until, lambda: city.service.service.city.snapshot is not snapshot)
    return done


def test_exceptions_are_listed(city):
    told = run(city, "exceptions")
    assert (told.exit_code, told.stdout) == (0, "no point has an exception\n")
    assert json.loads(run(city, "exceptions", "--json").stdout) == []


@pytest.mark.parametrize("command", ["import", "what-if"])
def test_a_file_that_cannot_be_read_is_named(city, tmp_path, command):
    missing, wrong = tmp_path / "none.toml", tmp_path / "wrong.toml"
    wrong.write_text('format = 1\n\n[[zone]]\ncode = "x"\n')
    for file, code, says in ((missing, 78, "No such file"), (wrong, 65, "line 3: zone 'x'.name: nothing")):
        told = run(city, command, str(file))
        assert (told.exit_code, told.stdout) == (code, "")
        assert says in told.stderr
        assert "Traceback" not in told.stderr
