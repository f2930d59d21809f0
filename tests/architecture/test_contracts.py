# SPDX-License-Identifier: EUPL-1.2
"""The import contracts hold, and each of them bites.

The packages are copied, one forbidden import of each kind is planted in the copy, and the report has to name every
planted import under the one contract that forbids it. All plantings share one run, which takes well under a second.
"""

import configparser
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_FOLDERS = ("cardservice", "readers", "integrations", "hardware-sim")
CONFIGURATION = ".importlinter"
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


@dataclass(frozen=True)
class Planting:
    """One forbidden import: `importer` gets a line that imports `imported`, which breaks `contract` and no other."""

    contract: str
    importer: str
    imported: str


PLANTINGS = [
    Planting("layers", "cardservice.people.planted", "cardservice.access.rules"),
    Planting("layers", "cardservice.access.planted", "cardservice.agents.messages"),
    Planting("layers", "cardservice.cards.planted", "cardservice.journal.rules"),
    Planting("layers", "cardservice.database", "cardservice.people.rules"),
    Planting("layers", "cardservice.doors.planted", "cardservice.workstations.rules"),
    Planting("layers", "cardservice.canteen.planted", "cardservice.timeclock.rules"),
    Planting("money", "cardservice.timeclock.planted", "cardservice.ledger.rules"),
    Planting("layers", "cardservice.printing.planted", "cardservice.doors.service"),
    Planting("layers", "cardservice.agents.planted", "cardservice.app"),
    Planting("parts", "cardservice.people.planted", "integrations.ldap"),
    Planting("parts", "cardservice.doors.planted", "readers.clock"),
    Planting("parts", "cardservice.cards.planted", "cardsim.tlv"),
    Planting("chip", "cardservice.chip.planted", "sqlalchemy"),
    Planting("chip", "cardservice.chip.planted", "cardservice.clock"),
    Planting("rules", "cardservice.access.rules", "sqlalchemy"),
    Planting("rules", "cardservice.access.snapshot", "cardservice.database"),
    Planting("rules", "cardservice.people.ports", "fastapi"),
    Planting("rules", "cardservice.workstations.rules", "cardservice.clock"),
    Planting("rules", "cardservice.people.rules", "cardservice.people.store"),
    Planting("messages", "cardservice.agents.messages", "sqlalchemy"),
    Planting("http", "cardservice.workstations.api", "sqlalchemy"),
    Planting("http", "cardservice.workstations.pages", "cardservice.people.store"),
    Planting("readers", "readers.planted", "cardservice.database"),
    Planting("readers", "readers.planted", "cardservice.people.store"),
    Planting("readers", "readers.planted", "cardsim.tlv"),
    Planting("siblings", "integrations.planted", "integrations.ldap"),
    Planting("integrations", "integrations.planted", "cardservice.people.store"),
    Planting("simulators", "cardsim.planted", "cardservice.chip.tlv"),
    Planting("simulators", "directorysim.planted", "ldap3"),
    Planting("simulators", "rig.planted", "smartcard"),
    Planting("driver", "readers.planted", "smartcard"),
    Planting("driver", "cardservice.agents.planted", "smartcard"),
    Planting("directory", "cardservice.people.planted", "ldap3"),
    Planting("directory", "integrations.planted", "ldap3"),
    Planting("token", "cardservice.cards.planted", "pkcs11"),
    Planting("token", "integrations.planted", "pkcs11"),
    Planting("bus", "readers.planted", "dbus_fast"),
    Planting("bus", "integrations.planted", "dbus_fast"),
]


def contract_names() -> dict[str, str]:
    """The contracts of the configuration: identifier to the name the report prints."""
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / CONFIGURATION)
    prefix = "importlinter:contract:"
    return {
        section.removeprefix(prefix): configuration[section]["name"]
        for section in configuration.sections()
        if section.startswith(prefix)
    }


def copy_of_the_packages(folder: Path) -> Path:
    shutil.copy(ROOT / CONFIGURATION, folder)
    for name in PACKAGE_FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def file_of(folder: Path, module: str) -> Path:
    """The file of a module in the copy; a package that does not exist yet is made."""
    *package, name = module.split(".")
    in_simulators = (folder / "hardware-sim" / package[0]).is_dir()
    where = folder.joinpath("hardware-sim" if in_simulators else "", *package)
    where.mkdir(exist_ok=True)
    (where / "__init__.py").touch()
    return where / f"{name}.py"


def plant(folder: Path, planting: Planting) -> None:
    with file_of(folder, planting.importer).open("a") as source:
        source.write(f"\nimport {planting.imported}\n")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter as the gate does, on the packages in `folder`, with lines too wide to be broken."""
    return subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((".", "hardware-sim")), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def broken_imports(report: str) -> dict[tuple[str, str], set[str]]:
    """Each import the report complains of, with the contracts that complain."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    identifiers = {name: identifier for identifier, name in contract_names().items()}
    contract = ""
    for line in report.partition("Broken contracts")[2].splitlines():
        contract = identifiers.get(line.strip(), contract)
        if match := re.match(r"-\s+([\w.]+) -> ([\w.]+) \(l\.", line):
            found[match[1], match[2]].add(contract)
    return found


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], set[str]]:
    folder = copy_of_the_packages(tmp_path_factory.mktemp("planted"))
    for planting in PLANTINGS:
        plant(folder, planting)
    linted = lint(folder)
    assert linted.returncode == 1, linted.stdout + linted.stderr
    return broken_imports(linted.stdout)


def test_the_tree_keeps_every_contract() -> None:
    """No import in the checkout goes the wrong way."""
    linted = lint(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("planting", PLANTINGS, ids=lambda p: f"{p.contract}: {p.importer} -> {p.imported}")
def test_a_planted_import_breaks_exactly_its_contract(
    planting: Planting, complaints: dict[tuple[str, str], set[str]]
) -> None:
    """The contract that forbids an import reports it, and no other does."""
    assert complaints.get((planting.importer, planting.imported)) == {planting.contract}


def test_every_contract_has_a_planting() -> None:
    """A contract nobody has seen biting may be one that cannot."""
    assert {planting.contract for planting in PLANTINGS} == set(contract_names())


def test_a_module_without_a_place_is_reported(tmp_path: Path) -> None:
    """Whoever adds a module to the service has to say which layer it belongs to."""
    folder = copy_of_the_packages(tmp_path)
    (folder / "cardservice" / "unplaced.py").touch()
    assert re.search(r"not listed as layers:\n\n(- .*\n)*- cardservice\.unplaced", lint(folder).stdout)
