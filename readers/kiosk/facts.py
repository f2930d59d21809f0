# SPDX-License-Identifier: EUPL-1.2
"""Figures of the centre that a terminal shows: what each is made of; whatever is out of bounds is left out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Fact = int | bool | str
# How a figure is written; the names are those of `static/view.js`.
Form = Literal["euros", "duration", "count", "time", "yes_no"]

# What a browser can count exactly.
_MAX_NUMBER: Final = 2**53


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of one fact. The word before it is `fact_` and its name, or the value of the fact `named_by`."""

    fact: str
    form: Form
    named_by: str | None = None


def _number(value: Fact) -> bool:
    return type(value) is int and -_MAX_NUMBER < value < _MAX_NUMBER


def _count(value: Fact) -> bool:
    return _number(value) and int(value) >= 0


def _yes_or_no(value: Fact) -> bool:
    return type(value) is bool


_FITS: Final[Mapping[Form, Callable[[Fact], bool]]] = {
    "euros": _number,
    "duration": _count,
    "count": _count,
    "time": _count,
    "yes_no": _yes_or_no,
}


def known(figures: Iterable[Figure], facts: Mapping[str, Fact], names: tuple[str, ...] = ()) -> dict[str, Fact]:
    """Return the facts that these figures are made of; one that names another must be of `names`."""
    found: dict[str, Fact] = {}
    for figure in figures:
        value = facts.get(figure.fact)
        if value is not None and _FITS[figure.form](value):
            found[figure.fact] = value
        if figure.named_by is not None and facts.get(figure.named_by) in names:
            found[figure.named_by] = facts[figure.named_by]
    return found
