# SPDX-License-Identifier: EUPL-1.2
"""Searching: which entries, which of their attributes, how many at a time (RFC 4511 section 4.5, RFC 2696)."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from directorysim import ber
from directorysim.entry import Entry
from directorysim.errors import BerError, OperationError, ResultCode
from directorysim.messages import Response, SearchRequest, encode_control, encode_message, encode_result
from directorysim.names import attribute_key
from directorysim.schema import OPERATIONAL
from directorysim.service import PAGED_RESULTS_OID, Service
from directorysim.store import Directory, Scope

_HAS_SUBORDINATES: Final = "hassubordinates"
_PAGE_COOKIE_BYTES: Final = 8
_SPECIAL_NAMES: Final = frozenset({"*", "+", "1.1"})


class Selection:
    """The attributes a search asks for (RFC 4511, section 4.5.1.8; `+` is RFC 3673)."""

    def __init__(self, names: Sequence[str], *, types_only: bool) -> None:
        self._all_user = not names or "*" in names
        self._all_operational = "+" in names
        self._types_only = types_only
        self._keys = frozenset(attribute_key(name) for name in names if name not in _SPECIAL_NAMES)
        self._children_flag = self._all_operational or _HAS_SUBORDINATES in self._keys

    def encode(self, entry: Entry, directory: Directory) -> bytes:
        """Encode the selected attributes of an entry as a PartialAttributeList."""
        chosen = [attribute for key, attribute in entry.attributes.items() if self._wants(key)]
        if self._types_only:
            parts = [attribute.encoded_type() for attribute in chosen]
        else:
            parts = [attribute.encoded() for attribute in chosen]
        if self._children_flag and entry.uuid:
            parts.append(self._encode_children_flag(directory.has_children(entry)))
        return ber.encode(ber.SEQUENCE, b"".join(parts))

    def _wants(self, key: str) -> bool:
        return (self._all_operational if key in OPERATIONAL else self._all_user) or key in self._keys

    def _encode_children_flag(self, present: bool) -> bytes:
        value = b"" if self._types_only else ber.encode_octets(b"TRUE" if present else b"FALSE")
        return ber.encode_sequence(ber.encode_octets(b"hasSubordinates"), ber.encode(ber.SET, value))


def encode_entry(message_id: int, entry: Entry, attributes: bytes, controls: Sequence[bytes] = ()) -> bytes:
    """Encode one SearchResultEntry message."""
    name = ber.encode_octets(entry.dn.text.encode())
    return encode_message(message_id, ber.encode(Response.SEARCH_ENTRY, name + attributes), controls)


def matching_entries(directory: Directory, request: SearchRequest) -> list[Entry]:
    """Return the entries that are in scope and match.

    Raises:
        OperationError: there is no base entry.
    """
    base = directory.require(request.base)
    return [entry for entry in directory.in_scope(base, request.scope) if request.filter(entry)]


class Budget:
    """Counts the entries of one search against its size and time limits."""

    def __init__(self, service: Service, *, size_limit: int, time_limit_s: int) -> None:
        self._service = service
        self._size_limit = size_limit
        self._sent = 0
        self._end_s = service.monotonic_s() + time_limit_s if time_limit_s else None

    def spend(self) -> None:
        """Account for one more entry.

        Raises:
            OperationError: it is one too many, or too late.
        """
        if self._size_limit and self._sent >= self._size_limit:
            raise OperationError(ResultCode.SIZE_LIMIT_EXCEEDED)
        if self._end_s is not None and self._service.monotonic_s() > self._end_s:
            raise OperationError(ResultCode.TIME_LIMIT_EXCEEDED)
        self._sent += 1

    def renew_time(self, time_limit_s: int) -> None:
        """Start the time limit again, for the next page of the same search."""
        self._end_s = self._service.monotonic_s() + time_limit_s if time_limit_s else None


@dataclass(slots=True)
class Pages:
    """A paged search between two pages: what is left and the cookie that continues it."""

    cookie: bytes
    entries: list[Entry]
    budget: Budget


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The value of a Simple Paged Results control (RFC 2696, section 2)."""

    size: int
    cookie: bytes


def parse_page_request(value: bytes | None) -> PageRequest:
    """Decode the value of a Simple Paged Results control.

    Raises:
        OperationError: it is not one.
    """
    try:
        fields = ber.Fields(ber.decode(value or b"").children, what="realSearchControlValue")
        page = PageRequest(ber.to_integer(fields.take(ber.INTEGER)), fields.take(ber.OCTET_STRING).content)
        fields.end()
    except BerError as error:
        raise OperationError(ResultCode.PROTOCOL_ERROR, "paged results control could not be decoded") from error
    if page.size < 0 or len(page.cookie) not in {0, _PAGE_COOKIE_BYTES}:
        raise OperationError(ResultCode.PROTOCOL_ERROR, "paged results control size or cookie is not valid")
    return page


def page_control(cookie: bytes) -> bytes:
    """Encode the Simple Paged Results control of an answer, with no estimate of the total."""
    value = ber.encode_sequence(ber.encode_integer(0), ber.encode_octets(cookie))
    return encode_control(PAGED_RESULTS_OID, value)


def take_page(pages: Pages, size: int) -> list[Entry]:
    """Take the next page out of `pages` and give what is left a new cookie; empty when nothing is left."""
    count = size or len(pages.entries)
    page, pages.entries = pages.entries[:count], pages.entries[count:]
    pages.cookie = os.urandom(_PAGE_COOKIE_BYTES) if pages.entries else b""
    return page


def search_done(message_id: int, controls: Sequence[bytes] = ()) -> bytes:
    """Encode a SearchResultDone message with success."""
    return encode_message(message_id, encode_result(Response.SEARCH_DONE, ResultCode.SUCCESS), controls)


@dataclass(frozen=True, slots=True)
class Answer:
    """How the entries of one search are written: their number, attributes and limits."""

    message_id: int
    selection: Selection
    budget: Budget
    directory: Directory

    def messages(self, entries: Sequence[Entry], controls: Sequence[bytes] = ()) -> Iterator[bytes]:
        """Yield the messages that answer a plain search; the last one is the result."""
        try:
            for entry in entries:
                self.budget.spend()
                yield encode_entry(self.message_id, entry, self.selection.encode(entry, self.directory))
        except OperationError as error:
            yield encode_message(self.message_id, encode_result(Response.SEARCH_DONE, error.code, error.text))
            return
        yield search_done(self.message_id, controls)


def is_in_scope(key: str, parent_key: str, request: SearchRequest) -> bool:
    """Tell whether an entry with this name lies in the scope of a search, whether or not it exists now."""
    base_key = request.base.key
    if request.scope is Scope.BASE:
        return key == base_key
    if request.scope is Scope.ONE_LEVEL:
        return parent_key == base_key
    within = key == base_key or key.endswith("," + base_key)
    return within and (request.scope is Scope.SUBTREE or key != base_key)
