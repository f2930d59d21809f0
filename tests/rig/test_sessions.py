# SPDX-License-Identifier: EUPL-1.2
"""The rig's desk: it says why it cannot run, and it leaves nothing running."""

from pathlib import Path

import pytest
from support.sessions import UTE, desk

import rig.program
import rig.sessions
from rig.errors import SessionsFailedError, SessionsUnavailableError
from rig.sessions import Desk


def test_a_missing_program_is_one_sentence(tmp_path, monkeypatch):
    """It names what is missing and how to get it, before anything is started."""
    monkeypatch.setattr(rig.program, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(rig.sessions, "PYTHON", str(tmp_path / "python3"))
    with pytest.raises(
        SessionsUnavailableError, match=r"^dbus-daemon, .*, python3-dbusmock is not installed \(Debian: "
    ):
        Desk(tmp_path / "d", [UTE]).start()


def mentioned_in(folder: Path) -> list[str]:
    """Command lines of running programs that name `folder`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


@pytest.mark.logind
def test_a_desk_that_was_stopped_leaves_nothing_running():
    """Bus, logind, screens and lockers end; stopping twice is allowed, and it may start again."""
    with desk(UTE) as pc:
        assert mentioned_in(pc.folder)
        assert not pc.is_locked(UTE.number)
        pc.stop()
        assert mentioned_in(pc.folder) == []
        pc.stop()
        pc.start()
        assert not pc.is_locked(UTE.number)
        folder = pc.folder
    assert mentioned_in(folder) == []


@pytest.mark.logind
def test_a_desk_without_lockers_needs_no_screen():
    """For what only logind sees: no display is opened, and every call is noted."""
    with desk(UTE, lockers=False) as pc:
        assert pc.notes() == []
        assert not list(pc.folder.glob("screen-*"))


@pytest.mark.logind
def test_a_screen_that_is_gone_is_not_taken_for_an_open_one(monkeypatch):
    """Whoever asks about a display that is not there, or that does not answer in time, gets an error of the rig."""
    with desk(UTE) as pc:
        screen = pc._screens[UTE.number]
        with monkeypatch.context() as late:
            late.setattr(rig.sessions, "_LOOK_LIMIT_S", 0)
            with pytest.raises(SessionsFailedError, match="does not say"):
                pc.is_locked(UTE.number)
        assert not pc.is_locked(UTE.number)
        screen._server.end()
        with pytest.raises(SessionsFailedError, match=f"{screen.display} does not say"):
            pc.is_locked(UTE.number)
