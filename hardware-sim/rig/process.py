# SPDX-License-Identifier: EUPL-1.2
"""Starts a rig as a process of its own and stops it again; for tests and demonstrations."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rig.control import RigClient
from rig.errors import RigError

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
MAX_READY_BYTES = 64 * 1024


class RigProcess:
    """A running `python -m rig`; as a context manager it is stopped at the end.

    Args:
        run_dir: private folder of the rig, made if missing.
        deck: file for the loader.
        loader: "module:function" that returns the cards by name.
        arguments: further command-line arguments, for example `["--doors", "2"]`.
        python_path: folders the rig's interpreter searches besides this one's.

    Raises:
        RigError: the rig could not start; the message is its own sentence.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        deck: Path,
        loader: str,
        arguments: Sequence[str] = (),
        python_path: Sequence[Path] = (),
    ) -> None:
        search = [str(Path(__file__).resolve().parent.parent), *map(str, python_path)]
        if inherited := os.environ.get("PYTHONPATH"):
            search.append(inherited)
        command = [sys.executable, "-m", "rig", "--run-dir", str(run_dir), "--deck", str(deck), "--loader", loader]
        self._process = subprocess.Popen(  # noqa: S603 - our own module in our own interpreter
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(search)},
        )
        try:
            self.ready = self._read_ready()
        except BaseException:
            self.stop()
            raise
        self.control = Path(self.ready["control"])
        self.pcsc_socket: str | None = self.ready["pcsc_socket"]
        self.readers: dict[str, dict[str, Any]] = self.ready["readers"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the rig."""
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment with PCSCLITE_CSOCK_NAME set, for PC/SC clients of their own process."""
        return {**os.environ, "PCSCLITE_CSOCK_NAME": self.pcsc_socket or ""}

    def client(self) -> RigClient:
        """A new connection to the control socket."""
        return RigClient(self.control)

    def kill(self) -> None:
        """Kill the rig the hard way; pcscd dies with it, the run directory stays."""
        self._process.kill()
        self._finish()

    def stop(self) -> int:
        """Stop the rig by closing its standard input and return its exit code; a second call does nothing."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._finish()

    def _finish(self) -> int:
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        return code

    def _read_ready(self) -> dict[str, Any]:
        stdout = self._process.stdout
        if stdout is None:
            raise RigError("the rig has no standard output")
        deadline, received = time.monotonic() + READY_TIMEOUT_S, b""
        while not received.endswith(b"\n") and len(received) < MAX_READY_BYTES:
            readable, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                raise RigError(f"the rig was not ready within {READY_TIMEOUT_S} s")
            chunk = os.read(stdout.fileno(), MAX_READY_BYTES)
            if not chunk:
                raise RigError(f"the rig ended with code {self._process.wait()} before it was ready")
            received += chunk
        message = json.loads(received)
        if not isinstance(message, dict) or message.get("ready") is not True:
            raise RigError(str(message.get("error")) if isinstance(message, dict) else "the rig spoke no JSON object")
        return message
