# SPDX-License-Identifier: EUPL-1.2
"""The wire to vpcd, against a listener of the test that speaks as vpcd does."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rig.bank import Bank, ReaderSpec
from rig.vpcd import Plug, frames


def framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(2, "big") + payload


class Slot:
    """One slot as vpcd sees it: a listener with no backlog, and at most one card."""

    def __init__(self, port: int = 0) -> None:
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.settimeout(10)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.card: socket.socket | None = None

    def accept(self) -> None:
        if self.card is not None:
            self.card.close()
        self.card, _address = self.listener.accept()
        self.card.settimeout(10)

    def send(self, payload: bytes) -> None:
        assert self.card is not None
        self.card.sendall(framed(payload))

    def receive(self) -> bytes:
        """The next frame, or nothing when the card has gone."""
        assert self.card is not None
        length = int.from_bytes(self.card.recv(2, socket.MSG_WAITALL), "big")
        return self.card.recv(length, socket.MSG_WAITALL) if length else b""

    def at_end(self) -> bool:
        """Whether the card has closed the connection, and not just sent an empty frame."""
        assert self.card is not None
        return self.card.recv(1) == b""

    def close(self) -> None:
        for sock in (self.card, self.listener):
            if sock is not None:
                sock.close()


@pytest.fixture
def slot() -> Iterator[Slot]:
    """A slot that waits for a card."""
    slot = Slot()
    yield slot
    slot.close()


@pytest.fixture
def bank(cards, slot: Slot) -> Iterator[Bank]:
    """One reader plugged into the slot."""
    bank = Bank([ReaderSpec("reader")], cards.load_deck(None))
    Plug(bank, {"reader": slot.port})
    yield bank
    bank.close()


def test_controls_and_commands(bank, slot, cards):
    """Only the ATR is answered among the controls; any other frame goes to the card."""
    bank.insert("card 3", "reader")
    slot.accept()
    slot.send(b"\x04")
    assert slot.receive() == cards.ATR + b"\x03"
    for control in (b"\x01", b"\x02"):
        slot.send(control)
    slot.send(b"\x00\xa4\x04\x00")
    assert slot.receive() == b"\x00\xa4\x04\x00\x90\x00"
    slot.send(b"\x00")
    slot.send(b"\x04")
    assert slot.receive() == cards.ATR + b"\x03"


@pytest.mark.parametrize("command", [0x03, 0x05, 0x60, 0x6A, 0x6E, 0x6F, 0xAF, 0xFF])
def test_native_commands_of_one_byte_reach_the_card(bank, slot, command):
    """Only 00, 01, 02 and 04 are controls, and only in frames of one byte."""
    bank.insert("card 3", "reader")
    slot.accept()
    slot.send(b"\x01")
    slot.send(bytes([command]))
    assert slot.receive() == bytes([command, 0x90, 0x00])
    slot.send(bytes([0x04, command]))
    assert slot.receive() == bytes([0x04, command, 0x90, 0x00])


def test_ejecting_and_swapping_let_one_look_fail(bank, slot, cards):
    """The next look after a removal finds nothing, the look after that finds the next card."""
    bank.insert("card 3", "reader")
    slot.accept()
    slot.send(b"\x04")
    assert slot.receive() == cards.ATR + b"\x03"
    bank.swap("card 4", "reader")
    slot.send(b"\x04")
    assert slot.receive() == b""
    assert slot.at_end()
    slot.accept()
    slot.send(b"\x04")
    assert slot.receive() == cards.ATR + b"\x04"
    bank.eject("reader")
    slot.send(b"\x04")
    assert slot.at_end()


@pytest.mark.parametrize("card", ["leaving", "broken", "mute", "overlong"])
def test_a_card_lost_in_a_command_lets_one_look_fail_before_the_next_card(bank, slot, cards, card):
    """A break in the middle of a command is no failed look, so the next card lets one fail and shows itself then."""
    bank.insert(card, "reader")
    slot.accept()
    slot.send(b"\x04")
    assert slot.receive().startswith(cards.ATR)
    slot.send(b"\x01")
    slot.send(b"\x60")
    assert slot.receive() == b""
    assert slot.at_end()
    if bank.state()["reader"].state == "empty":
        bank.insert("card 4", "reader")
    slot.accept()
    slot.send(b"\x04")
    assert slot.at_end()
    slot.accept()
    slot.send(b"\x04")
    assert slot.receive().startswith(cards.ATR)


def test_a_swap_met_by_a_command_lets_one_look_fail(bank, slot, cards):
    """A command that meets the empty slot gets no answer, and does not count as a look."""
    bank.insert("card 3", "reader")
    slot.accept()
    slot.send(b"\x04")
    slot.receive()
    slot.send(b"\x01")
    bank.swap("card 4", "reader")
    slot.send(b"\x60")
    assert slot.at_end()
    slot.accept()
    slot.send(b"\x04")
    assert slot.at_end()
    slot.accept()
    slot.send(b"\x04")
    assert slot.receive() == cards.ATR + b"\x04"


def test_a_slow_card_pulled_out_keeps_nobody_waiting(cards, slot):
    """The connection ends at once though the card is still inside its command, and the next card can come."""
    slow = cards.SlowCard()
    bank = Bank([ReaderSpec("reader")], {"slow": slow, "next": cards.EchoCard(9)})
    Plug(bank, {"reader": slot.port})
    bank.insert("slow", "reader")
    slot.accept()
    slot.send(b"\x01")
    slot.send(b"\x60")
    assert slow.inside.wait(10)
    bank.swap("next", "reader")
    assert slot.at_end()
    slot.accept()
    slot.send(b"\x04")
    assert slot.receive() == cards.ATR + b"\x09"
    slow.go_on.set()
    bank.close()


def test_a_card_connects_again_when_the_listener_comes_back(bank, slot, cards):
    """Pcscd may die and return; the card that stayed in its reader is back by itself."""
    bank.insert("card 3", "reader")
    slot.accept()
    slot.close()
    again = Slot(slot.port)
    again.accept()
    again.send(b"\x04")
    assert again.receive() == cards.ATR + b"\x03"
    again.close()


def test_a_card_inserted_before_there_is_a_listener(cards):
    """Cards already in the bank are connected when the plug is made."""
    slot = Slot()
    bank = Bank([ReaderSpec("reader")], cards.load_deck(None))
    bank.insert("card 5", "reader")
    Plug(bank, {"reader": slot.port})
    slot.accept()
    slot.send(b"\x04")
    assert slot.receive() == cards.ATR + b"\x05"
    bank.close()
    slot.close()


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=6),
    cuts=st.lists(st.integers(1, 50), max_size=20),
    rest=st.binary(max_size=5),
)
def test_frames_arrive_whole_however_the_stream_is_cut(payloads, cuts, rest):
    """Any cutting of the stream gives the same frames; an unfinished frame at the end is none."""
    unfinished = framed(rest + b"\x00")[:-1]
    stream = b"".join(map(framed, payloads)) + unfinished
    here, there = socket.socketpair()
    with here, there:
        reader = frames(_WithoutQuickAck(there, cuts))
        here.sendall(stream)
        here.shutdown(socket.SHUT_WR)
        assert list(reader) == payloads


class _WithoutQuickAck:
    """A local socket pair has no TCP options; receives are cut to the given sizes."""

    def __init__(self, sock: socket.socket, cuts: list[int]) -> None:
        self._sock = sock
        self._cuts = iter(cuts)
        self.options: list[tuple[int, int]] = []

    def setsockopt(self, level: int, option: int, _value: int) -> None:
        self.options.append((level, option))

    def recv(self, size: int) -> bytes:
        assert self.options.pop() == (socket.IPPROTO_TCP, socket.TCP_QUICKACK)
        return self._sock.recv(min(size, next(self._cuts, size)))
