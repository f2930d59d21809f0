# SPDX-License-Identifier: EUPL-1.2
"""Tokens of SoftHSM: one folder for this process, a fresh token for whoever asks."""

import itertools
import os
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class SoftToken:
    """One token; `files` is where it lies."""

    label: str
    pin: str
    module: Path
    folder: Path
    environment: Mapping[str, str]

    def away(self) -> Path:
        """Take every token of this process away; return where they are until `back`."""
        return (self.folder / "tokens").rename(self.folder / "away")

    def back(self) -> None:
        """Bring them back."""
        (self.folder / "away").rename(self.folder / "tokens")


def module() -> Path:
    """The library of SoftHSM."""
    return next(Path(one) for one in MODULES if Path(one).exists())


def fresh_token() -> SoftToken:
    """Make a token with a PIN of its own. The library of this process sees it when it looks again."""
    folder = _folder()
    environment = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
    os.environ.update(environment)
    label, pin = f"city-{next(_numbers)}", f"pin-canary-{secrets.token_hex(4)}"
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "so-pin-5170", "--pin", pin]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return SoftToken(label, pin, module(), folder, environment)


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="softhsm-"))
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    return folder
