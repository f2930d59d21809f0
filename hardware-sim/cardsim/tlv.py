# SPDX-License-Identifier: EUPL-1.2
"""BER-TLV with one-byte tags and definite lengths (ISO/IEC 7816-4 section 5.2.2)."""

MAX_LENGTH = 0xFFFF


def encode(tag: bytes, value: bytes) -> bytes:
    """One data object; ``value`` has at most 65,535 bytes.

    Raises:
        ValueError: if the value is longer.
    """
    length = len(value)
    if length > MAX_LENGTH:
        raise ValueError(f"a data object holds at most {MAX_LENGTH} bytes, got {length}")
    if length < 0x80:
        head = bytes([length])
    elif length <= 0xFF:
        head = bytes([0x81, length])
    else:
        head = b"\x82" + length.to_bytes(2, "big")
    return tag + head + value


def decode(data: bytes) -> dict[int, bytes]:
    """The data objects that fill ``data``, by tag.

    Raises:
        ValueError: for a truncated object, a longer tag, an unknown length form, or a tag given twice.
    """
    objects: dict[int, bytes] = {}
    rest = data
    while rest:
        tag = rest[0]
        if tag & 0x1F == 0x1F:
            raise ValueError("only tags of one byte are allowed here")
        if tag in objects:
            raise ValueError(f"tag {tag:02X} is given twice")
        length, start = _decode_length(rest)
        if len(rest) < start + length:
            raise ValueError(f"tag {tag:02X} promises {length} bytes, {len(rest) - start} follow")
        objects[tag] = rest[start : start + length]
        rest = rest[start + length :]
    return objects


def _decode_length(data: bytes) -> tuple[int, int]:
    if len(data) < 2:
        raise ValueError("the length is missing")
    first = data[1]
    if first < 0x80:
        return first, 2
    count = first & 0x7F
    if count not in (1, 2) or len(data) < 2 + count:
        raise ValueError("the length has an unknown form or is truncated")
    return int.from_bytes(data[2 : 2 + count], "big"), 2 + count
