# SPDX-License-Identifier: EUPL-1.2
"""Programs that die by SIGKILL, time and again: a child is forked for each life, so that many cost one interpreter.

The program calls `each_line` and tells what it did with `say`; the test holds it as `Lives` and begins one life after
the other.
"""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Self

from support.command import python_environment

_BEGAN, _ENDED = "began", "ended"


def say(line: str) -> None:
    """Print unbuffered: what was acknowledged must have left the process before it dies."""
    os.write(1, f"{line}\n".encode())


def each_line(live: Callable[[str], int | None]) -> None:
    """Let a child live each line of standard input, one after the other; what it returns is its exit code."""
    # Whatever else is printed goes to the log: standard output belongs to `say`.
    with redirect_stdout(sys.stderr):
        for line in sys.stdin:
            child = os.fork()
            if child == 0:
                _live_and_end(live, line.rstrip("\n"))
            _, status = os.waitpid(child, 0)
            say(f"{_ENDED} {os.waitstatus_to_exitcode(status)}")


def _live_and_end(live: Callable[[str], int | None], line: str) -> None:
    """Never return to the parent's loop, whatever happens: the child's end is its own."""
    code = 1
    try:
        say(f"{_BEGAN} {os.getpid()}")
        code = live(line) or 0
    except BaseException:  # noqa: BLE001 (also what ends a program: it would run on in the parent's place)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Life:
    """One child; iterate over what it says until it is dead. `exit_code` is minus the signal that killed it."""

    exit_code: int | None = None

    def __init__(self, said: Iterator[str]) -> None:
        self._said = said
        word, pid = next(said).split()
        assert word == _BEGAN
        self._pid = int(pid)

    def __iter__(self) -> Iterator[str]:
        for line in self._said:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == _ENDED:
                self.exit_code = int(rest)
                return
            yield line.rstrip("\n")
        raise AssertionError("the program ended by itself")

    def kill(self) -> None:
        """Kill it now; what it had said before is still to be heard."""
        os.kill(self._pid, signal.SIGKILL)


class Lives:
    """A program that calls `each_line`, from start to end; its errors go to `log` if there is one."""

    def __init__(self, program: Path, *arguments: str, log: Path | None = None) -> None:
        with ExitStack() as stack:
            errors = None if log is None else stack.enter_context(log.open("ab"))
            self._process = subprocess.Popen(
                [sys.executable, str(program), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=python_environment(),
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is not None:
            self._process.kill()
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
        assert failed is not None or self._process.returncode == 0

    def begin(self, line: str) -> Life:
        """Let a child live this line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return Life(iter(self._process.stdout))
