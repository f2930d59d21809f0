# SPDX-License-Identifier: EUPL-1.2
"""The virtual DESFire is a DESFire for programs we have not written, through the real pcscd."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cardsim.deck import save_deck
from cardsim.desfire_ciphers import KeyKind
from cardsim.desfire_data import AccessRights, AesKey, Application, CardKey, CommunicationMode, StandardFile
from cardsim.desfire_memory import CardMemory, Chip
from cardsim.personalise import factory_desfire
from rig.process import RigProcess

pytestmark = pytest.mark.pcscd

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "tests" / "support" / "desfire_client.py"
PACKAGES = ROOT / "var" / "clients"
NAMES = ("Encoder A", "Encoder B", "Encoder C")
NDEF_NAME = bytes.fromhex("D2760000850101")


class Bench:
    """Readers with cards that keep their memory in files, and the foreign programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        cards = [
            {"card_id": chip, "label": chip, "desfire": {"factory": chip, "memory_file": f"{chip}.json"}}
            for chip in ("EV1", "EV2", "EV3")
        ]
        self.deck = folder / "deck.json"
        save_deck(cards, self.deck)
        self.readers = folder / "readers.json"
        self.readers.write_text(json.dumps([{"name": name, "slots": ["contactless"]} for name in NAMES]))

    def start(self, run: str) -> RigProcess:
        arguments = ["--readers", str(self.readers)]
        return RigProcess(self.folder / run, deck=self.deck, loader="cardsim.deck:load_deck", arguments=arguments)

    def memory(self, card_id: str) -> CardMemory:
        return CardMemory.from_bytes((self.folder / f"{card_id}.json").read_bytes())

    def insert(self, rig: RigProcess, card_id: str, reader: str) -> None:
        with rig.client() as control:
            control.insert(card_id, reader)

    def run(self, rig: RigProcess, client: str, reader: str) -> dict[str, Any]:
        """What a client saw; its complaint is the test's failure."""
        environment = {**rig.environment, "PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, str(CLIENT), client, reader]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        assert isinstance(seen, dict)
        return seen


@pytest.fixture
def bench() -> Iterator[Bench]:
    assert PACKAGES.is_dir(), "the foreign programs are missing; scripts/environment.sh dev installs them"
    with tempfile.TemporaryDirectory(prefix="enc-") as name:
        yield Bench(Path(name))


def reader_name(rig: RigProcess, name: str) -> str:
    return next(reader for reader in rig.readers if reader.startswith(name))


@pytest.mark.parametrize("chip", ["EV1", "EV2"])
def test_python_desfire_makes_a_factory_card_its_own(bench, chip):
    """DES to AES, settings, application, keys and an enciphered file; what it saw is what the card then holds."""
    with bench.start("run") as rig:
        reader = reader_name(rig, NAMES[0])
        bench.insert(rig, chip, reader)
        seen = bench.run(rig, "python-desfire", reader)
    memory = bench.memory(chip)
    (application,) = memory.applications
    assert seen["uid"] == seen["real_uid"] == memory.uid.hex()
    assert (seen["key_version"], memory.picc.key_settings) == (7, 0x0B)
    assert "KS_LISTING_WITHOUT_MK" in seen["card_settings"]
    assert "KS_CREATE_DELETE_WITHOUT_MK" not in seen["card_settings"]
    assert (seen["applications"], seen["files"]) == ([application.aid.hex()], [1])
    assert bytes(seen["file"]) == bytes(application.files[1].content) == bytes(range(1, 41))
    assert [(key.version, key.kind) for key in application.keys] == [(n, KeyKind.AES) for n in range(3)]
    assert memory.picc.kind is KeyKind.AES


def test_a_card_goes_on_in_another_process_as_it_left_the_first(bench):
    """A second rig on the same deck has the card with the applications of the first, and its new key works there."""
    with bench.start("first") as rig:
        reader = reader_name(rig, NAMES[0])
        bench.insert(rig, "EV2", reader)
        bench.run(rig, "python-desfire", reader)
    left = bench.memory("EV2")
    with bench.start("second") as rig:
        reader = reader_name(rig, NAMES[1])
        bench.insert(rig, "EV2", reader)
        assert bench.run(rig, "applications", reader)["applications"] == left.applications[0].aid.hex()
    assert bench.memory("EV2") == left


@pytest.mark.parametrize("chip", ["EV2", "EV3"])
def test_pylibsdm_speaks_ev2_secure_messaging_with_it(bench, chip):
    """AuthenticateEV2First after ISO SELECT, MACed answers, an enciphered command, a key change, by its own code."""
    fresh = CardMemory.from_bytes(_with_ndef_application(bench, chip))
    with bench.start("run") as rig:
        reader = reader_name(rig, NAMES[2])
        bench.insert(rig, chip, reader)
        seen = bench.run(rig, "pylibsdm", reader)
    memory = bench.memory(chip)
    assert seen["before"] == seen["after"]
    assert len(bytes.fromhex(seen["ti"])) == 4
    assert memory.applications[0].keys[0].version == 5
    assert memory.applications[0].keys[0] != fresh.applications[0].keys[0]
    assert memory.applications[0].files == fresh.applications[0].files


def _with_ndef_application(bench: Bench, chip: str) -> bytes:
    """Write the memory of a card with an application by the name that pylibsdm selects; returns the saved bytes."""
    memory = factory_desfire(chip=Chip[chip]).memory
    # pylibsdm 1.0.0a0.dev2 knows only the modes plain and MAC of a file.
    file = StandardFile(1, bytearray(32), CommunicationMode.MAC, AccessRights(0, 0, 0, 0))
    keys: list[CardKey] = [AesKey(bytes(16))] * 2
    application = Application(b"\x56\x34\x12", keys, {1: file}, iso_file_id=b"\x10\xe1", df_name=NDEF_NAME)
    memory.applications.append(application)
    saved = memory.to_bytes()
    (bench.folder / f"{chip}.json").write_bytes(saved)
    return saved
