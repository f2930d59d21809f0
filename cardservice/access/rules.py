# SPDX-License-Identifier: EUPL-1.2
"""The decision: may this credential pass this point now, and if not, why not.

`decide` is the only place where this rule stands. The centre runs it on the whole city, an agent will run the same
function on its part. It is pure: state and time are arguments. Instants are milliseconds since
1970-01-01T00:00:00Z.

Order of the questions, the first "no" ends them: is the point known; is the credential known; is the card usable; is
its holder; is it their time; is the directory copy fresh enough; is the holder's account locked out where that counts;
is the point locked down; is the clock believable; does a block apply; does a grant apply; is the proof strong enough;
has a second person tapped where two are asked for. No rule at all means no.
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
    NO_SPONSOR = "no_sponsor"
    PERSON_LOCKED_OUT = "person_locked_out"
    DIRECTORY_STALE = "directory_stale"
    DIRECTORY_SILENT = "directory_silent"
    BLOCKED = "blocked"
    NO_GRANT = "no_grant"
    OUTSIDE_SCHEDULE = "outside_schedule"
    LEVEL_TOO_LOW = "level_too_low"
    PIN_NEEDED = "pin_needed"
    PIN_WRONG = "pin_wrong"
    PIN_LOCKED = "pin_locked"
    SECOND_PERSON_NEEDED = "second_person_needed"
    SAME_PERSON_TWICE = "same_person_twice"
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
_CARD_SUSPENDED: Final = REFUSED[Reason.CARD_SUSPENDED]
_PERSON_LOCKED_OUT: Final = REFUSED[Reason.PERSON_LOCKED_OUT]
_DIRECTORY_STALE: Final = REFUSED[Reason.DIRECTORY_STALE]
_CLOCK_DOUBTFUL: Final = REFUSED[Reason.CLOCK_DOUBTFUL]
_BLOCKED: Final = REFUSED[Reason.BLOCKED]
_NO_GRANT: Final = REFUSED[Reason.NO_GRANT]
_OUTSIDE_SCHEDULE: Final = REFUSED[Reason.OUTSIDE_SCHEDULE]
_LEVEL_TOO_LOW: Final = REFUSED[Reason.LEVEL_TOO_LOW]
_LOCKED_DOWN: Final = REFUSED[Reason.LOCKED_DOWN]
_SECOND_PERSON_NEEDED: Final = REFUSED[Reason.SECOND_PERSON_NEEDED]
_SAME_PERSON_TWICE: Final = REFUSED[Reason.SAME_PERSON_TWICE]


class Window(NamedTuple):
    """From when (inclusive) until when (exclusive), and what to answer outside.

    A card that is suspended for a time is that before `suspended_until_ms`, whatever else holds; from then on it is
    active.
    """

    from_ms: int
    until_ms: int
    early: Decision
    late: Decision
    suspended_until_ms: int = -NEVER_MS


class CardRecord(NamedTuple):
    """What the snapshot keeps for one credential.

    `refusal` is set when the card or its holder is out of use whatever the time. `subjects` are the numbers of the
    groups the holder is in, and the holder's own. `holder` and `card` are row numbers: two cards of one holder are one
    person; the card's is for the journal alone. `locked_until_ms` is when the lock-out of the holder's account after
    wrong passwords ends, 0 if there is none, `NEVER_MS` where no end is known.
    """

    refusal: Decision | None
    window: Window | None
    subjects: tuple[int, ...]
    holder: int
    card: int
    locked_until_ms: int = 0

    def is_in_use(self, now_ms: int) -> bool:
        """Tell whether neither the card nor its holder is out of use, whatever else may refuse."""
        return self.refusal is None and (self.window is None or now_ms >= self.window.suspended_until_ms)


class Timed(NamedTuple):
    """Subjects that are named for certain times: inside while an odd number of `toggles` lies at or before now."""

    toggles: tuple[int, ...]
    subjects: frozenset[int]


class TimedLevel(NamedTuple):
    """What is demanded at certain times: a level, and how many different people."""

    toggles: tuple[int, ...]
    level: int
    people: int = 1


class Restriction(NamedTuple):
    """What restricts a point at a moment besides grants and level.

    `blocked` subjects, how many different people are needed, whether the clock can be believed, and whether a lock-out
    of the holder's account counts.
    """

    blocked: frozenset[int]
    people: int
    clock_known: bool
    stops_locked_out: bool = False


class Moment(NamedTuple):
    """What a point answers by from `from_ms` (inclusive) until `until_ms` (exclusive), where nothing changes by itself.

    `oldest_ms` is the age of the directory copy past which the point refuses, `granted` are the subjects granted then,
    `level` is what is demanded then; `restriction` is None at most points. `permit` is the answer to whoever passes all
    of it. A tap needs nothing else of its point: all that it reads lies together.
    """

    from_ms: int
    until_ms: int
    oldest_ms: int
    granted: frozenset[int]
    level: int
    restriction: Restriction | None
    permit: Decision


_NONE: Final = Restriction(frozenset(), 1, clock_known=True)
# More than any age, also that of a copy that was never proved current.
_ANY_AGE_MS: Final = 2**80
# Holds never: the first tap works out its own.
_NO_MOMENT: Final = Moment(NEVER_MS, -NEVER_MS, -1, frozenset(), Level.CARD_PIN, None, REFUSED[Reason.NO_GRANT])


@dataclass(frozen=True, slots=True)
class PointRecord:
    """What the snapshot keeps for one point, compiled: no schedule, zone or group name is looked up at a tap.

    `always` holds the subjects granted at any time, `timed` those granted at certain times, `blocks` those refused.
    `level` and `people` are demanded unless one of `timed_levels` is in force, and never less than `floor`.
    `freshness_ms` is the oldest directory copy the point accepts; past it `stale_permits` tells what happens.
    `lockdown`: nobody passes but these subjects; None means no lockdown. Schedules are compiled for
    `compiled_from_ms` .. `compiled_until_ms`. A second person may take `second_within_ms`. What follows does not
    decide: how the card may prove itself, what is kept of a tap, and who serves the point.
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
    people: int = 1
    # The least that is demanded, from when on: what the zones around say, once an exception has ended.
    floor: TimedLevel | None = None
    second_within_ms: int = 10_000
    # Whether a point may be locked down at all is the place's rule.
    lockdown: frozenset[int] | None = None
    # Whether a schedule says what is blocked or demanded here: outside the compiled time nobody knows.
    by_clock: bool = False
    compiled_from_ms: int = -NEVER_MS
    compiled_until_ms: int = NEVER_MS
    # Whether whoever is locked out in the directory after wrong passwords is refused here.
    stops_locked_out: bool = False
    methods: tuple[str, ...] = ("desfire",)
    journal: str = "refusals"
    answer_budget_ms: int = 300
    tap_budget_ms: int = 3_000
    # Whether the directory itself is asked about the holder before a permit.
    live_check: bool = False
    agent: str | None = None
    reader: str | None = None
    name: str = ""
    # The zones around it (row numbers), innermost first: old numbers count in the building they were brought from.
    zones: tuple[int, ...] = ()
    # What the place needs to know of its point; its `rules.py` says what may stand here.
    options: Mapping[str, str | int | bool] = field(default_factory=lambda: MappingProxyType({}))
    # Worked out when time passes an edge of a schedule, and the same whoever does: not part of what the point is.
    moment: Moment = field(default=_NO_MOMENT, init=False, compare=False, repr=False)

    @property
    def locked_down(self) -> bool:
        """Whether nobody passes but those who may during a lockdown."""
        return self.lockdown is not None

    def turn_to(self, at_ms: int) -> Moment:
        """Return what holds at `at_ms`, and keep it for the taps that follow."""
        moment = _moment(self, at_ms)
        object.__setattr__(self, "moment", moment)
        return moment


@dataclass(frozen=True, slots=True)
class HouseRules:
    """What holds at every point of the city, by the settings: at points of which uses a lock-out refuses."""

    lock_out_stops: frozenset[Use] = frozenset({Use.WORKSTATION})


class CompiledPeriod(NamedTuple):
    """The time that compiled schedules cover: from inclusive, until exclusive."""

    from_ms: int
    until_ms: int


class Tap(NamedTuple):
    """One credential at one point, and what it proved (a `Level`).

    `first` is the holder of the card that was answered `second_person_needed` there just before, 0 for none.
    """

    point: str
    credential: bytes
    level: int
    first: int = 0


class DecisionState(Protocol):
    """What `decide` reads: two look-ups."""

    def card(self, credential: bytes) -> CardRecord | None:
        """Return the record of `credential`, None if no card has it."""
        ...

    def point(self, code: str) -> PointRecord | None:
        """Return the record of the point, None if there is none."""
        ...


def decide(  # noqa: C901, PLR0911  # one question a line, the first "no" ends them
    state: DecisionState, tap: Tap, at_ms: int, directory_age_ms: int
) -> Decision:
    """Return whether `tap` is permitted at `at_ms`, given a directory copy proved current `directory_age_ms` ago."""
    code, credential, level, first = tap
    point = state.point(code)
    if point is None:
        return _POINT_UNKNOWN
    record = state.card(credential)
    if record is None:
        return _CARD_UNKNOWN
    # By place, not unpacked: what is not asked for is not fetched from memory.
    refusal = record[0]
    if refusal is not None:
        return refusal
    window = record[1]
    if window is not None and not window[0] <= at_ms < window[1]:
        return _outside(window, at_ms)
    from_ms, until_ms, oldest_ms, granted, demanded, restriction, permit = point.moment
    if not from_ms <= at_ms < until_ms:
        _, _, oldest_ms, granted, demanded, restriction, permit = point.turn_to(at_ms)
    if directory_age_ms > oldest_ms:
        return _DIRECTORY_STALE
    if restriction is not None and (objection := _objection(point, record, restriction, at_ms)) is not None:
        return objection
    subjects = record[2]
    if granted.isdisjoint(subjects):
        return _not_granted(point, subjects)
    if level < demanded:
        return _LEVEL_TOO_LOW
    if restriction is not None and restriction.people > 1 and first in {0, record.holder}:
        return _SAME_PERSON_TWICE if first else _SECOND_PERSON_NEEDED
    return permit


def inside(toggles: tuple[int, ...], at_ms: int) -> bool:
    """Tell whether `at_ms` lies in one of the intervals that `toggles` opens and closes in turn."""
    return bisect_right(toggles, at_ms) & 1 == 1


def _outside(window: Window, at_ms: int) -> Decision:
    if at_ms < window.suspended_until_ms:
        return _CARD_SUSPENDED
    return window.early if at_ms < window.from_ms else window.late


def _objection(point: PointRecord, record: CardRecord, restriction: Restriction, at_ms: int) -> Decision | None:
    """Return what speaks against the tap whoever has a grant: a lock-out, a lockdown, an unknown time, a block."""
    subjects = record.subjects
    if restriction.stops_locked_out and record.locked_until_ms and at_ms < record.locked_until_ms:
        return _PERSON_LOCKED_OUT
    if point.lockdown is not None and point.lockdown.isdisjoint(subjects):
        return _LOCKED_DOWN
    if not restriction.clock_known:
        return _CLOCK_DOUBTFUL
    return None if restriction.blocked.isdisjoint(subjects) else _BLOCKED


def _not_granted(point: PointRecord, subjects: tuple[int, ...]) -> Decision:
    if not point.timed:
        return _NO_GRANT
    ever = any(not entry.subjects.isdisjoint(subjects) for entry in point.timed)
    return _OUTSIDE_SCHEDULE if ever else _NO_GRANT


def _moment(point: PointRecord, at_ms: int) -> Moment:
    """Return what holds at `at_ms` and how long it does: until the next edge of any schedule of the point."""
    compiled = (point.compiled_from_ms, point.compiled_until_ms)
    floor = () if point.floor is None else (point.floor,)
    by_time: tuple[Timed | TimedLevel, ...] = (*point.timed, *point.blocks, *point.timed_levels, *floor)
    spans = [_span(entry.toggles, at_ms) for entry in by_time] + [_span(compiled, at_ms)] * point.by_clock
    demands = [entry for entry in point.timed_levels if inside(entry.toggles, at_ms)]
    level = max((entry.level for entry in demands), default=point.level)
    if point.floor is not None and inside(point.floor.toggles, at_ms):
        level = max(level, point.floor.level)
    restriction = Restriction(
        blocked=_in_force(point.blocks, at_ms),
        people=max((entry.people for entry in demands), default=point.people),
        clock_known=not point.by_clock or inside(compiled, at_ms),
        stops_locked_out=point.stops_locked_out,
    )
    return Moment(
        from_ms=max((since for since, _ in spans), default=-NEVER_MS),
        until_ms=min((until for _, until in spans), default=NEVER_MS),
        oldest_ms=_ANY_AGE_MS if point.stale_permits else point.freshness_ms,
        granted=point.always | _in_force(point.timed, at_ms),
        level=level,
        restriction=None if restriction == _NONE and point.lockdown is None else restriction,
        permit=point.granted,
    )


def _in_force(entries: tuple[Timed, ...], at_ms: int) -> frozenset[int]:
    found = [entry.subjects for entry in entries if inside(entry.toggles, at_ms)]
    return frozenset().union(*found)


def _span(toggles: tuple[int, ...], at_ms: int) -> tuple[int, int]:
    """Return the last of the toggles at or before `at_ms` and the first after it."""
    place = bisect_right(toggles, at_ms)
    return (
        toggles[place - 1] if place else -NEVER_MS,
        toggles[place] if place < len(toggles) else NEVER_MS,
    )
