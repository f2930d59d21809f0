# SPDX-License-Identifier: EUPL-1.2
"""The programs a measurement starts beside itself."""

import json
import os
from pathlib import Path
from typing import Any

from cardservice.demo.processes import Child
from cardservice.errors import CardServiceError


class BenchError(CardServiceError):
    """What a benchmark needs is missing or did not start; one sentence."""


class Program(Child):
    """A child process whose number is known and which can be asked things, one line for one line."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, line: str) -> dict[str, Any]:
        """Send one line and return the document that answers it.

        Raises:
            BenchError: it ended instead.
        """
        if self._process.stdin is None:
            raise AssertionError("the child was started with a pipe")
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
            document: dict[str, Any] = json.loads(self._output().readline())
        except (OSError, ValueError):
            raise BenchError(f"{self.name} did not answer: {self._last_words()}") from None
        return document


def cpu_s(pid: int) -> float:
    """Return how many seconds of processor time a process has used (proc(5), /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
