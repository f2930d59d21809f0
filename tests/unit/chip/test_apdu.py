# SPDX-License-Identifier: EUPL-1.2
"""ISO 7816-4 §5.1: the seven command cases, chaining, GET RESPONSE, wrong Le."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.chip.card_double import Wire
from unit.chip.hostile import Script, scripts

from cardservice.chip.apdu import CommandApdu, ResponseApdu, accept, transceive, transmit_whole
from cardservice.chip.errors import CardGone, ChipError, ObjectNotFound, ProtocolError, StatusError

byte = st.integers(0, 255)
commands = st.builds(
    CommandApdu,
    byte,
    byte,
    byte,
    byte,
    st.binary(max_size=600),
    st.none() | st.integers(1, 256) | st.integers(257, 65_536),
)


@pytest.mark.parametrize(
    ("apdu", "encoded"),
    [
        (CommandApdu(0, 0xA4, 4, 0), "00A40400"),
        (CommandApdu(0, 0xB0, 0, 0, le=1), "00B0000001"),
        (CommandApdu(0, 0xB0, 0, 0, le=256), "00B0000000"),
        (CommandApdu(0, 0xA4, 4, 0, b"\xaa\xbb"), "00A4040002AABB"),
        (CommandApdu(0, 0xA4, 4, 0, b"\xaa\xbb", 256), "00A4040002AABB00"),
        (CommandApdu(0, 0xB0, 0, 0, le=257), "00B00000000101"),
        (CommandApdu(0, 0xB0, 0, 0, le=65_536), "00B00000000000"),
        (CommandApdu(0, 0xD6, 0, 0, b"\xaa" * 256), "00D60000000100" + "AA" * 256),
        (CommandApdu(0, 0xD6, 0, 0, b"\xaa", 65_536), "00D60000000001AA0000"),
    ],
)
def test_every_case_of_the_standard(apdu, encoded):
    assert bytes(apdu).hex().upper() == encoded
    assert CommandApdu.from_bytes(bytes.fromhex(encoded)) == apdu


@given(commands)
def test_what_is_written_is_read_back(apdu):
    assert CommandApdu.from_bytes(bytes(apdu)) == apdu


@given(st.binary(max_size=80) | st.binary(max_size=12).map(lambda tail: b"\x00\xa4\x04\x00\x00" + tail))
def test_arbitrary_bytes_are_a_command_or_a_protocol_error(raw):
    try:
        apdu = CommandApdu.from_bytes(raw)
    except ProtocolError:
        return
    assert raw[:4] == bytes((apdu.cla, apdu.ins, apdu.p1, apdu.p2))
    assert len(apdu.data) <= len(raw)


@pytest.mark.parametrize("raw", ["", "00A404", "00A4040002AA", "00A4040002AABBCCDD", "00A404000000AA00"])
def test_lengths_that_do_not_add_up_are_refused(raw):
    with pytest.raises(ProtocolError, match="command APDU"):
        CommandApdu.from_bytes(bytes.fromhex(raw))


@pytest.mark.parametrize(
    "arguments", [(256, 0, 0, 0), (0, -1, 0, 0), (0, 0, 0, 0, bytes(65_536)), (0, 0, 0, 0, b"", 0)]
)
def test_a_command_that_cannot_be_is_our_own_mistake(arguments):
    with pytest.raises(ValueError, match=r"allowed|one byte"):
        CommandApdu(*arguments)


def test_command_data_is_not_shown():
    assert "1234" not in repr(CommandApdu(0, 0x20, 0, 0x80, b"123456"))


def test_responses_are_split():
    response = ResponseApdu.from_bytes(b"\x01\x02\x90\x00")
    assert (response.data, response.sw, bytes(response)) == (b"\x01\x02", 0x9000, b"\x01\x02\x90\x00")


def test_responses_are_bounded():
    with pytest.raises(CardGone):
        ResponseApdu.from_bytes(b"\x90")
    with pytest.raises(ProtocolError, match="65539"):
        ResponseApdu.from_bytes(bytes(65_539))


def test_accept_refuses_everything_but_9000():
    assert accept("GET DATA", ResponseApdu(b"data", 0x9000)) == b"data"
    with pytest.raises(ObjectNotFound):
        accept("GET DATA", ResponseApdu(b"data", 0x6A82))
    with pytest.raises(StatusError):
        accept("GET DATA", ResponseApdu(b"data", 0x6282))


def test_a_response_is_collected():
    wire = Wire(Script([b"one\x61\x03", b"two\x61\x00", b"three\x90\x00"]))
    response = wire.run(transceive("GET DATA", CommandApdu(0, 0xCB, 0x3F, 0xFF, b"\x5c\x00", 256)))
    assert response == ResponseApdu(b"onetwothree", 0x9000)
    assert wire.sent == [["00CB3FFF025C0000"], ["00C0000003"], ["00C0000000"]]


def test_a_wrong_le_is_corrected():
    """6Cxx repeats the command that was refused, be it the command itself or a GET RESPONSE."""
    wire = Wire(Script([b"\x6c\x08", b"one\x61\x05", b"\x6c\x04", b"four\x90\x00"]))
    response = wire.run(transceive("GET DATA", CommandApdu(0, 0xCB, 0x3F, 0xFF, le=256)))
    assert response.data == b"onefour"
    assert wire.sent == [["00CB3FFF00"], ["00CB3FFF08"], ["00C0000005"], ["00C0000004"]]


def test_long_data_is_chained_in_one_exchange():
    wire = Wire(Script([b"\x90\x00", b"\x90\x00", b"done\x90\x00"]))
    data = bytes(range(256)) * 2
    assert wire.run(transceive("PUT DATA", CommandApdu(0, 0xDB, 0x3F, 0xFF, data, 256))).data == b"done"
    assert len(wire.batches) == 1
    blocks = [CommandApdu.from_bytes(command) for command, _ in wire.batches[0]]
    assert [(block.cla, len(block.data), block.le) for block in blocks] == [
        (0x10, 255, None),
        (0x10, 255, None),
        (0, 2, 256),
    ]
    assert b"".join(block.data for block in blocks) == data


def test_a_refused_block_of_a_chain_is_a_status_error():
    wire = Wire(Script([b"\x68\x84", b"\x90\x00"]))
    with pytest.raises(StatusError, match="6884"):
        wire.run(transceive("PUT DATA", CommandApdu(0, 0xDB, 0x3F, 0xFF, bytes(300))))


@pytest.mark.parametrize("answer", ["61FF", "6100", "6C10"])
def test_an_endless_response_is_stopped_by_rounds(answer):
    wire = Wire(Script([bytes.fromhex(answer)]))
    with pytest.raises(ProtocolError, match="64 rounds"):
        wire.run(transceive("GET DATA", CommandApdu(0, 0xCB, 0x3F, 0xFF, le=256)))
    assert len(wire.batches) == 65


def test_an_endless_response_is_stopped_by_bytes():
    wire = Wire(Script([bytes(40_000) + b"\x61\xff"]))
    with pytest.raises(ProtocolError, match="65536 bytes"):
        wire.run(transceive("GET DATA", CommandApdu(0, 0xCB, 0x3F, 0xFF, le=256)))
    assert len(wire.batches) == 2


@given(scripts)
def test_arbitrary_answers_end_within_bounds(script):
    wire = Wire(Script(script))
    try:
        response = wire.run(transceive("GET DATA", CommandApdu(0, 0xCB, 0x3F, 0xFF, bytes(300), 256)))
    except ChipError:
        response = None
    assert len(wire.batches) <= 65
    assert response is None or len(response.data) <= 65_536


READ = bytes.fromhex("00CB3FFF055C035FC10100")


def whole(answers: list[bytes], command: bytes = READ) -> tuple[bytes, list[str]]:
    script, sent = Script(answers), []

    def transmit(apdu: bytes) -> bytes:
        sent.append(apdu.hex().upper())
        return script(apdu)

    return transmit_whole(command, transmit), sent


def test_beside_the_card_an_answer_in_parts_is_made_whole():
    answer, sent = whole([b"one\x61\x03", b"two\x61\x00", b"three\x90\x00"])
    assert answer == b"onetwothree\x90\x00"
    assert sent == [READ.hex().upper(), "00C0000003", "00C0000000"]


def test_the_status_of_the_last_part_is_the_answers():
    assert whole([b"one\x61\x03", b"\x6f\x00"])[0] == b"one\x6f\x00"


@pytest.mark.parametrize("command", ["90AF000000", "10DB3FFF01AA", "80CA000000"])
def test_other_classes_and_the_links_of_a_chain_are_left_alone(command):
    answer, sent = whole([b"\x61\x03"], bytes.fromhex(command))
    assert answer == b"\x61\x03"
    assert sent == [command]


def test_a_wrong_le_is_left_to_whoever_asked():
    """The card keeps what it has: asked again, it names the length again."""
    answer, sent = whole([b"one\x61\x05", b"\x6c\x04"])
    assert answer == b"one\x61\x05"
    assert sent[1:] == ["00C0000005"]


@given(scripts)
def test_beside_the_card_arbitrary_answers_end_within_bounds(script):
    """The reader hands on nothing without a status word."""
    answer, sent = whole([one for one in script if len(one) >= 2] or [b"\x61\x00"])
    assert len(sent) <= 17
    assert 2 <= len(answer) <= 4_096 + 300


@pytest.mark.parametrize(("part", "asked"), [(b"\x61\xff", 17), (bytes(1_500) + b"\x61\xff", 3)])
def test_a_card_that_never_finishes_is_given_up_beside_it_too(part, asked):
    """What is handed on still says that there is more; the centre's own limits count from there."""
    answer, sent = whole([part])
    assert len(sent) == asked
    assert answer[-2:] == b"\x61\xff"
