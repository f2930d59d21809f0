# SPDX-License-Identifier: EUPL-1.2
"""Whoever looks at somebody leaves a line, which that person finds on their own page. What keeps it is a port."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cardservice.web.gate import Actor


@dataclass(frozen=True, slots=True)
class Look:
    """Something about people that is about to be shown: `kind` says what, `person` (a row number) whom it is about.

    None is about nobody alone: of a list only the count is kept, in `facts`, which names nobody.
    """

    kind: str
    actor: Actor
    person: int | None = None
    facts: Mapping[str, str | int | bool | None] = field(default_factory=dict)

    @property
    def at_oneself(self) -> bool:
        """Whether somebody looks at what is about themselves: that leaves no line."""
        return self.person is not None and self.person == self.actor.person


# What the line of a list is about that shows exactly one person.
_OF_ONE: Final[Mapping[str, str]] = {"people_listed": "person_read", "cards_listed": "cards_read"}


def look_at_list(kind: str, actor: Actor, shown: Sequence[int | None]) -> Look:
    """Return the look at a list; `shown` says of each line whom it is about.

    A list of exactly one person is a look at that person: whoever searches for somebody until one is left, or pages
    through people one by one, is told of as if they had opened them. Of others only the count is kept.
    """
    one = shown[0] if len(set(shown)) == 1 else None
    if one is not None:
        return Look(_OF_ONE[kind], actor, one)
    return Look(kind, actor, facts={"found": len(shown)})


# Has the line on disk when it returns. Raises DatabaseUnavailable or Overloaded: then nothing is shown. Blocks.
KeepLook = Callable[[Look], None]
