# SPDX-License-Identifier: EUPL-1.2
"""How far a right goes: which organisations, buildings, units and points. Pure."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Reach:
    """What one right is about; None: all of them, empty: none.

    `organisations` by code, `zones` by code with everything inside them, `units` by the directory's department,
    `points` by code. Something is within reach if every part that it has a place in holds it.
    """

    organisations: frozenset[str] | None = None
    zones: frozenset[str] | None = None
    units: frozenset[str] | None = None
    points: frozenset[str] | None = None

    @property
    def all_points(self) -> bool:
        """Whether every point is within it; points lie in no unit, so a right that is bound to units is about none."""
        return self == EVERYWHERE

    @property
    def of_places(self) -> bool:
        """Whether it is bound to zones or points, and to no unit: people lie in no building, so it lists nobody."""
        return (self.zones is not None or self.points is not None) and self.units is None

    def holds_point(self, code: str, organisation: str, zones: frozenset[str]) -> bool:
        """Tell whether a point is within it: its code, its organisation, and the zones around it."""
        return (
            self.units is None
            and (self.points is None or code in self.points)
            and (self.organisations is None or organisation in self.organisations)
            and (self.zones is None or not self.zones.isdisjoint(zones))
        )

    def holds_person(self, organisation: str, unit: str | None) -> bool:
        """Tell whether a person is within it: their organisation and department."""
        return (self.organisations is None or organisation in self.organisations) and (
            self.units is None or unit in self.units
        )


EVERYWHERE: Final = Reach()
