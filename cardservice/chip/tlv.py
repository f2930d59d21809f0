# SPDX-License-Identifier: EUPL-1.2
"""BER-TLV data objects (ISO 7816-4 §5.2.2), read one level at a time.

A level is opened only where the caller names its tag, so a card cannot make us descend: nesting bombs stay opaque.
That also fits PIV, where the tags do not tell what is nested (`53` looks primitive and is a container, `70` looks
constructed and holds a certificate). Padding between objects and indefinite lengths are refused.
"""

from dataclasses import dataclass, field
from typing import Final

from cardservice.chip.errors import TlvMalformed

MAX_TAG_BYTES: Final = 3
MAX_VALUE_BYTES: Final = 65_536
MAX_DEPTH: Final = 8

_WHERE: Final = "BER-TLV"


@dataclass(frozen=True, slots=True)
class Tlv:
    """One data object; `bytes(tlv)` encodes it with the shortest length field.

    Attributes:
        tag: the tag field as a number, for instance 0x7C or 0x5FC101.
        value: the value field, at most 65,536 bytes.
    """

    tag: int
    value: bytes = field(repr=False)

    def __bytes__(self) -> bytes:
        return _encode_tag(self.tag) + _encode_length(len(self.value)) + self.value


def build(tag: int, *parts: bytes | Tlv) -> Tlv:
    """A data object whose value is the parts joined; raises `ValueError` for a tag or a length that cannot be."""
    tlv = Tlv(tag, b"".join(bytes(part) for part in parts))
    if len(tlv.value) > MAX_VALUE_BYTES:
        raise ValueError(f"a value of {len(tlv.value)} bytes, at most {MAX_VALUE_BYTES} are allowed")
    encoded_tag = _encode_tag(tag)
    try:
        _, tag_bytes = _read_tag(encoded_tag, 0)
    except TlvMalformed as error:
        raise ValueError(f"{tag:X} is not a BER-TLV tag") from error
    if tag_bytes != len(encoded_tag):
        raise ValueError(f"{tag:X} is more than one BER-TLV tag")
    return tlv


def parse(data: bytes) -> tuple[Tlv, ...]:
    """The data objects that stand side by side in `data`, all of it.

    Raises:
        TlvMalformed: a field is cut short, a length is indefinite or above 65,536, a tag is longer than 3 bytes.
    """
    objects: list[Tlv] = []
    position = 0
    while position < len(data):
        tag, after_tag = _read_tag(data, position)
        length, start = _read_length(data, after_tag)
        position = start + length
        if position > len(data):
            raise TlvMalformed(
                _WHERE, f"tag {tag:X} at byte {start} promises {length} bytes, {len(data) - start} follow"
            )
        objects.append(Tlv(tag, data[start:position]))
    return tuple(objects)


def descend(data: bytes, *path: int) -> bytes:
    """The value reached by opening one tag of each level in turn; at most 8 levels.

    Raises:
        TlvMalformed: a level is malformed, or does not hold its tag exactly once.
    """
    if len(path) > MAX_DEPTH:
        raise ValueError(f"a path of {len(path)} tags, at most {MAX_DEPTH} are allowed")
    for tag in path:
        data = only(parse(data), tag)
    return data


def only(objects: tuple[Tlv, ...], tag: int) -> bytes:
    """The value of the one object with this tag; raises `TlvMalformed` when there is none, or more than one."""
    values = [tlv.value for tlv in objects if tlv.tag == tag]
    if len(values) != 1:
        raise TlvMalformed(_WHERE, f"tag {tag:X} occurs {len(values)} times, exactly once is allowed")
    return values[0]


def _read_tag(data: bytes, position: int) -> tuple[int, int]:
    first = data[position]
    if first in {0x00, 0xFF}:
        raise TlvMalformed(_WHERE, f"byte {position} is {first:02X}, which no tag begins with")
    end = position + 1
    if first & 0x1F == 0x1F:
        while end < len(data) and end - position < MAX_TAG_BYTES and data[end] & 0x80:
            end += 1
        if end == len(data) or data[end] & 0x80 or end - position >= MAX_TAG_BYTES:
            raise TlvMalformed(_WHERE, f"the tag at byte {position} does not end within {MAX_TAG_BYTES} bytes")
        end += 1
    return int.from_bytes(data[position:end], "big"), end


def _read_length(data: bytes, position: int) -> tuple[int, int]:
    if position == len(data):
        raise TlvMalformed(_WHERE, f"the length at byte {position} is missing")
    first = data[position]
    position += 1
    if first < 0x80:
        return first, position
    count = first & 0x7F
    if not 1 <= count <= 4 or position + count > len(data):
        raise TlvMalformed(
            _WHERE, f"length field {first:02X} before byte {position}: allowed are 00-7F and 81-84, complete"
        )
    length = int.from_bytes(data[position : position + count], "big")
    if length > MAX_VALUE_BYTES:
        raise TlvMalformed(_WHERE, f"a value of {length} bytes, at most {MAX_VALUE_BYTES} are allowed")
    return length, position + count


def _encode_tag(tag: int) -> bytes:
    return tag.to_bytes(max(1, (tag.bit_length() + 7) // 8), "big")


def _encode_length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(encoded),)) + encoded
