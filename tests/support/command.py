# SPDX-License-Identifier: EUPL-1.2
"""The command `cardservice`, run to its end in a process of its own."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Nothing of the product or of other support is imported up here: every command would do it again.

ROOT = Path(__file__).resolve().parents[2]
CARDSERVICE = (sys.executable, "-m", "cardservice")
LIMIT_S = 120.0
_STREAMS = ("stdin", "stdout", "stderr")
# Importing the service takes longer than most commands do: their processes are forked from one that has done it.
_ready = multiprocessing.get_context("forkserver")
_ready.set_forkserver_preload(["cardservice.app", "cardservice.cli"])

Done = subprocess.CompletedProcess[str]


def python_environment(**more: str) -> dict[str, str]:
    """Return the environment for a Python program of this checkout."""
    path = os.pathsep.join(str(ROOT / part) for part in (".", "hardware-sim", "tests"))
    return {**os.environ, "PYTHONPATH": path, **more}


def run_cli(
    *arguments: str, typed: str = "", environment: Mapping[str, str] | None = None, limit_s: float = LIMIT_S
) -> Done:
    """Run `cardservice` with `arguments`, and with `typed` on standard input.

    Raises:
        subprocess.TimeoutExpired: it did not end within `limit_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="cli-") as folder:
        files = [Path(folder) / name for name in _STREAMS]
        for file in files:
            file.write_text(typed if file.name == "stdin" else "", newline="")
        process = start_cli(arguments, environment or {}, files)
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(arguments, limit_s)
        done = Done(arguments, process.exitcode, *(file.read_text() for file in files[1:]))
        process.close()
    return done


def start_cli(
    arguments: Sequence[str], environment: Mapping[str, str], files: Sequence[Path]
) -> multiprocessing.process.BaseProcess:
    """Start `cardservice` with these files, or one terminal three times, as its input, output and errors."""
    process = _ready.Process(target=_become, args=(arguments, python_environment(**environment), files))
    process.start()
    return process


def _become(arguments: Sequence[str], environment: Mapping[str, str], files: Sequence[Path]) -> None:
    """In the child: be what `python -m cardservice` is."""
    from cardservice.cli import main

    for number, file in enumerate(files):
        os.dup2(os.open(file, os.O_RDWR | os.O_APPEND), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # for as long as the process
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["cardservice", *arguments]
    main()


def run_program(
    *arguments: str,
    command: Sequence[str] = CARDSERVICE,
    environment: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
    **options: Any,
) -> Done:
    """Run a program that imports what it needs itself; `options` are subprocess.run's."""
    return subprocess.run(
        [*command, *arguments],
        env=python_environment(**environment or {}),
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )
