# SPDX-License-Identifier: EUPL-1.2
"""Finding pcscd and its driver, and saying in one sentence what is missing."""

import os
from pathlib import Path

import pytest

from rig import installation as module
from rig.errors import PcscdUnavailableError
from rig.installation import Installation, find_installation
from rig.pcscd import SCARD_E_NO_SERVICE, SCARD_W_SECURITY_VIOLATION, explain_refusal, probe


@pytest.fixture
def fake_pcscd(tmp_path, monkeypatch):
    """Install a program that only tells its version and options, and no driver."""

    def install(features: str, options: str = "") -> Path:
        program = tmp_path / "bin" / "pcscd"
        program.parent.mkdir()
        text = f"Enabled features: Linux {features} usbdropdir={tmp_path}/drivers configdir={tmp_path}/conf.d"
        program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{text}" || echo "{options}"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.setattr(module, "DRIVER_FOLDERS", ())
        return program

    return install


def test_without_pcscd(tmp_path, monkeypatch):
    """The sentence names the package to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "ADMIN_PATH", str(tmp_path))
    capability = probe()
    assert not capability.available
    assert "apt-get install pcscd" in capability.why_not


def test_without_the_driver(fake_pcscd):
    """A pcscd alone is not enough."""
    fake_pcscd("ipcdir=/run/pcscd")
    capability = probe()
    assert not capability.available
    assert "apt-get install vsmartcard-vpcd" in capability.why_not


@pytest.mark.parametrize(
    "place", ["drivers/serial/libifdvpcd.so", "drivers/serial/libifdvpcd.so.0.8", "elsewhere/libifdvpcd.so"]
)
def test_the_driver_is_found_where_pcscd_says(fake_pcscd, tmp_path, place):
    """In pcscd's own driver folder, with or without the short name, or where a reader.conf points."""
    program = fake_pcscd("ipcdir=/run/other polkit", "--disable-polkit  disable polkit support")
    driver = tmp_path / place
    driver.parent.mkdir(parents=True)
    driver.touch()
    config = tmp_path / "conf.d" / "vpcd"
    config.parent.mkdir()
    config.write_text(f"FRIENDLYNAME x\nLIBPATH   {tmp_path}/elsewhere/libifdvpcd.so\n")
    found = find_installation()
    assert found == Installation(program, driver, Path("/run/other"), has_polkit=True, can_disable_polkit=True)


def test_a_pcscd_that_cannot_be_run(fake_pcscd):
    """A program that is no program is named."""
    fake_pcscd("").write_text("#!/none\n")
    with pytest.raises(PcscdUnavailableError, match="cannot be run"):
        find_installation()


def test_a_refused_client_is_explained():
    """With polkit in charge the sentence names the actions; otherwise it says where to look."""
    path = Path("/x")
    polkit = Installation(path, path, path, has_polkit=True, can_disable_polkit=False)
    disabled = Installation(path, path, path, has_polkit=True, can_disable_polkit=True)
    assert "org.debian.pcsc-lite.access_card" in explain_refusal(SCARD_W_SECURITY_VIOLATION - 2**32, polkit)
    assert "polkit is not asked" in disabled.access
    assert "PCSCLITE_CSOCK_NAME" in explain_refusal(SCARD_E_NO_SERVICE, disabled)
    assert "0x80100069" in explain_refusal(0x80100069, disabled)
