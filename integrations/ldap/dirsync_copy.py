# SPDX-License-Identifier: EUPL-1.2
"""What entries of Active Directory mean for the copy: people, groups with their primary members, names given up.

Used by two scripts on two connections, but in one thread: the one that follows and the one that compares everything.
"""

import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace

from cardservice.people.rules import DirectoryGroup
from integrations.ldap.delivery import Delivery
from integrations.ldap.dirsync_dialogue import Answer, Question
from integrations.ldap.dirsync_listing import Listing, Place
from integrations.ldap.dirsync_primary import PrimaryGroups
from integrations.ldap.errors import AnswerBroken
from integrations.ldap.mapping import read_primary_group_sid, read_sid, read_stable_id
from integrations.ldap.messages import Entry
from integrations.ldap.refresh import EntryReader
from integrations.ldap.settings import LdapSettings

_USN_DIGITS = 20


def change_number(settings: LdapSettings, entry: Entry) -> str:
    """Return the entry's uSNChanged so that it sorts as text, empty where it may not be read."""
    values = entry.attributes.get(settings.mapping.change_number.lower(), ())
    text = values[0].decode("ascii", "replace") if len(values) == 1 else ""
    return text.zfill(_USN_DIGITS) if text.isdecimal() else ""


def stable_id_of(settings: LdapSettings, entry: Entry, url: str) -> str:
    """Return the entry's objectGUID.

    Raises:
        AnswerBroken: there is none.
    """
    stable_id = read_stable_id(entry.attributes, settings.mapping.stable_id)
    if stable_id is None:
        raise AnswerBroken(f"{url} shows an entry without {settings.mapping.stable_id}; the account may not read it.")
    return stable_id


@dataclass(slots=True)
class Everything:
    """One reading of everything: what the delivery had counted at its beginning, and what it has found."""

    since: int
    reader: EntryReader
    named: set[str] = field(default_factory=set)
    groups: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class DirectoryCopy:
    """Takes whole entries to the delivery.

    `renamed` collects the DNs (as the server writes them) that are new for a known entry, `regrouped` the security
    identifiers of groups whose primary members may have changed: the groups are read again by whoever follows.
    """

    settings: LdapSettings
    url: str
    delivery: Delivery
    reader: EntryReader
    primary: PrimaryGroups = field(default_factory=PrimaryGroups)
    renamed: list[str] = field(default_factory=list)
    regrouped: set[bytes] = field(default_factory=set)
    _given_up: set[str] = field(default_factory=set)

    def is_group(self, entry: Entry) -> bool:
        """Tell whether an entry is a group."""
        classes = {value.decode("ascii", "replace").lower() for value in entry.attributes.get("objectclass", ())}
        return not classes.isdisjoint(name.lower() for name in self.settings.mapping.group_classes)

    def take(self, entry: Entry, *, is_new: bool = False) -> None:
        """Apply an entry as it is now; a group needs the primary groups loaded.

        One that is not known and not new has moved in from elsewhere: groups knew it by another name.
        """
        stable_id = stable_id_of(self.settings, entry, self.url)
        was_known = stable_id in self.delivery.known
        self._apply(stable_id, entry, self.reader)
        if not was_known and not is_new and stable_id in self.delivery.known:
            self.renamed.append(entry.dn)

    def _apply(self, stable_id: str, entry: Entry, reader: EntryReader) -> None:
        now_s = time.monotonic()
        found = reader.read(stable_id, entry)
        if found is None:
            self.remove({stable_id})
            return
        before = self.delivery.known.get(stable_id)
        if isinstance(found, DirectoryGroup):
            found = self._with_primary_members(found, entry)
        else:
            group_sid = read_primary_group_sid(self.settings.mapping, entry.attributes)
            if (self.primary.note(stable_id, group_sid) or before != found.dn) and group_sid is not None:
                self.regrouped.add(group_sid)
        if self.delivery.upsert(found, change_number(self.settings, entry), now_s):
            self.renamed.append(entry.dn)
            self._given_up |= {before} if before is not None else set()

    def _with_primary_members(self, group: DirectoryGroup, entry: Entry) -> DirectoryGroup:
        people = self.primary.members(read_sid(self.settings.mapping, entry.attributes))
        known = self.delivery.known
        return replace(group, member_dns=group.member_dns | {known[one] for one in people if one in known})

    def remove(self, stable_ids: Iterable[str]) -> bool:
        """Take what the server no longer shows and tell whether any of it was known."""
        gone = set(stable_ids)
        self._given_up |= {self.delivery.known[one] for one in gone if one in self.delivery.known}
        self.primary.forget(gone)
        return self.delivery.remove(gone, "", time.monotonic())

    def load_primary_groups(self, listing: Listing) -> Generator[Question, Answer, None]:
        """Learn everybody's primary group."""
        mapping = self.settings.mapping
        wanted = tuple(name for name in (mapping.stable_id, mapping.sid, mapping.primary_group) if name)

        def note(entries: list[Entry]) -> None:
            for entry in entries:
                stable_id = stable_id_of(self.settings, entry, self.url)
                if stable_id in self.delivery.known:
                    self.primary.note(stable_id, read_primary_group_sid(mapping, entry.attributes))

        yield from listing.pages(Place(self.settings.people_base, self.settings.people_filter, wanted), note)
        self.primary.loaded = True

    def read_everything(self, listing: Listing, *, following: bool) -> Generator[Question, Answer, int]:
        """Read everybody and every group, then drop whom the server did not name; return how many that were.

        What the follower has shown since this began is left alone: this may be the older state.

        Raises:
            SearchRefused: the server did not name all of them.
            AnswerBroken: it names nobody at all, or too many.
        """
        everything = Everything(self.delivery.serial, EntryReader(self.settings))
        self._given_up = set()

        def take(entries: list[Entry]) -> None:
            for entry in entries:
                self._take_listed(everything, entry)
            self.delivery.settle(time.monotonic(), idle=False, following=following)

        yield from listing.pages(Place(self.settings.search_base(), self.settings.search_filter()), take)
        if not everything.named and self.delivery.known:
            raise AnswerBroken(f"{self.url} shows nobody at all; the service's account may have lost its rights.")
        return self._finish(everything)

    def _take_listed(self, everything: Everything, entry: Entry) -> None:
        stable_id = stable_id_of(self.settings, entry, self.url)
        everything.named.add(stable_id)
        if self.is_group(entry):
            everything.groups.append(entry)
        elif not self.delivery.touched_since(stable_id, everything.since):
            self._apply(stable_id, entry, everything.reader)

    def _finish(self, everything: Everything) -> int:
        """Groups come last: only now everybody's primary group is known."""
        self.primary.loaded = True
        for entry in everything.groups:
            stable_id = stable_id_of(self.settings, entry, self.url)
            if not self.delivery.touched_since(stable_id, everything.since):
                self._apply_listed_group(stable_id, entry, everything.reader)
        gone = self.delivery.unnamed(everything.named, everything.since)
        self.primary.forget(gone)
        self.delivery.complete(gone)
        self.reader.unreadable = everything.reader.unreadable
        return len(gone)

    def _apply_listed_group(self, stable_id: str, entry: Entry, reader: EntryReader) -> None:
        """A name that was given up since the group was listed must not lend a membership to its next owner."""
        found = reader.read(stable_id, entry)
        if not isinstance(found, DirectoryGroup):
            self.remove({stable_id})
            return
        kept = replace(found, member_dns=found.member_dns - self._given_up)
        whole = self._with_primary_members(kept, entry)
        self.delivery.upsert(whole, change_number(self.settings, entry), time.monotonic())
