# SPDX-License-Identifier: EUPL-1.2
"""The town hall of the demonstration city: eight doors with two sides each, who may pass, and when. Plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Door:
    """One door: `kind` is its class of points, `groups` may pass, `schedule` says when (none: at any time)."""

    code: str
    name_de: str
    name_en: str
    zone: str
    kind: Literal["entrance", "office", "high", "guests"]
    groups: Sequence[str]
    schedule: str | None = None


ZONES: Final = (
    ("stadt", "Stadt Musterstadt", None),
    ("rathaus", "Rathaus", "stadt"),
    ("bauamt", "Bauamt", "rathaus"),
    ("technik", "Technik", "rathaus"),
)

DOORS: Final = (
    Door("haupteingang", "Haupteingang", "Main entrance", "rathaus", "entrance", ("Rathaus",)),
    Door("bauamt", "Bauamt", "Building office", "bauamt", "office", ("Bauamt",)),
    Door("serverraum", "Serverraum", "Server room", "technik", "high", ("IT",)),
    Door("buergerbuero", "Bürgerbüro", "Citizens' office", "rathaus", "office", ("Bürgerbüro",)),
    Door("archiv", "Archiv (Mo-Fr 7-18 Uhr)", "Archive (Mon-Fri 7-18)", "rathaus", "office", ("Rathaus",), "buerozeit"),
    Door("kantine", "Kantine", "Canteen", "rathaus", "office", ("Rathaus",)),
    Door("tiefgarage", "Tiefgarage", "Car park", "stadt", "entrance", ("Rathaus",)),
    Door(
        "besuchereingang",
        "Besuchereingang (auch PIV)",
        "Visitors' entrance (PIV too)",
        "rathaus",
        "guests",
        ("Rathaus", "Gäste anderer Behörden"),
    ),
)

SIDES: Final = (("aussen", "außen", "outside"), ("innen", "innen", "inside"))

# Day 0 is Monday, 7 a public holiday (none here: closed); minutes since midnight, local time.
OFFICE_HOURS: Final = tuple((day, 7 * 60, 18 * 60) for day in range(5))
LAND: Final = "NW"


def reader_name(door: int, side: int) -> str:
    """Return the PC/SC name of a side (0 outside, 1 inside) of a door (1..8), as pcscd shows it."""
    return f"Door {door} 00 0{side}"


def point_code(door: Door, side: int) -> str:
    """Return the code of the point at a side of a door."""
    return f"{door.code}.{SIDES[side][0]}"
