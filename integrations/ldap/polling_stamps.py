# SPDX-License-Identifier: EUPL-1.2
"""What servers stamp on a changed entry, and where a polled copy stands. Pure.

Three kinds of stamps are known. Each is read as an integer, so that one rule orders them all: OpenLDAP's `entryCSN`
and everybody's `modifyTimestamp` as microseconds since 1970 by the server's clock, Active Directory's `uSNChanged` as
it is.
"""

import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from cardservice.people.rules import DirectoryEntry, DirectoryGroup
from integrations.ldap.mapping_access import Values, read_generalized_time_ms

_SECOND_US: Final = 1_000_000
_CSN: Final = re.compile(rb"(\d{14})\.(\d{6})Z#[0-9a-f]{6}#[0-9a-f]{3}#[0-9a-f]{6}")
_NUMBER: Final = re.compile(rb"\d{1,18}")
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATEST_US: Final = 253_402_300_799 * _SECOND_US
UNKNOWN_RECENT: Final = "0" * 12
_POSITION: Final = re.compile(r"poll,(csn|usn|time),(\d{1,18}),([0-9a-f]{12}),([0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class StampKind:
    """One kind of stamp.

    `overlap` is how far before the newest known stamp a poll begins: servers stamp in whole seconds or before they
    commit, so that a change can appear with a stamp that is not the newest. `step` is the least difference between two
    stamps that are instants, None for numbers. `per_server` stamps say nothing about another server's.
    """

    name: str
    attribute: str
    overlap: int
    read: Callable[[bytes], int | None]
    write: Callable[[int], str]
    step: int | None
    per_server: bool = False

    def of(self, attributes: Values) -> int | None:
        """Return the stamp of an entry, None where it shows none that can be read."""
        values = attributes.get(self.attribute, ())
        return self.read(values[0]) if len(values) == 1 else None

    def next_poll(self, newest: int, unchanged_s: float) -> int:
        """Return where the next poll begins, if `newest` was asked for again after it had stood for `unchanged_s`.

        Once the server's clock has left the newest stamp behind, nothing can appear before it any more: many thousand
        entries may share the newest second, and need not be read again and again.
        """
        if self.step is not None and unchanged_s * _SECOND_US > self.overlap:
            return newest + self.step
        return newest - self.overlap

    def since(self, stamp: int) -> str:
        """Return the filter for everything stamped at `stamp` or later."""
        return f"({self.attribute}>={self.write(max(stamp, 0))})"


def _read_csn(value: bytes) -> int | None:
    match = _CSN.fullmatch(value)
    instant_ms = read_generalized_time_ms(match[1] + b"Z") if match else None
    return None if match is None or instant_ms is None else instant_ms * 1_000 + int(match[2])


def _read_time(value: bytes) -> int | None:
    instant_ms = read_generalized_time_ms(value)
    return None if instant_ms is None or instant_ms < 0 else instant_ms * 1_000


def _read_number(value: bytes) -> int | None:
    return int(value) if _NUMBER.fullmatch(value) else None


def _instant(stamp: int) -> dt.datetime:
    return _EPOCH + dt.timedelta(microseconds=min(stamp, _LATEST_US))


def _write_csn(stamp: int) -> str:
    return f"{_instant(stamp):%Y%m%d%H%M%S.%f}Z#000000#000#000000"


def _write_time(stamp: int) -> str:
    return f"{_instant(stamp):%Y%m%d%H%M%S}Z"


CSN: Final = StampKind("csn", "entrycsn", 2 * _SECOND_US, _read_csn, _write_csn, step=1)
USN: Final = StampKind("usn", "usnchanged", 50, _read_number, str, step=None, per_server=True)
# Last: Active Directory shows a modifyTimestamp, but cannot search for it.
TIME: Final = StampKind("time", "modifytimestamp", 2 * _SECOND_US, _read_time, _write_time, step=_SECOND_US)
KINDS: Final = (CSN, USN, TIME)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a polled copy stands: the newest stamp of the last whole list, on which server.

    `recent` is a digest of the entries stamped within the overlap before `newest`: their stamps cannot say whether they
    changed since.
    """

    kind: StampKind
    newest: int
    server: str
    recent: str

    @property
    def settled_before(self) -> int:
        """The stamp before which an entry cannot have changed since."""
        return self.newest - self.kind.overlap

    def text(self) -> str:
        """Return the position as the cookie holds it; nothing in it looks like another mode's cookie."""
        return f"poll,{self.kind.name},{self.newest},{self.server},{self.recent}"


def read_position(text: str) -> Position | None:
    """Return the position a cookie holds, None if it is another mode's or none at all."""
    match = _POSITION.fullmatch(text)
    if match is None:
        return None
    kind = next(kind for kind in KINDS if kind.name == match[1])
    return Position(kind, int(match[2]), match[3], match[4])


def server_digest(url: str) -> str:
    """Return 12 hex digits that tell servers apart."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def entries_digest(entries: Iterable[DirectoryEntry]) -> str:
    """Return 12 hex digits that differ when any entry does; their order does not count."""
    lines = sorted(_line(entry) for entry in entries)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _line(entry: DirectoryEntry) -> str:
    if isinstance(entry, DirectoryGroup):
        return repr((entry.stable_id, entry.dn, entry.name, sorted(entry.member_dns)))
    return repr(entry)
