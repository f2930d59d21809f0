# SPDX-License-Identifier: EUPL-1.2
"""Which waiting documents a tap releases, and what the person is told. Pure: no clock, no spooler."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cardservice.access.options.rules import LANGUAGE, Option, Options, require
from cardservice.printing.ports import HeldJob, PrinterState


class Code(StrEnum):
    """How a tap at a printer ended; closed."""

    RELEASED = "released"
    NOTHING_WAITING = "nothing_waiting"
    PRINTER_ERROR = "printer_error"
    SPOOLER_DOWN = "spooler_down"
    PARTLY = "partly"


# IPP keywords (RFC 8011 section 5.4.12, PWG 5100.9) with what the person reads; the severity at their end is taken off.
REASONS: Final[Mapping[str, tuple[str, str]]] = {
    "cover-open": ("Klappe offen", "cover open"),
    "door-open": ("Klappe offen", "door open"),
    "interlock-open": ("Klappe offen", "cover open"),
    "fuser-over-temp": ("Gerät zu heiß", "device too hot"),
    "input-tray-missing": ("Papierfach fehlt", "paper tray missing"),
    "marker-supply-empty": ("Toner leer", "toner empty"),
    "marker-waste-full": ("Resttonerbehälter voll", "waste toner full"),
    "media-empty": ("Papier leer", "out of paper"),
    "media-jam": ("Papierstau", "paper jam"),
    "media-needed": ("Papier fehlt", "paper needed"),
    "not-configured": ("nicht eingerichtet", "not set up"),
    "offline": ("nicht erreichbar", "not reachable"),
    "output-area-full": ("Ausgabefach voll", "output tray full"),
    "paused": ("angehalten", "paused"),
    "shutdown": ("ausgeschaltet", "switched off"),
    "timed-out": ("antwortet nicht", "does not answer"),
    "toner-empty": ("Toner leer", "toner empty"),
}
_STOPPED: Final = ("angehalten", "stopped")
_NOT_ACCEPTING: Final = ("nimmt keine Aufträge an", "takes no jobs")
_UNNAMED: Final = ("Störung", "fault")
_SEVERITIES: Final = ("error", "warning", "report")


def troubles(state: PrinterState) -> tuple[str, ...]:
    """Return the reasons for which nothing can be printed there now; without their severity."""
    found = []
    for reason in state.reasons:
        keyword, severity = _split(reason)
        if severity == "error" or (severity == "" and keyword in REASONS) or keyword == "offline":
            found.append(keyword)
    return tuple(found)


def _split(reason: str) -> tuple[str, str]:
    keyword, _, severity = reason.rpartition("-")
    return (keyword, severity) if severity in _SEVERITIES and keyword else (reason, "")


def is_ready(state: PrinterState) -> bool:
    """Tell whether a document released to this printer would be printed now."""
    return state.accepting and state.condition != "stopped" and not troubles(state)


def released_by(jobs: Sequence[HeldJob], owner: str) -> tuple[HeldJob, ...]:
    """Return what a tap of `owner` releases: all that waits for them."""
    # The spooler was asked for the owner's alone; that it kept to it is checked once more here.
    return tuple(job for job in jobs if job.owner == owner)


SPOOLER_DOWN: Final = (
    "Das Drucksystem antwortet nicht. Ihre Dokumente warten weiter, bitte versuchen Sie es später noch einmal.",
    "The print system does not answer. Your documents still wait, please try again later.",
)
# What is said has at most 200 characters on its way to the terminal, whatever a printer is called and complains of.
_MAX_NAME_SAID: Final = 38
_MAX_REASONS_SAID: Final = 2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the documents a tap was to release: printed, gone meanwhile, or waiting on (and why)."""

    released: int = 0
    waiting: int = 0
    printer_refused: bool = False

    @property
    def code(self) -> Code:
        """How the tap ended."""
        if self.waiting == 0:
            return Code.RELEASED if self.released else Code.NOTHING_WAITING
        if self.released:
            return Code.PARTLY
        return Code.PRINTER_ERROR if self.printer_refused else Code.SPOOLER_DOWN


def trouble_sentence(state: PrinterState, another: str | None) -> tuple[str, str]:
    """Say which printer does not print and why, and which other one does; German and English."""
    said = [REASONS.get(reason, _UNNAMED) for reason in troubles(state)]
    if not said:
        said = [_STOPPED if state.condition == "stopped" else _NOT_ACCEPTING]
    german, english = (_reasons(words) for words in zip(*said, strict=True))
    name, other = _short(state.name), _short(another or "")
    elsewhere = (f" Bitte nehmen Sie {other}.", f" Please use {other}.") if other else ("", "")
    return (
        f"Der Drucker {name} druckt nicht ({german}). Ihre Dokumente warten weiter.{elsewhere[0]}",
        f"Printer {name} does not print ({english}). Your documents still wait.{elsewhere[1]}",
    )


def _reasons(words: Sequence[str]) -> str:
    return ", ".join(tuple(dict.fromkeys(words))[:_MAX_REASONS_SAID])


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME_SAID else f"{name[: _MAX_NAME_SAID - 1]}…"


def sentence(outcome: Outcome, printer: str) -> tuple[str, str]:
    """Say how the tap ended at a printer that was ready; German and English."""
    gone, left = outcome.released, outcome.waiting
    match outcome.code:
        case Code.RELEASED if gone == 1:
            return "Ein Dokument wird gedruckt.", "One document is being printed."
        case Code.RELEASED:
            return f"{gone} Dokumente werden gedruckt.", f"{gone} documents are being printed."
        case Code.PARTLY:
            return (
                f"{gone} von {gone + left} Dokumenten {'wird' if gone == 1 else 'werden'} gedruckt, {left} "
                + ("wartet weiter." if left == 1 else "warten weiter."),
                f"{gone} of {gone + left} documents {'is' if gone == 1 else 'are'} being printed, {left} "
                + ("still waits." if left == 1 else "still wait."),
            )
        case Code.PRINTER_ERROR:
            return (
                f"Der Drucker {_short(printer)} nimmt nichts an. Ihre Dokumente warten weiter.",
                f"Printer {_short(printer)} takes nothing. Your documents still wait.",
            )
        case Code.SPOOLER_DOWN:
            return SPOOLER_DOWN
        case Code.NOTHING_WAITING:
            return "Für Sie wartet kein Dokument.", "No document waits for you."


# Of a printer's reader: the queue of the printer beside it, the language of its screen.
OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {
        "printer": Option("the name of a queue", lambda value: isinstance(value, str) and value != ""),
        "language": LANGUAGE,
    }
)


def printer_of(options: Options) -> str | None:
    """Return the queue of the printer beside a reader, None if nobody has said which."""
    printer = options.get("printer")
    return printer if isinstance(printer, str) and printer else None


def check_options(options: Options) -> None:
    """Refuse options a printer's reader does not have, and a reader without a printer.

    Raises:
        ValueError: names the option and what is allowed.
    """
    require(options, OPTIONS)
    if "printer" not in options:
        raise ValueError("option printer: is missing; it names the queue of the printer beside this reader")
