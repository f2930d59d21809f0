# SPDX-License-Identifier: EUPL-1.2
"""What a corporate directory must offer: a source that tells a sink what changed, and proves that it is current."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cardservice.people.photo.rules import Photo
from cardservice.people.rules import DirectoryEntry, DirectoryPerson


@dataclass(frozen=True, slots=True)
class DirectoryChange:
    """Entries that appeared or changed, and stable ids that are gone.

    `complete` marks the end of a full read: `removed` then holds everything the copy knew and the server did not
    name. `cookie` is the state of the server that the copy equals once this change is applied, None while a refresh
    is still under way.
    """

    upserts: tuple[DirectoryEntry, ...] = ()
    removed: frozenset[str] = frozenset()
    cookie: str | None = None
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """The copy equalled the server at the moment the question was sent.

    `sent_at_monotonic_ns` is CLOCK_BOOTTIME, which goes on while the machine sleeps.
    """

    server: str
    mode: str
    cookie: str | None
    sent_at_monotonic_ns: int
    sent_at_ms: int


@dataclass(frozen=True, slots=True)
class SourceState:
    """Whether the source is signed in, to what, and since when that, or a trouble while signed in, lasts.

    `trouble` is what is wrong now, `remark` what is special about a connection that works; plain sentences.
    """

    connected: bool
    server: str
    mode: str
    since_ms: int
    trouble: str | None = None
    remark: str | None = None


class DirectorySink(Protocol):
    """Receives what a source learns. Called from the source's own thread only."""

    def known_dns(self) -> Mapping[str, str]:
        """Return stable id -> normalised DN of every entry in the copy, to see what was removed or renamed."""
        ...

    def cookie(self) -> str | None:
        """Return the cookie the copy was last stored with, None for an empty copy."""
        ...

    def apply(self, change: DirectoryChange) -> None:
        """Store `change` durably and publish it; when it returns, the next tap sees it."""
        ...

    def proved(self, proof: Proof) -> None:
        """Note that the copy was current when `proof` was asked for."""
        ...

    def state(self, state: SourceState) -> None:
        """Note that the source connected, or why it is not connected."""
        ...

    def reading_asked(self) -> bool:
        """Tell, once, whether somebody asked to have everything read anew now. Costs nothing: to be asked often."""
        ...


class DirectorySource(Protocol):
    """A directory that can be followed."""

    def run(self, sink: DirectorySink, stop: threading.Event) -> None:
        """Follow the directory until `stop` is set; heals itself, reports every trouble to the sink, never raises."""
        ...


class LiveDirectory(Protocol):
    """A directory that is asked about one person at a time."""

    def read(self, stable_id: str, limit_s: float) -> DirectoryPerson | None:
        """Return the person with this id as the directory shows them now, None if it shows nobody. Blocks.

        Raises:
            Exception: of its own; there is no answer within `limit_s`, or none that can be read.
        """
        ...

    def close(self) -> None:
        """Close its connection."""
        ...


class PhotoDirectory(Protocol):
    """A directory that is asked for one person's photo, by whoever needs it once: no copy keeps it."""

    def photo(self, stable_id: str, limit_s: float) -> Photo | None:
        """Return the photo of the person with this id, None if the directory shows none or nobody. Blocks.

        Raises:
            PhotoUnusable: there is one, and it is too large, cut off, or neither JPEG nor PNG.
            Exception: of its own; there is no answer within `limit_s`, or none that can be read.
        """
        ...
