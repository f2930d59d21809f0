# SPDX-License-Identifier: EUPL-1.2
"""What the terminal says to a tap, in German and English. Pure; times come as the clock on the wall shows them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from cardservice.timeclock.rules import Code, Kind


class Said(NamedTuple):
    """One sentence or two, in both languages; at most 200 characters each."""

    de: str
    en: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a sentence may mention.

    `clock` ("08:01") and `kind` are of the booking it is about, `worked` ("7:43") is the total of the day that booking
    belongs to: today, or an earlier day in a shift over midnight. `gap`: a booking that should have come before is
    missing.
    """

    clock: str
    kind: Kind | None
    worked: str
    today: bool
    gap: bool


KINDS: Final[Mapping[Kind, Said]] = MappingProxyType(
    {
        Kind.IN: Said("Kommen", "In"),
        Kind.OUT: Said("Gehen", "Out"),
        Kind.BREAK_START: Said("Pause Beginn", "Break start"),
        Kind.BREAK_END: Said("Pause Ende", "Break end"),
    }
)


def say(code: Code, shown: Shown) -> Said:
    """Return the sentence for what became of a tap."""
    return _SENTENCES[code](shown)


def _booked_in(shown: Shown) -> Said:
    greeting = _greeting(int(shown.clock[:2]))
    missing = (" Das Ende Ihrer letzten Arbeitszeit fehlt.", " The end of your last working time is missing.")
    return Said(
        f"{greeting.de}, gekommen um {shown.clock}.{missing[0] if shown.gap else ''}",
        f"{greeting.en}, clocked in at {shown.clock}.{missing[1] if shown.gap else ''}",
    )


def _greeting(hour: int) -> Said:
    if 4 <= hour < 11:
        return Said("Guten Morgen", "Good morning")
    return Said("Guten Tag", "Hello") if 11 <= hour < 18 else Said("Guten Abend", "Good evening")


def _booked_out(shown: Shown) -> Said:
    if shown.gap:
        return Said(
            f"Gegangen um {shown.clock}. Ihr Kommen fehlt, bitte lassen Sie es nachtragen.",
            f"Clocked out at {shown.clock}. Your clocking in is missing, please have it added.",
        )
    return _with_total(f"Gegangen um {shown.clock}.", f"Clocked out at {shown.clock}.", shown)


def _break_begun(shown: Shown) -> Said:
    return _with_total(f"Pause begonnen um {shown.clock}.", f"Break begun at {shown.clock}.", shown)


def _break_ended(shown: Shown) -> Said:
    return _with_total(f"Pause beendet um {shown.clock}.", f"Break ended at {shown.clock}.", shown)


def _with_total(de: str, en: str, shown: Shown) -> Said:
    if shown.today:
        return Said(f"{de} Heute gearbeitet: {shown.worked}.", f"{en} Worked today: {shown.worked}.")
    return Said(f"{de} Gearbeitet: {shown.worked}.", f"{en} Worked: {shown.worked}.")


def _already_booked(shown: Shown) -> Said:
    kind = KINDS[shown.kind] if shown.kind else Said("", "")
    return Said(f"Bereits gebucht um {shown.clock}: {kind.de}.", f"Already booked at {shown.clock}: {kind.en}.")


def _already_in(shown: Shown) -> Said:
    return Said(
        f"Nicht gebucht: Sie sind schon um {shown.clock} gekommen. Zum Gehen wählen Sie bitte Gehen.",
        f"Not booked: you came at {shown.clock}. To leave, please choose Out.",
    )


def _already_out(shown: Shown) -> Said:
    return Said(
        f"Nicht gebucht: Sie sind schon um {shown.clock} gegangen.",
        f"Not booked: you left at {shown.clock}.",
    )


def _still_on_break(shown: Shown) -> Said:
    return Said(
        f"Nicht gebucht: Ihre Pause läuft seit {shown.clock}. Bitte wählen Sie Pause Ende.",
        f"Not booked: your break began at {shown.clock}. Please choose Break end.",
    )


def _always(de: str, en: str) -> Callable[[Shown], Said]:
    return lambda _: Said(de, en)


_SENTENCES: Final[Mapping[Code, Callable[[Shown], Said]]] = MappingProxyType(
    {
        Code.BOOKED_IN: _booked_in,
        Code.BOOKED_OUT: _booked_out,
        Code.BREAK_BEGUN: _break_begun,
        Code.BREAK_ENDED: _break_ended,
        Code.ALREADY_BOOKED: _already_booked,
        Code.ALREADY_IN: _already_in,
        Code.ALREADY_OUT: _already_out,
        Code.STILL_ON_BREAK: _still_on_break,
        Code.NOT_IN: _always(
            "Nicht gebucht: Ihr Kommen fehlt. Bitte wählen Sie zuerst Kommen.",
            "Not booked: you have not clocked in. Please choose In first.",
        ),
        Code.NOT_ON_BREAK: _always(
            "Nicht gebucht: Sie haben keine Pause begonnen.",
            "Not booked: you have not begun a break.",
        ),
        Code.CHOICE_MISSING: _always(
            "Nicht gebucht: Bitte wählen Sie zuerst Kommen, Gehen oder Pause.",
            "Not booked: please choose In, Out or Break first.",
        ),
        Code.CHOICE_UNKNOWN: _always(
            "Nicht gebucht: Diese Auswahl gibt es hier nicht.",
            "Not booked: there is no such choice here.",
        ),
        Code.EVENT_TAKEN: _always(
            "Nicht gebucht: Bitte halten Sie Ihre Karte noch einmal an den Leser.",
            "Not booked: please hold your card to the reader again.",
        ),
    }
)
