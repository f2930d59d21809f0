# SPDX-License-Identifier: EUPL-1.2
"""One person, read from the directory itself on a connection that is kept: for points that demand it of every permit.

A read takes less than a millisecond. Whoever asks has little time: where no connection stands, one is opened, but a
question that would have to wait for it too long is not answered; the next one finds it open.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from ldap3.utils.conv import escape_bytes, escape_filter_chars

from cardservice.people.photo.rules import Photo, read_photo
from cardservice.people.rules import DirectoryPerson
from integrations.ldap.asking import Patience, entries
from integrations.ldap.connection import Channel, Dial, encode_search
from integrations.ldap.domain_policy import with_domain_policy
from integrations.ldap.errors import AnswerBroken, ConnectionLost, LdapTrouble, ServerSilent, ServerUnreachable
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.messages import Entry
from integrations.ldap.refresh import EntryReader
from integrations.ldap.settings import LdapSettings

_QUARTER: Final = 8
Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class Look:
    """What a server shows of one person: `person` None where it shows nobody, `shown` the attributes it showed."""

    server: str
    person: DirectoryPerson | None
    shown: frozenset[str] = frozenset()
    unreadable: tuple[str, ...] = ()


class LiveReader:
    """Asks the servers in their order. From any thread; one question at a time."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._servers = settings.ordered_servers()
        self._lock = threading.Lock()
        self._next = 0
        self._channel: Channel | None = None
        # The settings with what the server behind the connection says of its domain.
        self._informed = settings
        self._dial: Dial | None = None

    def read(self, stable_id: str, limit_s: float) -> DirectoryPerson | None:
        """Return the person with this id as the directory shows them now, None if it shows nobody. Blocks.

        Raises:
            LdapTrouble: no answer within `limit_s`, or none that can be read.
        """
        found = self.look(by_id(self._settings, stable_id), limit_s)
        if found.person is not None and found.person.stable_id != stable_id:
            raise AnswerBroken(f"{found.server} shows somebody else than was asked for.")
        return found.person

    def look(self, condition: str, limit_s: float) -> Look:
        """Return what the directory shows now of the one person for whom `condition` (a filter) holds. Blocks.

        Raises:
            LdapTrouble: as `read`; or the condition holds for several.
        """

        def ask(channel: Channel, patience: Patience) -> Look:
            entry = self._only_entry(channel, condition, self._settings.mapping.attributes(), patience)
            return Look(channel.url, None) if entry is None else self._read_entry(channel.url, entry)

        return self._ask(ask, limit_s)

    def photo(self, stable_id: str, limit_s: float) -> Photo | None:
        """Return the photo of the person with this id, None if the directory shows none or nobody. Blocks.

        Where it has several, the first that the server names. A protocol that cannot ask for a part of a value cannot
        ask how large it is either: what is larger than an LDAP message may be is not received, the rest is refused.

        Raises:
            PhotoUnusable: there is one, which is too large or of another format.
            LdapTrouble: as `read`.
        """
        name = self._settings.mapping.photo.lower()
        if not name:
            return None

        def ask(channel: Channel, patience: Patience) -> bytes | None:
            entry = self._only_entry(channel, by_id(self._settings, stable_id), (name,), patience)
            return next(iter(entry.attributes.get(name, ())), None) if entry is not None else None

        data = self._ask(ask, limit_s)
        return None if data is None else read_photo(data)

    def close(self) -> None:
        """Close the connection, and what is being opened."""
        with self._lock:
            self._drop()
            if self._dial is not None:
                self._dial.abandon()
                self._dial = None

    def _ask(self, ask: Callable[[Channel, Patience], Answered], limit_s: float) -> Answered:
        """Ask; a connection that was kept may have been closed by the server meanwhile, which is no answer."""
        patience = Patience(limit_s)
        if not self._lock.acquire(timeout=limit_s):
            raise ServerSilent("The directory has too many questions to answer.")
        try:
            while True:
                was_kept = self._channel is not None
                try:
                    return ask(self._connected(patience), patience)
                except LdapTrouble as error:
                    self._drop()
                    if not (was_kept and isinstance(error, ConnectionLost)):
                        raise
        finally:
            self._lock.release()

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _connected(self, patience: Patience) -> Channel:
        """Return the connection, or open one: to the first server, in their order, that answers in time."""
        trouble: LdapTrouble | None = None
        for _ in self._servers:
            if self._channel is None:
                try:
                    self._channel = self._opened(patience)
                except ServerUnreachable as error:
                    trouble = error
        if self._channel is None:
            raise trouble or ServerUnreachable("No directory server is configured.")
        return self._channel

    def _opened(self, patience: Patience) -> Channel:
        server = self._servers[self._next]
        if self._dial is None:
            self._dial = Dial(self._settings, server)
        if not self._dial.wait(patience.left_s()):
            # It goes on; the next question may find it done.
            raise ServerSilent(f"{server.url} could not be reached in time.")
        dial, self._dial = self._dial, None
        try:
            channel = dial.take()
        except LdapTrouble:
            self._next = (self._next + 1) % len(self._servers)
            raise
        try:
            self._informed = with_domain_policy(self._settings, channel, patience) or self._settings
        except LdapTrouble:
            channel.close()
            raise
        return channel

    def _only_entry(
        self, channel: Channel, condition: str, attributes: tuple[str, ...], patience: Patience
    ) -> Entry | None:
        """Return the one person for whom `condition` holds, None if there is none."""
        wanted = f"(&{self._settings.people_filter}{condition})"
        message_id = channel.search(encode_search(self._settings.people_base, wanted, attributes))
        found: Entry | None = None
        for entry in entries(channel, message_id, patience):
            if found is not None:
                raise AnswerBroken(f"{channel.url} shows more than one person where one was asked for.")
            found = entry
        return found

    def _read_entry(self, url: str, entry: Entry) -> Look:
        # Who shows no id of their own (a right that is missing) can still be looked at, but is nobody in particular.
        stable_id = read_stable_id(entry.attributes, self._settings.mapping.stable_id) or ""
        reader = EntryReader(self._informed)
        found = reader.read(stable_id, entry)
        if found is not None and not isinstance(found, DirectoryPerson):
            raise AnswerBroken(f"{url} shows a group where there was a person.")
        shown = frozenset(name for name, values in entry.attributes.items() if values)
        return Look(url, found, shown, tuple(reader.unreadable))


def by_id(settings: LdapSettings, stable_id: str) -> str:
    """Return the condition that holds for the entry with this stable id (RFC 4515)."""
    kind, number = settings.mapping.stable_id, uuid.UUID(stable_id)
    if kind.lower() == "objectguid":
        return f"({kind}={escape_bytes(number.bytes_le)})"
    if kind.lower() == "nsuniqueid":
        return f"({kind}={'-'.join(number.hex[at : at + _QUARTER] for at in range(0, len(number.hex), _QUARTER))})"
    return f"({kind}={number})"


def by_login(settings: LdapSettings, login: str) -> str:
    """Return the condition that holds for whoever has this login, whatever characters it has (RFC 4515)."""
    return f"({settings.mapping.login}={escape_filter_chars(login)})"


def ask_once(settings: LdapSettings, ask: Callable[[LiveReader], Answered]) -> Answered:
    """Return what the first server says that answers `ask`; for whoever asks once and has time. Blocks.

    Raises:
        LdapTrouble: none of them answered; the last one's reason.
    """
    trouble: LdapTrouble = ServerUnreachable("No directory server is configured.")
    for server in settings.ordered_servers():
        reader = LiveReader(replace(settings, servers=(server.url,)))
        try:
            return ask(reader)
        except LdapTrouble as error:
            trouble = error
        finally:
            reader.close()
    raise trouble
