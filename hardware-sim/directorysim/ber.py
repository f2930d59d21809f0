# SPDX-License-Identifier: EUPL-1.2
"""A small bounded BER codec for LDAP (X.690 as restricted by RFC 4511, section 5.1).

Definite lengths and one-byte tags only. Decoding is iterative and bounded in depth, size and number of
elements, because every byte comes from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from directorysim.errors import BerError

MAX_DEPTH: Final = 32
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
MAX_ELEMENTS: Final = 250_000
MAX_INTEGER_BYTES: Final = 8

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
ENUMERATED: Final = 0x0A
SEQUENCE: Final = 0x30
SET: Final = 0x31

_CONSTRUCTED: Final = 0x20
_MULTI_BYTE_TAG: Final = 0x1F


@dataclass(frozen=True, slots=True)
class Element:
    """One decoded element: `content` when primitive, `children` when constructed."""

    tag: int
    content: bytes
    children: tuple["Element", ...]


@dataclass(slots=True)
class _OpenElement:
    tag: int
    end: int
    children: list[Element] = field(default_factory=list)


def _read_length(data: bytes | bytearray, position: int) -> tuple[int, int] | None:
    """Return the length at `position` and where the content starts, or None when bytes are missing."""
    if position >= len(data):
        return None
    first = data[position]
    if first < 0x80:
        return first, position + 1
    size = first & 0x7F
    if not 1 <= size <= 4:
        raise BerError(f"length at byte {position} takes {size} bytes; 1 to 4 are allowed")
    start = position + 1 + size
    if start > len(data):
        return None
    return int.from_bytes(data[position + 1 : start], "big"), start


def message_length(buffer: bytes | bytearray, *, limit_bytes: int) -> int | None:
    """Return how many bytes the message at the start of `buffer` takes, or None while its header is incomplete.

    Raises:
        BerError: the buffer does not start with a SEQUENCE, or the message is longer than `limit_bytes`.
    """
    if not buffer:
        return None
    if buffer[0] != SEQUENCE:
        raise BerError(f"a message starts with tag 0x{buffer[0]:02x}; 0x30 is required")
    header = _read_length(buffer, 1)
    if header is None:
        return None
    length, start = header
    if start + length > limit_bytes:
        raise BerError(f"a message of {start + length} bytes; {limit_bytes} are allowed")
    return start + length


def _element_bounds(data: bytes, position: int, end: int) -> tuple[int, int, int]:
    tag = data[position]
    if tag & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
        raise BerError(f"multi-byte tag at byte {position}")
    header = _read_length(data, position + 1)
    if header is None:
        raise BerError(f"length cut off at byte {position + 1}")
    length, start = header
    if start + length > end:
        raise BerError(f"element at byte {position} runs past the end of its parent")
    return tag, start, start + length


def decode(data: bytes) -> Element:
    """Decode exactly one element that fills `data`.

    Raises:
        BerError: `data` is not one well-formed element within the bounds of this module.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise BerError(f"{len(data)} bytes; {MAX_MESSAGE_BYTES} are allowed")
    stack = [_OpenElement(tag=0, end=len(data))]
    position = count = 0
    while True:
        current = stack[-1]
        if position == current.end:
            stack.pop()
            if not stack:
                return _only_child(current)
            stack[-1].children.append(Element(current.tag, b"", tuple(current.children)))
            continue
        count += 1
        if count > MAX_ELEMENTS:
            raise BerError(f"more than {MAX_ELEMENTS} elements")
        tag, start, end = _element_bounds(data, position, current.end)
        if tag & _CONSTRUCTED:
            if len(stack) > MAX_DEPTH:
                raise BerError(f"nested deeper than {MAX_DEPTH} levels")
            stack.append(_OpenElement(tag, end))
            position = start
        else:
            current.children.append(Element(tag, data[start:end], ()))
            position = end


def _only_child(root: _OpenElement) -> Element:
    if len(root.children) != 1:
        raise BerError(f"{len(root.children)} elements where one is required")
    return root.children[0]


def to_integer(element: Element) -> int:
    """Read a signed INTEGER or ENUMERATED of up to 8 bytes.

    Raises:
        BerError: it is constructed, empty or longer.
    """
    if element.tag & _CONSTRUCTED or not 1 <= len(element.content) <= MAX_INTEGER_BYTES:
        raise BerError(f"an integer of {len(element.content)} bytes; 1 to {MAX_INTEGER_BYTES} are allowed")
    return int.from_bytes(element.content, "big", signed=True)


def to_boolean(element: Element) -> bool:
    """Read a BOOLEAN.

    Raises:
        BerError: it is not one byte.
    """
    if len(element.content) != 1:
        raise BerError(f"a boolean of {len(element.content)} bytes; 1 is required")
    return element.content != b"\x00"


class Fields:
    """Reads the children of a constructed element in order."""

    def __init__(self, elements: Sequence[Element], *, what: str) -> None:
        self._elements = elements
        self._next = 0
        self._what = what

    def take(self, *tags: int) -> Element:
        """Return the next child, which has one of `tags` (any when none is given).

        Raises:
            BerError: there is none, or it has another tag.
        """
        element = self.take_optional(*tags)
        if element is None:
            raise BerError(f"{self._what}: field {self._next + 1} is missing or has a wrong tag")
        return element

    def take_optional(self, *tags: int) -> Element | None:
        """Return the next child when it has one of `tags`, else None."""
        if self._next >= len(self._elements):
            return None
        element = self._elements[self._next]
        if tags and element.tag not in tags:
            return None
        self._next += 1
        return element

    def end(self) -> None:
        """Check that every child has been read.

        Raises:
            BerError: some are left.
        """
        if self._next != len(self._elements):
            raise BerError(f"{self._what}: {len(self._elements) - self._next} fields too many")


def encode(tag: int, content: bytes) -> bytes:
    """Encode one element with a definite length."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


def encode_integer(value: int, tag: int = INTEGER) -> bytes:
    """Encode a signed integer in the fewest bytes."""
    magnitude = value if value >= 0 else ~value
    return encode(tag, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


def encode_boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    """Encode a BOOLEAN; TRUE is 0xFF (RFC 4511, section 5.1)."""
    return encode(tag, b"\xff" if value else b"\x00")


def encode_octets(value: bytes, tag: int = OCTET_STRING) -> bytes:
    """Encode an OCTET STRING."""
    return encode(tag, value)


def encode_sequence(*parts: bytes, tag: int = SEQUENCE) -> bytes:
    """Encode a SEQUENCE of elements that are encoded already."""
    return encode(tag, b"".join(parts))
