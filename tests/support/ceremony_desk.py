# SPDX-License-Identifier: EUPL-1.2
"""`cardservice keys ...` at a real terminal (a pty), with people who answer its questions and keep their papers."""

import os
import pty
import re
import select
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from support.command import start_cli

LIMIT_S = 60.0
PEOPLE = ("Anna Berg", "Bert Tal", "Cem Ufer")
_SHARE = re.compile(r"(?:[0-9A-Z]{6}-){6}[0-9A-Z]{6}")
_QUESTION = re.compile(
    r"(?P<asked>Name of person|its owner alone|written down|again, from the paper|Share \(person)[^:]*: "
)
_NUMBER = re.compile(r"Share (\d+)")


class CeremonyDesk:
    """People at a terminal. `papers` are their shares by number, `shown` everything that ever stood on the screen."""

    def __init__(self, config: Path, **environment: str) -> None:
        self._config, self._environment = config, environment
        self.papers: dict[int, str] = {}
        self.shown = ""

    def run(self, *arguments: str, types: Callable[[int], str] | None = None) -> int:
        """Run one command to its end; `types` answers the n-th question for a share, None: the papers in order."""
        leader, follower = pty.openpty()
        command = ("keys", *arguments, "--config", str(self._config))
        environment = {"TERM": "dumb", "COLUMNS": "500", **self._environment}
        process = start_cli(command, environment, [Path(os.ttyname(follower))] * 3)
        try:
            self._answer(leader, types or self._paper, process)
            process.join(LIMIT_S)
            assert process.exitcode is not None
            return process.exitcode
        finally:
            process.kill()
            process.join()
            os.close(follower)
            os.close(leader)

    def _answer(self, leader: int, types: Callable[[int], str], process: BaseProcess) -> None:
        waiting, collected = "", 0
        deadline_s = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline_s:
            ended = not process.is_alive()
            ready, _, _ = select.select([leader], [], [], 0.0 if ended else 0.1)
            if not ready:
                if ended:
                    return
                continue
            read = os.read(leader, 65_536).decode("utf-8", "replace")
            self.shown += read
            waiting += read
            while found := _QUESTION.search(waiting):
                text, waiting = waiting[: found.end()], waiting[found.end() :]
                if found["asked"] == "Share (person":
                    collected += 1
                    answer = types(collected)
                else:
                    answer = self._said(found["asked"], text)
                os.write(leader, f"{answer}\n".encode())
        raise AssertionError(f"no end after {LIMIT_S:.0f} s; the screen ends {self.shown[-300:]!r}")

    def _said(self, asked: str, text: str) -> str:
        if asked == "Name of person":
            number = int(text.rpartition("Name of person ")[2].split()[0])
            return PEOPLE[number - 1]
        for paper in _SHARE.findall(text):
            self.papers[int(_NUMBER.findall(text.partition(paper)[0])[-1])] = paper
        if asked == "again, from the paper":
            return self.papers[int(_NUMBER.findall(text)[-1])].lower()
        return ""

    def _paper(self, number: int) -> str:
        return self.papers[sorted(self.papers)[number - 1]]
