# SPDX-License-Identifier: EUPL-1.2
"""The whole agent with its pages, as a program of its own; its readers are virtual and in this process.

    python pin_agent.py SETTINGS DECK READER...

Cards come and go by lines on standard input: `CARD READER` holds one there, `- READER` takes it away. Logs everything.
"""

import asyncio
import sys
import threading
from pathlib import Path

from cardservice.demo.virtual_readers import VirtualReaders
from cardsim.deck import load_deck
from integrations.simulated_io import build as build_output
from readers import logs
from readers.agent import Agent, Surroundings
from readers.centre_socket import websocket_connector
from readers.settings import load_settings
from rig.bank import Bank, ReaderSpec


def obey(bank: Bank, agent: Agent, loop: asyncio.AbstractEventLoop) -> None:
    """Move cards as the lines say, until there are no more of them."""
    for line in sys.stdin:
        card, reader = line.split()
        if card == "-":
            bank.eject(reader)
        else:
            bank.insert(card, reader)
    loop.call_soon_threadsafe(agent.request_stop)


async def run(config: Path, deck: Path, names: list[str]) -> None:
    settings = load_settings(config)
    logs.configure("json", "debug")
    bank = Bank([ReaderSpec(name) for name in names], load_deck(deck))
    surroundings = Surroundings(websocket_connector(settings))
    agent = Agent(settings, VirtualReaders(bank), build_output, surroundings=surroundings)
    threading.Thread(target=obey, args=(bank, agent, asyncio.get_running_loop()), daemon=True).start()
    await agent.run()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
