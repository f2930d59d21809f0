# SPDX-License-Identifier: EUPL-1.2
"""One sentence per reason for the holder and one for the administrator, in German and English."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cardservice.access.rules import Reason


@dataclass(frozen=True, slots=True)
class Sentences:
    """What the holder reads at the reader, and what the administrator reads in the record."""

    holder_de: str
    holder_en: str
    admin_de: str
    admin_en: str


SENTENCES: Final[Mapping[Reason, Sentences]] = MappingProxyType(
    {
        Reason.GRANTED: Sentences(
            "Bitte eintreten.",
            "Please come in.",
            "Erlaubt.",
            "Permitted.",
        ),
        Reason.POINT_UNKNOWN: Sentences(
            "Dieser Leser ist nicht eingerichtet.",
            "This reader is not set up.",
            "Der Leser gehört zu keinem eingerichteten Punkt.",
            "The reader belongs to no configured point.",
        ),
        Reason.POINT_FOREIGN: Sentences(
            "Dieser Leser ist nicht eingerichtet.",
            "This reader is not set up.",
            "Der Agent ist für diesen Punkt nicht zuständig.",
            "The agent is not responsible for this point.",
        ),
        Reason.CARD_UNKNOWN: Sentences(
            "Diese Karte ist nicht registriert.",
            "This card is not registered.",
            "Die Karte ist echt, aber keiner Karte im Bestand zugeordnet.",
            "The card is genuine but belongs to no card on record.",
        ),
        Reason.CARD_UNSUPPORTED: Sentences(
            "Diese Karte gehört nicht zu diesem System.",
            "This card does not belong to this system.",
            "Die Karte trägt keine Anwendung, die dieser Punkt annimmt.",
            "The card carries no application that this point accepts.",
        ),
        Reason.CARD_NOT_GENUINE: Sentences(
            "Diese Karte wurde nicht anerkannt.",
            "This card was not accepted.",
            "Die Karte konnte ihren Schlüssel nicht nachweisen: möglicherweise eine Kopie.",
            "The card could not prove its key: possibly a copy.",
        ),
        Reason.CARD_GARBLED: Sentences(
            "Karte nicht lesbar. Bitte noch einmal vorhalten.",
            "Card not readable. Please try again.",
            "Die Karte antwortete nicht nach Norm.",
            "The card did not answer as the standard demands.",
        ),
        Reason.CARD_GONE: Sentences(
            "Zu kurz vorgehalten. Bitte noch einmal.",
            "Removed too soon. Please try again.",
            "Die Karte wurde während des Gesprächs entfernt.",
            "The card was removed during the conversation.",
        ),
        Reason.CARD_NOT_ISSUED: Sentences(
            "Diese Karte ist noch nicht ausgegeben.",
            "This card has not been issued yet.",
            "Die Karte ist noch nicht aktiv (Lager oder Herstellung).",
            "The card is not active yet (stock or production).",
        ),
        Reason.CARD_SUSPENDED: Sentences(
            "Diese Karte ist vorübergehend gesperrt. Bitte an die Kartenstelle wenden.",
            "This card is suspended. Please ask at the card desk.",
            "Die Karte ist vorübergehend gesperrt.",
            "The card is suspended.",
        ),
        Reason.CARD_REVOKED: Sentences(
            "Diese Karte ist gesperrt. Bitte an die Kartenstelle wenden.",
            "This card is blocked. Please ask at the card desk.",
            "Die Karte ist endgültig gesperrt.",
            "The card is revoked.",
        ),
        Reason.CARD_EXPIRED: Sentences(
            "Diese Karte ist abgelaufen. Bitte an die Kartenstelle wenden.",
            "This card has expired. Please ask at the card desk.",
            "Die Gültigkeit der Karte ist abgelaufen.",
            "The card's validity has ended.",
        ),
        Reason.CARD_NOT_YET_VALID: Sentences(
            "Diese Karte gilt noch nicht.",
            "This card is not valid yet.",
            "Die Gültigkeit der Karte beginnt später.",
            "The card's validity begins later.",
        ),
        Reason.CERTIFICATE_REFUSED: Sentences(
            "Diese Karte wurde nicht anerkannt.",
            "This card was not accepted.",
            "Das Zertifikat der Karte wurde abgelehnt.",
            "The card's certificate was refused.",
        ),
        Reason.NO_HOLDER: Sentences(
            "Diese Karte ist niemandem zugeordnet.",
            "This card is assigned to nobody.",
            "Die Karte hat keinen Inhaber.",
            "The card has no holder.",
        ),
        Reason.PERSON_DISABLED: Sentences(
            "Ihr Konto ist gesperrt. Bitte an die Personalstelle wenden.",
            "Your account is disabled. Please ask the personnel office.",
            "Das Konto ist im Verzeichnis deaktiviert.",
            "The account is disabled in the directory.",
        ),
        Reason.PERSON_LEFT: Sentences(
            "Diese Karte gilt nicht mehr.",
            "This card is no longer valid.",
            "Das Verzeichnis führt die Person nicht mehr.",
            "The directory no longer lists the person.",
        ),
        Reason.PERSON_EXPIRED: Sentences(
            "Ihr Konto ist abgelaufen. Bitte an die Personalstelle wenden.",
            "Your account has expired. Please ask the personnel office.",
            "Das Konto ist im Verzeichnis abgelaufen, oder die Zeit einer externen Person ist um.",
            "The account has expired in the directory, or the time of a person outside it is over.",
        ),
        Reason.PERSON_NOT_YET_VALID: Sentences(
            "Ihr Konto gilt noch nicht.",
            "Your account is not valid yet.",
            "Das Konto gilt laut Verzeichnis erst später.",
            "The account becomes valid later, says the directory.",
        ),
        Reason.NO_SPONSOR: Sentences(
            "Zurzeit ist hier niemand für Sie verantwortlich. Bitte an die Kartenstelle wenden.",
            "Nobody here answers for you at the moment. Please ask at the card desk.",
            "Wer für diese externe Person verantwortlich ist, ist ausgeschieden, gesperrt oder abgelaufen.",
            "Whoever answers for this person outside the directory has left it, is disabled or has expired.",
        ),
        Reason.PERSON_LOCKED_OUT: Sentences(
            "Ihr Konto ist nach falschen Passwörtern gesperrt. Bitte später versuchen oder die IT fragen.",
            "Your account is locked after wrong passwords. Please try later or ask the IT desk.",
            "Das Konto ist im Verzeichnis nach falschen Passwörtern gesperrt, und an diesem Punkt zählt das.",
            "The account is locked out in the directory after wrong passwords, which counts at this point.",
        ),
        Reason.DIRECTORY_STALE: Sentences(
            "Zurzeit nicht prüfbar. Bitte an die Pforte wenden.",
            "Cannot be checked at the moment. Please ask at the gate.",
            "Die Verzeichniskopie oder der Stand der Zentrale ist älter, als dieser Punkt erlaubt.",
            "The directory copy or the centre's own state is older than this point allows.",
        ),
        Reason.DIRECTORY_SILENT: Sentences(
            "Zurzeit nicht prüfbar. Bitte an die Pforte wenden.",
            "Cannot be checked at the moment. Please ask at the gate.",
            "Der Punkt verlangt eine Auskunft des Verzeichnisses selbst; es hat nicht rechtzeitig geantwortet.",
            "The point demands an answer of the directory itself; it did not answer in time.",
        ),
        Reason.BLOCKED: Sentences(
            "Hier ist Ihr Zutritt gesperrt.",
            "You are blocked from entering here.",
            "Eine Sperre gilt für diese Person oder eine ihrer Gruppen.",
            "A block names this person or one of their groups.",
        ),
        Reason.NO_GRANT: Sentences(
            "Sie haben hier keine Berechtigung.",
            "You have no permission here.",
            "Keine Freigabe nennt diese Person oder eine ihrer Gruppen.",
            "No grant names this person or one of their groups.",
        ),
        Reason.OUTSIDE_SCHEDULE: Sentences(
            "Jetzt ist hier kein Zutritt vorgesehen.",
            "You may not enter here at this time.",
            "Eine Freigabe besteht, aber nicht zu dieser Zeit.",
            "There is a grant, but not at this time.",
        ),
        Reason.LEVEL_TOO_LOW: Sentences(
            "Hier genügt die Karte allein nicht.",
            "The card alone is not enough here.",
            "Der Punkt verlangt einen stärkeren Nachweis.",
            "The point demands a stronger proof.",
        ),
        Reason.PIN_NEEDED: Sentences(
            "Hier wird die PIN gebraucht. Bitte Karte erneut vorhalten.",
            "The PIN is needed here. Please present your card again.",
            "Der Punkt verlangt die PIN, und es wurde rechtzeitig keine eingegeben.",
            "The point demands the PIN, and none was typed in time.",
        ),
        Reason.PIN_WRONG: Sentences(
            "Diese PIN stimmt nicht. Eine PIN vergibt die Ausgabestelle.",
            "This PIN is not right. The service desk issues PINs.",
            "Die eingegebene PIN ist nicht die des Inhabers, oder der Inhaber hat keine.",
            "The PIN that was typed is not the holder's, or the holder has none.",
        ),
        Reason.PIN_LOCKED: Sentences(
            "Zu viele falsche PINs. Bitte in fünf Minuten erneut versuchen.",
            "Too many wrong PINs. Please try again in five minutes.",
            "Nach drei falschen PINs mit dieser Karte wird fünf Minuten lang keine angenommen.",
            "After three wrong PINs with this card none is accepted for five minutes.",
        ),
        Reason.SECOND_PERSON_NEEDED: Sentences(
            "Hier müssen zwei Personen kommen. Bitte jetzt die zweite Karte vorhalten.",
            "Two people are needed here. Please present the second card now.",
            "Der Punkt verlangt zwei verschiedene Personen; dies war die erste.",
            "The point demands two different people; this was the first.",
        ),
        Reason.SAME_PERSON_TWICE: Sentences(
            "Die zweite Karte muss einer anderen Person gehören.",
            "The second card must belong to another person.",
            "Der Punkt verlangt zwei verschiedene Personen; beide Karten gehören derselben.",
            "The point demands two different people; both cards belong to the same one.",
        ),
        Reason.CLOCK_DOUBTFUL: Sentences(
            "Zurzeit nicht prüfbar. Bitte an die Pforte wenden.",
            "Cannot be checked at the moment. Please ask at the gate.",
            "Die Uhr der Zentrale liegt außerhalb der Zeit, für die die Zeitpläne berechnet sind.",
            "The centre's clock lies outside the time that the schedules were compiled for.",
        ),
        Reason.LOCKED_DOWN: Sentences(
            "Diese Tür ist zurzeit für alle gesperrt.",
            "This door is locked for everybody at the moment.",
            "Der Bereich ist verriegelt (Lockdown).",
            "The area is locked down.",
        ),
        Reason.OVERLOADED: Sentences(
            "Bitte gleich noch einmal versuchen.",
            "Please try again in a moment.",
            "Der Dienst konnte die Entscheidung nicht sicher aufzeichnen.",
            "The service could not record the decision durably.",
        ),
        Reason.UNSEEN_TAP: Sentences(
            "Diese Karte wurde nicht anerkannt.",
            "This card was not accepted.",
            "Der Agent meldet eine Buchung, die die Zentrale nie entschieden hat.",
            "The agent reports a tap that the centre never decided.",
        ),
    }
)
