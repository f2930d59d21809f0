# SPDX-License-Identifier: EUPL-1.2
"""What a pcscd is made to suffer, and what its agent says of it to the centre."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faults.readers_feed import Feed
from support.waiting import wait_until

from rig.control import RigClient


class Pcscd:
    """What can be done to the pcscd of a rig, and what its agent says of it."""

    def __init__(self, control: RigClient, agent: str, feed: Feed) -> None:
        self._control = control
        self._agent = agent
        self._feed = feed

    def kill(self) -> None:
        """SIGKILL; returns when the agent has noticed."""
        self._control.kill_pcscd()
        self.until("down")

    def restart(self) -> None:
        """Start it again, ending it first if it runs; returns when it serves clients."""
        self._control.restart_pcscd()

    def stop(self) -> None:
        """SIGSTOP; returns when it stands still."""
        pid = self._signal(signal.SIGSTOP)
        state = Path(f"/proc/{pid}/stat")
        wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def until(self, state: str, readers: Iterable[str] = ()) -> None:
        """Wait until the agent says that pcscd is "up" or "down" and that it can use `readers`."""
        needed = set(readers)

        def reached(health: dict[str, Any]) -> bool:
            return health["pcsc"] == state and needed <= {one["reader"] for one in health["readers"]}

        self._feed.health(self._agent, reached)

    def until_lying(self, readers: Iterable[str]) -> None:
        """Wait until the agent sees a card in each of `readers`."""
        needed = set(readers)
        self._feed.health(
            self._agent, lambda health: needed <= {one["reader"] for one in health["readers"] if one["present"]}
        )

    def until_empty(self, readers: Iterable[str]) -> None:
        """Wait until the agent sees that each of `readers` is empty."""
        needed = set(readers)
        self._feed.health(
            self._agent, lambda health: needed <= {one["reader"] for one in health["readers"] if not one["present"]}
        )

    def until_only(self, readers: Iterable[str]) -> None:
        """Wait until the agent can use `readers` and no others."""
        wanted = set(readers)
        self._feed.health(self._agent, lambda health: {one["reader"] for one in health["readers"]} == wanted)

    def _signal(self, number: signal.Signals) -> int:
        pid: int = self._control.state()["pcscd"]["pid"]
        os.kill(pid, number)
        return pid
