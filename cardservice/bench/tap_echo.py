# SPDX-License-Identifier: EUPL-1.2
"""What the floors of `cardservice bench tap` send and get back: as long as in a conversation, with nothing computed."""

from pathlib import Path
from typing import Final

from cardsim.deck import load_deck
from cardsim.interfaces import Card

ECHO_CARD: Final = "echo"
# Command and answer of each APDU of the conversation (`chip/locate.py`), in bytes.
APDUS: Final = ((9, 2), (8, 18), (38, 34), (21, 26), (7, 18), (38, 18))
# What the agent sends and what it waits for: `card.present`, then the answers to four exchanges.
STEPS: Final = ((167, 297), (161, 172), (186, 155), (209, 172), (153, 444))
# A frame begins with the length of the answer it wants.
LENGTH_DIGITS: Final = 6
_ATR: Final = bytes.fromhex("3b8180018080")


class EchoCard:
    """A card that computes nothing: it answers with as many bytes as P1 and P2 say."""

    card_id = ECHO_CARD
    label = "Echo"

    def power_on(self, interface: str) -> bytes:
        """Return an answer to reset; nothing else happens."""
        return _ATR

    def power_off(self) -> None:
        """Nothing happens."""

    def transmit(self, apdu: bytes) -> bytes:
        """Return as many bytes as asked for, at least the status word."""
        return bytes(max(0, int.from_bytes(apdu[2:4], "big") - 2)) + b"\x90\x00"


def load_deck_and_echo(path: Path) -> dict[str, Card | EchoCard]:
    """Return the deck in `path` and an echo card: the loader of the rig."""
    return {**load_deck(path), ECHO_CARD: EchoCard()}


def echo_apdus() -> list[bytes]:
    """Return commands as long as ours that ask for answers as long as ours."""
    return [_echo_apdu(command, answer) for command, answer in APDUS]


def _echo_apdu(command: int, answer: int) -> bytes:
    header = bytes((0x80, 0xEE)) + answer.to_bytes(2, "big")
    if command < 7:
        return header
    return header + bytes((command - 6,)) + bytes(command - 6) + b"\x00"


def echo_frames() -> list[str]:
    """Return frames as long as the agent's that ask for answers as long as the centre's."""
    return [f"{answer:0{LENGTH_DIGITS}}".ljust(asked, "x") for asked, answer in STEPS]
