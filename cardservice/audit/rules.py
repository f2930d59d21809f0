# SPDX-License-Identifier: EUPL-1.2
"""What of the journal may be read here, and how a few lines of it are named. Pure.

The streams of the five uses are not among it: who tapped where is nobody's to open.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

from cardservice.journal.rules import Place, Scalar

MAX_LINES: Final = 500
MAX_TEXT: Final = 200
READABLE_MS: Final = 24 * 3_600_000
_ENTRY: Final = re.compile(r"(audit|access|sign_in)\.([0-9]{1,15})\.([0-9]{1,15})")
# A range of the future would hold lines that nobody has seen yet.
_MAX_INSTANT_MS: Final = 2**53


@unique
class Stream(StrEnum):
    """Changes that were asked for; what was looked up and decided about access; who signed in or tried to."""

    AUDIT = "audit"
    ACCESS = "access"
    SIGN_IN = "sign_in"


@dataclass(frozen=True, slots=True)
class Line:
    """The open part of one line: it names nobody."""

    place: Place
    at_ms: int
    facts: Mapping[str, Scalar]


# Instant and place of a line (epoch, sequence, stream): whoever reads on goes on below it.
Position = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines; None: whatever it is.

    `operation` is that of a change, the kind of a look-up or the outcome of a sign-in; `request` and `account` are of
    whoever asked; `from_ms` counts, `until_ms` does not.
    """

    stream: Stream | None = None
    operation: str | None = None
    request: str | None = None
    account: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Lines somebody wants opened: named one by one, or every one of a range of time that is over."""

    entries: tuple[Place, ...] = ()
    range: Filter | None = None


def entry_of(place: Place) -> str:
    """Return what a line is called outside."""
    return f"{place.stream}.{place.epoch}.{place.sequence}"


def place_of(entry: str) -> Place:
    """Return where a line stands.

    Raises:
        ValueError: no line can be called so, or it is of a stream that is not read here.
    """
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise ValueError(f"{entry[:60]!r} is no line that can be opened")
    return Place(found[1], int(found[2]), int(found[3]))


def selection_of(content: Mapping[str, Any]) -> Selection:
    """Return which lines a request names: `entries`, or `from_ms` and `until_ms` with what else a filter has.

    Raises:
        ValueError: neither or both, something else, or too many.
    """
    if "entries" in content:
        entries = content["entries"]
        if set(content) != {"entries"} or not isinstance(entries, list) or not 1 <= len(entries) <= MAX_LINES:
            raise ValueError(f"entries: 1 to {MAX_LINES} lines and nothing beside them")
        if not all(isinstance(one, str) for one in entries):
            raise ValueError("entries: each is a text")
        return Selection(entries=tuple(dict.fromkeys(place_of(one) for one in entries)))
    unknown = set(content) - {"stream", "operation", "request", "account", "from_ms", "until_ms"}
    if unknown:
        raise ValueError("allowed are entries, or stream, operation, request, account, from_ms and until_ms")
    from_ms, until_ms = (_instant(content, name) for name in ("from_ms", "until_ms"))
    if from_ms >= until_ms:
        raise ValueError("from_ms lies before until_ms")
    texts = {name: _text(content, name) for name in ("operation", "request", "account")}
    stream = _text(content, "stream")
    if stream is not None and stream not in set(Stream):
        raise ValueError(f"stream: allowed are {', '.join(Stream)}")
    return Selection(
        range=Filter(None if stream is None else Stream(stream), **texts, from_ms=from_ms, until_ms=until_ms)
    )


def content_of(selection: Selection) -> dict[str, Any]:
    """Return a selection as a request keeps it."""
    found = selection.range
    if found is None:
        return {"entries": [entry_of(place) for place in selection.entries]}
    named = {
        "stream": None if found.stream is None else found.stream.value,
        "operation": found.operation,
        "request": found.request,
        "account": found.account,
        "from_ms": found.from_ms,
        "until_ms": found.until_ms,
    }
    return {name: value for name, value in named.items() if value is not None}


def _instant(content: Mapping[str, Any], name: str) -> int:
    value = content.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_INSTANT_MS:
        raise ValueError(f"{name}: an instant in milliseconds")
    return value


def _text(content: Mapping[str, Any], name: str) -> str | None:
    value = content.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT or not value.isprintable():
        raise ValueError(f"{name}: 1 to {MAX_TEXT} printable characters")
    return value
