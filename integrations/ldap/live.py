# SPDX-License-Identifier: EUPL-1.2
"""One person, read from the directory itself on a connection that is kept: for points that demand it of every permit.

A read takes less than a millisecond. Whoever asks has little time: where no connection stands, one is opened, but a
question that would have to wait for it too long is not answered; the next one finds it open.
"""

import select
import threading
import time
import uuid
from typing import Final

from ldap3.utils.conv import escape_bytes

from cardservice.people.rules import DirectoryPerson
from integrations.ldap.connection import Channel, Dial, encode_search
from integrations.ldap.errors import AnswerBroken, ConnectionLost, LdapTrouble, ServerSilent, ServerUnreachable
from integrations.ldap.messages import Done, Entry, Notice
from integrations.ldap.refresh import EntryReader, refuse
from integrations.ldap.settings import LdapSettings

_MESSAGES_AT_ONCE: Final = 10
_QUARTER: Final = 8


class LiveReader:
    """Asks the servers in their order. From any thread; one question at a time."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._servers = settings.ordered_servers()
        self._lock = threading.Lock()
        self._next = 0
        self._channel: Channel | None = None
        self._dial: Dial | None = None

    def read(self, stable_id: str, limit_s: float) -> DirectoryPerson | None:
        """Return the person with this id as the directory shows them now, None if it shows nobody. Blocks.

        Raises:
            LdapTrouble: no answer within `limit_s`, or none that can be read.
        """
        deadline_s = time.monotonic() + limit_s
        if not self._lock.acquire(timeout=limit_s):
            raise ServerSilent("The directory has too many questions to answer.")
        try:
            return self._read(stable_id, deadline_s)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection, and what is being opened."""
        with self._lock:
            self._drop()
            if self._dial is not None:
                self._dial.abandon()
                self._dial = None

    def _read(self, stable_id: str, deadline_s: float) -> DirectoryPerson | None:
        """Ask; a connection that was kept may have been closed by the server meanwhile, which is no answer."""
        while True:
            was_kept = self._channel is not None
            try:
                return self._ask(self._connected(deadline_s), stable_id, deadline_s)
            except LdapTrouble as error:
                self._drop()
                if not (was_kept and isinstance(error, ConnectionLost)):
                    raise

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _connected(self, deadline_s: float) -> Channel:
        """Return the connection, or open one: to the first server, in their order, that answers in time."""
        trouble: LdapTrouble | None = None
        for _ in self._servers:
            if self._channel is None:
                try:
                    self._channel = self._opened(deadline_s)
                except ServerUnreachable as error:
                    trouble = error
        if self._channel is None:
            raise trouble or ServerUnreachable("No directory server is configured.")
        return self._channel

    def _opened(self, deadline_s: float) -> Channel:
        server = self._servers[self._next]
        if self._dial is None:
            self._dial = Dial(self._settings, server)
        if not self._dial.wait(max(0.0, deadline_s - time.monotonic())):
            # It goes on; the next question may find it done.
            raise ServerSilent(f"{server.url} could not be reached in time.")
        dial, self._dial = self._dial, None
        try:
            return dial.take()
        except LdapTrouble:
            self._next = (self._next + 1) % len(self._servers)
            raise

    def _ask(self, channel: Channel, stable_id: str, deadline_s: float) -> DirectoryPerson | None:
        mapping = self._settings.mapping
        wanted = f"(&{self._settings.people_filter}({mapping.stable_id}={_as_stored(mapping.stable_id, stable_id)}))"
        message_id = channel.search(encode_search(self._settings.people_base, wanted, mapping.attributes()))
        entries = _entries(channel, message_id, deadline_s)
        if len(entries) > 1:
            raise AnswerBroken(f"{channel.url} shows more than one person with one id.")
        found = EntryReader(self._settings).read(stable_id, entries[0]) if entries else None
        if found is not None and not isinstance(found, DirectoryPerson):
            raise AnswerBroken(f"{channel.url} shows a group where there was a person.")
        return found


def _as_stored(kind: str, stable_id: str) -> str:
    """Return a stable id as the value of its attribute stands in a filter (RFC 4515)."""
    number = uuid.UUID(stable_id)
    if kind.lower() == "objectguid":
        return str(escape_bytes(number.bytes_le))
    if kind.lower() == "nsuniqueid":
        return "-".join(number.hex[at : at + _QUARTER] for at in range(0, len(number.hex), _QUARTER))
    return str(number)


def _entries(channel: Channel, message_id: int, deadline_s: float) -> list[Entry]:
    """Return what one search finds; any other end than success is an error, never "nobody"."""
    found: list[Entry] = []
    poller = select.poll()
    poller.register(channel.fileno(), select.POLLIN)
    while (left_s := deadline_s - time.monotonic()) > 0:
        messages = channel.receive(_MESSAGES_AT_ONCE)
        for message in messages:
            if isinstance(message, Notice):
                raise ConnectionLost(f"{channel.url} ends the connection (LDAP result {message.code}).")
            if isinstance(message, Done) and message.message_id == message_id:
                if message.code != 0:
                    raise refuse(message.code, channel.url)
                return found
            if isinstance(message, Entry) and message.message_id == message_id:
                found.append(message)
        if not messages:
            poller.poll(left_s * 1_000)
    raise ServerSilent(f"{channel.url} did not answer in time.")
