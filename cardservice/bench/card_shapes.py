# SPDX-License-Identifier: EUPL-1.2
"""How long everything is that a conversation with a card says: taken down once, then echoed with nothing computed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cardservice.agents.messages import CardApdus, CardResponses, encode
from cardservice.bench.tap_echo import LENGTH_DIGITS
from cardservice.chip.apdu import transmit_whole
from cardservice.chip.conversation import Conversation, drive

# As long as the name of a conversation, and about as long as a reader takes for a step.
_CONVERSATION: Final = "0" * 32
_TOOK_US: Final = 1_000
_HEADER_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """A conversation without its content.

    Attributes:
        apdus: length of each command and of its answer, in bytes, status word included.
        frames: what crosses the wire for each step of a relayed one: the length of the agent's answer and of the
            centre's commands, in characters.
    """

    apdus: tuple[tuple[int, int], ...]
    frames: tuple[tuple[int, int], ...]

    def echo_apdus(self) -> list[bytes]:
        """Return commands as long as these that ask an echo card for answers as long as these."""
        return [_echo_apdu(command, answer) for command, answer in self.apdus]

    def echo_frames(self) -> list[str]:
        """Return frames as long as the agent's that ask for answers as long as the centre's."""
        return [f"{answer:0{LENGTH_DIGITS}}".ljust(asked, "x") for asked, answer in self.frames]


def shape_of(conversation: Conversation[Any], transmit: Callable[[bytes], bytes]) -> Shape:
    """Drive a conversation and return how long everything was that was said.

    Raises:
        ChipError: the conversation's own.
    """
    apdus: list[tuple[int, int]] = []
    frames: list[tuple[int, int]] = []

    def one(command: bytes) -> bytes:
        answer = transmit(command)
        apdus.append((len(command), len(answer)))
        return answer

    def step(commands: tuple[bytes, ...], answers: tuple[bytes, ...]) -> None:
        asked = CardApdus(conversation=_CONVERSATION, n=len(frames), apdus=tuple(one.hex() for one in commands))
        told = CardResponses(
            conversation=_CONVERSATION,
            n=len(frames),
            responses=tuple(one.hex() for one in answers),
            took_us=_TOOK_US,
        )
        frames.append((len(encode(told)), len(encode(asked))))

    # As an agent does it: answers that the card gives in parts cross the wire whole.
    drive(_steps(conversation, step), lambda command: transmit_whole(command, one))
    return Shape(tuple(apdus), tuple(frames))


def _steps(
    conversation: Conversation[Any], step: Callable[[tuple[bytes, ...], tuple[bytes, ...]], None]
) -> Conversation[None]:
    """Return the same conversation; each of its steps is told."""
    commands = next(conversation)
    while True:
        answers = yield commands
        step(commands, answers)
        try:
            commands = conversation.send(answers)
        except StopIteration:
            return


def _echo_apdu(command: int, answer: int) -> bytes:
    """Return a command of ISO 7816-3, 12.1.3, in its short form: case 1, 2, 3 or 4 by its length."""
    header = bytes((0x80, 0xEE)) + answer.to_bytes(2, "big")
    body = command - _HEADER_BYTES
    if body <= 1:
        return header + bytes(body)
    if body == 2:
        return header + bytes((1, 0))
    return header + bytes((body - 2,)) + bytes(body - 2) + b"\x00"
