# SPDX-License-Identifier: EUPL-1.2
"""Whom a program tells that it is ready: the socket that systemd would listen at."""

import socket
from pathlib import Path
from typing import Self

from support.waiting import LIMIT_S

WATCHDOG_S = 0.3


class Listener:
    """The other end of sd_notify(3), while the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._path))
        self._socket.settimeout(LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def environment(self) -> dict[str, str]:
        """What a supervised program finds in its environment."""
        return {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}

    def hears(self) -> str:
        """Wait for what is said next."""
        return self._socket.recv(4096).decode()

    def hears_until(self, last: str) -> list[str]:
        """Return what is said from now on, up to `last`."""
        said = [self.hears()]
        while said[-1] != last:
            said.append(self.hears())
        return said
