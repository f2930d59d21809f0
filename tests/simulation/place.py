# SPDX-License-Identifier: EUPL-1.2
"""Where worlds keep their files."""

import os
from pathlib import Path

MEMORY = Path("/dev/shm")


def scratch() -> Path | None:
    """Return a folder in memory if this machine has one; None: wherever temporary files are."""
    return MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
