# SPDX-License-Identifier: EUPL-1.2
"""What a kiosk page says by itself, in both languages; prompts and answers come from the centre."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

Language = Literal["de", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
Words = Mapping[str, str]

_GERMAN: Final[Words] = {
    "other_language": "English",
    "other_language_code": "en",
    "in": "Kommen",
    "out": "Gehen",
    "break_start": "Pause Beginn",
    "break_end": "Pause Ende",
    "keys": "Buchung wählen",
    "cancel": "Abbrechen",
    "chosen": "Jetzt Karte vorhalten.",
    "pin": "Bitte PIN eingeben",
    "pin_detail": "Die Karte können Sie wieder einstecken.",
    "pin_rub": "Löschen",
    "pin_send": "OK",
    "pin_digits": "Ziffern eingegeben",
    "reading": "Karte wird gelesen",
    "reading_detail": "Bitte halten Sie die Karte ruhig.",
    "gone": "Dieses Terminal ist gerade nicht bereit.",
    "gone_detail": "Es meldet sich von selbst zurück.",
    "away": "Die Zentrale ist nicht erreichbar.",
    "yes": "läuft",
    "no": "angehalten",
    "o_clock": "Uhr",
    "hours": "Std.",
    "minutes": "Min.",
    "fact_today_ms": "Heute",
    "fact_working": "Arbeitszeit",
    "fact_amount_cents": "Betrag",
    "fact_own_share_cents": "Ihr Anteil",
    "fact_balance_cents": "Guthaben",
    "fact_released": "Ausgegeben",
    "fact_waiting": "Noch wartend",
}
_ENGLISH: Final[Words] = {
    "other_language": "Deutsch",
    "other_language_code": "de",
    "in": "Arrive",
    "out": "Leave",
    "break_start": "Start break",
    "break_end": "End break",
    "keys": "Choose a booking",
    "cancel": "Cancel",
    "chosen": "Now present your card.",
    "pin": "Please enter your PIN",
    "pin_detail": "You may put your card away.",
    "pin_rub": "Delete",
    "pin_send": "OK",
    "pin_digits": "digits entered",
    "reading": "Reading your card",
    "reading_detail": "Please hold the card still.",
    "gone": "This terminal is not ready right now.",
    "gone_detail": "It will come back by itself.",
    "away": "The central service cannot be reached.",
    "yes": "running",
    "no": "stopped",
    "o_clock": "",
    "hours": "h",
    "minutes": "min",
    "fact_today_ms": "Today",
    "fact_working": "Working time",
    "fact_amount_cents": "Amount",
    "fact_own_share_cents": "Your share",
    "fact_balance_cents": "Balance",
    "fact_released": "Printed",
    "fact_waiting": "Still waiting",
}
# By use, and these are all that have a screen: what stands there while nobody is there, and what is not possible while
# the centre is away.
OF_USE: Final[Mapping[str, Mapping[str, Words]]] = {
    "timeclock": {
        "de": {
            "idle": "Bitte Buchung wählen",
            "idle_detail": "Danach halten Sie Ihre Karte vor den Leser.",
            "alone": "Bitte Karte vorhalten",
            "alone_detail": "Kommen und Gehen wechseln sich ab. Oder wählen Sie vorher eine Taste.",
            "away_detail": "Buchen ist gerade nicht möglich.",
        },
        "en": {
            "idle": "Please choose a booking",
            "idle_detail": "Then hold your card to the reader.",
            "alone": "Please present your card",
            "alone_detail": "Arriving and leaving alternate. Or choose a key first.",
            "away_detail": "Booking is not possible right now.",
        },
    },
    "door": {
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
    "canteen": {
        "de": {
            "idle": "Willkommen",
            "idle_detail": "Der Betrag erscheint hier, sobald die Kasse ihn nennt.",
            "away_detail": "Bezahlen mit der Karte ist gerade nicht möglich.",
        },
        "en": {
            "idle": "Welcome",
            "idle_detail": "The amount appears here as soon as the till names it.",
            "away_detail": "Paying by card is not possible right now.",
        },
    },
    "printer": {
        "de": {
            "idle": "Bitte Karte vorhalten",
            "idle_detail": "Ihre wartenden Druckaufträge werden dann ausgegeben.",
            "away_detail": "Drucken ist gerade nicht möglich.",
        },
        "en": {
            "idle": "Please present your card",
            "idle_detail": "Your waiting print jobs will then come out.",
            "away_detail": "Printing is not possible right now.",
        },
    },
}


def words(use: str) -> dict[str, dict[str, str]]:
    """Return everything a page of this use says by itself, by language and name."""
    own = OF_USE[use]
    return {"de": {**_GERMAN, **own["de"]}, "en": {**_ENGLISH, **own["en"]}}
