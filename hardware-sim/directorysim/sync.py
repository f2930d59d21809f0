# SPDX-License-Identifier: EUPL-1.2
"""Content synchronisation (RFC 4533): control values, cookies in OpenLDAP's form, and the log of changes."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from directorysim import ber
from directorysim.csn import is_csn, is_own_csn
from directorysim.errors import BerError, OperationError, ResultCode

SYNC_REQUEST_OID: Final = "1.3.6.1.4.1.4203.1.9.1.1"
SYNC_STATE_OID: Final = "1.3.6.1.4.1.4203.1.9.1.2"
SYNC_DONE_OID: Final = "1.3.6.1.4.1.4203.1.9.1.3"
SYNC_INFO_OID: Final = "1.3.6.1.4.1.4203.1.9.1.4"

UUIDS_PER_MESSAGE: Final = 256
MAX_COOKIE_BYTES: Final = 4_096

_NEW_COOKIE: Final = 0x80
_REFRESH_DELETE: Final = 0xA1
_REFRESH_PRESENT: Final = 0xA2
_SYNC_ID_SET: Final = 0xA3


class SyncMode(IntEnum):
    """The modes of a Sync Request (RFC 4533, section 2.2)."""

    REFRESH_ONLY = 1
    REFRESH_AND_PERSIST = 3


class SyncState(IntEnum):
    """The states of a Sync State control (RFC 4533, section 2.3)."""

    PRESENT = 0
    ADD = 1
    MODIFY = 2
    DELETE = 3


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """A Sync Request; `csn` is None when no cookie tells the state, `foreign` when it is another server's."""

    mode: SyncMode
    csn: str | None
    foreign: bool


def parse_sync_request(value: bytes | None) -> SyncRequest:
    """Decode the value of a Sync Request control.

    Raises:
        OperationError: it is not one.
    """
    try:
        fields = ber.Fields(ber.decode(value or b"").children, what="syncRequestValue")
        mode = SyncMode(ber.to_integer(fields.take(ber.ENUMERATED)))
        cookie = fields.take_optional(ber.OCTET_STRING)
        fields.take_optional(ber.BOOLEAN)
        fields.end()
    except (BerError, ValueError) as error:
        raise OperationError(ResultCode.PROTOCOL_ERROR, "Sync control : decoding error") from error
    known = cookie_csns(cookie.content) if cookie is not None else ()
    own = next((csn for csn in known if is_own_csn(csn)), None)
    return SyncRequest(mode, own, foreign=own is None and bool(known))


def cookie_csns(cookie: bytes) -> tuple[str, ...]:
    """Return the well-formed change sequence numbers of a cookie, one per server it speaks of."""
    if len(cookie) > MAX_COOKIE_BYTES:
        return ()
    for part in cookie.decode("ascii", errors="replace").split(","):
        name, _, value = part.partition("=")
        if name == "csn":
            return tuple(csn for csn in value.split(";") if is_csn(csn))
    return ()


def encode_cookie(csn: str, *, deleted_up_to: str | None = None) -> bytes:
    """Return the cookie for the state at `csn`; `deleted_up_to` marks the deletes sent before the changes."""
    deletes = f",delcsn={deleted_up_to}" if deleted_up_to else ""
    return f"rid=000,csn={csn}{deletes}".encode("ascii")


def state_value(state: SyncState, uuid: bytes, cookie: bytes | None = None) -> bytes:
    """Encode a Sync State control value (RFC 4533, section 2.3)."""
    tail = ber.encode_octets(cookie) if cookie is not None else b""
    return ber.encode_sequence(ber.encode_integer(state, ber.ENUMERATED), ber.encode_octets(uuid), tail)


def done_value(cookie: bytes | None, *, refresh_deletes: bool) -> bytes:
    """Encode a Sync Done control value (RFC 4533, section 2.4)."""
    head = ber.encode_octets(cookie) if cookie is not None else b""
    return ber.encode_sequence(head, ber.encode_boolean(True) if refresh_deletes else b"")


def refresh_done_info(cookie: bytes | None, *, refresh_deletes: bool) -> bytes:
    """Encode refreshDelete or refreshPresent with refreshDone TRUE (RFC 4533, section 2.5)."""
    content = ber.encode_octets(cookie) if cookie is not None else b""
    return ber.encode(_REFRESH_DELETE if refresh_deletes else _REFRESH_PRESENT, content)


def new_cookie_info(cookie: bytes) -> bytes:
    """Encode newcookie (RFC 4533, section 2.5)."""
    return ber.encode(_NEW_COOKIE, cookie)


def id_set_infos(uuids: Iterable[bytes], cookie: bytes | None, *, refresh_deletes: bool) -> list[bytes]:
    """Encode syncIdSet messages for any number of entries (RFC 4533, section 2.5)."""
    head = ber.encode_octets(cookie) if cookie is not None else b""
    flag = ber.encode_boolean(True) if refresh_deletes else b""
    encoded = [ber.encode_octets(uuid) for uuid in uuids]
    return [
        ber.encode(
            _SYNC_ID_SET, head + flag + ber.encode(ber.SET, b"".join(encoded[start : start + UUIDS_PER_MESSAGE]))
        )
        for start in range(0, len(encoded), UUIDS_PER_MESSAGE)
    ]


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """One line of the session log."""

    csn: str
    uuid: bytes


class SessionLog:
    """The latest changes, at most `size` of them; a consumer that is behind it needs a present phase."""

    def __init__(self, size: int) -> None:
        self._changes: deque[LoggedChange] = deque()
        self._size = size
        self._complete_after = ""

    def record(self, csn: str, uuid: bytes) -> None:
        """Note that the entry with this identifier was added, changed or deleted."""
        self._changes.append(LoggedChange(csn, uuid))
        if len(self._changes) > self._size:
            self._complete_after = self._changes.popleft().csn

    def forget(self, csn: str) -> None:
        """Drop every line, as a server does that restarts at the state `csn`."""
        self._changes.clear()
        self._complete_after = csn

    def since(self, csn: str) -> list[LoggedChange] | None:
        """Return the changes after `csn`, oldest first, or None when the log does not reach back so far."""
        if csn < self._complete_after:
            return None
        changes = []
        for change in reversed(self._changes):
            if change.csn <= csn:
                break
            changes.append(change)
        changes.reverse()
        return changes
