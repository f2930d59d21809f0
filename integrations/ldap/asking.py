# SPDX-License-Identifier: EUPL-1.2
"""One search, asked and waited for, by somebody who has nothing else to do meanwhile.

Sessions that follow a directory never wait; they take what has arrived (`syncrepl`, `polling`, `dirsync_dialogue`).
"""

import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from integrations.ldap.connection import Channel
from integrations.ldap.errors import ConnectionLost, ServerSilent
from integrations.ldap.messages import Done, Entry, Message, Notice
from integrations.ldap.refresh import refuse

_MESSAGES_AT_ONCE: Final = 500
_LOOK_MS: Final = 50


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer may take: `limit_s` from now on, less if `stop` is set meanwhile."""

    limit_s: float
    stop: threading.Event | None = None
    until_s: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "until_s", time.monotonic() + self.limit_s)

    def left_s(self) -> float:
        """Return what is left of it, at least 0."""
        return max(0.0, self.until_s - time.monotonic())


def messages(channel: Channel, patience: Patience) -> Iterator[Message]:
    """Yield what arrives, until the caller has enough.

    Raises:
        ConnectionLost: the server ended the connection, or the service is stopping.
        ServerSilent: the time is over.
    """
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    while left_s := patience.left_s():
        if patience.stop is not None and patience.stop.is_set():
            raise ConnectionLost(f"{channel.url} was left: the service is stopping.")
        arrived = channel.receive(_MESSAGES_AT_ONCE)
        for message in arrived:
            if isinstance(message, Notice):
                raise ConnectionLost(f"{channel.url} ends the connection (LDAP result {message.code}).")
            yield message
        if not arrived:
            poller.poll(min(left_s * 1_000, _LOOK_MS))
    raise ServerSilent(f"{channel.url} has not answered for {patience.limit_s:g} s.")


def entries(channel: Channel, message_id: int, patience: Patience) -> Iterator[Entry]:
    """Yield what one search finds; any other end than success is an error, never "nobody".

    Raises:
        ConnectionLost, ServerSilent: as `messages`.
        SearchRefused: the server ended the search with another result than success.
    """
    for message in messages(channel, patience):
        if isinstance(message, Done) and message.message_id == message_id:
            if message.code != 0:
                raise refuse(message.code, channel.url)
            return
        if isinstance(message, Entry) and message.message_id == message_id:
            yield message
