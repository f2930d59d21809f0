# SPDX-License-Identifier: EUPL-1.2
"""Trivial cards for the tests of the rig, and a loader for `python -m rig`."""

import threading
from pathlib import Path

ATR = bytes.fromhex("3B8180018080")


class CardPulled(Exception):
    """The card left by itself."""


class EchoCard:
    """Answers every command with its own bytes and 9000; keeps a diary of what happened to it."""

    def __init__(self, tag: int = 0) -> None:
        self.atr = ATR + bytes([tag])
        self.diary: list[str] = []

    def power_on(self, interface: str) -> bytes:
        self.diary.append(f"on {interface}")
        return self.atr

    def power_off(self) -> None:
        self.diary.append("off")

    def transmit(self, apdu: bytes) -> bytes:
        self.diary.append(apdu[:8].hex())
        return (apdu + b"\x90\x00")[-65535:]


class LeavingCard(EchoCard):
    """Pulls itself out at the first command."""

    def transmit(self, apdu: bytes) -> bytes:
        self.diary.append(apdu[:8].hex())
        raise CardPulled


class BrokenCard(EchoCard):
    """Fails with an ordinary programming error whose message holds a secret."""

    def transmit(self, apdu: bytes) -> bytes:
        raise ValueError("PIN 123456")


class MuteCard(EchoCard):
    """Answers commands with nothing at all."""

    def transmit(self, apdu: bytes) -> bytes:
        return b""


class OverlongCard(EchoCard):
    """Answers with one byte more than a vpcd frame takes; a valid response of the longest kind."""

    def transmit(self, apdu: bytes) -> bytes:
        return bytes(65536)


class SlowCard(EchoCard):
    """Stays inside a command until the test lets it go on."""

    def __init__(self, tag: int = 0) -> None:
        super().__init__(tag)
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.users = 0
        self.most_users = 0

    def transmit(self, apdu: bytes) -> bytes:
        self.users += 1
        self.most_users = max(self.most_users, self.users)
        self.inside.set()
        assert self.go_on.wait(30)
        self.users -= 1
        return super().transmit(apdu)


class NetworkCard(EchoCard):
    """Tells which network namespace it lives in."""

    def transmit(self, apdu: bytes) -> bytes:
        return str(Path("/proc/self/ns/net").readlink()).encode() + b"\x90\x00"


def load_deck(_path: Path) -> dict[str, EchoCard]:
    deck: dict[str, EchoCard] = {f"card {number}": EchoCard(number) for number in range(16)}
    return deck | {
        "leaving": LeavingCard(20),
        "broken": BrokenCard(21),
        "network": NetworkCard(22),
        "mute": MuteCard(23),
        "overlong": OverlongCard(24),
    }
