# SPDX-License-Identifier: EUPL-1.2
"""How conversations are driven, bounded and taken down."""

import hashlib
import inspect

import pytest
from unit.chip.card_double import Wire

from cardservice.chip.conversation import MAX_EXCHANGES, Conversation, Transcript, drive, exchange
from cardservice.chip.errors import CardGone, ProtocolError


def two_exchanges() -> Conversation[bytes]:
    first, second = yield from exchange(b"A", b"BB")
    (third,) = yield from exchange(b"C")
    return first + second + third


def endless() -> Conversation[None]:
    while True:
        yield from exchange(b"again")


def echo(command: bytes) -> bytes:
    return command + b"\x90\x00"


def test_drive_returns_the_result():
    assert drive(two_exchanges(), echo) == b"A\x90\x00BB\x90\x00C\x90\x00"


def test_drive_stops_an_endless_conversation_and_closes_it():
    transmitted: list[bytes] = []

    def transmit(command: bytes) -> bytes:
        transmitted.append(command)
        return b"\x90\x00"

    conversation = endless()
    with pytest.raises(ProtocolError, match=f"{MAX_EXCHANGES} exchanges"):
        drive(conversation, transmit)
    assert len(transmitted) == MAX_EXCHANGES
    assert inspect.getgeneratorstate(conversation) == inspect.GEN_CLOSED


@pytest.mark.parametrize("response", [b"", b"\x90"])
def test_a_pulled_card_ends_the_batch_at_once(response):
    """An answer without a status word is a removal: nothing more is sent."""
    transmitted: list[bytes] = []

    def transmit(command: bytes) -> bytes:
        transmitted.append(command)
        return response

    with pytest.raises(CardGone):
        drive(two_exchanges(), transmit)
    assert transmitted == [b"A"]


def test_a_transport_failure_reaches_the_conversation():
    seen: list[str] = []

    def watching() -> Conversation[None]:
        try:
            yield from exchange(b"A")
        except CardGone as gone:
            seen.append(str(gone))
            raise

    def transmit(_: bytes) -> bytes:
        raise CardGone("the reader was unplugged")

    with pytest.raises(CardGone, match="unplugged"):
        drive(watching(), transmit)
    assert seen == ["the reader was unplugged"]


def test_any_other_failure_closes_the_conversation():
    conversation = two_exchanges()

    def transmit(_: bytes) -> bytes:
        raise OSError("reader")

    with pytest.raises(OSError, match="reader"):
        drive(conversation, transmit)
    assert inspect.getgeneratorstate(conversation) == inspect.GEN_CLOSED


@pytest.mark.parametrize("responses", [(), (b"\x90\x00",), (b"\x90\x00",) * 3])
def test_the_number_of_responses_must_fit(responses):
    conversation = two_exchanges()
    next(conversation)
    with pytest.raises(ProtocolError, match="to 2 commands"):
        conversation.send(responses)


@pytest.mark.parametrize("short", [b"", b"\x90"])
def test_a_relayed_response_without_status_word_is_a_removal(short):
    """Also when the driver stopped early and handed over what it had."""
    for responses in ((short,), (b"\x90\x00", short)):
        conversation = two_exchanges()
        next(conversation)
        with pytest.raises(CardGone):
            conversation.send(responses)


def test_a_response_beyond_the_longest_apdu_is_refused():
    longest = bytes(65_536) + b"\x90\x00"
    conversation = two_exchanges()
    next(conversation)
    assert conversation.send((longest, longest)) == (b"C",)
    with pytest.raises(ProtocolError, match="65539 bytes"):
        conversation.send((longest + b"\x00",))


def test_a_transcript_covers_every_message_in_the_order_of_the_wire():
    transcript = Transcript()
    assert Wire(echo).run(transcript.record(two_exchanges())) == b"A\x90\x00BB\x90\x00C\x90\x00"
    expected = hashlib.sha256()
    for message in (b"A", b"A\x90\x00", b"BB", b"BB\x90\x00", b"C", b"C\x90\x00"):
        expected.update(len(message).to_bytes(4, "big") + message)
    assert transcript.digest() == expected.digest()


def test_a_transcript_cannot_be_shifted_from_command_to_answer():
    digests = set()
    for command, answer in ((b"AB", b"CDE"), (b"ABC", b"DE")):

        def one(command: bytes = command) -> Conversation[None]:
            yield from exchange(command)

        transcript = Transcript()
        Wire(lambda _, answer=answer: answer).run(transcript.record(one()))
        digests.add(transcript.digest())
    assert len(digests) == 2


def test_closing_a_recorded_conversation_closes_what_is_inside():
    inside = two_exchanges()
    recorded = Transcript().record(inside)
    next(recorded)
    recorded.close()
    assert inspect.getgeneratorstate(inside) == inspect.GEN_CLOSED
