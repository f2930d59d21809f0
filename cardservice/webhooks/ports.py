# SPDX-License-Identifier: EUPL-1.2
"""What webhooks ask of the rest of the service, and of the network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class DoorEvent(Protocol):
    """Something that happened at a door, as the record has it."""

    @property
    def cursor(self) -> str:
        """Where to go on from."""
        ...

    @property
    def at_ms(self) -> int:
        """When."""
        ...

    @property
    def kind(self) -> str:
        """What the journal calls it."""
        ...

    @property
    def point(self) -> str | None:
        """At which door."""
        ...

    @property
    def facts(self) -> Mapping[str, str | int | bool | None]:
        """What else is known of it; names nobody."""
        ...


class DoorRecord(Protocol):
    """The doors' stream of the record."""

    def __call__(self, after_cursor: str | None, limit: int) -> Sequence[DoorEvent]:
        """Return what follows a cursor in order; with None the newest."""
        ...


class Condition(NamedTuple):
    """Something that is not as it should be, for as long as it is told: of which kind, of what."""

    kind: str
    subject: str


class Conditions(Protocol):
    """What lasts now."""

    def __call__(self) -> Iterable[Condition]:
        """Return all of it."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt: the status, or why there is none."""

    status: int | None
    trouble: str | None = None
    retry_after_s: int | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def why(self) -> str:
        """What went wrong."""
        return self.trouble or f"it answered with status {self.status}"


class Post(Protocol):
    """Sends one request."""

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Return what came of it; never raises."""
        ...
