# SPDX-License-Identifier: EUPL-1.2
"""What each use puts into the frame of a terminal: words, keys, figures.

A further screen is a further face here, and nothing else: the frame itself knows no use.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cardservice.timeclock.rules import Kind, terminal_of
from readers.kiosk.facts import Fact, Figure, known
from readers.kiosk.texts import FRAME, LANGUAGES, Language, Words

# The keys of a time clock, which are also the kinds of its bookings.
BOOKING_KINDS: Final = tuple(kind.value for kind in Kind)


def _never(_options: Mapping[str, Fact]) -> bool:
    return False


def _alternating(options: Mapping[str, Fact]) -> bool:
    return terminal_of(options).alternating


@dataclass(frozen=True, slots=True)
class Face:
    """The screen of one use.

    `words` are what it says besides the frame: `idle` while nobody is there, `alone` instead where the point's options
    say that a card alone is enough (`card_alone`), with `_detail` a second line each; `away_detail`, what is not
    possible without the centre; the name of each key; before each figure `fact_` and its name.
    """

    words: Mapping[Language, Words]
    # What can be chosen before the card comes; `keys` is then what the keys together are called.
    keys: tuple[str, ...] = ()
    # Of an answer, in this order.
    figures: tuple[Figure, ...] = ()
    # Of a prompt: stands large above its sentence.
    asked: Figure | None = None
    has_clock: bool = False
    card_alone: Callable[[Mapping[str, Fact]], bool] = _never

    def of_answer(self, facts: Mapping[str, Fact]) -> dict[str, Fact]:
        """Return the facts of an answer that are shown."""
        return known(self.figures, facts, self.keys)

    def of_prompt(self, facts: Mapping[str, Fact]) -> dict[str, Fact]:
        """Return the facts of a prompt that are shown."""
        return known(() if self.asked is None else (self.asked,), facts)

    def spoken(self) -> dict[Language, dict[str, str]]:
        """Return everything the page says by itself."""
        return {language: {**FRAME[language], **self.words[language]} for language in LANGUAGES}

    def document(self) -> dict[str, Any]:
        """Return what a page needs to show what the screen says (`static/view.js`), as JSON knows it."""
        return {
            "words": self.spoken(),
            "figures": [_described(figure) for figure in self.figures],
            "asked": self.asked and _described(self.asked),
        }


def _described(figure: Figure) -> dict[str, str | None]:
    return {"fact": figure.fact, "form": figure.form, "named_by": figure.named_by}


# By use, and these are all that have a screen.
FACES: Final[Mapping[str, Face]] = {
    "timeclock": Face(
        words={
            "de": {
                "idle": "Bitte Buchung wählen",
                "idle_detail": "Danach halten Sie Ihre Karte vor den Leser.",
                "alone": "Bitte Karte vorhalten",
                "alone_detail": "Kommen und Gehen wechseln sich ab. Oder wählen Sie vorher eine Taste.",
                "away_detail": "Buchen ist gerade nicht möglich.",
                "keys": "Buchung wählen",
                "in": "Kommen",
                "out": "Gehen",
                "break_start": "Pause Beginn",
                "break_end": "Pause Ende",
                "fact_today_ms": "Heute",
                "fact_working": "Arbeitszeit",
                "yes": "läuft",
                "no": "angehalten",
            },
            "en": {
                "idle": "Please choose a booking",
                "idle_detail": "Then hold your card to the reader.",
                "alone": "Please present your card",
                "alone_detail": "Arriving and leaving alternate. Or choose a key first.",
                "away_detail": "Booking is not possible right now.",
                "keys": "Choose a booking",
                "in": "Arrive",
                "out": "Leave",
                "break_start": "Start break",
                "break_end": "End break",
                "fact_today_ms": "Today",
                "fact_working": "Working time",
                "yes": "running",
                "no": "stopped",
            },
        },
        keys=BOOKING_KINDS,
        figures=(Figure("at_ms", "time", named_by="kind"), Figure("today_ms", "duration"), Figure("working", "yes_no")),
        has_clock=True,
        card_alone=_alternating,
    ),
    "door": Face(
        words={
            "de": {
                "idle": "Bitte Karte vorhalten",
                "idle_detail": "Danach geben Sie hier Ihre PIN ein.",
                "away_detail": "Die Tür kann gerade nicht mit der Karte geöffnet werden.",
            },
            "en": {
                "idle": "Please present your card",
                "idle_detail": "Then enter your PIN here.",
                "away_detail": "The door cannot be opened with a card right now.",
            },
        },
    ),
    "canteen": Face(
        words={
            "de": {
                "idle": "Willkommen",
                "idle_detail": "Der Betrag erscheint hier, sobald die Kasse ihn nennt.",
                "away_detail": "Bezahlen mit der Karte ist gerade nicht möglich.",
                "fact_amount_cents": "Betrag",
                "fact_own_share_cents": "Ihr Anteil",
                "fact_balance_cents": "Guthaben",
            },
            "en": {
                "idle": "Welcome",
                "idle_detail": "The amount appears here as soon as the till names it.",
                "away_detail": "Paying by card is not possible right now.",
                "fact_amount_cents": "Amount",
                "fact_own_share_cents": "Your share",
                "fact_balance_cents": "Balance",
            },
        },
        figures=(
            Figure("amount_cents", "euros"),
            Figure("own_share_cents", "euros"),
            Figure("balance_cents", "euros"),
        ),
        asked=Figure("amount_cents", "euros"),
    ),
    "printer": Face(
        words={
            "de": {
                "idle": "Bitte Karte vorhalten",
                "idle_detail": "Ihre wartenden Druckaufträge werden dann ausgegeben.",
                "away_detail": "Drucken ist gerade nicht möglich.",
                "fact_released": "Ausgegeben",
                "fact_waiting": "Noch wartend",
            },
            "en": {
                "idle": "Please present your card",
                "idle_detail": "Your waiting print jobs will then come out.",
                "away_detail": "Printing is not possible right now.",
                "fact_released": "Printed",
                "fact_waiting": "Still waiting",
            },
        },
        figures=(Figure("released", "count"), Figure("waiting", "count")),
    ),
}
