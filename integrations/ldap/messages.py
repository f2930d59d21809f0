# SPDX-License-Identifier: EUPL-1.2
"""LDAP messages a search can bring (RFC 4511, section 4), read without recursion and within bounds.

ldap3 decodes the messages of connect and bind. Search answers are read here, because ldap3's decoder knows no limits
and raises KeyError for result codes it has not heard of.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from integrations.ldap import ber
from integrations.ldap.errors import MalformedBer

MAX_ATTRIBUTES = 1000
MAX_VALUES = 500_000
MAX_CONTROLS = 20
MAX_NAME_BYTES = 8192

_SEARCH_ENTRY = 0x64
_SEARCH_DONE = 0x65
_SEARCH_REFERENCE = 0x73
_EXTENDED = 0x78
_INTERMEDIATE = 0x79
_CONTROLS = 0xA0
_RESPONSE_NAME = 0x8A
_INTERMEDIATE_NAME = 0x80
_INTERMEDIATE_VALUE = 0x81
_LAST_SKIPPED_RESULT_PART = 10
_RANGE = re.compile(r"(?:^|;)range=(\d{1,9})-(\d{1,9}|\*)(?:;|$)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: the DN as the server writes it, attributes by lower-case name without options, controls by OID.

    `ranges` names the attributes of which Active Directory sent a part only ([MS-ADTS], 3.1.1.3.1.3.3): the places of
    the first and of the last value sent, None when nothing follows.
    """

    message_id: int
    dn: str
    attributes: dict[str, list[bytes]]
    controls: dict[str, bytes] = field(default_factory=dict)
    ranges: dict[str, tuple[int, int | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a search."""

    message_id: int
    code: int
    controls: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Intermediate:
    """An intermediate response (RFC 4511, section 4.13)."""

    message_id: int
    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference to another server; never followed."""

    message_id: int


@dataclass(frozen=True, slots=True)
class Notice:
    """An unsolicited notification, in practice the notice of disconnection (RFC 4511, section 4.4.1)."""

    message_id: int
    code: int
    name: str


Message = Entry | Done | Intermediate | Reference | Notice


def read_message(data: bytes) -> Message:
    """Read one whole LDAP message.

    Raises:
        MalformedBer: not an LDAP message that answers a search, or beyond the bounds.
    """
    start, end = ber.expect(data, 0, len(data), ber.SEQUENCE)
    id_start, id_end = ber.expect(data, start, end, ber.INTEGER)
    message_id = ber.read_integer(data, id_start, id_end)
    kind, body_start, body_end = ber.read_element(data, id_end, end)
    controls = _read_controls(data, body_end, end) if body_end < end else {}
    if kind == _SEARCH_ENTRY:
        return _read_entry(message_id, data, (body_start, body_end), controls)
    if kind == _SEARCH_DONE:
        return Done(message_id, _read_result_code(data, body_start, body_end), controls)
    if kind == _INTERMEDIATE:
        return _read_intermediate(message_id, data, body_start, body_end)
    if kind == _SEARCH_REFERENCE:
        return Reference(message_id)
    if kind == _EXTENDED:
        return _read_notice(message_id, data, body_start, body_end)
    raise MalformedBer(f"a message of kind 0x{kind:02x}, which answers no search")


def _read_entry(message_id: int, data: bytes, body: tuple[int, int], controls: dict[str, bytes]) -> Entry:
    start, end = body
    dn_start, dn_end = ber.expect(data, start, end, ber.OCTET_STRING)
    list_start, list_end = ber.expect(data, dn_end, end, ber.SEQUENCE)
    attributes: dict[str, list[bytes]] = {}
    ranges: dict[str, tuple[int, int | None]] = {}
    left = MAX_VALUES
    for tag, item_start, item_end in ber.elements(data, list_start, list_end, at_most=MAX_ATTRIBUTES):
        if tag != ber.SEQUENCE:
            raise MalformedBer(f"tag 0x{tag:02x} where an attribute is expected")
        name_start, name_end = ber.expect(data, item_start, item_end, ber.OCTET_STRING)
        set_start, set_end = ber.expect(data, name_end, item_end, ber.SET)
        values = [data[a:b] for _, a, b in ber.elements(data, set_start, set_end, at_most=left)]
        left -= len(values)
        # An option (RFC 4512, section 2.5) must not hide a value: "shadowExpire;x" counts as shadowExpire.
        name, _, options = _text(data, name_start, name_end).lower().partition(";")
        attributes.setdefault(name, []).extend(values)
        if part := _RANGE.search(options):
            ranges[name] = int(part[1]), None if part[2] == "*" else int(part[2])
    return Entry(message_id, _text(data, dn_start, dn_end), attributes, controls, ranges)


def _read_controls(data: bytes, position: int, end: int) -> dict[str, bytes]:
    start, stop = ber.expect(data, position, end, _CONTROLS)
    controls: dict[str, bytes] = {}
    for _, item_start, item_end in ber.elements(data, start, stop, at_most=MAX_CONTROLS):
        oid_start, oid_end = ber.expect(data, item_start, item_end, ber.OCTET_STRING)
        value = b""
        for tag, value_start, value_end in ber.elements(data, oid_end, item_end, at_most=2):
            if tag == ber.OCTET_STRING:
                value = data[value_start:value_end]
        controls[_text(data, oid_start, oid_end)] = value
    return controls


def _read_result_code(data: bytes, start: int, end: int) -> int:
    code_start, code_end = ber.expect(data, start, end, ber.ENUMERATED)
    return ber.read_integer(data, code_start, code_end)


def _read_intermediate(message_id: int, data: bytes, start: int, end: int) -> Intermediate:
    name = ""
    value = b""
    for tag, item_start, item_end in ber.elements(data, start, end, at_most=2):
        if tag == _INTERMEDIATE_NAME:
            name = _text(data, item_start, item_end)
        elif tag == _INTERMEDIATE_VALUE:
            value = data[item_start:item_end]
    return Intermediate(message_id, name, value)


def _read_notice(message_id: int, data: bytes, start: int, end: int) -> Notice:
    name = ""
    for tag, item_start, item_end in ber.elements(data, start, end, at_most=_LAST_SKIPPED_RESULT_PART):
        if tag == _RESPONSE_NAME:
            name = _text(data, item_start, item_end)
    return Notice(message_id, _read_result_code(data, start, end), name)


def _text(data: bytes, start: int, end: int) -> str:
    if end - start > MAX_NAME_BYTES:
        raise MalformedBer(f"a name of {end - start} bytes; at most {MAX_NAME_BYTES} are read")
    try:
        return data[start:end].decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedBer("a name that is not UTF-8") from None


def search_message(message_id: int, search: bytes, controls: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """Return one LDAP message with a search request already encoded.

    Every control is sent as critical; one with an empty value is one that has none.
    """
    encoded = b"".join(
        ber.encode(
            ber.SEQUENCE,
            ber.encode(ber.OCTET_STRING, oid.encode("ascii"))
            + ber.encode_boolean(True)
            + (ber.encode(ber.OCTET_STRING, value) if value else b""),
        )
        for oid, value in controls
    )
    tail = ber.encode(_CONTROLS, encoded) if encoded else b""
    return ber.encode(ber.SEQUENCE, ber.encode_integer(message_id) + search + tail)
