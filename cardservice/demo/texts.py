# SPDX-License-Identifier: EUPL-1.2
"""The words of the demonstration's page, in German and English. Reasons come from the service itself."""

from typing import Final, TypedDict


class Texts(TypedDict):
    """Every text of the page."""

    title: str
    lead: str
    cards: str
    cards_hint: str
    doors: str
    may_pass: str
    people: str
    people_hint: str
    disabled: str
    enabled: str
    disable: str
    enable: str
    own_reader: str
    own_reader_hint: str
    last: str
    nothing_yet: str
    other_language: str
    other_code: str
    real: str
    in_process: str
    status: str
    js: dict[str, str]


TEXTS: Final[dict[str, Texts]] = {
    "de": {
        "title": "Eine Karte für die Stadt",
        "lead": "Wählen Sie links eine Karte und halten Sie sie an die Außen- oder Innenseite einer Tür.",
        "cards": "Karten",
        "cards_hint": "Diese Karte halten Sie in der Hand:",
        "doors": "Rathaus: acht Türen",
        "may_pass": "Freigegeben für",
        "people": "Verzeichnis (LDAP)",
        "people_hint": "Sperren Sie jemanden im Verzeichnis: Schon der nächste Versuch wird abgelehnt.",
        "disabled": "gesperrt",
        "enabled": "aktiv",
        "disable": "Sperren",
        "enable": "Entsperren",
        "own_reader": "Eigener Leser",
        "own_reader_hint": "Halten Sie eine echte Karte an den Leser dieses Rechners. Freigegeben für: Rathaus",
        "last": "Die letzten Vorgänge",
        "nothing_yet": "Noch keine Karte vorgehalten.",
        "other_language": "English",
        "other_code": "en",
        "real": "Echter pcscd",
        "in_process": "Karten im Prozess",
        "status": "Zustand",
        "js": {
            "waiting": "Karte wird gelesen …",
            "own_card": "Eigene Karte",
            "stages": "Was wie lange dauerte",
            "locked": "verriegelt",
            "released": "offen",
            "fault": "gestört",
            "no_connection": "Die Demonstration antwortet nicht. Läuft ./run noch?",
            "no_answer": "Keine Antwort von der Zentrale.",
            "card_gone": "Karte zu früh entfernt.",
            "late": "Antwort kam zu spät; nichts geöffnet.",
            "output_failed": "Die Tür reagiert nicht.",
            "level": "Nachweis",
            "reason": "Grund",
            "from_insert": "vom Vorhalten bis zur Entscheidung",
            "copy_age": "Verzeichniskopie: Alter",
            "ready": "bereit",
            "degraded": "eingeschränkt",
            "not_ready": "nicht bereit",
            "people": "Personen",
            "revision": "Stand",
            "stage_agent_card": "Karte",
            "stage_agent_pcsc_connect": "Leser",
            "stage_agent_centre": "Warten auf die Zentrale",
            "stage_agent_output": "Türöffner",
            "stage_agent_total": "Gesamt am Leser",
            "stage_centre_crypto": "Kryptographie",
            "stage_centre_relay": "Weg zur Karte",
            "stage_centre_decide": "Entscheidung",
            "stage_centre_journal": "Journal",
            "stage_centre_centre": "Gesamt in der Zentrale",
        },
    },
    "en": {
        "title": "One card for the city",
        "lead": "Choose a card on the left and hold it to the outside or the inside of a door.",
        "cards": "Cards",
        "cards_hint": "You hold this card in your hand:",
        "doors": "Town hall: eight doors",
        "may_pass": "Granted to",
        "people": "Directory (LDAP)",
        "people_hint": "Disable somebody in the directory: the very next tap is refused.",
        "disabled": "disabled",
        "enabled": "active",
        "disable": "Disable",
        "enable": "Enable",
        "own_reader": "Your own reader",
        "own_reader_hint": "Hold a real card to this machine's reader. Granted to: Rathaus",
        "last": "What happened last",
        "nothing_yet": "No card has been held to a reader yet.",
        "other_language": "Deutsch",
        "other_code": "de",
        "real": "Real pcscd",
        "in_process": "Cards in process",
        "status": "State",
        "js": {
            "waiting": "Reading the card …",
            "own_card": "Own card",
            "stages": "What took how long",
            "locked": "locked",
            "released": "open",
            "fault": "fault",
            "no_connection": "The demonstration does not answer. Is ./run still running?",
            "no_answer": "No answer from the centre.",
            "card_gone": "Card removed too soon.",
            "late": "The answer came too late; nothing opened.",
            "output_failed": "The door does not react.",
            "level": "Proof",
            "reason": "Reason",
            "from_insert": "from holding the card to the decision",
            "copy_age": "Directory copy: age",
            "ready": "ready",
            "degraded": "degraded",
            "not_ready": "not ready",
            "people": "people",
            "revision": "revision",
            "stage_agent_card": "Card",
            "stage_agent_pcsc_connect": "Reader",
            "stage_agent_centre": "Waiting for the centre",
            "stage_agent_output": "Strike",
            "stage_agent_total": "Total at the reader",
            "stage_centre_crypto": "Cryptography",
            "stage_centre_relay": "Way to the card",
            "stage_centre_decide": "Decision",
            "stage_centre_journal": "Journal",
            "stage_centre_centre": "Total at the centre",
        },
    },
}
