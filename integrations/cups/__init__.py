# SPDX-License-Identifier: EUPL-1.2
"""CUPS as the print spooler: one queue in which everything waits, released over IPP on a unix socket.

`POLICIES` are the operation policies an administrator puts into cupsd.conf; `docs/printing.md` explains every line.
"""

from pathlib import Path

from integrations.cups.spooler import CupsSettings, CupsSpooler

POLICIES = Path(__file__).with_name("policies.conf")

__all__ = ["POLICIES", "CupsSettings", "CupsSpooler"]
