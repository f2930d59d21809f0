# SPDX-License-Identifier: EUPL-1.2
"""From "something changed here" to the copy: what DirSync names is read whole, and what follows from it too.

DirSync tells which attributes of which object changed, and the members that came and went. That is used as a pointer
only: the entry itself, read a moment later over the same connection, shows whether it still lies within the filters and
bases, and is right even when this copy knew nothing about it before.
"""

import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ldap3.utils.conv import escape_filter_chars

from integrations.ldap.controls import REFRESH_REQUIRED
from integrations.ldap.dirsync_controls import DIRSYNC_OID, dirsync_request, read_dirsync
from integrations.ldap.dirsync_copy import DirectoryCopy, stable_id_of
from integrations.ldap.dirsync_dialogue import Answer, Question
from integrations.ldap.dirsync_listing import NO_SUCH_OBJECT, Listing, Place
from integrations.ldap.dirsync_server import NOT_ALLOWED, refuse_dirsync
from integrations.ldap.errors import AnswerBroken, PositionRefused, SearchRefused
from integrations.ldap.messages import Entry
from integrations.ldap.settings import LdapSettings

STRUCTURE: Final = ("objectclass", "name", "parentguid", "isdeleted")
"""Asked for beside the mapped attributes: who appeared, who moved, who was deleted."""

_AT_ONCE: Final = 40
_MOST_SINGLE_READS: Final = 200
_ROUNDS: Final = 3
_TEMPORARY: Final = frozenset({3, 11, 51, 52})

Step = Generator[Question, Answer, None]


@dataclass(slots=True)
class Changes:
    """What one poll told: stable ids that were deleted, and of the others the names of what changed."""

    deleted: set[str] = field(default_factory=set)
    changed: dict[str, frozenset[str]] = field(default_factory=dict)

    def take(self, stable_id: str, entry: Entry) -> None:
        """Note one entry of an answer; what is said later counts."""
        if any(value.upper() == b"TRUE" for value in entry.attributes.get("isdeleted", ())):
            self.deleted.add(stable_id)
            self.changed.pop(stable_id, None)
        else:
            self.deleted.discard(stable_id)
            self.changed[stable_id] = frozenset(entry.attributes) | self.changed.get(stable_id, frozenset())


def ask_changes(
    settings: LdapSettings, url: str, request: bytes, position: bytes
) -> Generator[Question, Answer, tuple[Changes, bytes]]:
    """Ask what changed since `position` (empty: ever); return it and the position after it.

    Raises:
        PositionRefused: the server cannot continue from there.
        SearchRefused: it does not answer such questions.
        AnswerBroken: the answer is not what the protocol allows.
    """
    changes = Changes()
    limit_s = settings.timing.dead_s if position else settings.timing.refresh_dead_s
    more = True
    while more:
        answer = yield Question(request, limit_s, ((DIRSYNC_OID, dirsync_request(position)),))
        if answer.code != 0:
            raise _refuse(answer.code, url, position)
        value = answer.controls.get(DIRSYNC_OID)
        if value is None:
            raise AnswerBroken(f"{url} gives no position to continue from (DirSync control).")
        before = position
        more, position = read_dirsync(value)
        if not position or (more and position == before):
            raise AnswerBroken(f"{url} says that more changes wait but does not go on.")
        for entry in answer.entries:
            changes.take(stable_id_of(settings, entry, url), entry)
        if len(changes.changed) + len(changes.deleted) > settings.max_entries:
            raise AnswerBroken(f"{url} names more than {settings.max_entries} changes.")
    return changes, position


def _refuse(code: int, url: str, position: bytes) -> SearchRefused:
    if position and code not in NOT_ALLOWED | _TEMPORARY:
        return PositionRefused(f"{url} cannot continue from where this copy stands (LDAP {code}).", REFRESH_REQUIRED)
    return refuse_dirsync(code, url)


@dataclass(slots=True)
class ChangeReader:
    """Brings changes into the copy. `doubtful` is set when only a comparison of everything can tell the rest."""

    copy: DirectoryCopy
    listing: Listing
    doubtful: bool = False

    def apply(self, changes: Changes) -> Step:
        """Apply what one poll told, and everything that follows from it.

        Raises:
            SearchRefused, AnswerBroken: an entry cannot be read.
        """
        self.copy.remove(changes.deleted)
        moved: list[str] = []
        for ids in _portions(changes.changed):
            missing = yield from self._read(ids, changes)
            self.copy.remove(missing)
            moved += [one for one in missing if _is_move(changes.changed[one])]
        for stable_id in moved:
            yield from self._read_below(stable_id)
        yield from self._read_groups_of_the_moved()

    def _read(self, ids: Sequence[str], changes: Changes) -> Generator[Question, Answer, set[str]]:
        """Read entries whole; return those that do not lie within bases and filters."""
        missing = set(ids)
        kind = self._settings.mapping.stable_id
        wanted = "".join(f"({kind}={_escaped(uuid.UUID(one).bytes_le)})" for one in ids)
        found = yield from self._find(self._settings.search_base(), f"(&{self._settings.search_filter()}(|{wanted}))")
        missing -= {stable_id_of(self._settings, entry, self.copy.url) for entry in found}
        yield from self._take(found, changes)
        self.copy.delivery.settle(time.monotonic(), idle=False, following=False)
        return missing

    def _find(self, base: str, search_filter: str) -> Generator[Question, Answer, list[Entry]]:
        found: list[Entry] = []
        yield from self.listing.pages(Place(base, search_filter), found.extend)
        return found

    def _take(self, entries: list[Entry], changes: Changes) -> Step:
        """People first: whoever is disabled must not wait for a group to be read."""
        groups = [entry for entry in entries if self.copy.is_group(entry)]
        for entry in entries:
            if not self.copy.is_group(entry):
                self._take_one(entry, changes)
        if not groups:
            return
        if not self.copy.primary.loaded:
            self.copy.delivery.flush()
            yield from self.copy.load_primary_groups(self.listing)
        for entry in groups:
            self._take_one(entry, changes)

    def _take_one(self, entry: Entry, changes: Changes) -> None:
        stable_id = stable_id_of(self._settings, entry, self.copy.url)
        self.copy.take(entry, is_new="objectclass" in changes.changed.get(stable_id, ()))

    def _read_below(self, stable_id: str) -> Step:
        """A container was renamed or moved: everything below it has another name now, and no event of its own."""
        try:
            found = yield from self._find(f"<GUID={stable_id}>", self._settings.search_filter())
        except SearchRefused as error:
            if error.code != NO_SUCH_OBJECT:
                raise
            # It went where the account cannot see it, perhaps with people below it.
            self.doubtful = True
        else:
            yield from self._take(found, Changes())

    def _read_groups_of_the_moved(self) -> Step:
        """The server changes the names in its groups itself, and tells nobody."""
        for _ in range(_ROUNDS):
            renamed, self.copy.renamed = self.copy.renamed, []
            regrouped, self.copy.regrouped = self.copy.regrouped, set()
            if not renamed and not regrouped:
                return
            member, sid = self._settings.mapping.member, self._settings.mapping.sid
            holds = [f"({kind}={escape_filter_chars(dn)})" for dn in renamed for kind in member]
            holds += [f"({sid}={_escaped(value)})" for value in regrouped]
            if len(holds) > _MOST_SINGLE_READS:
                found = yield from self._find(self._settings.groups_base, self._settings.groups_filter)
                yield from self._take(found, Changes())
                continue
            for some in _portions(holds):
                wanted = f"(&{self._settings.groups_filter}(|{''.join(some)}))"
                found = yield from self._find(self._settings.groups_base, wanted)
                yield from self._take(found, Changes())
        self.doubtful = True

    @property
    def _settings(self) -> LdapSettings:
        return self.copy.settings


def _is_move(changed: frozenset[str]) -> bool:
    """Tell whether an object has another name or place and is not new."""
    return "objectclass" not in changed and not changed.isdisjoint({"name", "parentguid"})


def _escaped(value: bytes) -> str:
    return "".join(f"\\{octet:02x}" for octet in value)


def _portions(items: Iterable[str]) -> Iterator[list[str]]:
    everything = list(items)
    for start in range(0, len(everything), _AT_ONCE):
        yield everything[start : start + _AT_ONCE]
