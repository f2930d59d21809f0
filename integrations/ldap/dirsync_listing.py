# SPDX-License-Identifier: EUPL-1.2
"""Whole entries from Active Directory: in pages, and groups with all their members however many answers that takes.

A domain controller sends at most 1,000 entries a page and 1,500 values of an attribute, and says so only between the
lines: half an answer must never be taken for a whole one.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from integrations.ldap.connection import encode_search
from integrations.ldap.dirsync_dialogue import Answer, Question
from integrations.ldap.errors import AnswerBroken
from integrations.ldap.mapping import read_stable_id
from integrations.ldap.messages import MAX_VALUES, Entry
from integrations.ldap.polling_pages import PAGE_ENTRIES, PAGED_RESULTS_OID, page_request, read_page_cookie
from integrations.ldap.refresh import refuse
from integrations.ldap.settings import LdapSettings

RANGE_VALUES: Final = 1500
NO_SUCH_OBJECT: Final = 32
_ANYTHING: Final = "(objectClass=*)"
_MOST_EMPTY_PAGES: Final = 1000

Reads = Generator[Question, Answer, list[Entry]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look, what for, and which attributes to bring: everything a person or group needs, if None."""

    base: str
    search_filter: str
    attributes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Reads entries of one server as scripts; small pages and ranges are for tests."""

    settings: LdapSettings
    url: str
    page_entries: int = PAGE_ENTRIES
    range_values: int = RANGE_VALUES

    def pages(self, place: Place, take: Callable[[list[Entry]], None]) -> Generator[Question, Answer, None]:
        """Hand one page of whole entries after the other to `take`.

        Raises:
            SearchRefused, AnswerBroken: as `page`; more entries than a directory has, or empty pages without end.
        """
        position = b""
        entries_seen = empty_pages = 0
        while True:
            entries, position = yield from self.page(place, position)
            entries_seen += len(entries)
            empty_pages += not entries
            if entries_seen > self.settings.max_entries:
                raise AnswerBroken(f"{self.url} names more than {self.settings.max_entries} entries.")
            if empty_pages > _MOST_EMPTY_PAGES:
                raise AnswerBroken(f"{self.url} sends one empty page after another.")
            take(entries)
            if not position:
                return

    def page(self, place: Place, position: bytes) -> Generator[Question, Answer, tuple[list[Entry], bytes]]:
        """Return one page of whole entries and the position after it, empty after the last one.

        Raises:
            SearchRefused: the server ended the search with a result that is not success.
            AnswerBroken: the members of a group are not whole.
        """
        attributes = place.attributes if place.attributes is not None else self._ranged_attributes()
        request = encode_search(place.base, place.search_filter, attributes)
        control = PAGED_RESULTS_OID, page_request(self.page_entries, position)
        answer = yield Question(request, self.settings.timing.refresh_dead_s, (control,))
        if answer.code != 0:
            raise refuse(answer.code, self.url)
        value = answer.controls.get(PAGED_RESULTS_OID)
        following = read_page_cookie(value) if value is not None else b""
        whole = yield from self._whole(answer.entries)
        return whole, following

    def _ranged_attributes(self) -> tuple[str, ...]:
        mapping = self.settings.mapping
        plain = [name for name in mapping.attributes() if name not in mapping.member]
        return *plain, *(f"{name};range=0-{self.range_values - 1}" for name in mapping.member)

    def _whole(self, entries: list[Entry]) -> Reads:
        """Return the entries with all values; those that vanish meanwhile are left out."""
        whole: list[Entry] = []
        for entry in entries:
            complete = yield from self._complete(entry)
            whole += [complete] if complete is not None else []
        return whole

    def _complete(self, entry: Entry) -> Generator[Question, Answer, Entry | None]:
        """Return `entry` with all values of what came in part, None if it has vanished."""
        attributes = dict(entry.attributes)
        for kind, (_, last) in entry.ranges.items():
            attributes[kind] = values = list(attributes[kind])
            end = last
            while end is not None:
                more = yield from self._next_values(entry, f"{kind};range={end + 1}-{end + self.range_values}")
                if more is None:
                    return None
                values += more.attributes.get(kind, [])
                end = self._end_of_part(more, kind, end, len(values))
        return Entry(entry.message_id, entry.dn, attributes)

    def _end_of_part(self, part: Entry, kind: str, end_before: int, count: int) -> int | None:
        """Return the place of the last value there is so far, None when nothing follows."""
        first, end = part.ranges.get(kind, (end_before + 1, None))
        stuck = end is not None and (end != count - 1 or end <= end_before)
        if stuck or first != end_before + 1 or count > MAX_VALUES:
            raise AnswerBroken(f"{self.url} sends the members of a group in parts that do not fit.")
        return end

    def _next_values(self, entry: Entry, attribute: str) -> Generator[Question, Answer, Entry | None]:
        stable_id = read_stable_id(entry.attributes, self.settings.mapping.stable_id)
        request = encode_search(f"<GUID={stable_id}>", _ANYTHING, (attribute,), whole_tree=False)
        answer = yield Question(request, self.settings.timing.dead_s)
        if answer.code == NO_SUCH_OBJECT:
            return None
        if answer.code != 0:
            raise refuse(answer.code, self.url)
        return answer.entries[0] if answer.entries else None
