# SPDX-License-Identifier: EUPL-1.2
"""Search filters (RFC 4511, section 4.5.1.7): decoded once into a function from entry to True, False or undefined."""

from collections.abc import Callable, Hashable
from typing import Final, TypeAlias

from directorysim.ber import Element, Fields
from directorysim.entry import Entry
from directorysim.errors import BerError, OperationError, ResultCode
from directorysim.names import attribute_key, is_attribute_description
from directorysim.schema import fold_substring, has_substrings, is_ordered, is_password, normalise

MAX_FILTER_DEPTH: Final = 16
MAX_FILTER_ITEMS: Final = 1_000

Filter: TypeAlias = Callable[[Entry], bool | None]

_AND: Final = 0xA0
_OR: Final = 0xA1
_NOT: Final = 0xA2
_EQUALITY: Final = 0xA3
_SUBSTRINGS: Final = 0xA4
_GREATER_OR_EQUAL: Final = 0xA5
_LESS_OR_EQUAL: Final = 0xA6
_PRESENT: Final = 0x87
_APPROXIMATE: Final = 0xA8
_EXTENSIBLE: Final = 0xA9
_INITIAL: Final = 0x80
_ANY: Final = 0x81
_FINAL: Final = 0x82


def _undefined(_entry: Entry) -> bool | None:
    return None


def decode_filter(element: Element) -> Filter:
    """Decode a filter.

    Raises:
        OperationError: it is too deep or has too many parts.
        BerError: it is not a filter.
    """
    return _Decoder().decode(element, 1)


class _Decoder:
    """Counts the parts of one filter while it is decoded."""

    def __init__(self) -> None:
        self._items = 0

    def decode(self, element: Element, depth: int) -> Filter:
        self._items += 1
        if depth > MAX_FILTER_DEPTH:
            raise OperationError(
                ResultCode.ADMIN_LIMIT_EXCEEDED, f"filter nested deeper than {MAX_FILTER_DEPTH} levels"
            )
        if self._items > MAX_FILTER_ITEMS:
            raise OperationError(ResultCode.ADMIN_LIMIT_EXCEEDED, f"filter of more than {MAX_FILTER_ITEMS} parts")
        if element.tag in {_AND, _OR}:
            parts = tuple(self.decode(child, depth + 1) for child in element.children)
            return _all_of(parts) if element.tag == _AND else _any_of(parts)
        if element.tag == _NOT:
            fields = Fields(element.children, what="not filter")
            inner = self.decode(fields.take(), depth + 1)
            fields.end()
            return _negation(inner)
        return _decode_item(element)


def _all_of(parts: tuple[Filter, ...]) -> Filter:
    def matches(entry: Entry) -> bool | None:
        result: bool | None = True
        for part in parts:
            outcome = part(entry)
            if outcome is False:
                return False
            if outcome is None:
                result = None
        return result

    return matches


def _any_of(parts: tuple[Filter, ...]) -> Filter:
    def matches(entry: Entry) -> bool | None:
        result: bool | None = False
        for part in parts:
            outcome = part(entry)
            if outcome:
                return True
            if outcome is None:
                result = None
        return result

    return matches


def _negation(inner: Filter) -> Filter:
    def matches(entry: Entry) -> bool | None:
        outcome = inner(entry)
        return None if outcome is None else not outcome

    return matches


def _description(raw: bytes) -> str | None:
    """Return the key of an attribute that filters may look at, else None: the filter is then undefined."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return None
    key = attribute_key(name)
    return key if is_attribute_description(name) and not is_password(key) else None


def _decode_item(element: Element) -> Filter:
    if element.tag == _PRESENT:
        key = _description(element.content)
        return _undefined if key is None else _presence(key)
    if element.tag == _SUBSTRINGS:
        return _decode_substrings(element)
    if element.tag == _EXTENSIBLE:
        return _undefined
    if element.tag not in {_EQUALITY, _APPROXIMATE, _GREATER_OR_EQUAL, _LESS_OR_EQUAL}:
        raise BerError(f"unknown filter choice 0x{element.tag:02x}")
    return _decode_assertion(element)


def _decode_assertion(element: Element) -> Filter:
    fields = Fields(element.children, what="attribute value assertion")
    key = _description(fields.take(0x04).content)
    raw = fields.take(0x04).content
    fields.end()
    if key is None:
        return _undefined
    try:
        value = normalise(key, raw)
    except ValueError:
        return _undefined
    if element.tag in {_EQUALITY, _APPROXIMATE}:
        return _equality(key, value)
    return _ordering(key, value, at_least=element.tag == _GREATER_OR_EQUAL)


def _presence(key: str) -> Filter:
    def matches(entry: Entry) -> bool | None:
        return key in entry.attributes

    return matches


def _equality(key: str, value: Hashable) -> Filter:
    def matches(entry: Entry) -> bool | None:
        attribute = entry.attributes.get(key)
        return attribute is not None and attribute.matches(value)

    return matches


def _ordering(key: str, value: Hashable, *, at_least: bool) -> Filter:
    if not is_ordered(key):
        return _undefined

    def matches(entry: Entry) -> bool | None:
        attribute = entry.attributes.get(key)
        if attribute is None:
            return False
        forms = attribute.normal()
        return any((form >= value) if at_least else (form <= value) for form in forms)  # type: ignore[operator]  # the forms of one ordered syntax are of one ordered type

    return matches


def _decode_substrings(element: Element) -> Filter:
    fields = Fields(element.children, what="substring filter")
    key = _description(fields.take(0x04).content)
    parts = fields.take(0x30).children
    fields.end()
    tags = [part.tag for part in parts]
    if not tags or tags != sorted(tags) or tags.count(_INITIAL) > 1 or tags.count(_FINAL) > 1:
        raise BerError("substrings are missing or out of order")
    if set(tags) - {_INITIAL, _ANY, _FINAL} or len(tags) > MAX_FILTER_ITEMS:
        raise BerError("an unknown kind of substring, or too many")
    if key is None or not has_substrings(key):
        return _undefined
    try:
        texts = [fold_substring(key, part.content) for part in parts]
    except ValueError:
        return _undefined
    initial = texts.pop(0).lstrip() if tags[0] == _INITIAL else ""
    final = texts.pop().rstrip() if tags[-1] == _FINAL else ""
    return _substrings(key, initial, texts, final)


def _substrings(key: str, initial: str, middle: list[str], final: str) -> Filter:
    def value_matches(text: str) -> bool:
        if not text.startswith(initial) or not text.endswith(final):
            return False
        position = len(initial)
        for part in middle:
            found = text.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
        return position + len(final) <= len(text)

    def matches(entry: Entry) -> bool | None:
        attribute = entry.attributes.get(key)
        return attribute is not None and any(value_matches(str(form)) for form in attribute.normal())

    return matches
