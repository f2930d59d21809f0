# SPDX-License-Identifier: EUPL-1.2
"""What every kiosk page says by itself, in both languages.

A use brings words of its own (`faces.py`); prompts and answers come from the centre.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

Language = Literal["de", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
Words = Mapping[str, str]

FRAME: Final[Mapping[Language, Words]] = {
    "de": {
        "other_language": "English",
        "other_language_code": "en",
        "cancel": "Abbrechen",
        "chosen": "Jetzt Karte vorhalten.",
        "pin": "Bitte PIN eingeben",
        "pin_detail": "Dann OK drücken. Die Karte können Sie wieder einstecken.",
        "checking": "Einen Moment bitte",
        "pin_rub": "Löschen",
        "pin_send": "OK",
        "pin_digits": "Ziffern eingegeben",
        "reading": "Karte wird gelesen",
        "reading_detail": "Bitte halten Sie die Karte ruhig.",
        "gone": "Dieses Terminal ist gerade nicht bereit.",
        "gone_detail": "Es meldet sich von selbst zurück.",
        "away": "Die Zentrale ist nicht erreichbar.",
        "yes": "ja",
        "no": "nein",
        "o_clock": "Uhr",
        "hours": "Std.",
        "minutes": "Min.",
    },
    "en": {
        "other_language": "Deutsch",
        "other_language_code": "de",
        "cancel": "Cancel",
        "chosen": "Now present your card.",
        "pin": "Please enter your PIN",
        "pin_detail": "Then press OK. You may put your card away.",
        "checking": "One moment, please",
        "pin_rub": "Delete",
        "pin_send": "OK",
        "pin_digits": "digits entered",
        "reading": "Reading your card",
        "reading_detail": "Please hold the card still.",
        "gone": "This terminal is not ready right now.",
        "gone_detail": "It will come back by itself.",
        "away": "The central service cannot be reached.",
        "yes": "yes",
        "no": "no",
        "o_clock": "",
        "hours": "h",
        "minutes": "min",
    },
}
