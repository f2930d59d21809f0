# SPDX-License-Identifier: EUPL-1.2
"""The town hall of the demonstration city: its doors with two sides each, its other places of use. Plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Place:
    """One place of another use: its point, the PC/SC name of its reader and how that reaches the card.

    `options` are what the place needs to know of its point; `groups` may use it.
    """

    code: str
    name_de: str
    name_en: str
    use: Literal["timeclock", "canteen", "printer", "workstation"]
    kind: Literal["terminal", "pc"]
    device: str
    groups: Sequence[str]
    options: Mapping[str, str | int | bool] = field(default_factory=dict)

    @property
    def reader(self) -> str:
        """The PC/SC name of its reader."""
        return f"{self.device} 00 00"

    @property
    def interface(self) -> Literal["contact", "contactless"]:
        """PCs have a slot the card is put into, terminals a surface it is held to."""
        return "contact" if self.kind == "pc" else "contactless"


# The places that stories are told of.
CLOCK: Final = "zeit.eingang"
TILL: Final = "kantine.kasse-1"
PRINTER: Final = "druck.bauamt"
PC: Final = "pc.bauamt"

PLACES: Final = (
    Place(
        CLOCK,
        "Zeiterfassung am Eingang",
        "Time clock, entrance",
        "timeclock",
        "terminal",
        "Clock",
        ("Rathaus",),
    ),
    Place(TILL, "Kantine, Kasse 1", "Canteen, till 1", "canteen", "terminal", "Till 1", ("Rathaus",)),
    Place(
        PRINTER,
        "Drucker im Bauamt",
        "Printer, building office",
        "printer",
        "terminal",
        "Printer 1",
        ("Rathaus",),
        {"printer": "mfp1"},
    ),
    Place(
        "druck.flur",
        "Drucker im Flur",
        "Printer, corridor",
        "printer",
        "terminal",
        "Printer 2",
        ("Rathaus",),
        {"printer": "mfp2"},
    ),
    Place(PC, "PC von Anna Schmidt", "Anna Schmidt's PC", "workstation", "pc", "PC 1", ("Rathaus",)),
)

# Day 0 is Monday, 7 a public holiday (none here: closed); minutes since midnight, local time.
OFFICE_HOURS: Final = tuple((day, 7 * 60, 18 * 60) for day in range(5))
LAND: Final = "NW"


def reader_name(door: int, side: int) -> str:
    """Return the PC/SC name of a side (0 outside, 1 inside) of a door (1..8), as pcscd shows it."""
    return f"Door {door} 00 0{side}"


def point_code(door: Door, side: int) -> str:
    """Return the code of the point at a side of a door."""
    return f"{door.code}.{SIDES[side][0]}"
