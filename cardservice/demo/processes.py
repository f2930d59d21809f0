# SPDX-License-Identifier: EUPL-1.2
"""Child processes that say when they are ready and never outlive us."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final

from cardservice.errors import CardServiceError

READY_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 10.0
_MAX_LINE: Final = 64 * 1024
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


class DemoError(CardServiceError):
    """A part of the demonstration could not be started; one sentence."""


def _die_with_parent() -> None:
    """Run in the child before exec: a killed demonstration leaves nothing running."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One Python program of ours: `-m module arguments`, its errors in a log file, its first line of output JSON."""

    def __init__(
        self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as errors:
            # Our own interpreter and our own modules; nothing of it comes from outside.
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **environment},
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # no thread of ours holds a lock the child needs here
                start_new_session=True,
            )

    def ready(self) -> dict[str, Any]:
        """Wait for the child's first line and return it.

        Raises:
            DemoError: it ended, said nothing for 30 s, or says that it cannot run.
        """
        watchdog = threading.Timer(READY_TIMEOUT_S, self._process.kill)
        watchdog.start()
        try:
            line = self._output().readline(_MAX_LINE)
        finally:
            watchdog.cancel()
        try:
            document: dict[str, Any] = json.loads(line)
        except ValueError:
            raise DemoError(f"{self.name} did not start: {self._last_words()} (all of it in {self._log})") from None
        if not document.get("ready"):
            raise DemoError(f"{self.name} cannot run: {document.get('error', 'it does not say why')}")
        return document

    def _output(self) -> IO[bytes]:
        if self._process.stdout is None:
            raise AssertionError("the child was started with a pipe")
        return self._process.stdout

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1][:300] if lines else "it ended without a word"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal (SIGSTOP hangs it, SIGCONT wakes it)."""
        self._process.send_signal(number)

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask it to end, then insist."""
        if self.running:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
