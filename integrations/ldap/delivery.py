# SPDX-License-Identifier: EUPL-1.2
"""What goes to the sink, and in which portions.

Several searches run at once and may show one entry in different states. OpenLDAP stamps each change with an `entryCSN`
that sorts as text: an older state never replaces a newer one, and what changed after a search began is not removed
because that search did not name it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cardservice.people.ports import DirectoryChange, DirectorySink
from cardservice.people.rules import DirectoryEntry, DirectoryPerson

BATCH_ENTRIES = 500
BATCH_WAIT_S = 0.05
_REMEMBERED_S = 60.0
_CSN = re.compile(r"\d{14}\.\d{6}Z#[0-9a-f]{6}#[0-9a-f]{3}#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class _Touch:
    serial: int
    csn: str
    at_s: float


def read_csn(text: str) -> str:
    """Return the newest change number in an entryCSN or an OpenLDAP cookie, empty where there is none."""
    return max(_CSN.findall(text), default="")


class Delivery:
    """Collects entries into changes of at most 500; disables and removals go out at once.

    `known` is what the copy holds: stable id -> comparable DN. `serial` counts what arrived, so that a search can say
    since when. `cookie` is the newest position that was noted. Used by the source's thread only.
    """

    def __init__(self, sink: DirectorySink, *, cookie: str | None) -> None:
        self._sink = sink
        self.known: dict[str, str] = dict(sink.known_dns())
        self.cookie = cookie
        self._stored_cookie = cookie
        self.serial = 0
        self._upserts: dict[str, DirectoryEntry] = {}
        self._removed: set[str] = set()
        self._urgent = False
        self._oldest_at_s: float | None = None
        self._touched: dict[str, _Touch] = {}
        self._shut: set[str] = set()
        self._holding = False
        self._held_cookie: str | None = None

    def resync(self) -> None:
        """Ask the sink again what it holds: it may have kept people whose removal waits for an administrator."""
        self.flush()
        self.known = dict(self._sink.known_dns())

    def upsert(self, entry: DirectoryEntry, csn: str, now_s: float) -> bool:
        """Take an entry a search showed and tell whether it has another DN than before; older states are left out."""
        earlier = self._touched.get(entry.stable_id)
        if earlier is not None and csn < earlier.csn and csn:
            return False
        before = self.known.get(entry.stable_id)
        self._touch(entry.stable_id, csn, now_s)
        self._removed.discard(entry.stable_id)
        self._upserts[entry.stable_id] = entry
        self.known[entry.stable_id] = entry.dn
        self._note_access(entry, is_known=before is not None)
        if self._oldest_at_s is None:
            self._oldest_at_s = now_s
        return before is not None and before != entry.dn

    def _note_access(self, entry: DirectoryEntry, *, is_known: bool) -> None:
        if not isinstance(entry, DirectoryPerson) or entry.enabled:
            self._shut.discard(entry.stable_id)
        elif entry.stable_id not in self._shut:
            self._shut.add(entry.stable_id)
            self._urgent = self._urgent or is_known

    def remove(self, stable_ids: Iterable[str], csn: str, now_s: float) -> bool:
        """Take removals the server named one by one and tell whether any was known."""
        found = False
        for stable_id in stable_ids:
            self._touch(stable_id, csn, now_s)
            self._upserts.pop(stable_id, None)
            if self.known.pop(stable_id, None) is not None:
                self._removed.add(stable_id)
                found = self._urgent = True
        return found

    def touched_since(self, stable_id: str, serial: int) -> bool:
        """Tell whether anything about the entry arrived after `serial`."""
        touch = self._touched.get(stable_id)
        return touch is not None and touch.serial > serial

    def _touch(self, stable_id: str, csn: str, now_s: float) -> None:
        self.serial += 1
        self._touched.pop(stable_id, None)  # so that the order is the order of arrival
        self._touched[stable_id] = _Touch(self.serial, csn, now_s)

    def note_cookie(self, cookie: str) -> None:
        """Everything taken so far is the server's state at `cookie`."""
        if self._holding:
            self._held_cookie = cookie
        else:
            self.cookie = cookie

    def hold_cookie(self) -> None:
        """Keep the position where it is: what comes now is not whole before something else was read."""
        self._holding = True

    def release_cookie(self) -> None:
        """Everything is whole again: the newest position counts."""
        self._holding = False
        self.cookie, self._held_cookie = self._held_cookie or self.cookie, None

    def unnamed(self, named: set[str], since: int) -> frozenset[str]:
        """Return what the copy holds, a search that began at serial `since` did not name, and nothing touched since."""
        return frozenset(
            stable_id for stable_id in self.known if stable_id not in named and not self.touched_since(stable_id, since)
        )

    def complete(self, removed: frozenset[str]) -> None:
        """End a full read: everything waiting goes out, then `removed` in one change with the cookie."""
        for stable_id in removed:
            self.known.pop(stable_id, None)
            self._upserts.pop(stable_id, None)
        self._apply(removed | self._removed, complete=True)

    def settle(self, now_s: float, *, idle: bool, following: bool) -> None:
        """Hand over what should not wait longer; while not `following`, the cookie is not valid yet."""
        full = len(self._upserts) >= BATCH_ENTRIES
        waited = self._oldest_at_s is not None and now_s - self._oldest_at_s >= BATCH_WAIT_S
        if self._urgent or full or waited or idle:
            self.flush(with_cookie=following)

    def flush(self, *, with_cookie: bool = False) -> None:
        """Hand over whatever waits."""
        if self._upserts or self._removed or (with_cookie and self.cookie != self._stored_cookie):
            self._apply(frozenset(self._removed), complete=False, with_cookie=with_cookie)

    def _apply(self, removed: frozenset[str], *, complete: bool, with_cookie: bool = True) -> None:
        cookie = self.cookie if with_cookie else None
        change = DirectoryChange(tuple(self._upserts.values()), removed, cookie, complete)
        self._upserts = {}
        self._removed = set()
        self._urgent = False
        self._oldest_at_s = None
        self._sink.apply(change)
        if with_cookie:
            self._stored_cookie = cookie

    def forget_touched(self, now_s: float, oldest_serial: int) -> None:
        """Drop marks that are a minute old and that no search running since `oldest_serial` can need."""
        outdated: list[str] = []
        for stable_id, touch in self._touched.items():
            if touch.serial > oldest_serial or now_s - touch.at_s < _REMEMBERED_S:
                break
            outdated.append(stable_id)
        for stable_id in outdated:
            del self._touched[stable_id]
