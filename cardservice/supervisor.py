# SPDX-License-Identifier: EUPL-1.2
"""What the program that started us is told: ready, alive, stopping. The words of sd_notify(3), by the socket itself.

Without systemd, or another that speaks as it does, nothing is said to anybody. The standard library alone: the agent
beside the readers uses it too.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"
_SEND_S: Final = 1.0


class Supervisor:
    """The one who waits to be told, as the environment names them."""

    def __init__(self, environment: Mapping[str, str], process: int) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        meant = environment.get("WATCHDOG_PID", str(process)) == str(process)
        asked_us = environment.get("WATCHDOG_USEC", "")
        self._watchdog_s = int(asked_us) / 1e6 if meant and asked_us.isdecimal() else 0.0

    def tell(self, what: str) -> None:
        """Say it; whoever does not listen any more is not missed."""
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as way:
            way.settimeout(_SEND_S)
            try:
                way.sendto(what.encode(), self._address)
            except OSError:
                return

    async def keep_watch(self, is_well: Callable[[], bool]) -> None:
        """Say from the event loop that it still turns, as often as is asked for, while `is_well`.

        Ends at once where nobody asks for it. Whoever hears nothing for long enough starts the program again.
        """
        if self._address is None or not self._watchdog_s:
            return
        while True:
            if is_well():
                self.tell(ALIVE)
            await asyncio.sleep(self._watchdog_s / 3)


def _address(name: str) -> str | None:
    """Return the socket's address: a path, or a name in the abstract namespace, which is written with an @."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None
