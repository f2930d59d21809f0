# SPDX-License-Identifier: EUPL-1.2
"""Child processes that say when they are ready and never outlive us; how they are configured and asked."""

import ctypes
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Final, NamedTuple
from urllib.parse import urlsplit

from cardservice.errors import CardServiceError

READY_TIMEOUT_S: Final = 30.0
_STOP_TIMEOUT_S: Final = 10.0
_MAX_LINE: Final = 64 * 1024
_MAX_ANSWER: Final = 1024 * 1024
_ANSWER_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


class DemoError(CardServiceError):
    """A part of the demonstration could not be started; one sentence."""


class NotPossible(DemoError):
    """What was asked for cannot be done now; `code` is for the page, which says it in the visitor's language."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answer(NamedTuple):
    """What a program answered over HTTP; `document` is its JSON, empty if it sent none or something else."""

    status: int
    document: Mapping[str, Any]


def ask(url: str, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> Answer:
    """Ask a program on this machine: POST with a `body`, else GET; `_` in the names of `headers` stands for `-`.

    Raises:
        DemoError: it does not answer, or what it calls JSON is none.
    """
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=_ANSWER_S)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        if body is None:
            connection.request("GET", path, headers=sent)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **sent})
        response = connection.getresponse()
        content = response.read(_MAX_ANSWER)
        is_json = "json" in response.headers.get_content_subtype()
        document: Mapping[str, Any] = json.loads(content) if content and is_json else {}
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DemoError(f"{url} does not answer ({type(error).__name__})") from error
    finally:
        connection.close()
    return Answer(response.status, document)


def health_of(url: str) -> Mapping[str, Any]:
    """Return what a service says of itself; empty while it does not answer."""
    try:
        return ask(url, "/health/ready").document
    except DemoError:
        return {}


def to_toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return sections as TOML; JSON's strings, numbers, booleans and lists are TOML's."""
    lines: list[str] = []
    tables: list[str] = []
    for section, values in sections.items():
        lines += [f"[{section}]"] if section else []
        for key, value in values.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                for entry in value:
                    tables += [f"[[{key}]]", *(f"{name} = {json.dumps(what)}" for name, what in entry.items())]
            else:
                lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines + tables) + "\n"


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


class Workshop:
    """The folder of a city's state, the programs started for it, and what else must be ended; `close` always."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.closers: list[Callable[[], None]] = []
        self._children: list[Child] = []

    def write(self, name: str, content: str) -> Path:
        """Write a file into the state that nobody else may read; return where it is."""
        path = self.state / name
        path.touch(mode=0o600)
        path.write_text(content, "utf-8")
        return path

    def child(self, name: str, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> Child:
        """Start a program."""
        child = Child(name, arguments, self.state / f"{name}.log", environment)
        self._children.append(child)
        return child

    def close(self) -> None:
        """End everything, last started first."""
        for close in reversed(self.closers):
            close()
        for child in reversed(self._children):
            child.stop()
