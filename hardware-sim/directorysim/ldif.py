# SPDX-License-Identifier: EUPL-1.2
"""Reads LDIF content records (RFC 2849): plain and base64 values, folded lines and comments.

Change records and values from a URL are refused.
"""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

from directorysim.errors import LdifError
from directorysim.names import is_attribute_description

MAX_LDIF_BYTES: Final = 64 * 1024 * 1024
MAX_VALUE_BYTES: Final = 4 * 1024 * 1024

Record: TypeAlias = tuple[str, dict[str, list[bytes]]]


def read_ldif(path: Path) -> list[Record]:
    """Read the records of a file.

    Raises:
        LdifError: the file cannot be read, is too long, or is not LDIF content.
    """
    try:
        size = path.stat().st_size
        if size > MAX_LDIF_BYTES:
            raise LdifError(f"{path}: {size} bytes; {MAX_LDIF_BYTES} are allowed")
        data = path.read_bytes()
    except OSError as error:
        raise LdifError(f"{path}: {error.strerror}") from error
    return parse_ldif(data)


def parse_ldif(data: bytes) -> list[Record]:
    """Parse records from bytes.

    Raises:
        LdifError: they are not LDIF content; the message names the line.
    """
    records: list[Record] = []
    current: Record | None = None
    for number, line in _logical_lines(data):
        if not line:
            current = None
            continue
        name, value = _split_line(line, number)
        lowered = name.lower()
        if current is None:
            if lowered == "version" and not records:
                _check_version(value, number)
                continue
            if lowered != "dn":
                raise LdifError(f"line {number}: a record starts with dn, not with {name}")
            current = (_text(value, number), {})
            records.append(current)
            continue
        if lowered in {"dn", "changetype", "control"}:
            raise LdifError(f"line {number}: {name} within a record; only content records are allowed")
        current[1].setdefault(name, []).append(value)
    return records


def _logical_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line, folded lines joined and comments left out."""
    start = 0
    joined: list[bytes] = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        line = raw.removesuffix(b"\r")
        if line.startswith(b" "):
            if not joined or not joined[0]:
                raise LdifError(f"line {number}: continues nothing")
            joined.append(line[1:])
            continue
        yield from _joined_line(start, joined)
        start, joined = number, [line]
    yield from _joined_line(start, joined)


def _joined_line(number: int, parts: list[bytes]) -> Iterator[tuple[int, bytes]]:
    if parts and not parts[0].startswith(b"#"):
        yield number, b"".join(parts)


def _split_line(line: bytes, number: int) -> tuple[str, bytes]:
    raw_name, colon, rest = line.partition(b":")
    name = raw_name.decode("ascii", errors="replace")
    if not colon or not is_attribute_description(name):
        raise LdifError(f"line {number}: not of the form name: value")
    if rest.startswith(b"<"):
        raise LdifError(f"line {number}: {name} comes from a URL; only values in the file are allowed")
    value = _base64(rest[1:], number) if rest.startswith(b":") else rest.lstrip(b" ")
    if len(value) > MAX_VALUE_BYTES:
        raise LdifError(f"line {number}: a value of {len(value)} bytes; {MAX_VALUE_BYTES} are allowed")
    return name, value


def _base64(encoded: bytes, number: int) -> bytes:
    try:
        return base64.b64decode(encoded.strip(b" "), validate=True)
    except binascii.Error as error:
        raise LdifError(f"line {number}: not base64") from error


def _check_version(value: bytes, number: int) -> None:
    if value != b"1":
        raise LdifError(f"line {number}: only LDIF version 1 is allowed")


def _text(value: bytes, number: int) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise LdifError(f"line {number}: the name is not UTF-8") from error
