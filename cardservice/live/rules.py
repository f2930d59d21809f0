# SPDX-License-Identifier: EUPL-1.2
"""Which taps somebody may watch, and which of them they want to see. Pure.

It is no picture of who moves where: a role shows the use it looks after, within its reach, and nothing else.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cardservice.access.rules import Use
from cardservice.web.operations import Role
from cardservice.web.reach import Reach

# How many rows a page shows; older ones go.
MAX_ROWS: Final = 100
# Whoever helps people at a desk, or fills their wallets, needs nobody's taps.
USES_OF: Final[Mapping[Role, frozenset[Use]]] = MappingProxyType(
    {Role.FACILITY: frozenset({Use.DOOR}), Role.AUDITOR: frozenset(Use)}
)
PointsWithin = Callable[[tuple[Reach, ...]], frozenset[str] | None]


@dataclass(frozen=True, slots=True)
class Part:
    """Points of some uses; `points` None: all of them."""

    uses: frozenset[Use]
    points: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Sight:
    """What somebody may watch, by all of their roles together."""

    parts: tuple[Part, ...]

    @property
    def uses(self) -> tuple[Use, ...]:
        """The uses they may watch at all."""
        return tuple(use for use in Use if any(use in part.uses for part in self.parts))

    def holds(self, use: Use, point: str) -> bool:
        """Tell whether they may watch a point of a use."""
        return any(use in part.uses and (part.points is None or point in part.points) for part in self.parts)


def sight_of(reaches_by_role: Mapping[Role, tuple[Reach, ...]], points_within: PointsWithin) -> Sight:
    """Return what somebody with these roles may watch, each as far as it reaches."""
    return Sight(
        tuple(
            Part(uses, points_within(reaches_by_role[role]))
            for role, uses in USES_OF.items()
            if reaches_by_role.get(role)
        )
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody chose to see; None: all of what they may."""

    use: Use | None = None
    permit: bool | None = None
    zone: str | None = None

    def fits(self, use: Use, zones: Iterable[str], *, permit: bool) -> bool:
        """Tell whether a tap at a point inside these zones is among it."""
        return (
            (self.use is None or use is self.use)
            and (self.permit is None or permit is self.permit)
            and (self.zone is None or self.zone in zones)
        )


@dataclass(frozen=True, slots=True)
class Place:
    """A zone to choose: `depth` is how many zones are around it."""

    code: str
    name: str
    depth: int
