# SPDX-License-Identifier: EUPL-1.2
"""One sync search (RFC 4533, section 3): what its messages mean for the copy.

Nobody is removed before the server said that the refresh is done, except entries the server names as deleted.
"""

from collections import Counter
from dataclasses import dataclass, field

from cardservice.courtesy import give_way
from cardservice.people.rules import DirectoryEntry
from integrations.ldap.controls import (
    REFRESH_REQUIRED,
    SYNC_DONE_OID,
    SYNC_INFO_OID,
    SYNC_STATE_OID,
    EntryState,
    InfoKind,
    read_sync_done,
    read_sync_info,
    read_sync_state,
)
from integrations.ldap.delivery import Delivery, read_csn
from integrations.ldap.errors import AnswerBroken, LdapTrouble, PositionRefused, SearchRefused, ServerBehind
from integrations.ldap.mapping import map_entry
from integrations.ldap.messages import Done, Entry, Intermediate
from integrations.ldap.settings import LdapSettings

_BEHIND = 53
_REFUSALS = {
    1: "it reports an internal error",
    2: "it does not understand the request",
    3: "its time limit was reached; give the service's account an unlimited time limit",
    4: "its size limit was reached, so the list is not whole; give the service's account an unlimited size limit",
    11: "an administrative limit was reached, so the list is not whole",
    12: "it does not offer content synchronisation here (OpenLDAP: overlay syncprov)",
    32: "the base does not exist, or the service's account may not see it",
    50: "the service's account may not read it",
    51: "it is busy",
    52: "it is not available",
    53: "it is older than this copy",
    REFRESH_REQUIRED: "it cannot continue from where this copy stands",
}


def refuse(code: int, url: str) -> SearchRefused:
    """Return the error for a result code that is not success."""
    sentence = f"{url} ended the search: {_REFUSALS.get(code, f'LDAP result {code}')}."
    kinds = {REFRESH_REQUIRED: PositionRefused, _BEHIND: ServerBehind}
    return kinds.get(code, SearchRefused)(sentence, code)


@dataclass(slots=True)
class EntryReader:
    """Turns entries into people and groups and counts what could not be read, by attribute name."""

    settings: LdapSettings
    unreadable: Counter[str] = field(default_factory=Counter)

    def read(self, stable_id: str, entry: Entry) -> DirectoryEntry | None:
        """Return the person or group, None if it lies outside the base of its kind.

        Raises:
            AnswerBroken: the server sent a part of an attribute's values only.
        """
        give_way()
        if any(last is not None for _, last in entry.ranges.values()):
            raise AnswerBroken(f"The server sends only a part of {', '.join(sorted(entry.ranges))}.")
        mapped = map_entry(self.settings.mapping, stable_id, entry.dn, entry.attributes)
        self.unreadable.update(mapped.unreadable)
        return mapped.entry if self.settings.holds(mapped.entry) else None


def entry_csn(entry: Entry) -> str:
    """Return the entry's change number, empty where it may not be read."""
    return read_csn(b" ".join(entry.attributes.get("entrycsn", ())).decode("ascii", "replace"))


@dataclass(slots=True)
class SyncSearch:
    """One sync search that was sent with (`complete` False) or without a cookie; `resumes` after we were away.

    After the refresh `removed` is how many a present phase removed, `renamed` the DNs (as the server writes them) that
    are new for a known entry, `lost` whether any known entry vanished, `shown` whether the refresh said anything about
    anybody.
    """

    reader: EntryReader
    delivery: Delivery
    url: str
    complete: bool
    fingerprint: str = ""
    resumes: bool = False
    refreshing: bool = True
    present_ended: bool = False
    removed: int = 0
    lost: bool = False
    shown: bool = False
    renamed: list[str] = field(default_factory=list)
    since: int = field(init=False)
    named: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.since = self.delivery.serial

    def take_entry(self, entry: Entry, now_s: float) -> None:
        """Apply one entry or one deletion.

        Raises:
            AnswerBroken: the entry has no sync state, or there are too many entries.
        """
        control = entry.controls.get(SYNC_STATE_OID)
        if control is None:
            raise AnswerBroken(f"{self.url} sent an entry without saying what happened to it (no sync state control).")
        state = read_sync_state(control)
        self.shown = True
        if state.state is EntryState.DELETE:
            self._remove({state.stable_id}, read_csn(state.cookie or ""), now_s)
        elif state.state is EntryState.PRESENT:
            self._name({state.stable_id})
        else:
            self._show(state.stable_id, entry, now_s)
        if state.cookie is not None and not self.refreshing:
            self.delivery.note_cookie(self._position(state.cookie))

    def _show(self, stable_id: str, entry: Entry, now_s: float) -> None:
        found = self.reader.read(stable_id, entry)
        if found is None:
            self._remove({stable_id}, entry_csn(entry), now_s)
            return
        self._name({stable_id})
        reads_all_groups_anyway = self.complete and self.refreshing
        if self.delivery.upsert(found, entry_csn(entry), now_s) and not reads_all_groups_anyway:
            self.renamed.append(entry.dn)

    def _name(self, stable_ids: set[str] | frozenset[str]) -> None:
        if not self.refreshing:
            return
        self.named |= stable_ids
        most = self.reader.settings.max_entries
        if len(self.named) > most:
            raise AnswerBroken(f"{self.url} names more than {most} entries; a narrower filter or base is needed.")

    def _remove(self, stable_ids: set[str] | frozenset[str], csn: str, now_s: float) -> None:
        if self.delivery.remove(stable_ids, csn, now_s):
            self.lost = True

    def take_info(self, message: Intermediate, now_s: float) -> bool:
        """Apply a message between the entries and tell whether it ended the refresh.

        Raises:
            PositionRefused: the refresh ended in a way that leaves the copy's state unknown.
        """
        if message.name != SYNC_INFO_OID:
            return False
        info = read_sync_info(message.value)
        if info.kind is InfoKind.ID_SET:
            self.shown = True
            if info.refresh_deletes:
                self._remove(info.stable_ids, read_csn(info.cookie or ""), now_s)
            else:
                self._name(info.stable_ids)
            return False
        if info.kind is InfoKind.NEW_COOKIE:
            if info.cookie is not None and not self.refreshing:
                self.delivery.note_cookie(self._position(info.cookie))
            return False
        present = info.kind is InfoKind.REFRESH_PRESENT
        if present and not info.refresh_done:
            # A delete phase follows. Who is missing now is gone; it is applied when the refresh is done.
            self.present_ended = True
        if not info.refresh_done or not self.refreshing:
            return False
        if info.cookie is None and self.complete:
            raise AnswerBroken(f"{self.url} gives no position to continue from (OpenLDAP: overlay syncprov).")
        self._end_refresh(info.cookie, present=present)
        return True

    def take_done(self, message: Done) -> None:
        """End a search that only refreshes.

        Raises:
            SearchRefused: the result is not success.
            AnswerBroken: there is no sync done control.
        """
        if message.code != 0:
            raise refuse(message.code, self.url)
        control = message.controls.get(SYNC_DONE_OID)
        if control is None:
            raise AnswerBroken(f"{self.url} ended a refresh without saying so (no sync done control).")
        done = read_sync_done(control)
        self._end_refresh(done.cookie, present=not done.refresh_deletes)

    def _end_refresh(self, cookie: str | None, *, present: bool) -> None:
        full = self.complete or present or self.present_ended
        if cookie is None and self.shown and not self.complete:
            # OpenLDAP leaves the cookie out when nothing is new, and when it did not understand ours.
            raise PositionRefused(f"{self.url} did not understand where this copy stands.", REFRESH_REQUIRED)
        if full and not self.named and self.delivery.known:
            raise self._nobody()
        if full and self.resumes and not self.complete:
            # It was restarted, and may have been restored: an entry that is older again is called unchanged.
            raise PositionRefused(f"{self.url} no longer knows what was changed while it was away.", REFRESH_REQUIRED)
        if cookie is not None:
            self.delivery.note_cookie(self._position(cookie))
        if full:
            gone = self.delivery.unnamed(self.named, self.since)
            self.removed = len(gone)
            self.lost = self.lost or bool(gone)
            self.delivery.complete(gone)
        else:
            self.delivery.flush(with_cookie=True)
        self.refreshing = False
        self.named = set()

    def _nobody(self) -> LdapTrouble:
        """Nobody at all is more likely a lost right or a misread protocol than the truth."""
        sentence = f"{self.url} names none of {len(self.delivery.known)} known people and groups."
        if self.complete:
            return AnswerBroken(f"{sentence} The service's account may have lost its rights.")
        return PositionRefused(sentence, REFRESH_REQUIRED)

    def _position(self, cookie: str) -> str:
        return f"{self.fingerprint}|{cookie}"
