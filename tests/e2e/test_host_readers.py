# SPDX-License-Identifier: EUPL-1.2
"""The readers of the visitor's own machine: a second pcscd beside the city's, watched by an agent of its own."""

import queue
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cardservice.demo.city import HOST_AGENT, DemoCity, Options
from cardservice.demo.seeding import HOST_POINT
from cardsim.deck import save_deck
from city import deck
from rig.process import RigProcess

pytestmark = pytest.mark.pcscd

READER = "Door 1 00 00"


@pytest.fixture
def own_machine(tmp_path: Path) -> Iterator[RigProcess]:
    """A pcscd that plays the host's own, with cards of the same city."""
    save_deck(deck.build().descriptions, tmp_path / "deck.json")
    rig = RigProcess(
        tmp_path / "own", deck=tmp_path / "deck.json", loader="cardsim.deck:load_deck", arguments=["--doors", "1"]
    )
    with rig:
        yield rig


def test_a_card_held_to_the_machines_own_reader_is_tapped(tmp_path: Path, own_machine: RigProcess) -> None:
    """Beside the sixteen virtual readers, the host's reader has a point and an agent; a card there is decided on."""
    city = DemoCity(Options(tmp_path / "state", host_pcsc=Path(own_machine.pcsc_socket or "")), lambda _: None)
    taps: queue.Queue[Mapping[str, Any]] = queue.Queue()
    try:
        city.start()
        assert city.host_readers_served
        city.live.listen(lambda event: taps.put(event) if event["kind"] == "tap" else None)
        with own_machine.client() as hand:
            event = hold_until_tapped(hand, taps)
    finally:
        city.stop()
    assert (event["agent"], event["point"]) == (HOST_AGENT, HOST_POINT)
    assert (event["permit"], event["reason"], event["level"]) == (True, "granted", "card")


def hold_until_tapped(hand: Any, taps: "queue.Queue[Mapping[str, Any]]") -> Mapping[str, Any]:
    """Hold a card as a visitor would: again, if the reader asks for it because it was there before the agent looked."""
    for _ in range(5):
        hand.insert("anna", READER)
        try:
            return taps.get(timeout=3)
        except queue.Empty:
            continue
        finally:
            hand.eject(READER)
    raise AssertionError("the agent of this machine's readers took no card")
