# SPDX-License-Identifier: EUPL-1.2
"""What an explanation is made from: one point, one card and its holder as the tables have them, by name. Pure.

Groups and people also have their row numbers, for names need not be unique. Instants are milliseconds since
1970-01-01T00:00:00Z, None where nothing bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cardservice.access.rules import CompiledPeriod, Reason, Use


@dataclass(frozen=True, slots=True)
class Asked:
    """The question: where, when, how old the directory copy is, what the card proves, and who came first.

    `level` is None for a card that the point does not ask; `first` is the row number of a first person, 0 for none.
    """

    point: str
    at_ms: int
    age_ms: int
    level: int | None
    first: int = 0


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group and the normalised DNs it holds."""

    row: int
    dn: str
    name: str
    member_dns: frozenset[str]


@dataclass(frozen=True, slots=True)
class SponsorFacts:
    """Somebody of a directory who answers for a holder that is in none."""

    name: str
    login: str | None
    present: bool
    enabled: bool
    from_ms: int | None
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class HolderFacts:
    """Who holds a card; `locked_until_ms` is when a lock-out of their account ends, None: it is not locked out.

    `paths`: each of their groups by row number, with the names that lead to it, itself last. `staying`: the groups that
    no longer name them, in which they count until an instant because they changed departments. `sponsor`: None for
    people of a directory.
    """

    row: int
    name: str
    login: str | None
    present: bool
    enabled: bool
    from_ms: int | None
    until_ms: int | None
    locked_until_ms: int | None
    paths: Mapping[int, tuple[str, ...]]
    staying: Mapping[int, int] = field(default_factory=dict)
    sponsor: SponsorFacts | None = None


@dataclass(frozen=True, slots=True)
class CardFacts:
    """A card as one of its credentials shows it; `state_refusal` is why its state alone refuses, None if active.

    `suspended_until_ms` is from when on it does not, although it was suspended.
    """

    reference: str
    method: Literal["desfire", "piv"]
    state: str
    state_reason: str | None
    state_refusal: Reason | None
    suspended_until_ms: int | None
    from_ms: int | None
    until_ms: int | None
    holder: HolderFacts | None


@dataclass(frozen=True, slots=True)
class Times:
    """When something holds: inside while an odd number of `toggles` lies at or before now; no `schedule`: any time."""

    schedule: str | None
    toggles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BlockOrGrant:
    """One rule at the point; its `times` are cut to its own bounds already."""

    effect: Literal["grant", "block"]
    group: int | None
    group_name: str | None
    person: int | None
    target_kind: Literal["point", "zone", "use"]
    target: str
    times: Times
    from_ms: int | None
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Demand:
    """What the class demands while a schedule holds."""

    times: Times
    level: int
    people: int


@dataclass(frozen=True, slots=True)
class LockdownFacts:
    """A lockdown around the point, or of it alone (`zone` is None).

    `group` may pass, `group_name` is None if it is gone or nobody may.
    """

    zone: str | None
    since_ms: int
    group: int | None
    group_name: str | None


@dataclass(frozen=True, slots=True)
class PointFacts:
    """One point with everything that bears on it; `zones` innermost first, `exception` is until when and why."""

    code: str
    name: str
    use: Use
    time_zone: str
    zones: tuple[str, ...]
    point_class: str
    level: int
    people: int
    second_within_ms: int
    freshness_ms: int
    stale_permits: bool
    stops_locked_out: bool
    live_check: bool
    demands: tuple[Demand, ...]
    zone_levels: tuple[tuple[str, int], ...]
    exception: tuple[int, str] | None
    escape_route: bool
    lockdowns: tuple[LockdownFacts, ...]
    rules: tuple[BlockOrGrant, ...]
    compiled: CompiledPeriod
