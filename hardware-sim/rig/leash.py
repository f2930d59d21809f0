# SPDX-License-Identifier: EUPL-1.2
"""Becomes another program that dies with its parent: `python leash.py PARENT_PID PROGRAM ARGUMENT...`.

The kernel sends the signal when the parent thread ends, however it ends (prctl(2), PR_SET_PDEATHSIG). Doing this
in a small program of its own avoids running Python code between fork and exec of a process with threads.
"""

import ctypes
import os
import signal
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> NoReturn:
    """Put this process on the leash and become the program; ends with a message when that is impossible."""
    parent_pid, program = int(arguments[0]), arguments[1:]
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit("the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != parent_pid:
        sys.exit("the parent is gone already")
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted; the rig names the program


if __name__ == "__main__":
    main(sys.argv[1:])
