# SPDX-License-Identifier: EUPL-1.2
"""Distinguished names: parsing and comparison (RFC 4514, RFC 4517 section 4.2.15)."""

import re
from dataclasses import dataclass
from typing import Final

from directorysim.errors import DnError
from directorysim.names import attribute_key, fold_text, is_attribute_description

MAX_DN_CHARACTERS: Final = 8_192
MAX_RDNS: Final = 64

_HEX_PAIR: Final = re.compile(r"[0-9A-Fa-f]{2}")
_ESCAPABLE: Final = frozenset(' "#+,;<=>\\')
_MUST_BE_ESCAPED: Final = re.compile(r'["+,;<>\x00]')


@dataclass(frozen=True, slots=True)
class Dn:
    """A distinguished name: its text with plain spelling, and keys that are equal when the names are."""

    text: str
    rdn_texts: tuple[str, ...]
    rdn_keys: tuple[str, ...]
    key: str

    @property
    def parent_key(self) -> str:
        """The key of the name one level up; empty at the top."""
        return self.ancestor_key(1)

    def ancestor_key(self, levels: int) -> str:
        """Return the key of the name `levels` up."""
        return ",".join(self.rdn_keys[levels:])

    def naming_values(self) -> tuple[tuple[str, str], ...]:
        """Return the attribute name and value pairs of the leading RDN, unescaped."""
        return _parse_rdn(self.rdn_texts[0]) if self.rdn_texts else ()

    def is_within(self, base_key: str) -> bool:
        """Tell whether this is the name with key `base_key` or one below it."""
        return not base_key or self.key == base_key or self.key.endswith("," + base_key)

    def below(self, parent: "Dn") -> "Dn":
        """Return this name's leading RDN placed under `parent`, which may be spelled differently."""
        return join(self.rdn_texts[:1], parent)


def _split_unescaped(text: str, separator: str) -> list[str]:
    if "\\" not in text:
        return text.split(separator)
    parts: list[str] = []
    start = position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == separator:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    parts.append(text[start:])
    return parts


def _trim(text: str) -> str:
    """Strip spaces around a value, keeping a last one that is escaped."""
    left = text.lstrip(" ")
    trimmed = left.rstrip(" ")
    backslashes = len(trimmed) - len(trimmed.rstrip("\\"))
    return trimmed + " " if backslashes % 2 and trimmed != left else trimmed


def _unescape(text: str) -> str:
    if text.startswith("#"):
        raise DnError("a value in the #hex form is not supported here")
    if "\\" not in text:
        if _MUST_BE_ESCAPED.search(text):
            raise DnError("a special character in a value is not escaped")
        return text
    value = bytearray()
    position = 0
    while position < len(text):
        character = text[position]
        if character != "\\":
            if _MUST_BE_ESCAPED.match(character):
                raise DnError("a special character in a value is not escaped")
            value += character.encode()
            position += 1
        elif _HEX_PAIR.match(text, position + 1):
            value.append(int(text[position + 1 : position + 3], 16))
            position += 3
        elif text[position + 1 : position + 2] in _ESCAPABLE:
            value += text[position + 1].encode()
            position += 2
        else:
            raise DnError(f"a wrong escape at character {position} of a value")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DnError("an escaped value is not UTF-8") from error


def _parse_rdn(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in _split_unescaped(text, "+"):
        name, equals, value = part.partition("=")
        name = name.strip(" ")
        if not equals or not is_attribute_description(name):
            raise DnError("a component is not of the form attribute=value")
        unescaped = _unescape(_trim(value))
        if not unescaped:
            raise DnError(f"the value of {name} is empty")
        pairs.append((name, unescaped))
    return tuple(pairs)


def _rdn_key(text: str) -> str:
    parts = []
    for name, value in _parse_rdn(text):
        folded = fold_text(value).replace("\\", "\\5c").replace(",", "\\2c").replace("+", "\\2b")
        parts.append(f"{attribute_key(name)}={folded}")
    return "+".join(sorted(parts))


def _plain_rdn(text: str) -> str:
    """Return an RDN with the usual attribute names and no spaces around them, as OpenLDAP shows it."""
    parts = []
    for part in _split_unescaped(text, "+"):
        name, _, value = part.partition("=")
        parts.append(f"{attribute_key(name.strip(' '))}={_trim(value)}")
    return "+".join(parts)


def parse_dn(text: str) -> Dn:
    """Parse a name; the empty text is the root.

    Raises:
        DnError: it is not a distinguished name, or longer than this module allows.
    """
    if not text:
        return Dn("", (), (), "")
    if len(text) > MAX_DN_CHARACTERS:
        raise DnError(f"a name of {len(text)} characters; {MAX_DN_CHARACTERS} are allowed")
    parts = _split_unescaped(text, ",")
    if len(parts) > MAX_RDNS:
        raise DnError(f"a name of {len(parts)} components; {MAX_RDNS} are allowed")
    rdn_keys = tuple(_rdn_key(part) for part in parts)
    rdn_texts = tuple(_plain_rdn(part) for part in parts)
    return Dn(",".join(rdn_texts), rdn_texts, rdn_keys, ",".join(rdn_keys))


def join(rdn_texts: tuple[str, ...], parent: Dn) -> Dn:
    """Return the name made of `rdn_texts` placed above `parent`'s components."""
    text = ",".join((*rdn_texts, parent.text)) if parent.text else ",".join(rdn_texts)
    rdn_keys = (*(_rdn_key(part) for part in rdn_texts), *parent.rdn_keys)
    return Dn(text, (*rdn_texts, *parent.rdn_texts), rdn_keys, ",".join(rdn_keys))
