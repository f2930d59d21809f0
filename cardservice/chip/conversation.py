# SPDX-License-Identifier: EUPL-1.2
"""The shape of a conversation with a card, free of I/O.

A conversation is a generator. It yields a batch of command APDUs and is sent the batch of responses, each as the card
gave it, status word included. Commands that do not depend on each other's answers travel in one batch, because over
a relayed reader every exchange costs a network round trip.

Whoever drives a conversation transmits a batch in order. When the transport fails he stops, and throws `CardGone` into
the generator or closes it; he never invents answers.
"""

import hashlib
from collections.abc import Callable, Generator
from typing import Final, TypeAlias, TypeVar

from cardservice.chip.errors import AnswerTooLong, CardGone, ProtocolError

T = TypeVar("T")

Commands: TypeAlias = tuple[bytes, ...]
Responses: TypeAlias = tuple[bytes, ...]
Conversation: TypeAlias = Generator[Commands, Responses, T]
RandomBytes: TypeAlias = Callable[[int], bytes]

MAX_RESPONSE_BYTES: Final = 65_538
"""The longest response APDU: 65,536 bytes of data and the status word (ISO 7816-4 §5.1)."""

MAX_EXCHANGES: Final = 256
"""More exchanges than any conversation of this package needs; it stops a card that never finishes."""


def exchange(*commands: bytes) -> Conversation[Responses]:
    """One exchange: yields the batch and returns as many responses, each 2 to 65,538 bytes.

    Raises:
        CardGone: a response has no status word.
        ProtocolError: the number of responses is not the number of commands, or a response is too long.
    """
    responses = yield commands
    for response in responses:
        if len(response) < 2:
            raise CardGone("the card answered without a status word")
        if len(response) > MAX_RESPONSE_BYTES:
            raise AnswerTooLong("response", f"{len(response)} bytes, at most {MAX_RESPONSE_BYTES} are allowed")
    if len(responses) != len(commands):
        raise ProtocolError("exchange", f"{len(responses)} responses to {len(commands)} commands")
    return responses


def drive(conversation: Conversation[T], transmit: Callable[[bytes], bytes]) -> T:
    """Runs a conversation against a card within reach and returns its result.

    Args:
        conversation: not started yet; it is closed in every case.
        transmit: sends one command APDU and returns the response APDU; may raise `CardGone`.

    Raises:
        ChipError: what the conversation raises, or `ProtocolError` after 256 exchanges.
    """
    try:
        commands = next(conversation)
        for _ in range(MAX_EXCHANGES):
            try:
                responses = _transmit_in_order(commands, transmit)
            except CardGone as gone:
                commands = conversation.throw(gone)
            else:
                commands = conversation.send(responses)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        conversation.close()
    raise ProtocolError("conversation", f"not finished after {MAX_EXCHANGES} exchanges")


def _transmit_in_order(commands: Commands, transmit: Callable[[bytes], bytes]) -> Responses:
    responses: list[bytes] = []
    for command in commands:
        response = transmit(command)
        if len(response) < 2:
            raise CardGone("the card answered without a status word")
        responses.append(response)
    return tuple(responses)


class Transcript:
    """A running SHA-256 over everything said: the evidence that a proof leaves behind.

    Every command and then its response enter as length (4 bytes, most significant first) and content, so that no two
    different conversations give the same input.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def record(self, conversation: Conversation[T]) -> Conversation[T]:
        """The same conversation, with every exchange taken down as it happens."""
        try:
            commands = next(conversation)
            while True:
                responses = yield commands
                for message in (part for pair in zip(commands, responses, strict=False) for part in pair):
                    self._hash.update(len(message).to_bytes(4, "big") + message)
                commands = conversation.send(responses)
        except StopIteration as finished:
            result: T = finished.value
            return result
        finally:
            conversation.close()

    def digest(self) -> bytes:
        """The 32 bytes of evidence for everything recorded so far."""
        return self._hash.digest()
