# SPDX-License-Identifier: EUPL-1.2
"""Finds pcscd and its virtual reader driver, wherever the distribution and the architecture put them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rig.errors import PcscdUnavailableError

ADMIN_PATH = "/usr/sbin:/usr/local/sbin:/sbin"
DRIVER_FOLDERS = (
    "usr/lib/pcsc/drivers/serial",
    "usr/lib/*/pcsc/drivers/serial",
    "usr/lib64/pcsc/drivers/serial",
    "usr/lib64/readers/serial",
    "usr/local/lib/pcsc/drivers/serial",
    "usr/local/lib/*/pcsc/drivers/serial",
)
MAX_CONFIG_BYTES = 64 * 1024
_ANSWER_TIMEOUT_S = 10


@dataclass(frozen=True)
class Installation:
    """What is installed: both files, the fixed folder of pcscd's socket, and how pcscd treats polkit."""

    pcscd: Path
    driver: Path
    ipc_dir: Path
    has_polkit: bool
    can_disable_polkit: bool

    @property
    def access(self) -> str:
        """Who may use the virtual readers, in one sentence."""
        if self.has_polkit and not self.can_disable_polkit:
            return (
                "polkit decides who may use the readers: a refused client gets SCARD_W_SECURITY_VIOLATION "
                "and needs a rule for org.debian.pcsc-lite.access_pcsc and org.debian.pcsc-lite.access_card"
            )
        return "every process that can reach the socket may use the readers; polkit is not asked"


def find_installation() -> Installation:
    """Look for pcscd and the vpcd driver.

    Raises:
        PcscdUnavailableError: one of them is missing; one sentence says which and how to get it.
    """
    found = shutil.which("pcscd", path=os.environ.get("PATH", os.defpath) + os.pathsep + ADMIN_PATH)
    if found is None:
        raise PcscdUnavailableError("pcscd is not installed (Debian, Ubuntu: apt-get install pcscd)")
    pcscd = Path(found)
    version, options = _ask(pcscd, "--version"), _ask(pcscd, "--help")
    driver = _find_driver(version)
    if driver is None:
        raise PcscdUnavailableError(
            "the virtual reader driver of pcscd is not installed (Debian, Ubuntu: apt-get install vsmartcard-vpcd)"
        )
    return Installation(
        pcscd=pcscd,
        driver=driver,
        ipc_dir=Path(_setting(version, "ipcdir") or "/run/pcscd"),
        has_polkit=re.search(r"\bpolkit\b", version) is not None,
        can_disable_polkit="--disable-polkit" in options,
    )


def _ask(pcscd: Path, option: str) -> str:
    try:
        answer = subprocess.run(  # noqa: S603 - the program was found on the administrator's path
            [str(pcscd), option],
            capture_output=True,
            timeout=_ANSWER_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PcscdUnavailableError(f"{pcscd} {option} cannot be run: {error}") from error
    return (answer.stdout + answer.stderr).decode("utf-8", "replace")


def _setting(version: str, name: str) -> str | None:
    match = re.search(rf"\b{name}=(\S+)", version)
    return match.group(1) if match else None


def _find_driver(version: str) -> Path | None:
    for candidate in _driver_candidates(version):
        if candidate.is_file():
            return candidate.resolve()
    return None


def _driver_candidates(version: str) -> Iterator[Path]:
    yield from _configured_drivers(Path(_setting(version, "configdir") or "/etc/reader.conf.d"))
    folders = [Path(_setting(version, "usbdropdir") or "/usr/lib/pcsc/drivers") / "serial"]
    for pattern in DRIVER_FOLDERS:
        folders += sorted(Path("/").glob(pattern))
    for folder in folders:
        yield folder / "libifdvpcd.so"
        yield from sorted(folder.glob("libifdvpcd.so.*"))


def _configured_drivers(config_dir: Path) -> Iterator[Path]:
    for file in sorted(config_dir.glob("*")):
        try:
            with file.open("rb") as config:
                text = config.read(MAX_CONFIG_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        for match in re.finditer(r"^\s*LIBPATH\s+(\S*libifdvpcd\S*)", text, re.MULTILINE):
            yield Path(match.group(1))
