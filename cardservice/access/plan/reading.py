# SPDX-License-Identifier: EUPL-1.2
"""One table of a file, read key by key: every mistake is named with its place, what was found and what is allowed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

from cardservice.errors import Conflict

MAX_SHOWN: Final = 60
_MAX_INTEGER: Final = 2**31 - 1
_MAX_LONG: Final = 2**62
Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table stands: its kind, its code or number, and a way to the line of a key (None: of the table)."""

    name: str
    line_of: Callable[[str | None], int | None]

    def refused(self, key: str | None, found: object, allowed: str) -> Conflict:
        """Return the error for one key of the table."""
        line = self.line_of(key)
        where = "" if line is None else f"line {line}: "
        field = "" if key is None else f".{key}"
        return Conflict(f"{where}{self.name}{field}: {shown(found)}; allowed is {allowed}")


def shown(found: object) -> str:
    """Return what was found, short enough for a message."""
    text = "nothing" if found is None else repr(found)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


class Table:
    """Takes the keys of one table in turn; `done` refuses what is left."""

    def __init__(self, place: Place, values: object) -> None:
        if not isinstance(values, Mapping):
            raise place.refused(None, values, "a table")
        self.place = place
        self._left = dict(values)
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def _take(self, key: str) -> Any:
        self._known.append(key)
        return self._left.pop(key, None)

    def text(self, key: str, most: int, default: str | None = None) -> str:
        """Take a text of 1 to `most` printable characters.

        Raises:
            Conflict: it is something else, or missing.
        """
        found = self._take(key)
        found = default if found is None else found
        if not isinstance(found, str) or not 1 <= len(found) <= most or not found.isprintable():
            raise self.place.refused(key, found, f"a text of 1 to {most} printable characters")
        return found

    def foreign_text(self, key: str, most: int) -> str | None:
        """Take a text that may be missing, with whatever characters a directory sent.

        Raises:
            Conflict: it is something else.
        """
        found = self._take(key)
        if found is not None and (not isinstance(found, str) or len(found) > most):
            raise self.place.refused(key, found, f"a text of at most {most} characters")
        return found

    def maybe_text(self, key: str, most: int) -> str | None:
        """Take a text that may be missing.

        Raises:
            Conflict: it is something else.
        """
        return self.text(key, most) if key in self else self._take(key)

    def choice(self, key: str, allowed: Iterable[Choice], default: Choice | None = None) -> Choice:
        """Take one of a few texts.

        Raises:
            Conflict: it is none of them.
        """
        found, names = self._take(key), list(allowed)
        if found is None and default is not None:
            return default
        for name in names:
            if isinstance(found, str) and found == name:
                return name
        raise self.place.refused(key, found, f"one of {', '.join(names)}")

    def number(self, key: str, default: int, *, least: int = 0, most: int = _MAX_INTEGER) -> int:
        """Take a whole number.

        Raises:
            Conflict: it is something else.
        """
        found = self._take(key)
        found = default if found is None else found
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
            raise self.place.refused(key, found, f"a whole number from {least} to {most}")
        return found

    def instant(self, key: str) -> int | None:
        """Take an instant that may be missing: date and time with a zone, or Unix milliseconds.

        Raises:
            Conflict: it is something else.
        """
        found = self._take(key)
        if found is None:
            return None
        if isinstance(found, datetime) and found.tzinfo is not None:
            return milliseconds(found)
        if isinstance(found, int) and not isinstance(found, bool) and abs(found) <= _MAX_LONG:
            return found
        raise self.place.refused(key, found, "date and time with a zone, as 2026-12-31T23:00:00Z")

    def items(self, key: str, what: str, most: int) -> list[Any]:
        """Take a list that may be missing.

        Raises:
            Conflict: it is something else or too long.
        """
        found = self._take(key)
        found = [] if found is None else found
        if not isinstance(found, list) or len(found) > most:
            raise self.place.refused(key, found, f"a list of at most {most} {what}")
        return found

    def dates(self, key: str, most: int) -> tuple[date, ...]:
        """Take a list of days.

        Raises:
            Conflict: it is something else.
        """
        found = self.items(key, "days", most)
        for day in found:
            if not isinstance(day, date) or isinstance(day, datetime):
                raise self.place.refused(key, day, "a day, as 2026-12-24")
        return tuple(found)

    def parts(self, key: str, most: int) -> list["Table"]:
        """Take a list of tables that may be missing.

        Raises:
            Conflict: it is something else.
        """
        return [self._inner(key, one) for one in self.items(key, "tables", most)]

    def part(self, key: str) -> "Table | None":
        """Take a table that may be missing.

        Raises:
            Conflict: it is something else.
        """
        found = self._take(key)
        return None if found is None else self._inner(key, found)

    def anything(self, key: str) -> Any:
        """Take whatever there is."""
        return self._take(key)

    def _inner(self, key: str, values: object) -> "Table":
        outer = self.place
        return Table(Place(f"{outer.name}.{key}", lambda _: outer.line_of(key)), values)

    def done(self) -> None:
        """Refuse whatever was not taken.

        Raises:
            Conflict: there is something left.
        """
        for key in self._left:
            raise self.place.refused(key, key, f"nothing of that name but {', '.join(self._known)}")


def milliseconds(at: datetime) -> int:
    """Return an instant as Unix milliseconds, exactly."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
