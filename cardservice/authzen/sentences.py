# SPDX-License-Identifier: EUPL-1.2
"""Why nothing could be decided at all, for whoever asks and for administrators, in German and English. Pure."""

from collections.abc import Mapping
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from cardservice.access.sentences import Sentences


@unique
class Unknown(StrEnum):
    """What of a question means nothing here; beside the reasons of a decision."""

    RESOURCE = "resource_unknown"
    ACTION = "action_unknown"
    SUBJECT = "subject_unknown"
    NO_CARD = "no_card"


UNKNOWN: Final[Mapping[Unknown, Sentences]] = MappingProxyType(
    {
        Unknown.RESOURCE: Sentences(
            "Das gibt es hier nicht.",
            "There is no such thing here.",
            "Als Ressource ist nur ein Punkt bekannt: type „point“, id ist sein Kürzel.",
            "The only resources are points: type “point”, id is the code.",
        ),
        Unknown.ACTION: Sentences(
            "Das ist hier nicht möglich.",
            "This cannot be done here.",
            "An Punkten dieser Nutzung gibt es diese Aktion nicht; „pass“ gilt überall.",
            "Points of this use have no such action; “pass” counts everywhere.",
        ),
        Unknown.SUBJECT: Sentences(
            "Hier unbekannt.",
            "Not known here.",
            "Niemand im Verzeichnis und keine Karte heißt so, oder zwei Personen haben diese Anmeldung.",
            "Nobody in the directory and no card is called that, or two people have this login.",
        ),
        Unknown.NO_CARD: Sentences(
            "Sie haben keine Karte.",
            "You have no card.",
            "Die Person hat keine Karte.",
            "The person has no card.",
        ),
    }
)
