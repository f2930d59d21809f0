# SPDX-License-Identifier: EUPL-1.2
"""The whole chain with many doors at once: who opens which, cards for each, and what becomes of their taps."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from e2e.whole_city import OPEN_MS, Arrangement, WholeCity, free_port, reader_of, whole_city
from faults.readers_feed import LIMIT_S, Feed, Seen, is_present_again
from faults.readers_pcscd import Pcscd
from support.agent_process import AgentProcess
from support.command import ROOT
from support.service import AGENT, CityFiles
from support.waiting import wait_until

from cardservice import changes
from cardservice.access.store import point_class
from cardservice.database import write
from cardsim.deck import save_deck

# A tap may take a little less than at a real door, an answer more: on a busy machine it does.
TAP_BUDGET_MS = 2_500
ANSWER_BUDGET_MS = 1_500
# Six commands of this take more than a second: time enough to break something in between.
SLOW_S = 0.2
CHIPS = ("desfire", "piv")
PCSC_CLIENT = ROOT / "tests" / "rig" / "pcsc_client.py"


@dataclass(frozen=True, slots=True)
class Place:
    """One side of a door: whose card opens it, whose does not, and why not."""

    point: str
    holder: str
    stranger: str
    refusal: str

    @property
    def reader(self) -> str:
        return reader_of(self.point)

    def card(self, of: str) -> str:
        """A card that is the very one of `of`, as if it could be in many places at once: this place has its own."""
        return f"{of} {self.point}"

    @property
    def good(self) -> str:
        return self.card(self.holder)

    @property
    def bad(self) -> str:
        return self.card(self.stranger)

    @property
    def slow(self) -> str:
        """The holder's card, but slow to answer."""
        return self.card(f"slow {self.holder}")

    @property
    def slow_bad(self) -> str:
        return self.card(f"slow {self.stranger}")


_WHO = {
    "haupteingang": ("anna", "jonas", "card_suspended"),
    "bauamt": ("anna", "sabine", "no_grant"),
    "serverraum": ("mehmet", "anna", "no_grant"),
    "buergerbuero": ("sabine", "mehmet", "no_grant"),
    "kantine": ("mehmet", "karl", "person_expired"),
    "tiefgarage": ("sabine", "petra", "person_disabled"),
    "besuchereingang": ("anna", "tomasz", "card_revoked"),
}
# The archive's door keeps office hours and is left out.
PLACES = tuple(Place(f"{door}.{side}", *who) for door, who in _WHO.items() for side in ("aussen", "innen"))
# Where the holder of the PIV card may pass.
PIV_PLACES = tuple(place for place in PLACES if place.refusal != "no_grant")
PIV_HOLDER = "ute"


def _more_cards(files: CityFiles) -> None:
    deck = json.loads(files.deck_file.read_text())["cards"]
    ready = {card["card_id"]: card for card in deck}
    slow = {"kind": "slow", "delay_s": SLOW_S}
    for place in PLACES:
        for name in (place.holder, place.stranger):
            deck.append(ready[name] | {"card_id": place.card(name)})
            deck.append(ready[name] | {"card_id": place.card(f"slow {name}"), "fault": slow})
    for place in PIV_PLACES:
        deck.append(ready[PIV_HOLDER] | {"card_id": place.card(PIV_HOLDER)})
    save_deck(deck, files.deck_file)


def _every_method_everywhere(files: CityFiles) -> None:
    values = {
        "open_ms": OPEN_MS,
        "methods": ",".join(CHIPS),
        "tap_budget_ms": TAP_BUDGET_MS,
        "answer_budget_ms": ANSWER_BUDGET_MS,
    }
    with files.stores() as databases, write(databases.state) as connection:
        connection.execute(sa.update(point_class).values(**values))
        changes.append(connection, "access", [0])


class ReaderCity:
    """A running city seen from in front of its readers."""

    def __init__(self, whole: WholeCity, feed: Feed, settings: dict[str, str | int]) -> None:
        self.whole = whole
        self.feed = feed
        self.control = whole.control
        self.pcscd = Pcscd(whole.control, AGENT, feed)
        self.readers = frozenset(whole.control.state()["readers"])
        self._settings = settings
        self._renamed: set[str] = set()
        self._agent_is_plain = True

    def tap_all(self, cards: dict[Place, str]) -> dict[Place, Seen]:
        """Hold a card to each reader at once until all taps are over and all strikes locked, then take them away."""
        began = self.feed.now()
        for place, card in cards.items():
            self.control.insert(card, place.reader)
        seen = {place: self.feed.outcome(place.point, began) for place in cards}
        for place in cards:
            if seen[place].outcome == "acted":
                self.feed.locked_again(place.point, began)
            self.control.eject(place.reader)
        return seen

    def opens_everywhere(self, places: Iterable[Place] = PLACES) -> None:
        """The next tap works: the right card opens each of `places`, and each reader's last good tap is this one.

        Returns when the agent has seen that the cards are gone; one it saw when pcscd ends would have to come again.
        """
        places = tuple(places)
        before = self.last_good(places)
        seen = self.tap_all({place: place.good for place in places})
        for place in places:
            assert (seen[place].outcome, seen[place].reason, seen[place].released) == ("acted", "granted", True), place
        after = self.last_good(places)
        assert all(after[place] > before[place] for place in places), "a tap that was decided counts as good"
        self.same_in_health(places)
        self.pcscd.until_empty(place.reader for place in places)

    def last_good(self, places: Iterable[Place]) -> dict[Place, float]:
        """When the agent's metric says that each reader was last good; 0 for never."""
        found = self.whole.agent.metric("cardservice_agent_last_good_tap_seconds", "reader")
        return {place: found.get(place.reader, 0.0) for place in places}

    def same_in_health(self, places: Iterable[Place]) -> None:
        """What the centre is told of each reader's last good tap is what the metric says."""
        expected = {place.reader: round(when * 1_000) or None for place, when in self.last_good(places).items()}

        def same(health: dict[str, Any]) -> bool:
            told = {one["reader"]: one["last_good_tap_ms"] for one in health["readers"]}
            return all(told.get(reader, -1) == when for reader, when in expected.items())

        self.feed.health(AGENT, same)

    def in_readers(self) -> set[str]:
        """The cards that are in a reader now."""
        return {one["card"] for one in self.control.state()["readers"].values() if one["card"]}

    def answered(self, place: Place) -> int:
        """How many commands the card that was last in a reader has answered."""
        stays = self.control.stays(place.reader)
        return stays[-1][1] if stays else 0

    def under_way(self, places: Iterable[Place], commands: int = 2) -> None:
        """Wait until the cards at `places` have answered so many commands of their conversations."""
        for place in places:
            wait_until(lambda place=place: self.answered(place) >= commands, every_s=0.005)

    def commands_of_a_tap(self, place: Place, card: str) -> int:
        """How many commands a card answers in a whole tap that opens."""
        assert self.tap_all({place: card})[place].outcome == "acted"
        return self.answered(place)

    def present_again(self, place: Place, since: int) -> None:
        """Wait until the holder is asked to present the card once more."""
        self.feed.first(lambda event: event.get("point") == place.point and is_present_again(event), since)

    def lay(self, places: Iterable[Place]) -> None:
        """Put the right card into each of `places`, and wait until pcscd has seen that; the agent is not asked."""
        places = tuple(places)
        self._until_pcscd_sees(places, "empty")
        for place in places:
            self.control.insert(place.good, place.reader)
        self._until_pcscd_sees(places, "present")

    def _until_pcscd_sees(self, places: Iterable[Place], state: str) -> None:
        readers = [place.reader for place in places]
        asked = [
            {"op": "establish"},
            {"op": "await_state", "readers": readers, "state": state, "timeout_s": LIMIT_S},
        ]
        told = subprocess.run(
            [sys.executable, str(PCSC_CLIENT)],
            input="".join(json.dumps(one) + "\n" for one in asked),
            env={**os.environ, "PCSCLITE_CSOCK_NAME": self.whole.pcsc_socket},
            capture_output=True,
            text=True,
            check=True,
        )
        assert [json.loads(line)["code"] for line in told.stdout.splitlines()] == [0, 0]

    def rename(self, reader: str, name: str) -> None:
        """Let pcscd show a reader's device under another name."""
        self.control.rename_reader(reader, name)
        self._renamed.add(reader)

    def tidy_up(self) -> None:
        """Leave everything as it is at the beginning."""
        state = self.control.state()
        if state["pcscd"]["running"]:
            self.pcscd.go_on()
        for reader, look in state["readers"].items():
            if look["card"]:
                self.control.eject(reader)
        for reader in {reader for reader, look in state["readers"].items() if look["state"] == "unavailable"}:
            if self.control.state()["readers"][reader]["state"] == "unavailable":
                self.control.restore_reader(reader)
        while self._renamed:
            reader = self._renamed.pop()
            self.control.rename_reader(reader, reader.removesuffix(reader[-6:]))
        if not state["pcscd"]["running"]:
            self.control.restart_pcscd()
        if not self._agent_is_plain:
            self.whole.agent.stop(signal.SIGKILL)
            self.start_agent()
        self.pcscd.until_only(self.readers)
        self.pcscd.until_empty(self.readers)

    def stop_agent(self) -> None:
        self._agent_is_plain = False
        assert self.whole.agent.stop() == 0

    def start_agent(self, **changes: str | int) -> None:
        """Start the agent again, with these settings changed; returns when its readers are known."""
        self._agent_is_plain = not changes
        whole = self.whole
        began = self.feed.now()
        whole.agent = AgentProcess(
            whole.files, AGENT, whole.service.agents_url, whole.pcsc_socket, self._settings | changes
        )
        self.feed.first(
            lambda event: event["kind"] == "agent" and event["agent"] == AGENT and len(event["readers"]) == 16, began
        )


@contextmanager
def reader_city(folder: Path) -> Iterator[ReaderCity]:
    """Start a whole city with cards for every place; `folder` needs a short name."""
    settings: dict[str, str | int] = {"metrics_port": free_port()}
    arrangement = Arrangement(deck=_more_cards, access=_every_method_everywhere, agent=settings)
    with whole_city(folder, arrangement) as whole:
        # Its own view of the feed is for one door after the other.
        whole.close()
        with Feed(whole.service) as feed:
            yield ReaderCity(whole, feed, settings)
