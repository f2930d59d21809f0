# SPDX-License-Identifier: EUPL-1.2
"""One reader of a real pcscd, a real agent, the real service: taps one after the other, and the floors in between.

The agent and the service tell themselves how long each stage took; both tellings arrive over the live feed.
"""

import queue
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cardservice.bench.city import BenchCity, agent_code, card_id
from cardservice.bench.city_program import BenchError, Program
from cardservice.bench.tap_echo import ECHO_CARD
from cardservice.demo.live import LiveReader
from cardservice.demo.processes import to_toml
from rig.control import RigClient
from rig.process import RigProcess

READER: Final = "Door 1 00 00"
ECHO_READER: Final = "Door 1 00 01"
_TAP_S: Final = 15.0
_FLOORS: Final = {
    "apdu_us": "one APDU echo",
    "websocket_us": "one WebSocket echo",
    "crypto_host_us": "cryptography, ours",
    "crypto_card_us": "cryptography, card",
    "fdatasync_us": "one fdatasync",
}


@dataclass(frozen=True, slots=True)
class MeasuredTap:
    """One tap and the floors measured after it; microseconds by name."""

    stages_us: Mapping[str, float]
    floors_us: Mapping[str, float]


class Feed:
    """What the service's live feed shows."""

    def __init__(self, city: BenchCity) -> None:
        self._events: queue.Queue[Mapping[str, Any]] = queue.Queue(10_000)
        self._reader = LiveReader(city.url, city.live_token)
        self._reader.listen(self._events.put_nowait)
        self._reader.start()

    def next(self, wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """Return the next event that is wanted.

        Raises:
            BenchError: none came within 15 s.
        """
        while True:
            try:
                event = self._events.get(timeout=_TAP_S)
            except queue.Empty:
                raise BenchError(f"nothing was seen of a tap for {_TAP_S:.0f} s") from None
            if wanted(event):
                return event

    def tap(self) -> tuple[Mapping[str, Any] | None, Mapping[str, Any]]:
        """Return what the centre told of the next tap, None if nothing, and what its agent told at the end."""
        told: Mapping[str, Any] | None = None
        while (event := self.next(lambda event: event["kind"] in {"tap", "event"}))["kind"] == "tap":
            told = event
        return told, event

    def stop(self) -> None:
        """Watch no longer."""
        self._reader.stop()


def measured_taps(folder: Path, city: BenchCity, count: int, *, warm_up: int) -> list[MeasuredTap | None]:
    """Tap at the one reader of agent 0; return the last `count` taps, those before them are only to warm up.

    None stands for a tap that was answered too late to open, as happens on a machine that does other things as well.

    Raises:
        RigError: there is no pcscd, or it cannot be used; one sentence.
        CardServiceError: a part did not start, or a tap was not answered as it must be.
    """
    with ExitStack() as stack:
        rig = stack.enter_context(
            RigProcess(
                folder / "rig",
                deck=city.deck_file,
                loader="cardservice.bench.tap_echo:load_deck_and_echo",
                arguments=["--doors", "1"],
            )
        )
        hand = stack.enter_context(rig.client())
        hand.insert(ECHO_CARD, ECHO_READER)
        feed = Feed(city)
        stack.callback(feed.stop)
        socket = rig.pcsc_socket or ""
        stack.enter_context(running_agent(city, socket))
        floors = stack.enter_context(_floors(city, socket))
        feed.next(lambda event: event["kind"] == "agent" and any(one["reader"] == READER for one in event["readers"]))
        return list(_taps(hand, feed, floors, warm_up + count))[warm_up:]


def _taps(hand: RigClient, feed: Feed, floors: Program, count: int) -> Iterator[MeasuredTap | None]:
    for number in range(count):
        # Two cards in turn: the one that comes in is another than the one pcscd saw going.
        card = card_id(number % 2)
        if number:
            hand.swap(card, READER)
        else:
            hand.insert(card, READER)
        told, event = feed.tap()
        measured = {_FLOORS[name]: value for name, value in floors.ask("1").items()}
        if told is not None and event["outcome"] == "acted":
            yield MeasuredTap(_stages(told["stages_us"], event["stages_us"], measured), measured)
        elif event["outcome"] in {"late", "no_answer"}:
            yield None
        else:
            raise BenchError(f"a tap that must open did not: {event['outcome']}, {told and told['reason']}")


def _stages(centre: Mapping[str, int], agent: Mapping[str, int], floors: Mapping[str, float]) -> dict[str, float]:
    """Return the stages of one tap; what the card computes is known from the floors, the rest was measured."""
    whole_us = agent["total"] - agent["store"] - agent["output"]
    return {
        "PC/SC event to strike": agent["total"],
        "outbox, before the centre is asked": agent["store"],
        "PC/SC connect, beside the outbox": agent["pcsc_connect"],
        "whole conversation": whole_us,
        "card and PC/SC": agent["card"],
        "of that PC/SC": agent["card"] - floors["cryptography, card"],
        "network, four relayed exchanges": centre["relay"] - agent["card"],
        "network, card.present and decision": whole_us - centre["centre"],
        "crypto": centre["crypto"],
        "decision": centre["decide"],
        "journal": centre["journal"],
        "strike and display": agent["output"],
    }


@contextmanager
def running_agent(city: BenchCity, pcsc_socket: str) -> Iterator[None]:
    """Run a whole agent for all readers of a pcscd while the context lasts."""
    config = city.folder / "agent.toml"
    values = {
        "agent": agent_code(0),
        "centre_url": city.agents_url,
        "key_file": str(city.key_file(0)),
        "outbox_file": str(city.folder / "agent.outbox"),
        "pcsc_socket": pcsc_socket,
    }
    config.write_text(to_toml({"": values}), "utf-8")
    arguments = ("-m", "readers", "--config", str(config), "run")
    agent = Program("agent", arguments, city.folder / "agent.log")
    try:
        yield
    finally:
        agent.stop()


@contextmanager
def _floors(city: BenchCity, pcsc_socket: str) -> Iterator[Program]:
    """Run the floors' program and the other end of its WebSocket."""
    module = ("-m", "cardservice.bench.floors")
    echo = Program("echo", (*module, "echo"), city.folder / "echo.log")
    try:
        where = ("--pcsc-socket", pcsc_socket, "--reader", ECHO_READER, "--url", echo.ready()["url"])
        files = ("--folder", str(city.folder), "--deck", str(city.deck_file))
        floors = Program("floors", (*module, "measure", *where, *files), city.folder / "floors.log")
        try:
            floors.ready()
            yield floors
        finally:
            floors.stop()
    finally:
        echo.stop()
