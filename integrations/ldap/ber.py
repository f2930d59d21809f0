# SPDX-License-Identifier: EUPL-1.2
"""The little BER that LDAP needs (X.690 with the limits of RFC 4511, section 5.1), bounded in every direction.

Only definite lengths and tags below 31 exist in LDAP. Lengths are at most `MAX_MESSAGE_BYTES`. Decoding never recurses:
a caller walks the levels it expects.
"""

from collections.abc import Iterator

from integrations.ldap.errors import MalformedBer

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_INTEGER_BYTES = 8

BOOLEAN = 0x01
INTEGER = 0x02
OCTET_STRING = 0x04
ENUMERATED = 0x0A
SEQUENCE = 0x30
SET = 0x31

_LONG_FORM = 0x80
_MAX_LENGTH_OCTETS = 4
_HIGH_TAG = 0x1F

Element = tuple[int, int, int]
"""Tag octet, start of the value, end of the value."""


def message_length(data: bytes | bytearray, start: int) -> int | None:
    """Return the whole length of the message that begins at `start`, None while its header is incomplete.

    Raises:
        MalformedBer: no LDAP message begins here, or it is longer than 16 MiB.
    """
    available = len(data) - start
    if available and data[start] != SEQUENCE:
        raise MalformedBer(f"the server sent 0x{data[start]:02x} where an LDAP message must begin (0x30)")
    if available < 2:
        return None
    first = data[start + 1]
    if first < _LONG_FORM:
        return 2 + first
    octets = first - _LONG_FORM
    _check_length_octets(octets)
    if available < 2 + octets:
        return None
    length = int.from_bytes(data[start + 2 : start + 2 + octets], "big")
    if length > MAX_MESSAGE_BYTES:
        raise MalformedBer(f"the server sent a message of {length} bytes; at most {MAX_MESSAGE_BYTES} are read")
    return 2 + octets + length


def _check_length_octets(octets: int) -> None:
    if not 1 <= octets <= _MAX_LENGTH_OCTETS:
        raise MalformedBer(f"a length of {octets} octets; 1 to {_MAX_LENGTH_OCTETS} are allowed")


def read_element(data: bytes, position: int, end: int) -> Element:
    """Return tag, start and end of the value of the element at `position`, which must lie before `end`.

    Raises:
        MalformedBer: the element is cut off, reaches beyond `end`, or has a form LDAP does not use.
    """
    if position + 2 > end:
        raise MalformedBer("an element is cut off")
    tag = data[position]
    if tag & _HIGH_TAG == _HIGH_TAG:
        raise MalformedBer(f"tag 0x{tag:02x} has a second octet; LDAP has no such tag")
    length = data[position + 1]
    start = position + 2
    if length >= _LONG_FORM:
        octets = length - _LONG_FORM
        _check_length_octets(octets)
        start += octets
        length = int.from_bytes(data[position + 2 : start], "big")
    if start + length > end:
        raise MalformedBer("an element is longer than what holds it")
    return tag, start, start + length


def expect(data: bytes, position: int, end: int, tag: int) -> tuple[int, int]:
    """Return start and end of the value at `position`, whose tag must be `tag`.

    Raises:
        MalformedBer: another tag, or as `read_element`.
    """
    found, start, stop = read_element(data, position, end)
    if found != tag:
        raise MalformedBer(f"tag 0x{found:02x} where 0x{tag:02x} is expected")
    return start, stop


def elements(data: bytes, start: int, end: int, *, at_most: int) -> Iterator[Element]:
    """Yield the elements between `start` and `end`.

    Raises:
        MalformedBer: more than `at_most` elements, or as `read_element`.
    """
    count = 0
    while start < end:
        count += 1
        if count > at_most:
            raise MalformedBer(f"more than {at_most} elements in one place")
        element = read_element(data, start, end)
        yield element
        start = element[2]


def read_integer(data: bytes, start: int, end: int) -> int:
    """Return the two's-complement integer between `start` and `end`.

    Raises:
        MalformedBer: no octet, or more than 8.
    """
    if not 1 <= end - start <= MAX_INTEGER_BYTES:
        raise MalformedBer(f"an integer of {end - start} octets; 1 to {MAX_INTEGER_BYTES} are allowed")
    return int.from_bytes(data[start:end], "big", signed=True)


def read_boolean(data: bytes, start: int, end: int) -> bool:
    """Return the boolean between `start` and `end`.

    Raises:
        MalformedBer: not exactly one octet.
    """
    if end - start != 1:
        raise MalformedBer(f"a boolean of {end - start} octets; exactly 1 is allowed")
    return data[start] != 0


def encode(tag: int, value: bytes) -> bytes:
    """Return one element in its shortest form."""
    if len(value) < _LONG_FORM:
        return bytes((tag, len(value))) + value
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_FORM | len(length))) + length + value


def encode_integer(number: int, tag: int = INTEGER) -> bytes:
    """Return a non-negative integer or enumerated value."""
    return encode(tag, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def encode_boolean(value: bool) -> bytes:
    """Return a boolean as RFC 4511, section 5.1 wants it (TRUE is 0xFF)."""
    return encode(BOOLEAN, b"\xff" if value else b"\x00")
