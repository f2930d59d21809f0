# SPDX-License-Identifier: EUPL-1.2
"""What following a directory means, whatever the mode: one session per connection, opened anew after each trouble."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cardservice.people.ports import DirectorySink
from integrations.ldap.connection import Channel
from integrations.ldap.reconcile import ReconcileClock
from integrations.ldap.settings import LdapSettings, Server
from integrations.ldap.state import StateReport


@dataclass(frozen=True, slots=True)
class Following:
    """What a session needs and shares with the sessions before and after it."""

    settings: LdapSettings
    sink: DirectorySink
    stop: threading.Event
    report: StateReport
    clock: ReconcileClock


class FollowingSession(Protocol):
    """Follows one server over one connection.

    `current_since_s` is the monotonic instant of its first proof, None before.
    """

    current_since_s: float | None

    def run(self) -> None:
        """Follow until `stop` is set.

        Raises:
            LdapTrouble: why following ended.
        """
        ...

    def close(self) -> None:
        """Close this session's connections; never raises."""
        ...


class Mode(NamedTuple):
    """A way to follow a server.

    `open` begins a session over a channel from the stored cookie; None reads everything.
    """

    name: str
    open: Callable[[Following, Server, Channel, str | None], FollowingSession]
