# SPDX-License-Identifier: EUPL-1.2
"""What one tap cannot do without, each part by itself: the floors `cardservice bench tap` compares a tap with.

* One APDU echo: SCardTransmit to an echo card in a reader of the same pcscd, commands and answers as long as ours.
* One WebSocket echo: picows on uvloop at the other end, `websockets` at this one, frames as long as ours.
* The cryptography: our side and the card's in one call after the other, without anything in between.
* One fdatasync of a line appended to a file beside the journal.

A program of its own, because libpcsclite serves one pcscd a process: each line it reads is a round, each line it writes
the medians of it in microseconds.

    python -m cardservice.bench.floors measure --pcsc-socket ... --reader ... --url ... --folder ...
    python -m cardservice.bench.floors echo
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from websockets.asyncio.client import ClientConnection, connect

from cardservice.bench.tap_echo import APDUS, LENGTH_DIGITS, STEPS, echo_apdus, echo_frames
from cardservice.cards.keystore import PURPOSES, CardMaster, SealedKeyStore
from cardservice.chip.conversation import drive
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import identify
from cardsim.deck import load_deck
from city import seed
from readers.pcsc import PcscDriver
from readers.ports import CardConnection

LINE: Final = b"x" * 400 + b"\n"
# A tap comes after a pause, and so does each sample.
PAUSE_S: Final = 0.02


class _EchoListener(WSListener):
    """Answers each frame with one as long as the frame asks for in its first digits."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            wanted = int(frame.get_payload_as_bytes()[:LENGTH_DIGITS])
            transport.send(WSMsgType.TEXT, b"x" * wanted)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()


async def _serve_echo() -> None:
    def listener(_: WSUpgradeRequest) -> WSListener:
        return _EchoListener()

    server = await ws_create_server(listener, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _say({"ready": True, "url": f"ws://127.0.0.1:{port}/"})
    await server.serve_forever()


class Floors:
    """Measures one round after the other; every figure is the median of its samples, in microseconds."""

    def __init__(self, connection: CardConnection, socket: ClientConnection, folder: Path, deck: Path) -> None:
        self._connection = connection
        self._socket = socket
        self._file = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._card = next(iter(load_deck(deck).values()))
        masters = [CardMaster("door", what, 1, seed.master("door", what)) for what in PURPOSES]
        self._keys = SealedKeyStore(bytes(32), seed.SYSTEM_ID, masters).ring("door")
        self._apdus = echo_apdus()
        self._frames = echo_frames()

    async def round(self, samples: int) -> dict[str, float]:
        """Measure everything `samples` times."""
        found: dict[str, list[float]] = {}
        for _ in range(samples):
            await asyncio.sleep(PAUSE_S)
            found.setdefault("apdu_us", []).append(_timed(self._exchange_apdus) / len(APDUS))
            await asyncio.sleep(PAUSE_S)
            found.setdefault("websocket_us", []).append(await self._exchange_frames() / len(STEPS))
            host_us, card_us = self._identify()
            found.setdefault("crypto_host_us", []).append(host_us)
            found.setdefault("crypto_card_us", []).append(card_us)
            found.setdefault("fdatasync_us", []).append(_timed(self._append))
        return {name: statistics.median(values) for name, values in found.items()}

    def _exchange_apdus(self) -> None:
        for apdu in self._apdus:
            self._connection.transmit(apdu)

    async def _exchange_frames(self) -> float:
        began_ns = time.perf_counter_ns()
        for frame in self._frames:
            await self._socket.send(frame)
            await self._socket.recv()
        return (time.perf_counter_ns() - began_ns) / 1_000

    def _identify(self) -> tuple[float, float]:
        """Run the whole conversation in memory; return what our side and what the card took."""
        self._card.power_on("contactless")
        conversation = identify(CardUse.DOOR, self._keys, system_id=seed.SYSTEM_ID)
        card_ns = 0

        def transmit(command: bytes) -> bytes:
            nonlocal card_ns
            asked_ns = time.perf_counter_ns()
            answer = self._card.transmit(command)
            card_ns += time.perf_counter_ns() - asked_ns
            return answer

        began_ns = time.perf_counter_ns()
        drive(conversation, transmit)
        whole_ns = time.perf_counter_ns() - began_ns
        return (whole_ns - card_ns) / 1_000, card_ns / 1_000

    def _append(self) -> None:
        os.write(self._file, LINE)
        os.fdatasync(self._file)


def _timed(work: Callable[[], None]) -> float:
    began_ns = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began_ns) / 1_000


async def _measure(options: argparse.Namespace) -> None:
    connection = PcscDriver(options.pcsc_socket).connect(options.reader, exclusive=True)
    try:
        async with connect(options.url, compression=None, ping_interval=None) as socket:
            floors = Floors(connection, socket, options.folder, options.deck)
            _say({"ready": True})
            while line := await asyncio.to_thread(sys.stdin.readline):
                _say(await floors.round(int(line)))
    finally:
        connection.disconnect(reset=True)


def _say(document: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two programs."""
    parser = argparse.ArgumentParser(prog="python -m cardservice.bench.floors")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("echo")
    measure = commands.add_parser("measure")
    for name in ("--pcsc-socket", "--folder", "--deck"):
        measure.add_argument(name, type=Path, required=True)
    for name in ("--reader", "--url"):
        measure.add_argument(name, required=True)
    options = parser.parse_args(argv)
    if options.command == "echo":
        uvloop.run(_serve_echo())
    else:
        asyncio.run(_measure(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
