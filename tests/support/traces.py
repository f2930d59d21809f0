# SPDX-License-Identifier: EUPL-1.2
"""What a program left behind: its processes, found by a mark in their environment or a folder in their command."""

import secrets
from pathlib import Path

MARK = "ONECARD_TEST_MARK"


def new_mark() -> str:
    """Return a value for the environment variable `MARK` that no other process has."""
    return secrets.token_hex(16)


def processes_of(mark: str, *folders: Path) -> dict[int, str]:
    """Return the command lines of living processes that carry `mark` or name one of `folders`, by process id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        # A zombie has neither; its parent is somebody else's affair.
        if f"{MARK}={mark}".encode() in environment.split(b"\0") or any(str(folder) in command for folder in folders):
            found[int(process.name)] = command
    return found
