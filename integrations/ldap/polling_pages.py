# SPDX-License-Identifier: EUPL-1.2
"""A search read in pages (RFC 2696): whole, or a failure. Never a part of a list."""

from collections.abc import Iterable

from integrations.ldap import ber
from integrations.ldap.connection import Channel, encode_search
from integrations.ldap.errors import AnswerBroken, ConnectionLost, MalformedBer, SearchRefused
from integrations.ldap.messages import Done, Entry, Message, Notice
from integrations.ldap.refresh import refuse

PAGED_RESULTS_OID = "1.2.840.113556.1.4.319"
PAGE_ENTRIES = 500
MAX_PAGE_COOKIE_BYTES = 65_536
# A server may send a page on which nobody matches; one that sends nothing else never ends.
_MOST_EMPTY_PAGES = 1_000
_CRITICAL_UNAVAILABLE = 12
_UNWILLING = 53


def page_request(size: int, cookie: bytes) -> bytes:
    """Return the value of a paged results control (RFC 2696, section 2)."""
    return ber.encode(ber.SEQUENCE, ber.encode_integer(size) + ber.encode(ber.OCTET_STRING, cookie))


def read_page_cookie(value: bytes) -> bytes:
    """Return the cookie that continues the list, empty after its last page.

    Raises:
        MalformedBer: not as section 2 says.
    """
    start, end = ber.expect(value, 0, len(value), ber.SEQUENCE)
    _, size_end = ber.expect(value, start, end, ber.INTEGER)
    cookie_start, cookie_end = ber.expect(value, size_end, end, ber.OCTET_STRING)
    if cookie_end - cookie_start > MAX_PAGE_COOKIE_BYTES:
        raise MalformedBer(f"a page's cookie of {cookie_end - cookie_start} bytes")
    return value[cookie_start:cookie_end]


class PagedSearch:
    """One search over one channel, page after page; some servers keep only one such search per connection."""

    def __init__(self, channel: Channel, request: bytes, page_entries: int = PAGE_ENTRIES) -> None:
        self._channel = channel
        self._request = request
        self._page_entries = page_entries
        self._page_cookie = b""
        self._on_this_page = 0
        self._empty_pages = 0
        self._message_id = self._ask()

    def _ask(self) -> int:
        self._on_this_page = 0
        return self._channel.search(
            self._request, [(PAGED_RESULTS_OID, page_request(self._page_entries, self._page_cookie))]
        )

    def take(self, message: Message) -> Entry | None:
        """Return the entry that a message holds; ask for the next page at the end of one.

        Raises:
            ConnectionLost, AnswerBroken, SearchRefused: the list is not whole.
        """
        if isinstance(message, Notice):
            raise ConnectionLost(f"{self._channel.url} ends the connection (LDAP result {message.code}).")
        if message.message_id != self._message_id:
            raise AnswerBroken(f"{self._channel.url} answered a question that was not asked.")
        if isinstance(message, Entry):
            self._on_this_page += 1
            return message
        if isinstance(message, Done):
            self._end_page(message)
        return None

    @property
    def ended(self) -> bool:
        """Whether the last page has been read."""
        return self._message_id < 0

    def _end_page(self, message: Done) -> None:
        if message.code != 0:
            raise self._refusal(message.code)
        control = message.controls.get(PAGED_RESULTS_OID)
        if control is None:
            raise AnswerBroken(f"{self._channel.url} does not say whether its list is whole (paged results, RFC 2696).")
        self._page_cookie = read_page_cookie(control)
        self._empty_pages = 0 if self._on_this_page else self._empty_pages + 1
        if self._empty_pages > _MOST_EMPTY_PAGES:
            raise AnswerBroken(f"{self._channel.url} sends one empty page after another.")
        self._message_id = self._ask() if self._page_cookie else -1

    def _refusal(self, code: int) -> SearchRefused:
        if code == _CRITICAL_UNAVAILABLE:
            return SearchRefused(f"{self._channel.url} does not offer lists in pages (RFC 2696).", code)
        if code == _UNWILLING:
            return SearchRefused(f"{self._channel.url} is not willing to go on with its list.", code)
        return refuse(code, self._channel.url)


def search_pages(channel: Channel, base: str, search_filter: str, attributes: Iterable[str]) -> PagedSearch:
    """Begin a search over everything below `base`."""
    return PagedSearch(channel, encode_search(base, search_filter, attributes))
