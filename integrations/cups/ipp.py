# SPDX-License-Identifier: EUPL-1.2
"""Requests and responses of the Internet Printing Protocol (RFC 8010), as far as releasing jobs needs them.

Every byte of a response is taken for hostile: lengths are checked against what is there, and what does not fit is one
error. Collections (RFC 8010 section 3.1.6) are passed over, nothing here reads one.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = b"\x02\x00"
MAX_RESPONSE_BYTES: Final = 8 * 1024 * 1024
# A waiting job is one group: more than the MaxJobs that docs/printing.md names.
MAX_GROUPS: Final = 20_000
_FIRST_VALUE_TAG: Final = 0x10
_NAME_LIMIT: Final = 1_023


class Operation(IntEnum):
    """Operation codes: RFC 8011 section 5.4.15, CUPS' own from 0x4001 on."""

    GET_JOB_ATTRIBUTES = 0x0009
    GET_JOBS = 0x000A
    GET_PRINTER_ATTRIBUTES = 0x000B
    HOLD_JOB = 0x000C
    RELEASE_JOB = 0x000D
    MOVE_JOB = 0x400D


class Status(IntEnum):
    """The status codes that are told apart (RFC 8011 appendix B)."""

    NOT_POSSIBLE = 0x0404
    NOT_FOUND = 0x0406
    NOT_ACCEPTING_JOBS = 0x0506


class Tag(IntEnum):
    """Delimiter and value tags (RFC 8010 section 3.5)."""

    OPERATION_GROUP = 0x01
    JOB_GROUP = 0x02
    END = 0x03
    PRINTER_GROUP = 0x04
    INTEGER = 0x21
    BOOLEAN = 0x22
    ENUM = 0x23
    TEXT_WITH_LANGUAGE = 0x35
    NAME_WITH_LANGUAGE = 0x36
    BEGIN_COLLECTION = 0x34
    END_COLLECTION = 0x37
    NAME = 0x42
    KEYWORD = 0x44
    URI = 0x45
    CHARSET = 0x47
    LANGUAGE = 0x48


Value = int | bool | str
Group = Mapping[str, Sequence[Value]]
Attribute = tuple[Tag, str, Sequence[Value]]


class MalformedIpp(ValueError):
    """Not a response of the Internet Printing Protocol."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response; of the groups only jobs and printers are kept."""

    status: int
    number: int
    jobs: tuple[Group, ...]
    printers: tuple[Group, ...]

    @property
    def successful(self) -> bool:
        """Whether it was done (RFC 8011 section 4.1.6: 0x0000 to 0x00FF)."""
        return self.status <= 0xFF


def encode(
    operation: Operation, number: int, attributes: Iterable[Attribute], of_job: Attribute | None = None
) -> bytes:
    """Return a request without a document; `number` comes back in its response, `of_job` has a group of its own."""
    parts = [VERSION, struct.pack(">HIB", operation, number, Tag.OPERATION_GROUP)]
    parts += _encoded((Tag.CHARSET, "attributes-charset", ["utf-8"]))
    parts += _encoded((Tag.LANGUAGE, "attributes-natural-language", ["en"]))
    for attribute in attributes:
        parts += _encoded(attribute)
    if of_job is not None:
        parts += [bytes([Tag.JOB_GROUP]), *_encoded(of_job)]
    parts.append(bytes([Tag.END]))
    return b"".join(parts)


def _encoded(attribute: Attribute) -> list[bytes]:
    tag, name, values = attribute
    parts = []
    for at, value in enumerate(values):
        label = b"" if at else name.encode("ascii")
        content = _content(tag, value)
        parts += [struct.pack(f">BH{len(label)}sH", tag, len(label), label, len(content)), content]
    return parts


def _content(tag: Tag, value: Value) -> bytes:
    if tag is Tag.INTEGER:
        return struct.pack(">i", value)
    content = str(value).encode()
    if len(content) > _NAME_LIMIT:
        raise ValueError("a value is too long for IPP")
    return content


def decode(data: bytes) -> Response:
    """Read a response.

    Raises:
        MalformedIpp: it is none.
    """
    try:
        return _decode(data)
    except struct.error:
        raise MalformedIpp("it ends too early") from None


def _decode(data: bytes) -> Response:
    status, number = struct.unpack_from(">2xHI", data)
    kept: dict[int, list[dict[str, list[Value]]]] = {Tag.JOB_GROUP: [], Tag.PRINTER_GROUP: []}
    group: dict[str, list[Value]] | None = None
    values: list[Value] = []
    groups, at = 0, 8
    while (tag := _byte(data, at)) != Tag.END:
        if tag < _FIRST_VALUE_TAG:
            groups += 1
            if groups > MAX_GROUPS:
                raise MalformedIpp("too many groups")
            group, values, at = {}, [], at + 1
            kept.get(tag, []).append(group)
            continue
        if group is None:
            raise MalformedIpp("an attribute outside any group")
        name, content, at = _attribute(data, at)
        if name:
            values = group[name] = []
        if tag == Tag.BEGIN_COLLECTION:
            at = _after_collection(data, at)
        else:
            values.append(_value(tag, content))
    return Response(status, number, tuple(kept[Tag.JOB_GROUP]), tuple(kept[Tag.PRINTER_GROUP]))


def _after_collection(data: bytes, at: int) -> int:
    """Return where the collection ends whose members begin at `at`, those inside it included."""
    nesting = 1
    while nesting:
        tag = _byte(data, at)
        if tag < _FIRST_VALUE_TAG:
            raise MalformedIpp("a group inside a collection")
        nesting += (tag == Tag.BEGIN_COLLECTION) - (tag == Tag.END_COLLECTION)
        _, _, at = _attribute(data, at)
    return at


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise MalformedIpp("it ends too early")
    return data[at]


def _attribute(data: bytes, at: int) -> tuple[str, bytes, int]:
    """Return name (none: another value of the one before), content, and where the next attribute begins."""
    (name_length,) = struct.unpack_from(">H", data, at + 1)
    name_end = at + 3 + name_length
    (length,) = struct.unpack_from(">H", data, name_end)
    end = name_end + 2 + length
    if end > len(data):
        raise MalformedIpp("it ends too early")
    return data[at + 3 : name_end].decode("ascii", "replace"), data[name_end + 2 : end], end


def _value(tag: int, content: bytes) -> Value:
    if tag in (Tag.INTEGER, Tag.ENUM):
        if len(content) != 4:
            raise MalformedIpp("an integer that is not four bytes long")
        return int.from_bytes(content, "big", signed=True)
    if tag == Tag.BOOLEAN:
        return content == b"\x01"
    if tag in (Tag.TEXT_WITH_LANGUAGE, Tag.NAME_WITH_LANGUAGE):
        (language_length,) = struct.unpack_from(">H", content)
        content = content[2 + language_length + 2 :]
    return content.decode("utf-8", "replace")


def text(group: Group, name: str) -> str:
    """Return the first value of a text attribute, empty when there is none."""
    value = next(iter(group.get(name, ())), "")
    return value if isinstance(value, str) else ""


def number(group: Group, name: str) -> int | None:
    """Return the first value of an integer attribute, None when there is none."""
    value = next(iter(group.get(name, ())), None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def flag(group: Group, name: str) -> bool:
    """Return the first value of a boolean attribute, false when there is none."""
    return next(iter(group.get(name, ())), False) is True
