# SPDX-License-Identifier: EUPL-1.2
"""Strict reading of the JSON objects of a deck; every complaint names the place, none repeats a value."""

from collections.abc import Mapping

from cardsim.errors import DeckError

MAX_TEXT_LENGTH = 16_384
MAX_LIST_LENGTH = 10_000


class Fields:
    """The members of one JSON object.

    Args:
        value: what the JSON text holds at this place.
        where: the place, for messages.

    Raises:
        DeckError: if the value is no object.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise DeckError(f"{where}: an object is expected")
        self.where = where
        self._members = dict(value)
        self._known: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether an optional member is there."""
        self._known.add(name)
        return name in self._members

    def text(self, name: str) -> str:
        """A text of 1 to 16,384 characters."""
        value = self._take(name)
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_LENGTH:
            raise self.complaint(name, f"a text of 1 to {MAX_TEXT_LENGTH} characters is expected")
        return value

    def octets(self, name: str, least: int, most: int) -> bytes:
        """Bytes in hex."""
        value = self._take(name)
        return octets_from(value, f"{self.where}.{name}", least, most)

    def integer(self, name: str, least: int, most: int) -> int:
        """A whole number."""
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.complaint(name, f"a whole number from {least} to {most} is expected")
        return value

    def seconds(self, name: str, most: float) -> float:
        """A duration of 0 to ``most`` seconds."""
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise self.complaint(name, f"a number of seconds from 0 to {most} is expected")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false; false where it is absent."""
        if not self.has(name):
            return False
        value = self._take(name)
        if not isinstance(value, bool):
            raise self.complaint(name, "true or false is expected")
        return value

    def child(self, name: str) -> "Fields":
        """A nested object."""
        return Fields(self._take(name), f"{self.where}.{name}")

    def given(self, name: str) -> object:
        """Whatever stands there, for whoever reads it by other rules."""
        return self._take(name)

    def items(self, name: str) -> list[tuple[object, str]]:
        """The elements of a list, each with its place."""
        value = self._take(name)
        if not isinstance(value, list) or len(value) > MAX_LIST_LENGTH:
            raise self.complaint(name, f"a list of at most {MAX_LIST_LENGTH} elements is expected")
        return [(element, f"{self.where}.{name}[{index}]") for index, element in enumerate(value)]

    def finish(self) -> None:
        """Refuse members that nobody asked for."""
        unknown = sorted(str(name) for name in self._members if name not in self._known)
        if unknown:
            allowed = ", ".join(sorted(self._known))
            raise DeckError(f"{self.where}: unknown member {unknown[0][:40]!r}; allowed are {allowed}")

    def complaint(self, name: str, what: str) -> DeckError:
        """An error about one member."""
        return DeckError(f"{self.where}.{name}: {what}")

    def _take(self, name: str) -> object:
        self._known.add(name)
        if name not in self._members:
            raise self.complaint(name, "this member is missing")
        return self._members[name]


def octets_from(value: object, where: str, least: int, most: int) -> bytes:
    """Bytes in hex without separators.

    Raises:
        DeckError: if it is not that, or has another length.
    """
    wanted = f"{least}" if least == most else f"{least} to {most}"
    error = DeckError(f"{where}: {wanted} bytes in hex are expected")
    if not isinstance(value, str) or not 2 * least <= len(value) <= 2 * most:
        raise error
    try:
        octets = bytes.fromhex(value)
    except ValueError:
        raise error from None
    if 2 * len(octets) != len(value):
        raise error
    return octets
