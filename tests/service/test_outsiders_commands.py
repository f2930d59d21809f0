# SPDX-License-Identifier: EUPL-1.2
"""`cardservice people outsiders`: what the pages do, from a terminal."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from service.directory import open_copy, someone, tell
from service.fake_clock import FakeClock
from structlog.testing import capture_logs
from support.service import CityFiles, DirectoryAddress
from typer.testing import CliRunner, Result

from cardservice import logs
from cardservice.cli import app

Run = Callable[..., Result]


@pytest.fixture
def run(clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command beside a store whose directory names Anna and Bert."""
    # What writes the log stays as this process has it.
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    address = DirectoryAddress("ldaps://127.0.0.1:1", tmp_path / "no-ca.pem")
    files = CityFiles(tmp_path / "city", address, None, {"outsiders": {"max_days": 3_650}})
    files.upgrade()
    with files.stores() as stores:
        tell(open_copy(stores.state, clock), someone("anna"), someone("bert"))
    config = files.config

    def command(*arguments: str) -> Result:
        with capture_logs():
            return CliRunner().invoke(app, ["people", "outsiders", *arguments, "--config", str(config)])

    return command


def told(run: Run, *arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_somebody_is_added_extended_handed_over_and_ended(run: Run) -> None:
    """Each as one document or in plain words."""
    told(run, "groups", "add", "roofers")
    usual = ("--sponsor", "anna", "--until", "2033-03-31", "--reason", "roof", "--group", "roofers")
    made = told(run, "add", "Erika Muster", *usual, "--company", "Dach AG")
    number = str(made["person"])
    assert (made["state"], made["sponsor"]["login"], made["changed_by"]) == ("current", "anna", "the command line")
    later = told(run, "extend", number, "--until", "2034-03-31", "--reason", "longer", "--by", "ute")
    assert later["until_ms"] - made["until_ms"] == 365 * 86_400_000
    assert (later["changed_by"], later["company"]) == ("ute", "Dach AG")
    assert told(run, "sponsor", number, "bert", "--reason", "leave")["sponsor"]["login"] == "bert"
    assert told(run, "list", "--sponsor", "anna") == []
    assert told(run, "set-groups", number, "--reason", "done")["groups"] == []
    assert run("groups", "remove", "roofers").exit_code == 0
    assert told(run, "groups", "list") == []
    assert told(run, "end", number, "--reason", "done")["state"] == "ended"
    assert [one["person"] for one in told(run, "list", "--which", "ended")] == [made["person"]]
    shown = run("show", number).stdout
    assert "Erika Muster" in shown
    assert "bert answers for them" in shown


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("add", "X", "--sponsor", "nobody", "--until", "2033-03-31", "--reason", "r"), "nobody", 66),
        (("add", "X", "--sponsor", "anna", "--until", "2020-03-31", "--reason", "r"), "future", 65),
        (("add", "X", "--sponsor", "anna", "--until", "2033-03-31", "--reason", "r", "--kind", "king"), "kind", 78),
        (("show", "999"), "999", 66),
        (("list", "--which", "mine"), "--which", 78),
        (("groups", "add", " "), "NAME", 78),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run: Run, arguments: tuple[str, ...], says: str, code: int) -> None:
    result = run(*arguments)
    assert (result.exit_code, says in result.stderr) == (code, True), result.output
