# SPDX-License-Identifier: EUPL-1.2
"""`cardservice cards privacy-scan` with a real pcscd: a stranger's reader meets a card twice."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import CARDSERVICE, python_environment

from cardsim.deck import save_deck
from city import deck
from rig.control import RigClient
from rig.process import RigProcess

pytestmark = pytest.mark.pcscd

HERE = Path(__file__).parent
READER, OTHER = "Door 1 00 00", "Door 1 00 01"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigProcess]:
    folder = tmp_path_factory.mktemp("scan")
    save_deck(deck.build().descriptions, folder / "deck.json")
    running = RigProcess(
        Path("/tmp") / f"scan-{os.getpid()}",
        deck=folder / "deck.json",
        loader="scan_deck:load_deck",
        arguments=["--doors", "1"],
        python_path=[HERE],
    )
    with running:
        yield running


@pytest.fixture
def hand(rig: RigProcess) -> Iterator[RigClient]:
    with rig.client() as client:
        yield client
        for reader, now in client.state()["readers"].items():
            if now["card"] is not None:
                client.eject(reader)


def scan(rig: RigProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = python_environment(PCSCLITE_CSOCK_NAME=str(rig.pcsc_socket))
    command = (*CARDSERVICE, "cards", "privacy-scan", *arguments)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_card_of_the_city_cannot_be_followed(rig: RigProcess, hand: RigClient) -> None:
    """What is the same twice tells that somebody has such a card; no byte tells which."""
    hand.insert("anna", READER)
    done = scan(rig, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {one["tells"] for one in found} <= {"every_card", "some_cards"}
    assert "UID" not in {one["where"] for one in found}


def test_a_card_as_it_leaves_the_factory_can_be_followed_and_it_says_by_what(rig: RigProcess, hand: RigClient) -> None:
    """In the reader that was named; the number itself is not shown."""
    hand.insert("anna", READER)
    hand.insert("blank", OTHER)
    done = scan(rig, "--reader", OTHER)
    assert done.returncode == 65
    assert "UID, from byte 0: 7 bytes, one_card" in done.stdout
    assert "could be followed by: UID, GetVersion: UID" in done.stderr


def test_without_a_card_it_says_which_readers_there_are(rig: RigProcess, hand: RigClient) -> None:
    assert hand.state()
    done = scan(rig)
    assert (done.returncode, done.stdout) == (66, "")
    assert f"no card lies in any reader; readers of this machine: {READER}, {OTHER}" in done.stderr
    missing = scan(rig, "--reader", "Nowhere 00 00")
    assert "no card lies in Nowhere 00 00" in missing.stderr
