# SPDX-License-Identifier: EUPL-1.2
"""What is noted while a polled server answers one search: who was named, and which stamps were seen."""

import enum
from dataclasses import dataclass, field

from cardservice.people.rules import DirectoryEntry
from integrations.ldap.messages import Entry
from integrations.ldap.polling_pages import PagedSearch
from integrations.ldap.polling_stamps import KINDS, StampKind
from integrations.ldap.refresh import EntryReader


class Purpose(enum.Enum):
    """Why a search was sent."""

    PROBE = "probe"
    LIST = "list"
    POLL = "poll"


@dataclass(slots=True)
class Reading:
    """A search under way: when it was asked, and what it showed so far.

    `kind` is the first entry's, `unstamped` whether one shows no stamp of that kind, `recent` who shows one of the
    newest. `held` is given out only if it turns out to have changed. `moved`: somebody was renamed or vanished.
    """

    purpose: Purpose
    search: PagedSearch
    reader: EntryReader
    since: int
    asked_s: float
    sent_at_monotonic_ns: int
    sent_at_ms: int
    named: set[str] = field(default_factory=set)
    kind: StampKind | None = None
    unstamped: bool = False
    newest: int = 0
    recent: list[tuple[int, DirectoryEntry]] = field(default_factory=list)
    held: list[DirectoryEntry] = field(default_factory=list)
    moved: bool = False
    longest_pause_s: float = 0.0

    def note_stamp(self, found: DirectoryEntry, entry: Entry) -> int | None:
        """Return the entry's stamp, None where it shows none of the kind that the first entry shows."""
        if self.kind is None:
            self.kind = next((kind for kind in KINDS if kind.of(entry.attributes) is not None), None)
        stamp = self.kind.of(entry.attributes) if self.kind is not None else None
        if self.kind is None or stamp is None:
            self.unstamped = True
            return None
        self.newest = max(self.newest, stamp)
        if stamp >= self.newest - self.kind.overlap:
            self.recent.append((stamp, found))
        return stamp

    def recent_entries(self) -> list[DirectoryEntry]:
        """Return the entries stamped within the overlap before the newest stamp."""
        least = self.newest - self.kind.overlap if self.kind is not None else 0
        return [found for stamp, found in self.recent if stamp >= least]
