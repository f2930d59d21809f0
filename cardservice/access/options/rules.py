# SPDX-License-Identifier: EUPL-1.2
"""Options of points: each place has a table of those it knows, and here is how any table is read. Pure.

Whoever sets a point up is told of the first option that is wrong (`require`); a point that is served takes what it can
use and goes on (`usable`), for a newer centre may know more than its agent.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

OptionValue = str | int | bool
Options = Mapping[str, OptionValue]


class Option(NamedTuple):
    """What one option may be: in words, and as a test."""

    allowed: str
    fits: Callable[[OptionValue], bool]


def one_of(*words: str) -> Option:
    """Return an option that is one of these words."""
    return Option(", ".join(words), lambda value: value in words)


def whole(first: int, last: int) -> Option:
    """Return an option that is a whole number, from `first` to `last`."""
    # True and false are whole numbers to Python, and to nobody else.
    return Option(f"whole numbers from {first} to {last}", lambda value: type(value) is int and first <= value <= last)


SWITCH: Final = Option("true and false", lambda value: isinstance(value, bool))
# Of a screen, where nobody has chosen another.
LANGUAGE: Final = one_of("de", "en")


def usable(options: Options, known: Mapping[str, Option]) -> dict[str, OptionValue]:
    """Return those of `options` that are known and fit; what is left out keeps its default."""
    return {name: value for name, value in options.items() if name in known and known[name].fits(value)}


def require(options: Options, known: Mapping[str, Option]) -> None:
    """Refuse options that are unknown or do not fit.

    Raises:
        ValueError: names the first of them, its value, and what is allowed.
    """
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"option {name}: there is none; allowed are {', '.join(known) or 'no options'}")
        if not known[name].fits(value):
            raise ValueError(f"option {name}: {value!r}; allowed are {known[name].allowed}")
