# SPDX-License-Identifier: EUPL-1.2
"""The decision: may this credential pass this point now, and if not, why not.

`decide` is the only place where this rule stands. The centre runs it on the whole city, an agent will run the same
function on its part. It is pure: state and time are arguments. Instants are milliseconds since
1970-01-01T00:00:00Z.

Order of the questions, the first "no" ends them: is the point known; is the credential known; is the card usable; is
its holder; is it their time; is the directory copy fresh enough; is the point locked down; is the clock believable;
does a block apply; does a grant apply; is the proof strong enough. No rule at all means no.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum, unique
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

NEVER_MS: Final = 2**62


@unique
class Level(IntEnum):
    """What a tap proves, weakest first."""

    NONE = 0
    UID = 1
    READER_ATTESTED = 2
    CARD = 3
    CARD_PIN = 4


@unique
class Use(StrEnum):
    """What a point is for. The five are never linked."""

    DOOR = "door"
    WORKSTATION = "workstation"
    TIMECLOCK = "timeclock"
    PRINTER = "printer"
    CANTEEN = "canteen"


@unique
class Reason(StrEnum):
    """Why; closed, one code for each cause that can be told apart."""

    GRANTED = "granted"
    POINT_UNKNOWN = "point_unknown"
    POINT_FOREIGN = "point_foreign"
    CARD_UNKNOWN = "card_unknown"
    CARD_UNSUPPORTED = "card_unsupported"
    CARD_NOT_GENUINE = "card_not_genuine"
    CARD_GARBLED = "card_garbled"
    CARD_GONE = "card_gone"
    CARD_NOT_ISSUED = "card_not_issued"
    CARD_SUSPENDED = "card_suspended"
    CARD_REVOKED = "card_revoked"
    CARD_EXPIRED = "card_expired"
    CARD_NOT_YET_VALID = "card_not_yet_valid"
    CERTIFICATE_REFUSED = "certificate_refused"
    NO_HOLDER = "no_holder"
    PERSON_DISABLED = "person_disabled"
    PERSON_LEFT = "person_left"
    PERSON_EXPIRED = "person_expired"
    PERSON_NOT_YET_VALID = "person_not_yet_valid"
    DIRECTORY_STALE = "directory_stale"
    BLOCKED = "blocked"
    NO_GRANT = "no_grant"
    OUTSIDE_SCHEDULE = "outside_schedule"
    LEVEL_TOO_LOW = "level_too_low"
    CLOCK_DOUBTFUL = "clock_doubtful"
    LOCKED_DOWN = "locked_down"
    OVERLOADED = "overloaded"
    UNSEEN_TAP = "unseen_tap"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. Shared between taps: what belongs to one tap (id, revision, age) is stamped on by the caller."""

    permit: bool
    reason: Reason
    open_ms: int = 0


REFUSED: Final[Mapping[Reason, Decision]] = MappingProxyType(
    {reason: Decision(permit=False, reason=reason) for reason in Reason if reason is not Reason.GRANTED}
)


# Looked up once: on the way of a tap even finding a constant by its enumeration counts.
_POINT_UNKNOWN: Final = REFUSED[Reason.POINT_UNKNOWN]
_CARD_UNKNOWN: Final = REFUSED[Reason.CARD_UNKNOWN]
_DIRECTORY_STALE: Final = REFUSED[Reason.DIRECTORY_STALE]
_CLOCK_DOUBTFUL: Final = REFUSED[Reason.CLOCK_DOUBTFUL]
_BLOCKED: Final = REFUSED[Reason.BLOCKED]
_NO_GRANT: Final = REFUSED[Reason.NO_GRANT]
_OUTSIDE_SCHEDULE: Final = REFUSED[Reason.OUTSIDE_SCHEDULE]
_LEVEL_TOO_LOW: Final = REFUSED[Reason.LEVEL_TOO_LOW]
_LOCKED_DOWN: Final = REFUSED[Reason.LOCKED_DOWN]


class Window(NamedTuple):
    """From when (inclusive) until when (exclusive), and what to answer outside."""

    from_ms: int
    until_ms: int
    early: Decision
    late: Decision


class CardRecord(NamedTuple):
    """What the snapshot keeps for one credential.

    `refusal` is set when the card or its holder is out of use whatever the time. `subjects` are the numbers of the
    groups the holder is in, and the holder's own. `holder` and `card` are row numbers for the journal, never part of
    the rule.
    """

    refusal: Decision | None
    window: Window | None
    subjects: tuple[int, ...]
    holder: int
    card: int


class Timed(NamedTuple):
    """Subjects that are named for certain times: inside while an odd number of `toggles` lies at or before now."""

    toggles: tuple[int, ...]
    subjects: frozenset[int]


class TimedLevel(NamedTuple):
    """The level demanded at certain times."""

    toggles: tuple[int, ...]
    level: int


@dataclass(frozen=True, slots=True)
class PointRecord:
    """What the snapshot keeps for one point, compiled: no schedule, zone or group name is looked up at a tap.

    `always` holds the subjects granted at any time, `timed` those granted at certain times, `blocks` those refused.
    `freshness_ms` is the oldest directory copy the point accepts; past it `stale_permits` tells what happens.
    Schedules are compiled for `compiled_from_ms` .. `compiled_until_ms`. What follows does not decide: how the card may
    prove itself, what is kept of a tap, and who serves the point.
    """

    code: str
    use: Use
    always: frozenset[int]
    timed: tuple[Timed, ...]
    blocks: tuple[Timed, ...]
    level: int
    timed_levels: tuple[TimedLevel, ...]
    freshness_ms: int
    stale_permits: bool
    granted: Decision
    compiled_from_ms: int = -NEVER_MS
    compiled_until_ms: int = NEVER_MS
    methods: tuple[str, ...] = ("desfire",)
    journal: str = "refusals"
    answer_budget_ms: int = 300
    tap_budget_ms: int = 3_000
    agent: str | None = None
    reader: str | None = None
    name: str = ""
    # What the place needs to know of its point; its `rules.py` says what may stand here.
    options: Mapping[str, str | int | bool] = field(default_factory=lambda: MappingProxyType({}))
    # Nobody passes; whether a point may be locked down at all is the place's rule.
    locked_down: bool = False
    # Whether anything but grants decides.
    by_time: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_time", bool(self.blocks or self.timed_levels or self.locked_down))


class CompiledPeriod(NamedTuple):
    """The time that compiled schedules cover: from inclusive, until exclusive."""

    from_ms: int
    until_ms: int


class Tap(NamedTuple):
    """One credential at one point, and what it proved (a `Level`)."""

    point: str
    credential: bytes
    level: int


class DecisionState(Protocol):
    """What `decide` reads: two look-ups."""

    def card(self, credential: bytes) -> CardRecord | None:
        """Return the record of `credential`, None if no card has it."""
        ...

    def point(self, code: str) -> PointRecord | None:
        """Return the record of the point, None if there is none."""
        ...


def decide(  # noqa: PLR0911  # one question a line, the first "no" ends them
    state: DecisionState, tap: Tap, at_ms: int, directory_age_ms: int
) -> Decision:
    """Return whether `tap` is permitted at `at_ms`, given a directory copy proved current `directory_age_ms` ago."""
    code, credential, level = tap
    point = state.point(code)
    if point is None:
        return _POINT_UNKNOWN
    record = state.card(credential)
    if record is None:
        return _CARD_UNKNOWN
    refusal, window, subjects, _, _ = record
    if refusal is not None:
        return refusal
    if window is not None and not window.from_ms <= at_ms < window.until_ms:
        return window.early if at_ms < window.from_ms else window.late
    if directory_age_ms > point.freshness_ms and not point.stale_permits:
        return _DIRECTORY_STALE
    if point.by_time and (objection := _objection(point, subjects, at_ms)) is not None:
        return objection
    if point.always.isdisjoint(subjects) and not (point.timed and _named(point.timed, subjects, at_ms)):
        return _not_granted(point, subjects)
    if level < point.level or point.by_time:
        return _by_level(point, level, at_ms)
    return point.granted


def inside(toggles: tuple[int, ...], at_ms: int) -> bool:
    """Tell whether `at_ms` lies in one of the intervals that `toggles` opens and closes in turn."""
    return bisect_right(toggles, at_ms) & 1 == 1


def _named(entries: tuple[Timed, ...], subjects: tuple[int, ...], at_ms: int) -> bool:
    return any(not entry.subjects.isdisjoint(subjects) and inside(entry.toggles, at_ms) for entry in entries)


def _objection(point: PointRecord, subjects: tuple[int, ...], at_ms: int) -> Decision | None:
    """Return why times speak against the tap: a block, or that nobody knows what is blocked or demanded now."""
    if point.locked_down:
        return _LOCKED_DOWN
    if not point.compiled_from_ms <= at_ms < point.compiled_until_ms:
        return _CLOCK_DOUBTFUL
    return _BLOCKED if _named(point.blocks, subjects, at_ms) else None


def _not_granted(point: PointRecord, subjects: tuple[int, ...]) -> Decision:
    if not point.timed:
        return _NO_GRANT
    ever = any(not entry.subjects.isdisjoint(subjects) for entry in point.timed)
    return _OUTSIDE_SCHEDULE if ever else _NO_GRANT


def _by_level(point: PointRecord, proved: int, at_ms: int) -> Decision:
    """Answer by the level demanded now: the highest of the entries in force, else the point's default."""
    in_force = [entry.level for entry in point.timed_levels if inside(entry.toggles, at_ms)]
    demanded = max(in_force) if in_force else point.level
    return point.granted if proved >= demanded else _LEVEL_TOO_LOW
