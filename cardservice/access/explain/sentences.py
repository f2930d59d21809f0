# SPDX-License-Identifier: EUPL-1.2
"""What a step found, in one German or English sentence. For administrators: people, groups and zones are named."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cardservice.access.explain.rules import Fact, Finding, Question, Said

Language = Literal["de", "en"]
_Words = Mapping[str, tuple[str, str]]

QUESTIONS: Final[Mapping[Question, tuple[str, str]]] = MappingProxyType(
    {
        Question.POINT: ("Punkt", "Point"),
        Question.CREDENTIAL: ("Nachweis", "Credential"),
        Question.CARD: ("Karte", "Card"),
        Question.HOLDER: ("Inhaber", "Holder"),
        Question.TIME: ("Gültigkeit", "Validity"),
        Question.FRESHNESS: ("Aktualität", "Freshness"),
        Question.LOCK_OUT: ("Kontosperre", "Lock-out"),
        Question.LOCKDOWN: ("Verriegelung", "Lockdown"),
        Question.CLOCK: ("Uhr", "Clock"),
        Question.BLOCK: ("Sperren", "Blocks"),
        Question.GRANT: ("Freigaben", "Grants"),
        Question.LEVEL: ("Nachweisstufe", "Level"),
        Question.PEOPLE: ("Personen", "People"),
    }
)

# What stands in braces is a fact, or one of the parts that `_parts` puts together.
TEMPLATES: Final[Mapping[Said, tuple[str, str]]] = MappingProxyType(
    {
        Said.POINT_FOUND: (
            "„{name}“ ({point}), {use_word}, Klasse „{point_class}“, Bereich {zones_inward}.",
            "“{name}” ({point}), {use_word}, class “{point_class}”, zone {zones_inward}.",
        ),
        Said.POINT_MISSING: ("Es gibt keinen Punkt „{point}“.", "There is no point “{point}”."),
        Said.CREDENTIAL_FITS: (
            "Die Karte {card} weist sich hier mit {method_word} aus.",
            "Card {card} proves itself here by {method_word}.",
        ),
        Said.CREDENTIAL_UNKNOWN: ("Der Nachweis gehört zu keiner Karte.", "The credential belongs to no card."),
        Said.CREDENTIAL_UNFIT: (
            "Die Karte {card} hätte {method_word}, danach fragt dieser Punkt nicht.",
            "Card {card} has {method_word}, which this point does not ask for.",
        ),
        Said.CARD_ACTIVE: ("Die Karte ist aktiv.", "The card is active."),
        Said.CARD_OUT_OF_USE: (
            "Die Karte ist nicht in Gebrauch: {state}{because}.",
            "The card is not in use: {state}{because}.",
        ),
        Said.CARD_SUSPENDED_UNTIL: (
            "Die Karte ist bis {suspended_until_ms} vorübergehend gesperrt{because}.",
            "The card is suspended until {suspended_until_ms}{because}.",
        ),
        Said.CARD_ACTIVE_AGAIN: (
            "Die Karte war bis {suspended_until_ms} vorübergehend gesperrt{because} und ist wieder aktiv.",
            "The card was suspended until {suspended_until_ms}{because} and is active again.",
        ),
        Said.HOLDER_IN_ORDER: (
            "{name}{login_part}, in {groups} Gruppen.",
            "{name}{login_part}, in {groups} groups.",
        ),
        Said.STAYS_IN_GROUP: (
            "Hat die Abteilung „{group}“ gewechselt und zählt dort noch bis {until_ms}.",
            "Has left the department “{group}” for another one and still counts in it until {until_ms}.",
        ),
        Said.NO_HOLDER: ("Die Karte hat keinen Inhaber.", "The card has no holder."),
        Said.HOLDER_LEFT: (
            "{name}{login_part}: Das Verzeichnis führt die Person nicht mehr.",
            "{name}{login_part}: the directory no longer lists them.",
        ),
        Said.HOLDER_DISABLED: (
            "{name}{login_part}: Das Konto ist im Verzeichnis deaktiviert.",
            "{name}{login_part}: the account is disabled in the directory.",
        ),
        Said.OUTSIDER_IN_ORDER: (
            "{name}, in keinem Verzeichnis geführt, in {groups} eigenen Gruppen.",
            "{name}, in no directory, in {groups} groups of the service's own.",
        ),
        Said.OUTSIDER_ENDED: (
            "Die externe Person ist nicht mehr hier, ihr Name ist gelöscht.",
            "The person outside the directory is gone, their name is erased.",
        ),
        Said.SPONSOR_ANSWERS: (
            "Verantwortlich ist {name}{login_part}.",
            "{name}{login_part} answers for them.",
        ),
        Said.SPONSOR_LEFT: (
            "Verantwortlich ist {name}{login_part}, im Verzeichnis nicht mehr geführt: Jemand anderes muss übernehmen.",
            "{name}{login_part} answers for them, whom the directory no longer lists: somebody else has to take over.",
        ),
        Said.SPONSOR_DISABLED: (
            "Verantwortlich ist {name}{login_part}, im Verzeichnis deaktiviert: Jemand anderes muss übernehmen.",
            "{name}{login_part} answers for them, who is disabled in the directory: somebody else has to take over.",
        ),
        Said.BEGAN: ("{whose_word}: gültig seit {bound_ms}.", "{whose_word}: valid since {bound_ms}."),
        Said.BEGINS_LATER: ("{whose_word}: gültig erst ab {bound_ms}.", "{whose_word}: valid only from {bound_ms}."),
        Said.ENDS_LATER: ("{whose_word}: gültig bis {bound_ms}.", "{whose_word}: valid until {bound_ms}."),
        Said.ENDED: ("{whose_word}: gültig nur bis {bound_ms}.", "{whose_word}: was valid until {bound_ms}."),
        Said.NO_BOUNDS: ("Weder Karte noch Konto sind befristet.", "Neither card nor account is limited in time."),
        Said.COPY_FRESH: (
            "Das Verzeichnis wurde vor {age_s} s als aktuell bestätigt, erlaubt sind {bound_s} s.",
            "The directory was proved current {age_s} s ago, {bound_s} s are allowed.",
        ),
        Said.KEPT_HERE: (
            "Der Dienst führt die Person selbst: Auf das Verzeichnis kommt es nicht an.",
            "The service itself keeps the person: no directory has to be current.",
        ),
        Said.COPY_NEVER_PROVED: (
            "Die Kopie des Verzeichnisses wurde nie als aktuell bestätigt.",
            "The directory's copy was never proved current.",
        ),
        Said.COPY_STALE: (
            "Das Verzeichnis wurde vor {age_s} s zuletzt als aktuell bestätigt, erlaubt sind {bound_s} s.",
            "The directory was last proved current {age_s} s ago, {bound_s} s are allowed.",
        ),
        Said.STALE_PERMITTED: (
            "Die Klasse erlaubt den Zutritt auch dann.",
            "The class permits even then.",
        ),
        Said.ASKED_LIVE: (
            "Vor jeder Erlaubnis wird das Verzeichnis selbst gefragt; diese Erklärung fragt es nicht.",
            "Before every permit the directory itself is asked; this explanation does not ask it.",
        ),
        Said.NOT_LOCKED_OUT: (
            "Das Konto ist nicht wegen falscher Passwörter gesperrt.",
            "The account is not locked out after wrong passwords.",
        ),
        Said.LOCKED_OUT: (
            "Das Konto ist nach falschen Passwörtern gesperrt, solange das Verzeichnis es meldet.",
            "The account is locked out after wrong passwords, for as long as the directory says so.",
        ),
        Said.LOCKED_OUT_UNTIL: (
            "Das Konto ist nach falschen Passwörtern bis {locked_until_ms} gesperrt.",
            "The account is locked out after wrong passwords until {locked_until_ms}.",
        ),
        Said.LOCK_OUT_PASSES: (
            "Bei dieser Nutzung ({use_word}) zählt das nicht.",
            "At this use ({use_word}) that does not count.",
        ),
        Said.NO_LOCKDOWN: ("Keine Verriegelung betrifft den Punkt.", "No lockdown concerns the point."),
        Said.LOCKDOWN: (
            "Der Bereich „{zone}“ ist seit {since_ms} verriegelt; {passing}.",
            "The zone “{zone}” is locked down since {since_ms}; {passing}.",
        ),
        Said.LOCKDOWN_PASSING: (
            "Der Bereich „{zone}“ ist seit {since_ms} verriegelt; als Mitglied von „{group}“{via_part} erlaubt.",
            "The zone “{zone}” is locked down since {since_ms}; the person passes with the group “{group}”{via_part}.",
        ),
        Said.DOOR_LOCKED: (
            "Die Tür selbst ist seit {since_ms} verriegelt; {passing}.",
            "The door itself is locked down since {since_ms}; {passing}.",
        ),
        Said.DOOR_LOCKED_PASSING: (
            "Die Tür selbst ist seit {since_ms} verriegelt; als Mitglied von „{group}“{via_part} erlaubt.",
            "The door itself is locked down since {since_ms}; the person passes with the group “{group}”{via_part}.",
        ),
        Said.LOCKDOWNS_DIFFER: (
            "Mehrere Verriegelungen lassen verschiedene Gruppen hindurch, zusammen also niemanden.",
            "Several lockdowns let different groups pass, together nobody.",
        ),
        Said.ESCAPE_ROUTE: (
            "Die Tür liegt in einem Fluchtweg: Sie wird nie verriegelt.",
            "The door is on an escape route: it is never locked down.",
        ),
        Said.CLOCK_BELIEVED: (
            "Die Zeitpläne sind für diese Zeit berechnet.",
            "Schedules are worked out for this time.",
        ),
        Said.CLOCK_DOUBTFUL: (
            "Sperren oder Stufen hängen hier von der Zeit ab, berechnet sind sie nur von {from_ms} bis {until_ms}.",
            "Blocks or levels depend on the time here, and are worked out from {from_ms} to {until_ms} only.",
        ),
        Said.NO_BLOCK: ("Keine Sperre nennt die Person.", "No block names the person."),
        Said.BLOCK_HOLDS: (
            "Sperre {who} {where}, {hours}{bounds}: gilt{until_change}.",
            "Block of {who} {where}, {hours}{bounds}: holds{until_change}.",
        ),
        Said.BLOCK_LATER: (
            "Sperre {who} {where}, {hours}{bounds}: gilt wieder ab {change_ms}.",
            "Block of {who} {where}, {hours}{bounds}: holds next from {change_ms}.",
        ),
        Said.BLOCK_OVER: (
            "Sperre {who} {where}, {hours}{bounds}: gilt nicht und in absehbarer Zeit nicht wieder.",
            "Block of {who} {where}, {hours}{bounds}: does not hold, nor in the foreseeable time.",
        ),
        Said.NO_GRANT: ("Keine Freigabe nennt die Person.", "No grant names the person."),
        Said.GRANT_HOLDS: (
            "Freigabe {who} {where}, {hours}{bounds}: gilt{until_change}.",
            "Grant to {who} {where}, {hours}{bounds}: holds{until_change}.",
        ),
        Said.GRANT_LATER: (
            "Freigabe {who} {where}, {hours}{bounds}: gilt jetzt nicht, wieder ab {change_ms}.",
            "Grant to {who} {where}, {hours}{bounds}: does not hold now, next from {change_ms}.",
        ),
        Said.GRANT_OVER: (
            "Freigabe {who} {where}, {hours}{bounds}: gilt nicht und in absehbarer Zeit nicht wieder.",
            "Grant to {who} {where}, {hours}{bounds}: does not hold, nor in the foreseeable time.",
        ),
        Said.CLASS_LEVEL: (
            "Die Klasse „{point_class}“ verlangt {level_word}.",
            "The class “{point_class}” demands {level_word}.",
        ),
        Said.CLASS_LEVEL_REPLACED: (
            "Die Klasse „{point_class}“ verlangt sonst {level_word}; jetzt gilt ein Zeitplan.",
            "The class “{point_class}” demands {level_word} otherwise; now a schedule holds.",
        ),
        Said.DEMAND_HOLDS: (
            "Im Zeitplan „{schedule}“ verlangt sie {level_word} und {people} Person(en): gilt{until_change}.",
            "In the schedule “{schedule}” it demands {level_word} and {people} person(s): holds{until_change}.",
        ),
        Said.DEMAND_LATER: (
            "Im Zeitplan „{schedule}“ verlangt sie {level_word} und {people} Person(en): wieder ab {change_ms}.",
            "In the schedule “{schedule}” it demands {level_word} and {people} person(s): next from {change_ms}.",
        ),
        Said.DEMAND_OVER: (
            "Im Zeitplan „{schedule}“ verlangt sie {level_word} und {people} Person(en): in absehbarer Zeit nicht.",
            "In the schedule “{schedule}” it demands {level_word} and {people} person(s): not in the foreseeable time.",
        ),
        Said.ZONE_LEVEL: (
            "Der Bereich „{zone}“ verlangt mindestens {level_word}.",
            "The zone “{zone}” demands at least {level_word}.",
        ),
        Said.EXCEPTION_HOLDS: (
            "Der Punkt darf bis {until_ms} weniger verlangen als sein Bereich: {why}.",
            "Until {until_ms} the point may demand less than its zone: {why}.",
        ),
        Said.EXCEPTION_ENDED: (
            "Die Ausnahme des Punktes endete am {until_ms}: {why}.",
            "The point's exception ended {until_ms}: {why}.",
        ),
        Said.PROVED: (
            "Nachgewiesen ist {proved_word}, nötig ist {demanded_word}.",
            "Proved is {proved_word}, needed is {demanded_word}.",
        ),
        Said.ONE_PERSON: ("Eine Person genügt.", "One person is enough."),
        Said.FIRST_OF_TWO: (
            "Zwei Personen sind nötig; dies ist die erste, die zweite hat {within_s} s.",
            "Two people are needed; this is the first, the second has {within_s} s.",
        ),
        Said.SAME_PERSON: (
            "Zwei Personen sind nötig, beide Karten gehören derselben.",
            "Two people are needed, both cards belong to the same one.",
        ),
        Said.SECOND_OF_TWO: (
            "Zwei Personen sind nötig; dies ist die zweite.",
            "Two people are needed; this is the second.",
        ),
    }
)

_USES: Final[_Words] = {
    "door": ("Tür", "door"),
    "workstation": ("PC-Arbeitsplatz", "workstation"),
    "timeclock": ("Zeiterfassung", "time clock"),
    "printer": ("Drucker", "printer"),
    "canteen": ("Kantine", "canteen"),
}
_LEVELS: Final[_Words] = {
    "none": ("keinen Nachweis", "no proof"),
    "uid": ("die Seriennummer", "the serial number"),
    "reader_attested": ("eine vom Leser bestätigte Nummer", "a number attested by the reader"),
    "card": ("die echte Karte", "the genuine card"),
    "card_pin": ("Karte und PIN", "card and PIN"),
}
_METHODS: Final[_Words] = {
    "desfire": ("ihrer Nummer", "its number"),
    "piv": ("ihrem PIV-Zertifikat", "its PIV certificate"),
}
_WHOSE: Final[_Words] = {
    "card": ("Karte", "Card"),
    "person": ("Konto", "Account"),
    "outsider": ("Externe Person", "Person outside the directory"),
    "sponsor": ("Verantwortliche Person", "Whoever answers for them"),
}
# Beyond these years nobody reads a calendar.
_LAST_MS: Final = 253_370_764_800_000
_FORMATS: Final = {"de": "%d.%m.%Y %H:%M", "en": "%Y-%m-%d %H:%M"}


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes sentences in one language; instants as a clock in `time_zone` shows them."""

    language: Language
    time_zone: str

    def sentence(self, finding: Finding) -> str:
        """Return what was found as one sentence."""
        facts = {name: _printable(value) for name, value in finding.facts.items()}
        shown = {name: self._shown(name, value) for name, value in facts.items()}
        return self.choose(TEMPLATES[finding.said]).format_map(shown | self._parts(facts))

    def choose(self, words: tuple[str, str]) -> str:
        """Return the word of the two, German and English, that is of this language."""
        return words[self.language == "en"]

    def instant(self, at_ms: int) -> str:
        """Return an instant as people read it."""
        if not 0 <= at_ms < _LAST_MS:
            return f"{at_ms} ms"
        return datetime.fromtimestamp(at_ms / 1_000, ZoneInfo(self.time_zone)).strftime(_FORMATS[self.language])

    def _shown(self, name: str, value: Fact) -> str:
        if name.endswith("_ms") and isinstance(value, int):
            return self.instant(value)
        return ", ".join(value) if isinstance(value, tuple) else str(value)

    def _parts(self, facts: Mapping[str, Fact]) -> dict[str, str]:
        """Return the parts of sentences that depend on whether a fact is there."""
        parts = {
            f"{name}_word": self.choose(_word(name, value)) for name, value in facts.items() if _is_word(name, value)
        }
        if "login" in facts:
            parts["login_part"] = f" ({facts['login']})" if facts["login"] else ""
        if "state_reason" in facts:
            parts["because"] = f" ({facts['state_reason']})" if facts["state_reason"] else ""
        if "change_ms" in facts:
            parts["until_change"] = self._until(" bis {}", " until {}", facts["change_ms"])
        if "via" in facts:
            parts["via_part"] = self._via(facts["via"])
        if "since_ms" in facts:
            parts["passing"] = self._passing(facts["group"])
        if "zones" in facts and isinstance(facts["zones"], tuple):
            parts["zones_inward"] = self._chain(tuple(reversed(facts["zones"])))
        if "target_kind" in facts:
            parts |= self._rule(facts)
        return parts

    def _until(self, german: str, english: str, at_ms: Fact) -> str:
        return self.choose((german, english)).format(self.instant(at_ms)) if isinstance(at_ms, int) else ""

    def _via(self, via: Fact) -> str:
        if not via or not isinstance(via, tuple):
            return ""
        return self.choose((" (über {})", " (through {})")).format(self._chain(via))

    def _chain(self, names: tuple[str, ...]) -> str:
        return " → ".join(self.choose(("„{}“", "“{}”")).format(name) for name in names)

    def _passing(self, group: Fact) -> str:
        if group is None:
            return self.choose(("niemand darf hindurch", "nobody may pass"))
        return self.choose(("nur die Gruppe „{}“ darf hindurch", "only the group “{}” may pass")).format(group)

    def _rule(self, facts: Mapping[str, Fact]) -> dict[str, str]:
        group, kind, target = facts["group"], facts["target_kind"], str(facts["target"])
        if kind == "use":
            target = self.choose(_USES.get(target, (target, target)))
        where = {
            "point": ("am Punkt „{}“", "at the point “{}”"),
            "zone": ("im Bereich „{}“", "in the zone “{}”"),
            "use": ("bei jeder Nutzung {}", "at every {}"),
        }[str(kind)]
        who = (
            ("der Gruppe „{}“", "the group “{}”")
            if group is not None
            else ("der Person selbst", "the person themselves")
        )
        hours = ("jederzeit", "at any time") if facts["schedule"] is None else ("Zeitplan „{}“", "schedule “{}”")
        return {
            "who": self.choose(who).format(group) + self._via(facts["via"]),
            "where": self.choose(where).format(target),
            "hours": self.choose(hours).format(facts["schedule"]),
            "bounds": self._until(", ab {}", ", from {}", facts["from_ms"])
            + self._until(", bis vor {}", ", until {}", facts["until_ms"]),
        }


_WORDS: Final[Mapping[str, _Words]] = {
    "use": _USES,
    "level": _LEVELS,
    "proved": _LEVELS,
    "demanded": _LEVELS,
    "method": _METHODS,
    "whose": _WHOSE,
}


def _printable(value: Fact) -> Fact:
    """Return a fact that may be shown on any terminal: names are what a directory sent."""
    if isinstance(value, tuple):
        return tuple(str(_printable(one)) for one in value)
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in value)


def _is_word(name: str, value: Fact) -> bool:
    return name in _WORDS and value in _WORDS[name]


def _word(name: str, value: Fact) -> tuple[str, str]:
    return _WORDS[name][str(value)]
