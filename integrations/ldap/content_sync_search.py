# SPDX-License-Identifier: EUPL-1.2
"""What content synchronisation (RFC 4533) means on 389-ds, where it differs from the standard and from OpenLDAP.

Seen on 389-ds 2.3.1. A refresh from a cookie leaves out every operational attribute, nsAccountLock among them, whatever
was asked for: it tells who changed, and they must be read again. With its LMDB database the server announces a change
of a group's member after it announced the member's deletion. A refresh that ends with "nothing new" may look like
"nobody is left".
"""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from integrations.ldap.controls import REFRESH_REQUIRED, SYNC_STATE_OID, EntryState, read_sync_state
from integrations.ldap.errors import PositionRefused
from integrations.ldap.mapping_access import Values
from integrations.ldap.mapping_attributes import StatusAttribute
from integrations.ldap.messages import Entry
from integrations.ldap.refresh import SyncSearch
from integrations.ldap.settings import LdapSettings

ROOT_ATTRIBUTES: Final = ("firstchangenumber", "lastchangenumber", "dataversion")
MAX_UNREAD: Final = 5_000
_MAX_DELETED: Final = 10_000
_LOCK: Final = StatusAttribute("nsaccountlock", disabled_values=("true",), enabled_values=("false",))
_CHANGE_NUMBER: Final = re.compile(r"#(\d{1,18})$")
_POSITION: Final = re.compile(r"389,([0-9a-f]{12}),([0-9A-Za-z.]{0,100})\|([^\0]+)")


@dataclass(frozen=True, slots=True)
class Root:
    """What a server says of its own log of changes; `started` is another text after each start of the server."""

    first: int
    last: int
    started: str


def read_root(attributes: Values) -> Root | None:
    """Return what the root DSE says, None where it shows no log of changes."""
    last = _number(attributes, "lastchangenumber")
    first = _number(attributes, "firstchangenumber")
    started = b"".join(attributes.get("dataversion", ())[:1]).decode("ascii", "replace")
    return None if last is None else Root(first or 0, last, started if started.isalnum() else "")


def _number(attributes: Values, name: str) -> int | None:
    values = attributes.get(name, ())
    return int(values[0]) if len(values) == 1 and values[0].isdigit() and len(values[0]) <= 18 else None


@dataclass(frozen=True, slots=True)
class Position:
    """A stored cookie taken apart: whose it is, since which start of that server, and the server's own part."""

    server: str
    started: str
    cookie: str

    @property
    def number(self) -> int:
        """The number of the last change the copy holds, -1 where the cookie names none."""
        return change_number(self.cookie)


def change_number(cookie: str | None) -> int:
    """Return the number at the end of a cookie, -1 where there is none."""
    match = _CHANGE_NUMBER.search(cookie or "")
    return int(match[1]) if match else -1


def read_position(text: str) -> Position | None:
    """Return the position a cookie without its fingerprint holds, None if it is another mode's or none at all."""
    match = _POSITION.fullmatch(text)
    return Position(match[1], match[2], match[3]) if match and change_number(match[3]) >= 0 else None


def why_anew(stored: Position, server: str, root: Root, url: str) -> str | None:
    """Return why the server with this digest and root DSE cannot continue from `stored`; None if it can."""
    if stored.server != server:
        return "Another server answers than before, so everything was read again."
    if stored.number > root.last:
        return f"{url} is older than this copy. Everything was read again."
    if not root.started or stored.started != root.started:
        return f"{url} was started again since. Everything was read again."
    if stored.number < root.first - 1:
        return f"{url} no longer knows what was changed while it was away. Everything was read again."
    return None


def position_prefix(server: str, root: Root) -> str:
    """Return what is stored before the server's own cookie."""
    return f"389,{server},{root.started}"


def with_own_attributes(settings: LdapSettings) -> LdapSettings:
    """Return the settings with what this mode cannot do without: nsUniqueId as the id, nsAccountLock as the lock."""
    mapping = settings.mapping
    if all(status.name.lower() != _LOCK.name for status in mapping.status):
        mapping = replace(mapping, status=(*mapping.status, _LOCK))
    return replace(settings, mapping=replace(mapping, stable_id="nsuniqueid"))


def unique_id_filter(stable_ids: Iterable[str]) -> str:
    """Return the filter that finds these entries; nsUniqueId writes a UUID's digits in four groups of eight."""
    digits = [uuid.UUID(stable_id).hex for stable_id in stable_ids]
    names = ("-".join(text[start : start + 8] for start in range(0, 32, 8)) for text in digits)
    return f"(|{''.join(f'(nsuniqueid={name})' for name in names)})"


@dataclass(slots=True)
class DsSearch(SyncSearch):
    """One search of 389-ds. `unread` are the entries a refresh from a cookie named without showing them whole."""

    unread: set[str] = field(default_factory=set)
    deleted: dict[str, None] = field(default_factory=dict)

    def take_entry(self, entry: Entry, now_s: float) -> None:
        """Apply one entry or one deletion.

        Raises:
            PositionRefused: so much has changed that reading everything is quicker.
            AnswerBroken: as in every synchronisation.
        """
        control = entry.controls.get(SYNC_STATE_OID)
        if control is None:
            # It refuses this in its own words.
            SyncSearch.take_entry(self, entry, now_s)
            return
        state = read_sync_state(control)
        if state.state is EntryState.DELETE:
            self._note_deleted(state.stable_id)
        elif self.refreshing and not self.complete:
            self.unread.add(state.stable_id)
            self.shown = True
            if len(self.unread) > MAX_UNREAD:
                sentence = f"{self.url} has changed more than {MAX_UNREAD} entries meanwhile."
                raise PositionRefused(sentence, REFRESH_REQUIRED)
            return
        elif state.state is EntryState.MODIFY and state.stable_id in self.deleted:
            # The clean-up of a deleted person's memberOf: nobody comes back by being changed.
            if state.cookie is not None:
                self.delivery.note_cookie(self._position(state.cookie))
            return
        else:
            self.deleted.pop(state.stable_id, None)
        SyncSearch.take_entry(self, entry, now_s)

    def _note_deleted(self, stable_id: str) -> None:
        self.unread.discard(stable_id)
        self.deleted[stable_id] = None
        if len(self.deleted) > _MAX_DELETED:
            del self.deleted[next(iter(self.deleted))]


@dataclass(slots=True)
class Beat:
    """One look at the root DSE; `last` is what it said, None while it is under way."""

    message_id: int
    sent_at_s: float
    sent_at_monotonic_ns: int
    sent_at_ms: int
    root: Root | None = None
    ended: bool = False


@dataclass(slots=True)
class Follow:
    """The persistent search and the reading of what it named without showing it whole."""

    search: DsSearch
    message_id: int
    asked_s: float
    read_id: int | None = None
    read_asked_s: float = 0.0
    read_since: int = 0
