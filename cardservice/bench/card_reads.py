# SPDX-License-Identifier: EUPL-1.2
"""Reads of cards with the keys at hand, and what no read can do without: the other half of `cardservice bench card`.

* Local: the whole conversation over SCardTransmit with a card that stays in its reader.
* APDU echo: as many commands and answers, as long as those, to an echo card in a reader of the same pcscd.
* WebSocket echo: one round trip for each step of a relayed conversation, frames as long as those.
* Cryptography: our side and the card's in one process, without anything in between.

A program of its own, because libpcsclite serves one pcscd a process. Each line it reads names a kind of card, each line
it writes is what one read and its floors took, in microseconds.

    python -m cardservice.bench.card_reads --pcsc-socket ... --url ... --deck ... --authority ... \
        --readers DESFIRE PIV ECHO --cards DESFIRE PIV
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from cardservice.bench.card_shapes import Shape, shape_of
from cardservice.cards.keystore import PURPOSES, CardMaster, SealedKeyStore
from cardservice.chip.conversation import Conversation, drive
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import identify
from cardservice.chip.piv import authenticate_card
from cardservice.parts import trust
from cardsim.deck import load_deck
from cardsim.interfaces import Card
from city import seed
from readers.pcsc import PcscDriver
from readers.ports import CardConnection

# A tap comes after a pause, and so does each sample.
PAUSE_S: Final = 0.02
# As long as what a tap at a point is bound to.
_CONTEXT: Final = b"x" * 64


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of card: how a read of it begins, where one lies, and one in this process."""

    begin: Callable[[], Conversation[Any]]
    connection: CardConnection
    card: Card
    shape: Shape


class Reads:
    """Reads one card after the other, and measures every floor beside it."""

    def __init__(self, kinds: Mapping[str, Kind], echo: CardConnection, socket: ClientConnection) -> None:
        self._kinds, self._echo, self._socket = kinds, echo, socket

    def shapes(self) -> dict[str, dict[str, int]]:
        """Return how many APDUs and steps a read of each kind has."""
        return {
            name: {"apdus": len(kind.shape.apdus), "steps": len(kind.shape.frames)}
            for name, kind in self._kinds.items()
        }

    async def read(self, name: str) -> dict[str, float]:
        """Return what one read of a kind took, and its floors: microseconds."""
        kind = self._kinds[name]
        taken: dict[str, float] = {}
        await asyncio.sleep(PAUSE_S)
        taken["local_us"] = _timed_us(lambda: drive(kind.begin(), kind.connection.transmit))
        await asyncio.sleep(PAUSE_S)
        apdus = kind.shape.echo_apdus()
        taken["apdus_us"] = _timed_us(lambda: [self._echo.transmit(apdu) for apdu in apdus])
        await asyncio.sleep(PAUSE_S)
        taken["websocket_us"] = await self._frames_us(kind.shape.echo_frames())
        await asyncio.sleep(PAUSE_S)
        taken["crypto_us"] = _timed_us(lambda: drive(kind.begin(), kind.card.transmit))
        return taken

    async def _frames_us(self, frames: Sequence[str]) -> float:
        began_ns = time.perf_counter_ns()
        for frame in frames:
            await self._socket.send(frame)
            await self._socket.recv()
        return (time.perf_counter_ns() - began_ns) / 1_000


def _timed_us(work: Callable[[], object]) -> float:
    began_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began_ns) / 1_000


def _knows_nothing(_key: bytes) -> bool:
    return False


def _beginnings(authority: Path) -> dict[str, Callable[[], Conversation[Any]]]:
    """Return how a read begins, by kind of card: the keys and certificates of the city that is measured."""
    masters = [CardMaster("door", what, 1, seed.master("door", what)) for what in PURPOSES]
    keys, issuers = (
        SealedKeyStore(bytes(32), seed.SYSTEM_ID, masters).ring("door"),
        trust((authority,), _knows_nothing),
    )
    return {
        "desfire": lambda: identify(CardUse.DOOR, keys, system_id=seed.SYSTEM_ID),
        "piv": lambda: authenticate_card(_CONTEXT, issuers, at=datetime.now(UTC)),
    }


def _kinds(options: argparse.Namespace, connections: Sequence[CardConnection]) -> dict[str, Kind]:
    deck, kinds = load_deck(options.deck), {}
    for (name, begin), card_id, connection in zip(
        _beginnings(options.authority).items(), options.cards, connections, strict=True
    ):
        card = deck[card_id]
        card.power_on("contactless")
        kinds[name] = Kind(begin, connection, card, shape_of(begin(), card.transmit))
    return kinds


async def _measure(options: argparse.Namespace) -> None:
    driver = PcscDriver(options.pcsc_socket)
    connections = [driver.connect(reader, exclusive=True) for reader in options.readers]
    try:
        async with connect(options.url, compression=None, ping_interval=None) as socket:
            reads = Reads(_kinds(options, connections[:-1]), connections[-1], socket)
            _say({"ready": True, "shapes": reads.shapes()})
            while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
                _say(await reads.read(line))
    finally:
        for connection in connections:
            connection.disconnect(reset=True)


def _say(document: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m cardservice.bench.card_reads")
    for name in ("--pcsc-socket", "--deck", "--authority"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--readers", nargs=3, required=True, help="with a DESFire card, a PIV card, an echo card")
    parser.add_argument("--cards", nargs=2, required=True, help="cards of the deck like the first two")
    asyncio.run(_measure(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
