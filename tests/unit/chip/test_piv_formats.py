# SPDX-License-Identifier: EUPL-1.2
"""What a PIV application holds, against the objects of a virtual card that was written from the standard alone."""

import uuid
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.chip.errors import ProtocolError
from cardservice.chip.piv_formats import (
    ApplicationProperties,
    Chuid,
    Discovery,
    ObjectId,
    ReferenceData,
    capability_container,
    container_tag,
    retired_certificate,
    unwrap_certificate,
    wrap_certificate,
)
from cardservice.chip.tlv import build, descend
from cardsim.piv import APPLICATION_PROPERTIES
from cardsim.piv_objects import (
    RETIRED_CERTIFICATES,
    STANDARD_OBJECTS,
    certificate_object,
    chuid,
    discovery,
)
from cardsim.piv_objects import (
    capability_container as card_capabilities,
)
from cardsim.piv_reference import padded_pin

PIX, RID = bytes.fromhex("000010000100"), bytes.fromhex("A000000308")
CHUID_MEMBERS = ((0x30, bytes(25)), (0x34, bytes(16)), (0x35, b"20301231"), (0x3E, b""), (0xFE, b""))


def encoded(*members: tuple[int, bytes]) -> bytes:
    return b"".join(bytes(build(tag, value)) for tag, value in members)


@given(st.uuids(), st.dates(min_value=date(1000, 1, 1)))
def test_chuid_and_capabilities_are_those_of_the_standard(card_uuid, expires):
    written = bytes(Chuid(card_uuid, expires))
    assert bytes(build(0x53, written)) == chuid(card_uuid, expires)
    assert Chuid.from_bytes(written) == Chuid(card_uuid, expires)
    assert bytes(build(0x53, capability_container(card_uuid))) == card_capabilities(card_uuid)


def test_optional_members_of_a_chuid_are_passed_over():
    read = Chuid.from_bytes(encoded((0xEE, b"\x00\x43"), *CHUID_MEMBERS, (0x36, bytes(16))))
    assert (read.guid, read.expires) == (uuid.UUID(int=0), date(2030, 12, 31))
    assert str(read.guid) not in repr(read)


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (0x30, bytes(24)),
        (0x34, bytes(15)),
        (0x35, b"20300231"),
        (0x35, b"2030123"),
        (0x35, b"00000101"),
        (0x35, b"2030 1 1"),
        (0x35, b"\xef\xbc\x92" * 2 + b"30"),
        (0x34, None),
    ],
)
def test_a_malformed_chuid_is_refused(tag, value):
    members = {**dict(CHUID_MEMBERS), tag: value}
    with pytest.raises(ProtocolError):
        Chuid.from_bytes(encoded(*((name, content) for name, content in members.items() if content is not None)))


def test_a_certificate_object_is_that_of_the_standard():
    assert bytes(build(0x53, wrap_certificate(b"certificate"))) == certificate_object(b"certificate")
    assert unwrap_certificate(wrap_certificate(b"certificate")) == b"certificate"


def test_the_names_of_all_objects_are_those_of_the_standard():
    ours = {*ObjectId, *(retired_certificate(number) for number in range(1, 21))}
    assert {int.from_bytes(tag, "big") for tag in STANDARD_OBJECTS} == ours
    assert [int.from_bytes(tag, "big") for tag in RETIRED_CERTIFICATES] == [
        retired_certificate(number) for number in range(1, 21)
    ]
    assert [container_tag(one) for one in (ObjectId.DISCOVERY, ObjectId.BIOMETRIC_TEMPLATES, ObjectId.CHUID)] == [
        0x7E,
        0x7F61,
        0x53,
    ]
    for number in (0, 21):
        with pytest.raises(ValueError, match="1 to 20"):
            retired_certificate(number)


def test_the_discovery_object_is_read():
    assert Discovery.from_bytes(descend(discovery(), 0x7E)) == Discovery(0x4000)
    for content in (encoded((0x4F, b"other"), (0x5F2F, b"\x40\x00")), encoded((0x4F, RID + PIX[:-1]))):
        with pytest.raises(ProtocolError):
            Discovery.from_bytes(content)


def test_the_property_template_is_read():
    assert ApplicationProperties.from_bytes(APPLICATION_PROPERTIES) == ApplicationProperties()
    algorithms = encoded((0x80, b"\x07"), (0x80, b"\x11"), (0x06, b"\x00"))
    whole = encoded((0x4F, PIX), (0x79, encoded((0x4F, RID))), (0x50, b"PIV"), (0x5F50, b"u"), (0xAC, algorithms))
    read = ApplicationProperties.from_bytes(encoded((0x61, whole)))
    assert read == ApplicationProperties("PIV", "u", frozenset({0x07, 0x11}))


@pytest.mark.parametrize(
    "members",
    [
        (),
        ((0x4F, PIX), (0x79, encoded((0x4F, b"other")))),
        ((0x4F, PIX), (0x79, b"")),
        ((0x4F, PIX), (0x50, b"\xff\xfe")),
        ((0x4F, PIX), (0x50, bytes(257))),
        ((0x4F, PIX), (0x50, b"a"), (0x50, b"b")),
        ((0x4F, PIX), (0xAC, encoded((0x80, b"\x07\x11")))),
        ((0x4F, PIX), *(((0xAC, b""),) * 64)),
        ((0x4F, bytes.fromhex("A0000003979000")),),
    ],
)
def test_a_property_template_of_another_shape_is_refused(members):
    with pytest.raises(ProtocolError):
        ApplicationProperties.from_bytes(encoded((0x61, encoded(*members))))


@pytest.mark.parametrize("digits", ["123456", "1234567", "12345678"])
def test_a_pin_travels_padded(digits):
    assert ReferenceData.pin(digits).value == padded_pin(digits)
    assert digits not in repr(ReferenceData.pin(digits))


@pytest.mark.parametrize(
    "digits", ["12345", "123456789", "12345a", "\uff11\uff12\uff13\uff14\uff15\uff16", "\xb223456", ""]
)
def test_a_pin_that_is_none_is_refused_and_not_repeated(digits):
    with pytest.raises(ValueError, match="6 to 8 decimal digits") as refused:
        ReferenceData.pin(digits)
    assert not digits or digits not in str(refused.value)


@pytest.mark.parametrize("length", [0, 7, 9])
def test_a_puk_has_eight_bytes(length):
    with pytest.raises(ValueError, match="8 bytes"):
        ReferenceData.puk(bytes(length))
