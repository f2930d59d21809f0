# SPDX-License-Identifier: EUPL-1.2
"""The controls of LDAP content synchronisation (RFC 4533, section 2)."""

import enum
import uuid
from dataclasses import dataclass

from integrations.ldap import ber
from integrations.ldap.errors import MalformedBer

SYNC_REQUEST_OID = "1.3.6.1.4.1.4203.1.9.1.1"
SYNC_STATE_OID = "1.3.6.1.4.1.4203.1.9.1.2"
SYNC_DONE_OID = "1.3.6.1.4.1.4203.1.9.1.3"
SYNC_INFO_OID = "1.3.6.1.4.1.4203.1.9.1.4"

REFRESH_REQUIRED = 4096
MAX_COOKIE_BYTES = 4096
MAX_IDS_PER_SET = ber.MAX_MESSAGE_BYTES // 18

_UUID_BYTES = 16


class SyncMode(enum.IntEnum):
    """What the server does after the refresh (section 2.2)."""

    REFRESH_ONLY = 1
    REFRESH_AND_PERSIST = 3


class EntryState(enum.IntEnum):
    """What happened to an entry (section 2.3)."""

    PRESENT = 0
    ADD = 1
    MODIFY = 2
    DELETE = 3


class InfoKind(enum.Enum):
    """Which choice a sync info message holds (section 2.5)."""

    NEW_COOKIE = 0x80
    REFRESH_DELETE = 0xA1
    REFRESH_PRESENT = 0xA2
    ID_SET = 0xA3


@dataclass(frozen=True, slots=True)
class SyncState:
    """One entry's state, its immutable id as lower-case UUID text, and the cookie that came with it."""

    state: EntryState
    stable_id: str
    cookie: str | None


@dataclass(frozen=True, slots=True)
class SyncDone:
    """The end of a refresh; without `refresh_deletes` every entry that was not named is gone (section 3.3.1)."""

    cookie: str | None
    refresh_deletes: bool


@dataclass(frozen=True, slots=True)
class SyncInfo:
    """A message between the entries: a cookie, the end of a phase, or a set of ids."""

    kind: InfoKind
    cookie: str | None = None
    refresh_done: bool = True
    refresh_deletes: bool = False
    stable_ids: frozenset[str] = frozenset()


def sync_request(mode: SyncMode, cookie: str | None) -> bytes:
    """Return the value of a sync request control; `cookie` None asks for everything."""
    value = ber.encode_integer(mode, ber.ENUMERATED)
    if cookie is not None:
        value += ber.encode(ber.OCTET_STRING, cookie.encode("utf-8"))
    return ber.encode(ber.SEQUENCE, value)


def read_sync_state(value: bytes) -> SyncState:
    """Read a sync state control.

    Raises:
        MalformedBer: not as section 2.3 says.
    """
    start, end = ber.expect(value, 0, len(value), ber.SEQUENCE)
    state_start, state_end = ber.expect(value, start, end, ber.ENUMERATED)
    number = ber.read_integer(value, state_start, state_end)
    try:
        state = EntryState(number)
    except ValueError:
        raise MalformedBer(f"entry state {number}; 0 to 3 are defined") from None
    id_start, id_end = ber.expect(value, state_end, end, ber.OCTET_STRING)
    cookie = None
    if id_end < end:
        cookie_start, cookie_end = ber.expect(value, id_end, end, ber.OCTET_STRING)
        cookie = _cookie_text(value[cookie_start:cookie_end])
    return SyncState(state, _stable_id(value[id_start:id_end]), cookie)


def read_sync_done(value: bytes) -> SyncDone:
    """Read a sync done control.

    Raises:
        MalformedBer: not as section 2.4 says.
    """
    start, end = ber.expect(value, 0, len(value), ber.SEQUENCE)
    cookie, flag = _cookie_and_flag(value, start, end)
    return SyncDone(cookie, bool(flag))


def read_sync_info(value: bytes) -> SyncInfo:
    """Read a sync info message.

    Raises:
        MalformedBer: not as section 2.5 says.
    """
    tag, start, end = ber.read_element(value, 0, len(value))
    try:
        kind = InfoKind(tag)
    except ValueError:
        raise MalformedBer(f"a sync info message with tag 0x{tag:02x}") from None
    if kind is InfoKind.NEW_COOKIE:
        return SyncInfo(kind, _cookie_text(value[start:end]))
    if kind is InfoKind.ID_SET:
        return _read_id_set(value, start, end)
    cookie, flag = _cookie_and_flag(value, start, end)
    return SyncInfo(kind, cookie, refresh_done=flag is not False)


def _read_id_set(value: bytes, start: int, end: int) -> SyncInfo:
    cookie: str | None = None
    deletes = False
    for tag, item_start, item_end in ber.elements(value, start, end, at_most=3):
        if tag == ber.OCTET_STRING:
            cookie = _cookie_text(value[item_start:item_end])
        elif tag == ber.BOOLEAN:
            deletes = ber.read_boolean(value, item_start, item_end)
        elif tag == ber.SET:
            ids = frozenset(
                _stable_id(value[id_start:id_end])
                for _, id_start, id_end in ber.elements(value, item_start, item_end, at_most=MAX_IDS_PER_SET)
            )
            return SyncInfo(InfoKind.ID_SET, cookie, refresh_deletes=deletes, stable_ids=ids)
    raise MalformedBer("a sync id set without its set")


def _cookie_and_flag(value: bytes, start: int, end: int) -> tuple[str | None, bool | None]:
    cookie: str | None = None
    flag: bool | None = None
    for tag, item_start, item_end in ber.elements(value, start, end, at_most=2):
        if tag == ber.OCTET_STRING:
            cookie = _cookie_text(value[item_start:item_end])
        elif tag == ber.BOOLEAN:
            flag = ber.read_boolean(value, item_start, item_end)
        else:
            raise MalformedBer(f"tag 0x{tag:02x} where a cookie or a boolean is expected")
    return cookie, flag


def _cookie_text(raw: bytes) -> str | None:
    """Return the cookie as text; an empty one is none. OpenLDAP's are ASCII, 389's hold names in UTF-8."""
    if len(raw) > MAX_COOKIE_BYTES:
        raise MalformedBer(f"a cookie of {len(raw)} bytes; at most {MAX_COOKIE_BYTES} are stored")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedBer("a cookie that is no UTF-8") from None
    if not text.isprintable():
        raise MalformedBer("a cookie with other characters than printable ones")
    return text or None


def _stable_id(raw: bytes) -> str:
    if len(raw) != _UUID_BYTES:
        raise MalformedBer(f"an entry id of {len(raw)} bytes; exactly {_UUID_BYTES} are allowed")
    return str(uuid.UUID(bytes=raw))
