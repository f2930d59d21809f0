# SPDX-License-Identifier: EUPL-1.2
"""The kiosk of an agent, put together from its settings."""

import importlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

from readers.clock import Clock
from readers.errors import SettingsFault
from readers.kiosk.door import DoorWithPage
from readers.kiosk.point import SCREEN_USES, ScreenPoint
from readers.kiosk.terminals import Terminals
from readers.outputs import PointFactory
from readers.settings import AgentSettings


class _Server(Protocol):
    @property
    def url(self) -> str | None: ...

    def run(self) -> Coroutine[None, None, None]: ...


@dataclass(frozen=True, slots=True)
class Kiosk:
    """`kinds` go to `Outputs.use`; `server.run()` is a task of the agent, cancelled at its end."""

    kinds: Mapping[str, PointFactory]
    server: _Server
    terminals: Terminals

    def with_pages(self, door: PointFactory) -> PointFactory:
        """Return what makes doors as `door` does, with a page beside those that ask for a PIN."""
        return partial(DoorWithPage, door=door, kiosk=self.terminals)


def open_kiosk(settings: AgentSettings, clock: Clock) -> Kiosk | None:
    """Return the kiosk the settings ask for, None if they ask for none.

    Raises:
        SettingsFault: the libraries that serve the pages are not installed.
    """
    if not settings.kiosk_port:
        return None
    try:
        # Only here: an agent without pages runs without starlette and uvicorn.
        module = importlib.import_module("readers.kiosk.server")
    except ImportError as error:
        raise SettingsFault(
            f"kiosk_port: the pages need {error.name}, which is not installed: "
            "install cardservice[kiosk], or set kiosk_port = 0"
        ) from error
    terminals = Terminals(clock)
    server = cast("_Server", module.KioskServer(terminals, settings.kiosk_address, settings.kiosk_port))
    kinds = {use: partial(ScreenPoint, kiosk=terminals) for use in SCREEN_USES if use != "door"}
    return Kiosk(kinds, server, terminals)
