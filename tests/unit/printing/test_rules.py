# SPDX-License-Identifier: EUPL-1.2
"""What a tap at a printer releases, and what the person reads."""

import itertools

import pytest

from cardservice.agents.messages import Sentence
from cardservice.printing.ports import HeldJob, PrinterState
from cardservice.printing.rules import (
    REASONS,
    Code,
    Outcome,
    is_ready,
    released_by,
    sentence,
    trouble_sentence,
    troubles,
)

LONGEST_NAME = "n" * 127


def job(number: int, owner: str) -> HeldJob:
    return HeldJob(number, "Titel", owner, 0)


def test_a_tap_releases_what_is_the_holders():
    """Also where the spooler has listed too much."""
    jobs = [job(1, "anna"), job(2, "bernd"), job(3, "anna")]
    assert [one.number for one in released_by(jobs, "anna")] == [1, 3]
    assert released_by(jobs, "") == ()


@pytest.mark.parametrize(
    ("reason", "trouble"),
    [
        ("media-empty", "media-empty"),
        ("media-empty-error", "media-empty"),
        ("offline-report", "offline"),
        ("something-new-error", "something-new"),
        ("marker-supply-low-warning", None),
        ("media-empty-warning", None),
        ("media-low", None),
        ("cups-waiting-for-job-completed", None),
        ("spool-area-full-report", None),
        ("error", None),
    ],
)
def test_only_errors_keep_a_printer_from_printing(reason, trouble):
    """Keywords with their severity (RFC 8011 section 5.4.12); without one, those that stop every printer."""
    state = PrinterState("mfp1", "idle", accepting=True, reasons=(reason,))
    assert troubles(state) == ((trouble,) if trouble else ())
    assert is_ready(state) is (trouble is None)


def test_a_printer_that_prints_is_ready():
    assert is_ready(PrinterState("mfp1", "printing", accepting=True))


def test_a_printer_that_is_stopped_or_takes_nothing_is_not():
    assert not is_ready(PrinterState("mfp1", "stopped", accepting=True))
    assert not is_ready(PrinterState("mfp1", "idle", accepting=False))


@pytest.mark.parametrize(
    ("outcome", "code", "german"),
    [
        (Outcome(), Code.NOTHING_WAITING, "Für Sie wartet kein Dokument."),
        (Outcome(1), Code.RELEASED, "Ein Dokument wird gedruckt."),
        (Outcome(3), Code.RELEASED, "3 Dokumente werden gedruckt."),
        (Outcome(1, 1), Code.PARTLY, "1 von 2 Dokumenten wird gedruckt, 1 wartet weiter."),
        (Outcome(2, 2, printer_refused=True), Code.PARTLY, "2 von 4 Dokumenten werden gedruckt, 2 warten weiter."),
        (
            Outcome(0, 2, printer_refused=True),
            Code.PRINTER_ERROR,
            "Der Drucker mfp1 nimmt nichts an. Ihre Dokumente warten weiter.",
        ),
        (
            Outcome(0, 2),
            Code.SPOOLER_DOWN,
            "Das Drucksystem antwortet nicht. Ihre Dokumente warten weiter, bitte versuchen Sie es später noch einmal.",
        ),
    ],
)
def test_each_outcome_has_its_code_and_its_sentences(outcome, code, german):
    assert outcome.code is code
    said = sentence(outcome, "mfp1")
    assert said[0] == german
    assert said[1].isascii()


def test_a_trouble_names_the_printer_each_cause_once_and_another_printer():
    state = PrinterState("mfp1", "stopped", accepting=True, reasons=("media-empty-error", "media-jam", "media-empty"))
    assert trouble_sentence(state, "mfp2") == (
        "Der Drucker mfp1 druckt nicht (Papier leer, Papierstau). Ihre Dokumente warten weiter. Bitte nehmen Sie mfp2.",
        "Printer mfp1 does not print (out of paper, paper jam). Your documents still wait. Please use mfp2.",
    )
    unnamed = PrinterState("mfp1", "idle", accepting=True, reasons=("vendor.trouble-error",))
    assert (
        trouble_sentence(unnamed, None)[0] == "Der Drucker mfp1 druckt nicht (Störung). Ihre Dokumente warten weiter."
    )
    refusing = PrinterState("mfp1", "idle", accepting=False)
    assert "(nimmt keine Aufträge an)" in trouble_sentence(refusing, None)[0]


def test_every_sentence_fits_the_wire():
    """With names of 127 characters and whatever a printer complains of; what is cut off is seen to be."""
    for reasons in itertools.permutations(REASONS, 2):
        state = PrinterState(LONGEST_NAME, "stopped", accepting=True, reasons=(*reasons, *REASONS))
        german, english = trouble_sentence(state, LONGEST_NAME)
        Sentence(de=german, en=english)
        assert german.count("…") == english.count("…") == 2
    for state in (
        PrinterState(LONGEST_NAME, "stopped", accepting=True),
        PrinterState(LONGEST_NAME, "idle", accepting=False),
    ):
        german, english = trouble_sentence(state, LONGEST_NAME)
        Sentence(de=german, en=english)
    german, english = sentence(Outcome(0, 2, printer_refused=True), LONGEST_NAME)
    Sentence(de=german, en=english)


def test_a_cause_with_two_keywords_is_told_once():
    state = PrinterState("mfp1", "stopped", accepting=True, reasons=("cover-open", "door-open"))
    assert "(Klappe offen)" in trouble_sentence(state, None)[0]
