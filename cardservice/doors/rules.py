# SPDX-License-Identifier: EUPL-1.2
"""A door as a state machine: who let it be opened until when, what its contact says, which alarm follows. Pure.

Time is an argument: milliseconds of one clock that never goes back. The machine never decides whether the way out is
free: that is the hardware's. It only learns of a request to exit, releases the strike for it whatever is locked down,
and does not call the opening that follows an alarm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal, Self

from cardservice.access.options.rules import SWITCH, Option, Options, require, usable, whole
from cardservice.doors.ports import ContactState, DoorInputs

Alarm = Literal["none", "forced", "held_open", "tamper"]

# How long a request to exit releases the strike.
EXIT_MS: Final = 5_000
# A leaf pulled in the last moment of a pulse is seen this much later: contacts are polled, strikes are slow.
GRACE_MS: Final = 500

_NEVER_MS: Final = -(2**62)
OPTIONS: Final[Mapping[str, Option]] = MappingProxyType(
    {
        "held_open_ms": whole(1_000, 24 * 3_600_000),
        "escape_route": SWITCH,
        "contact": SWITCH,
        "rex": SWITCH,
        "pin_pad": SWITCH,
    }
)


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """What is said of one door beside its class.

    `contact` and `rex`: there is a door contact, a request to exit. `escape_route`: nobody may lock it down. The option
    `pin_pad` is for the agent's page alone.
    """

    held_open_ms: int = 30_000
    escape_route: bool = False
    contact: bool = False
    rex: bool = False

    @classmethod
    def parse(cls, options: Options) -> Self:
        """Return what a point's options say; where one is unusable, its default holds."""
        said = usable(options, OPTIONS)
        return cls(
            held_open_ms=int(said.get("held_open_ms", cls().held_open_ms)),
            **{name: said.get(name) is True for name in ("escape_route", "contact", "rex")},
        )


def check_options(options: Options) -> None:
    """Refuse options a door does not have.

    Raises:
        ValueError: names the first that is unknown or out of its bounds, and what is allowed.
    """
    require(options, OPTIONS)


class LockedDown(Exception):
    """Nobody opens this door from outside while it is locked down."""


@dataclass(frozen=True, slots=True)
class Door:
    """A door at one moment; every method returns the door after it."""

    options: DoorOptions = field(default_factory=DoorOptions)
    locked_down: bool = False
    granted_until_ms: int = _NEVER_MS
    exit_until_ms: int = _NEVER_MS
    exit_pressed: bool = False
    contact: ContactState = "unknown"
    # From when the leaf was last seen to open, until it is seen closed.
    open_since_ms: int | None = None
    forced: bool = False
    tampered: bool = False
    # The strike as the device says, and when it last said that it is released.
    released: bool = False
    released_ms: int = _NEVER_MS

    def arranged(self, options: DoorOptions, at_ms: int, *, locked_down: bool) -> "Door":
        """Take what the centre says of the door; a lockdown ends what a card or the desk had released."""
        closed = locked_down and not options.escape_route
        door = replace(self, options=options, locked_down=closed)
        if not options.contact:
            door = replace(door, contact="unknown", open_since_ms=None, forced=False)
        if not options.rex:
            door = replace(door, exit_pressed=False)
        return replace(door, granted_until_ms=min(door.granted_until_ms, at_ms)) if closed else door

    def granted(self, open_ms: int, at_ms: int, *, in_lockdown: bool = False) -> "Door":
        """Let the door be opened for `open_ms`; never shortens what was granted before.

        `in_lockdown`: it was decided in knowledge of the lockdown, for somebody who may pass.

        Raises:
            LockedDown: the door is locked down.
        """
        if self.locked_down and not in_lockdown:
            raise LockedDown
        return replace(self, granted_until_ms=max(self.granted_until_ms, at_ms + open_ms))

    def sensed(self, inputs: DoorInputs, at_ms: int) -> "Door":
        """Take what the contacts say; of what the door has not got nothing is believed."""
        was_released = inputs.released or self.released
        door = replace(
            self,
            tampered=inputs.tampered,
            released=inputs.released,
            released_ms=at_ms if was_released else self.released_ms,
        )
        if self.options.rex:
            pressed = inputs.exit_pressed
            begins = pressed and not self.exit_pressed
            exit_until_ms = at_ms + EXIT_MS if begins else self.exit_until_ms
            door = replace(door, exit_pressed=pressed, exit_until_ms=exit_until_ms)
        return _moved(door, inputs.contact, at_ms) if self.options.contact else door

    @property
    def released_until_ms(self) -> int:
        """Until when the strike is to be released; in the past if it is not."""
        return max(self.granted_until_ms, self.exit_until_ms)

    def alarm(self, at_ms: int) -> Alarm:
        """Return the gravest alarm there is at `at_ms`."""
        if self.forced:
            return "forced"
        if self.tampered:
            return "tamper"
        due_ms = self.held_open_at_ms
        return "held_open" if due_ms is not None and at_ms >= due_ms else "none"

    @property
    def held_open_at_ms(self) -> int | None:
        """From when the door is open too long, None while it is closed."""
        return None if self.open_since_ms is None else self.open_since_ms + self.options.held_open_ms


def _moved(door: Door, contact: ContactState, at_ms: int) -> Door:
    if contact == "closed":
        return replace(door, contact=contact, open_since_ms=None, forced=False)
    if contact == "unknown" or door.open_since_ms is not None:
        # What is no longer seen is as it was: only a leaf that is seen closed ends an alarm.
        return replace(door, contact=contact)
    rightly = door.exit_pressed or at_ms < max(door.released_until_ms, door.released_ms) + GRACE_MS
    # Who was not watched may have opened it rightly: only a leaf seen closed before can be forced.
    return replace(door, contact=contact, open_since_ms=at_ms, forced=door.contact == "closed" and not rightly)
