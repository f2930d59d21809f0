# SPDX-License-Identifier: EUPL-1.2
"""Trivial cards for a rig: `card 0` to `card 3` echo every command, `slow` takes a second for each."""

import time
from pathlib import Path

ATR = bytes.fromhex("3B8180018080")


class EchoCard:
    """Answers every command with its own bytes and 9000; its answer to reset ends with its number."""

    def __init__(self, number: int, delay_s: float = 0) -> None:
        self.number = number
        self.delay_s = delay_s
        self.commands_since_power = 0

    def power_on(self, interface: str) -> bytes:
        self.commands_since_power = 0
        return ATR + bytes([self.number])

    def power_off(self) -> None:
        self.commands_since_power = 0

    def transmit(self, apdu: bytes) -> bytes:
        """Answer; the last data byte counts the commands since the card was powered or reset."""
        time.sleep(self.delay_s)
        self.commands_since_power += 1
        return apdu + bytes([self.commands_since_power]) + b"\x90\x00"


def load_deck(_path: Path) -> dict[str, EchoCard]:
    return {f"card {number}": EchoCard(number) for number in range(4)} | {"slow": EchoCard(9, delay_s=1)}
