# SPDX-License-Identifier: EUPL-1.2
"""`cardservice keys ...` where nobody is at a terminal: what it says, and what it refuses to do alone."""

import json
from pathlib import Path

import pytest
from support.command import Done, run_cli
from support.service import CityFiles, DirectoryAddress

from cardservice.parts import key_file


@pytest.fixture
def files(tmp_path: Path) -> CityFiles:
    """A migrated city with a key store of its own that its passphrase alone opens."""
    (tmp_path / "ca.pem").write_text("never read")
    changes = {"": {"demonstration": False}, "keys": {"store": str(tmp_path / "own.json")}}
    made = CityFiles(tmp_path / "city", DirectoryAddress("ldaps://127.0.0.1:1", tmp_path / "ca.pem"), None, changes)
    made.upgrade()
    done = keys(made, "create", "--system-id", "STADT")
    assert done.returncode == 0, done.stderr
    return made


def keys(files: CityFiles, *arguments: str) -> Done:
    return run_cli("keys", *arguments, "--config", str(files.config))


def test_a_store_without_shares_is_rotated_and_told_of(files: CityFiles) -> None:
    """The status names each generation, for people and for programs."""
    assert keys(files, "rotate", "door").returncode == 0
    assert keys(files, "rotate", "workstation").returncode == 65
    status = json.loads(keys(files, "status", "--json").stdout)
    doors = next(one for one in status if one["use"] == "door")
    assert [(one["generation"], one["state"]) for one in doors["generations"]] == [(2, "active"), (1, "previous")]
    assert "generation 2: active" in keys(files, "status").stdout
    assert keys(files, "cards", "door", "1").stdout == "no card would be shut out\n"


def test_one_person_alone_closes_nothing(files: CityFiles) -> None:
    """Unless the settings say that a second one is not needed; shares need a terminal in any case."""
    keys(files, "rotate", "door")
    refused = keys(files, "close", "door", "1")
    assert refused.returncode == 65
    assert "closing keys needs a second person" in refused.stderr
    files.configure({"keys": {"close_needs_approval": False}})
    wrong = keys(files, "close", "door", "1", "--although-left", "7")
    assert wrong.returncode == 65
    assert "shuts out 0 cards" in wrong.stderr
    assert keys(files, "close", "door", "1").returncode == 0
    assert key_file(files.settings()).load().ring("door").proof(1) is None


@pytest.mark.parametrize("command", [("init", "--system-id", "STADT"), ("export-share",), ("import", "nowhere.json")])
def test_shares_are_typed_at_a_terminal_alone(files: CityFiles, command: tuple[str, ...]) -> None:
    """Not read from a pipe, where another program would know them."""
    if command[0] == "init":
        files.configure({"keys": {"store": str(files.folder / "another.json")}})
    done = keys(files, *command)
    assert done.returncode == 77
    assert "this needs a terminal" in done.stderr or "No such file" in done.stderr


def test_a_token_that_is_not_set_up_is_told(files: CityFiles) -> None:
    files.configure({"keys": {"masters": "pkcs11"}})
    done = keys(files, "status")
    assert done.returncode == 78
    assert "keys.pkcs11_module and keys.pkcs11_token must be set" in done.stderr
