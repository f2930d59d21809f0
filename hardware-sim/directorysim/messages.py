# SPDX-License-Identifier: EUPL-1.2
"""Requests as they arrive and answers as they leave: LDAPMessage in BER (RFC 4511, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from directorysim import ber
from directorysim.dn import Dn, parse_dn
from directorysim.errors import BerError, DnError, OperationError, ResultCode
from directorysim.filters import Filter, decode_filter
from directorysim.modify import Change, ChangeKind
from directorysim.store import Renaming, Scope

MAX_CONTROLS: Final = 16
MAX_REQUESTED_ATTRIBUTES: Final = 1_000
_MAX_MESSAGE_ID: Final = 2**31 - 1
_CONTROLS: Final = 0xA0
_SIMPLE_AUTHENTICATION: Final = 0x80


class Request(IntEnum):
    """Tags of the requests."""

    BIND = 0x60
    UNBIND = 0x42
    SEARCH = 0x63
    MODIFY = 0x66
    ADD = 0x68
    DELETE = 0x4A
    RENAME = 0x6C
    COMPARE = 0x6E
    ABANDON = 0x50
    EXTENDED = 0x77


class Response(IntEnum):
    """Tags of the answers."""

    BIND = 0x61
    SEARCH_ENTRY = 0x64
    SEARCH_DONE = 0x65
    MODIFY = 0x67
    ADD = 0x69
    DELETE = 0x6B
    RENAME = 0x6D
    COMPARE = 0x6F
    EXTENDED = 0x78
    INTERMEDIATE = 0x79


@dataclass(frozen=True, slots=True)
class Control:
    """A control of a request (RFC 4511, section 4.1.11)."""

    oid: str
    critical: bool
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Message:
    """A request with its envelope opened and its operation not yet decoded; it may hold a password."""

    message_id: int
    request: Request
    operation: ber.Element = field(repr=False)
    controls: tuple[Control, ...] = ()

    def control(self, oid: str) -> Control | None:
        """Return the control with this identifier, or None."""
        return next((control for control in self.controls if control.oid == oid), None)


@dataclass(frozen=True, slots=True)
class BindRequest:
    """A bind; `password` is None for anything but simple authentication."""

    version: int
    dn: str
    password: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search (RFC 4511, section 4.5.1); limits of 0 mean none asked for."""

    base: Dn
    scope: Scope
    dereference: int
    size_limit: int
    time_limit_s: int
    types_only: bool
    filter: Filter
    attributes: tuple[str, ...]


def decode_message(data: bytes) -> Message:
    """Decode the envelope of one LDAPMessage.

    Raises:
        BerError: it is not an LDAPMessage with a request this server knows.
    """
    fields = ber.Fields(ber.decode(data).children, what="LDAPMessage")
    message_id = ber.to_integer(fields.take(ber.INTEGER))
    operation = fields.take()
    controls = fields.take_optional(_CONTROLS)
    fields.end()
    if not 0 < message_id <= _MAX_MESSAGE_ID:
        raise BerError(f"message identifier {message_id}; 1 to {_MAX_MESSAGE_ID} are allowed")
    try:
        request = Request(operation.tag)
    except ValueError as error:
        raise BerError(f"unknown LDAP request 0x{operation.tag:02x}") from error
    return Message(message_id, request, operation, _decode_controls(controls))


def _decode_controls(element: ber.Element | None) -> tuple[Control, ...]:
    if element is None:
        return ()
    if len(element.children) > MAX_CONTROLS:
        raise BerError(f"{len(element.children)} controls; {MAX_CONTROLS} are allowed")
    controls = []
    for child in element.children:
        fields = ber.Fields(child.children, what="control")
        oid = fields.take(ber.OCTET_STRING).content.decode("ascii", errors="replace")
        criticality = fields.take_optional(ber.BOOLEAN)
        value = fields.take_optional(ber.OCTET_STRING)
        fields.end()
        critical = criticality is not None and ber.to_boolean(criticality)
        controls.append(Control(oid, critical, value.content if value is not None else None))
    return tuple(controls)


def _text(element: ber.Element) -> str:
    try:
        return element.content.decode()
    except UnicodeDecodeError as error:
        raise BerError("text is not UTF-8") from error


def decode_dn(element: ber.Element) -> Dn:
    """Read a distinguished name.

    Raises:
        OperationError: it is not one.
    """
    try:
        return parse_dn(_text(element))
    except DnError as error:
        raise OperationError(ResultCode.INVALID_DN_SYNTAX, "invalid DN") from error


def decode_bind(operation: ber.Element) -> BindRequest:
    """Decode a BindRequest (RFC 4511, section 4.2)."""
    fields = ber.Fields(operation.children, what="BindRequest")
    version = ber.to_integer(fields.take(ber.INTEGER))
    name = _text(fields.take(ber.OCTET_STRING))
    authentication = fields.take()
    fields.end()
    simple = authentication.tag == _SIMPLE_AUTHENTICATION
    return BindRequest(version, name, authentication.content if simple else None)


def decode_search(operation: ber.Element) -> SearchRequest:
    """Decode a SearchRequest (RFC 4511, section 4.5.1)."""
    fields = ber.Fields(operation.children, what="SearchRequest")
    base = decode_dn(fields.take(ber.OCTET_STRING))
    numbers = [ber.to_integer(fields.take(tag)) for tag in (ber.ENUMERATED, ber.ENUMERATED, ber.INTEGER, ber.INTEGER)]
    scope, dereference, size_limit, time_limit_s = numbers
    types_only = ber.to_boolean(fields.take(ber.BOOLEAN))
    matches = decode_filter(fields.take())
    names = fields.take(ber.SEQUENCE).children
    fields.end()
    if not 0 <= scope <= 3 or not 0 <= dereference <= 3 or size_limit < 0 or time_limit_s < 0:
        raise BerError("SearchRequest: scope, derefAliases or a limit is out of range")
    if len(names) > MAX_REQUESTED_ATTRIBUTES:
        raise BerError(f"SearchRequest: {len(names)} attributes; {MAX_REQUESTED_ATTRIBUTES} are allowed")
    attributes = tuple(_text(name) for name in names)
    return SearchRequest(base, Scope(scope), dereference, size_limit, time_limit_s, types_only, matches, attributes)


def _decode_attribute(element: ber.Element) -> tuple[str, tuple[bytes, ...]]:
    fields = ber.Fields(element.children, what="attribute")
    name = _text(fields.take(ber.OCTET_STRING))
    values = tuple(value.content for value in fields.take(ber.SET).children)
    fields.end()
    return name, values


def decode_add(operation: ber.Element) -> tuple[Dn, dict[str, tuple[bytes, ...]]]:
    """Decode an AddRequest (RFC 4511, section 4.7)."""
    fields = ber.Fields(operation.children, what="AddRequest")
    dn = decode_dn(fields.take(ber.OCTET_STRING))
    attributes: dict[str, tuple[bytes, ...]] = {}
    for child in fields.take(ber.SEQUENCE).children:
        name, values = _decode_attribute(child)
        attributes[name] = attributes.get(name, ()) + values
    fields.end()
    return dn, attributes


def decode_modify(operation: ber.Element) -> tuple[Dn, tuple[Change, ...]]:
    """Decode a ModifyRequest (RFC 4511, section 4.6)."""
    fields = ber.Fields(operation.children, what="ModifyRequest")
    dn = decode_dn(fields.take(ber.OCTET_STRING))
    changes = []
    for child in fields.take(ber.SEQUENCE).children:
        parts = ber.Fields(child.children, what="change")
        try:
            kind = ChangeKind(ber.to_integer(parts.take(ber.ENUMERATED)))
        except ValueError as error:
            raise BerError("ModifyRequest: only add, delete and replace are known") from error
        changes.append(Change(kind, *_decode_attribute(parts.take(ber.SEQUENCE))))
        parts.end()
    fields.end()
    return dn, tuple(changes)


def decode_rename(operation: ber.Element) -> Renaming:
    """Decode a ModifyDNRequest (RFC 4511, section 4.9)."""
    fields = ber.Fields(operation.children, what="ModifyDNRequest")
    dn = decode_dn(fields.take(ber.OCTET_STRING))
    new_rdn = decode_dn(fields.take(ber.OCTET_STRING))
    delete_old = ber.to_boolean(fields.take(ber.BOOLEAN))
    superior = fields.take_optional(0x80)
    fields.end()
    if len(new_rdn.rdn_texts) != 1:
        raise OperationError(ResultCode.INVALID_DN_SYNTAX, "invalid RDN")
    return Renaming(dn, new_rdn.text, delete_old, decode_dn(superior) if superior is not None else None)


def decode_compare(operation: ber.Element) -> tuple[Dn, str, bytes]:
    """Decode a CompareRequest (RFC 4511, section 4.10): name, attribute and asserted value."""
    fields = ber.Fields(operation.children, what="CompareRequest")
    dn = decode_dn(fields.take(ber.OCTET_STRING))
    assertion = ber.Fields(fields.take(ber.SEQUENCE).children, what="assertion")
    fields.end()
    name = _text(assertion.take(ber.OCTET_STRING))
    value = assertion.take(ber.OCTET_STRING).content
    assertion.end()
    return dn, name, value


def decode_extended(operation: ber.Element) -> str:
    """Decode the name of an ExtendedRequest (RFC 4511, section 4.12); its value is not used here."""
    fields = ber.Fields(operation.children, what="ExtendedRequest")
    name = _text(fields.take(0x80))
    fields.take_optional(0x81)
    fields.end()
    return name


def encode_control(oid: str, value: bytes) -> bytes:
    """Encode one control of an answer; controls of answers are never critical."""
    return ber.encode_sequence(ber.encode_octets(oid.encode("ascii")), ber.encode_octets(value))


def encode_message(message_id: int, operation: bytes, controls: Sequence[bytes] = ()) -> bytes:
    """Encode an LDAPMessage."""
    tail = ber.encode_sequence(*controls, tag=_CONTROLS) if controls else b""
    return ber.encode_sequence(ber.encode_integer(message_id), operation, tail)


def encode_result(
    response: Response, code: ResultCode, text: str = "", *, matched_dn: str = "", extra: bytes = b""
) -> bytes:
    """Encode an LDAPResult as the operation of an answer (RFC 4511, section 4.1.9)."""
    return ber.encode_sequence(
        ber.encode_integer(code, ber.ENUMERATED),
        ber.encode_octets(matched_dn.encode()),
        ber.encode_octets(text.encode()),
        extra,
        tag=response,
    )


def encode_error(response: Response, error: OperationError) -> bytes:
    """Encode the result of an operation that failed."""
    return encode_result(response, error.code, error.text, matched_dn=error.matched_dn)


def encode_intermediate(oid: str, value: bytes) -> bytes:
    """Encode an IntermediateResponse (RFC 4511, section 4.13)."""
    return ber.encode_sequence(
        ber.encode_octets(oid.encode("ascii"), 0x80), ber.encode_octets(value, 0x81), tag=Response.INTERMEDIATE
    )


def encode_disconnection(text: str) -> bytes:
    """Encode a Notice of Disconnection for a protocol error (RFC 4511, section 4.4.1)."""
    name = ber.encode_octets(b"1.3.6.1.4.1.1466.20036", 0x8A)
    return encode_message(0, encode_result(Response.EXTENDED, ResultCode.PROTOCOL_ERROR, text, extra=name))
