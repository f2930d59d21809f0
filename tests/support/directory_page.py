# SPDX-License-Identifier: EUPL-1.2
"""`docs/directory.md` taken apart: what it prints to be typed, adapted to servers on loopback and a test's folder."""

import re
import subprocess
import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from support.command import ROOT, python_environment, run_cli
from support.service import CityFiles, DirectoryAddress, ServiceThread

PAGE = ROOT / "docs" / "directory.md"
PASSWORD = "C4rd-service only"  # a space, so that a missing quotation mark shows
_LIMIT_S = 60


def blocks(title: str) -> list[str]:
    """Return what is printed to be typed below a heading, one text for each block."""
    text = PAGE.read_text("utf-8")
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert section, f"docs/directory.md has no section {title!r}"
    found = re.findall(r"(?:^ {4,}\S.*\n(?:\n(?= {4}))?)+", section + "\n", flags=re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") + "\n" for block in found]


def block(title: str, first: str) -> str:
    """Return the one block below a heading that begins with `first`."""
    (found,) = [text for text in blocks(title) if text.startswith(first)]
    return found


@dataclass
class Administrator:
    """Somebody who types what the page prints, in a folder of their own, with names that fit the test's servers.

    `names` says what stands in the place of what the page prints; `environment` is where the commands run.
    """

    folder: Path
    names: dict[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def adapted(self, text: str) -> str:
        """Return a block with the test's names; each that it knows must be meant literally."""
        for printed, meant in self.names.items():
            text = text.replace(printed, meant)
        return text

    def types(self, text: str, *, answers: str = "") -> str:
        """Run shell commands as they are printed; `answers` are typed when they ask, without a terminal."""
        done = subprocess.run(
            ["/bin/bash", "-eu", "-c", self.adapted(text)],
            cwd=self.folder,
            env=python_environment(**self.environment),
            input=answers,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            start_new_session=True,
            check=False,
        )
        assert done.returncode == 0, f"{self.adapted(text)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def feeds(self, program: str, ldif: str) -> None:
        """Give an LDIF of the page to a program it names."""
        (self.folder / "page.ldif").write_text(self.adapted(ldif))
        self.types(f"{program} -f page.ldif")


class City:
    """A service whose `[directory]` is the page's block of settings."""

    def __init__(self, folder: Path, settings: str) -> None:
        tomllib.loads(settings)
        # Everything else of the file is a city's; its own section is taken out.
        self.files = CityFiles(folder, DirectoryAddress("ldaps://none.example", folder / "none.pem"))
        others = re.sub(r"^\[directory\]\n(?:[^\[].*\n|\n)*", "", self.files.config.read_text(), flags=re.MULTILINE)
        self.files.config.write_text(f"{others}\n{settings}")
        self._service = ServiceThread(self.files)

    def commands(self, *commands: str) -> dict[str, str]:
        """Run `cardservice` commands one after the other, and return what each printed."""
        said = {}
        for command in commands:
            done = run_cli(*command.split(), "--config", str(self.files.config))
            assert done.returncode == 0, done.stdout + done.stderr
            assert PASSWORD not in done.stdout + done.stderr
            said[command] = done.stdout
        return said

    def serve(self) -> None:
        """Start the service and wait until it has read its directory."""
        self.files.upgrade()
        self._service.start()
        self._service.wait_health(lambda state: state.get("status") == "ready")

    def stop(self) -> None:
        """Stop the service."""
        self._service.stop()


def looked_at(folder: Path, settings: str, *, mode: str) -> str:
    """Look once as the page says, and return what the check printed; nothing may be missing."""
    said = City(folder, settings).commands("settings check", "directory check")
    assert "fit together" in said["settings check"]
    findings = said["directory check"]
    assert findings
    assert all(finding.startswith("ok: ") for finding in findings.splitlines()), findings
    assert f"would be followed in mode {mode} " in findings
    return findings


def connected_by_the_page(folder: Path, settings: str, *, mode: str, login: str) -> str:
    """Look once, then follow, as the page says; return what the check printed. Nothing may be missing or wrong."""
    findings = looked_at(folder, settings, mode=mode)
    city = City(folder, settings)
    city.serve()
    try:
        said = city.commands("directory status", f"directory person {login}")
    finally:
        city.stop()
    assert "directory city: followed, proved current" in said["directory status"]
    assert f", mode {mode}\n" in said["directory status"]
    assert "says the same now" in said[f"directory person {login}"]
    assert "WRONG" not in "".join(said.values())
    return findings
