# SPDX-License-Identifier: EUPL-1.2
"""The rig's printing: starts by itself, prints, keeps to its own folder, and is gone afterwards."""

import os
from pathlib import Path

import pytest
from support.cups import wait_for_texts, write_pdf
from support.waiting import wait_until

import rig.cups
import rig.program
from integrations.cups import POLICIES
from rig.cups import Cups
from rig.errors import CupsFailedError, CupsUnavailableError

GUEST = Cups.users[0]


def commands_naming(text: str) -> list[str]:
    """The command lines of this machine's processes in which `text` stands."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


@pytest.mark.cups
def test_what_is_sent_waits_until_it_is_moved(tmp_path):
    """A document of one of the accounts waits in the queue; moved by the administrator it arrives, whole, once."""
    with Cups(POLICIES, printers=["mfp1"]) as cups:
        job = cups.submit(GUEST, write_pdf(tmp_path / "sent.pdf", "hello"))
        printer = cups.printers["mfp1"]
        assert printer.documents() == ()
        cups.run_as("root", "lpmove", f"followme-{job}", "mfp1")
        cups.run_as("root", "lp", "-i", f"mfp1-{job}", "-H", "resume")
        wait_for_texts(printer, ["hello"])
        assert printer.documents()[0].name.endswith(f"-{GUEST}.pdf")


@pytest.mark.cups
def test_nothing_is_left_behind():
    """No process, no folder; stopping twice is harmless."""
    with Cups(POLICIES) as cups:
        folder = cups.directory
        assert len(commands_naming(folder.name)) >= 4
    cups.stop()
    assert not folder.exists()
    wait_until(lambda: not commands_naming(folder.name))


@pytest.mark.cups
def test_a_refused_command_says_what_cupsd_said(tmp_path):
    with Cups(POLICIES, printers=["mfp1"]) as cups, pytest.raises(CupsFailedError, match="lp: "):
        cups.submit(GUEST, write_pdf(tmp_path / "sent.pdf", "hello"), queue="absent")


@pytest.mark.cups
def test_policies_that_cupsd_cannot_read_fail_the_start(tmp_path):
    """The error carries cupsd's words, and nothing is left."""
    broken = tmp_path / "broken.conf"
    broken.write_text("<Policy default>\n<Limit All>\n")
    cups = Cups(broken)
    with pytest.raises(CupsFailedError, match="cupsd did not start"):
        cups.start()
    assert not cups.directory.exists()


def test_what_is_missing_is_said_in_one_sentence(monkeypatch):
    """Without the programs, and without root."""
    monkeypatch.setattr(rig.program, "FOLDERS", ("/nowhere",))
    with pytest.raises(CupsUnavailableError, match=r"cupsd, .* not installed .*debian-packages.sh print"):
        Cups(POLICIES)
    monkeypatch.setattr(rig.cups, "PROGRAMS", ())
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    assert rig.cups.why_not() == "sending documents as several people needs root"


@pytest.mark.cups
def test_a_command_that_hangs_is_an_error_of_the_rig(monkeypatch):
    """A cupsd that stands still keeps nobody waiting for ever, and the error says which program did not end."""
    with Cups(POLICIES, printers=["mfp1"]) as cups:
        monkeypatch.setattr(rig.cups, "COMMAND_LIMIT_S", 0.2)
        cups.pause_cupsd()
        with pytest.raises(CupsFailedError, match=r"lpstat did not end within 0\.2 s"):
            cups.run_as("root", "lpstat", "-o")
        cups.resume_cupsd()
