# SPDX-License-Identifier: EUPL-1.2
"""Filters find what the standard says they find, with three truth values and bounded depth."""

import pytest

from directorysim import BerError, OperationError, ber
from directorysim.csn import CsnClock
from directorysim.dn import parse_dn
from directorysim.entry import Entry
from directorysim.filters import decode_filter
from directorysim.store import Directory
from tests.directorysim.client import equality

PERSON = {
    "objectClass": [b"inetOrgPerson"],
    "cn": [b"Max  Muster"],
    "mail": [b"max@corp.example", b"m.muster@corp.example"],
    "telephoneNumber": [b"+49 30 123-45"],
    "uidNumber": [b"1000"],
    "manager": [b"uid=boss,dc=corp"],
    "userPassword": [b"secret"],
    "createTimestamp": [b"20260101120000Z"],
}


@pytest.fixture(scope="module")
def person() -> Entry:
    """One person with attributes of every syntax."""
    directory = Directory(parse_dn("dc=corp"), clock=CsnClock())
    directory.load(parse_dn("dc=corp"), {"objectClass": [b"dcObject"]}, actor="cn=admin")
    directory.load(parse_dn("uid=max,dc=corp"), PERSON, actor="cn=admin")
    return directory.require(parse_dn("uid=max,dc=corp"))


def assertion(tag: int, name: str, value: str) -> bytes:
    """A filter of an attribute and a value."""
    return ber.encode_sequence(ber.encode_octets(name.encode()), ber.encode_octets(value.encode()), tag=tag)


def substrings(name: str, *parts: tuple[int, str]) -> bytes:
    """A substring filter of (tag, text) parts: 0x80 initial, 0x81 any, 0x82 final."""
    encoded = ber.encode_sequence(*(ber.encode_octets(text.encode(), tag) for tag, text in parts))
    return ber.encode_sequence(ber.encode_octets(name.encode()), encoded, tag=0xA4)


def combined(tag: int, *parts: bytes) -> bytes:
    """An and (0xA0), or (0xA1) or not (0xA2) filter."""
    return ber.encode_sequence(*parts, tag=tag)


def outcome(data: bytes, entry: Entry) -> bool | None:
    """What a filter says about an entry."""
    return decode_filter(ber.decode(data))(entry)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CN", "max muster", True),
        ("commonName", " Max Muster ", True),
        ("cn", "Max", False),
        ("objectClass", "PERSON", True),
        ("objectClass", "top", True),
        ("objectClass", "groupOfNames", False),
        ("telephoneNumber", "+493012345", True),
        ("uidNumber", "1000", True),
        ("uidNumber", "ten", None),
        ("manager", "UID=Boss, dc=CORP", True),
        ("manager", "rubbish", None),
        ("entryDN", "uid=MAX,dc=corp", True),
        ("title", "x", False),
        ("userPassword", "secret", None),
        ("2.5.4.35", "secret", None),
        ("bad name!", "x", None),
    ],
)
def test_equality(person: Entry, name: str, value: str, expected: bool | None) -> None:
    """Values are compared by the rule of their attribute; passwords by none."""
    assert outcome(equality(name, value), person) is expected
    assert outcome(assertion(0xA8, name, value), person) is expected


@pytest.mark.parametrize(
    ("tag", "name", "value", "expected"),
    [
        (0xA5, "uidNumber", "999", True),
        (0xA5, "uidNumber", "1001", False),
        (0xA6, "uidNumber", "1000", True),
        (0xA5, "createTimestamp", "20260101120000.0Z", True),
        (0xA5, "createTimestamp", "202601011201Z", False),
        (0xA6, "createTimestamp", "20260101115959Z", False),
        (0xA5, "cn", "A", None),
        (0xA5, "gidNumber", "1", False),
    ],
)
def test_ordering(person: Entry, tag: int, name: str, value: str, expected: bool | None) -> None:
    """>= and <= work on numbers and times; on text they are undefined, as in OpenLDAP."""
    assert outcome(assertion(tag, name, value), person) is expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (((0x80, "max"),), True),
        (((0x82, "MUSTER"),), True),
        (((0x80, "Ma"), (0x81, "x m"), (0x82, "er")), True),
        (((0x81, "muster"), (0x81, "max")), False),
        (((0x80, "max mus"), (0x82, "muster")), False),
        (((0x80, "usterx"),), False),
    ],
)
def test_substrings(person: Entry, parts: tuple[tuple[int, str], ...], expected: bool) -> None:
    """Parts match in order and do not overlap."""
    assert outcome(substrings("cn", *parts), person) is expected


def test_substrings_of_names_are_undefined(person: Entry) -> None:
    """There is no substring rule for distinguished names."""
    assert outcome(substrings("manager", (0x80, "uid=")), person) is None


@pytest.mark.parametrize("parts", [(), ((0x82, "a"), (0x80, "b")), ((0x80, "a"), (0x80, "b")), ((0x83, "a"),)])
def test_malformed_substrings_are_refused(parts: tuple[tuple[int, str], ...]) -> None:
    """Parts that are missing, doubled, out of order or unknown are a protocol error."""
    with pytest.raises(BerError):
        decode_filter(ber.decode(substrings("cn", *parts)))


def test_three_truth_values(person: Entry) -> None:
    """Undefined stays undefined under not, and decides an and or an or only when nothing else does."""
    true, false, undefined = equality("uid", "max"), equality("uid", "moritz"), equality("userPassword", "x")
    assert outcome(combined(0xA2, undefined), person) is None
    assert outcome(combined(0xA2, false), person) is True
    assert outcome(combined(0xA0, true, undefined), person) is None
    assert outcome(combined(0xA0, undefined, false), person) is False
    assert outcome(combined(0xA1, false, undefined), person) is None
    assert outcome(combined(0xA1, undefined, true), person) is True
    assert outcome(combined(0xA0), person) is True
    assert outcome(combined(0xA1), person) is False


def test_presence(person: Entry) -> None:
    """Presence looks at the attribute; that of a password is not told."""
    assert outcome(ber.encode_octets(b"MAIL", 0x87), person) is True
    assert outcome(ber.encode_octets(b"title", 0x87), person) is False
    assert outcome(ber.encode_octets(b"userPassword", 0x87), person) is None


def test_depth_and_size_of_filters_are_bounded() -> None:
    """More than 16 levels or 1,000 parts are refused."""
    deep = equality("uid", "max")
    for _ in range(16):
        deep = combined(0xA2, deep)
    with pytest.raises(OperationError, match="deeper"):
        decode_filter(ber.decode(deep))
    with pytest.raises(OperationError, match="parts"):
        decode_filter(ber.decode(combined(0xA1, *[equality("uid", "max")] * 1_000)))


@pytest.mark.parametrize("data", [b"\x30\x00", combined(0xA2), b"\xa3\x03\x04\x01a"])
def test_what_is_not_a_filter_is_refused(data: bytes) -> None:
    """Unknown choices and missing parts are a protocol error."""
    with pytest.raises(BerError):
        decode_filter(ber.decode(data))
