# SPDX-License-Identifier: EUPL-1.2
"""What moves at a door and what it senses: strike, reader's lights, contacts. Adapters live below `integrations/`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

StrikeState = Literal["released", "locked", "fault"]
ContactState = Literal["open", "closed", "unknown"]


class OutputFault(Exception):
    """The output did not do what it was told; the message says what and where, for the administrator."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person in front of the reader sees and hears; `text` is (German, English)."""

    led: Literal["off", "green", "red", "amber"]
    buzzer: Literal["silent", "ok", "refused"]
    text: tuple[str, str] | None = None


DARK = Shown("off", "silent")
# (point, what the strike does, what is shown); called for every change, in order, from any thread; must return at once.
OutputObserver = Callable[[str, StrikeState, Shown], None]


@dataclass(frozen=True, slots=True)
class DoorInputs:
    """What a door's contacts say at one moment.

    `contact` is unknown where there is none, or while the device with it does not answer. `exit_pressed` is the request
    to exit (a button, or the contact in the handle inside). `tampered`: a housing or a line was opened; it stays as it
    was while the device does not answer. `released`: the strike is released, by whatever: a door may have two points.
    """

    contact: ContactState = "unknown"
    exit_pressed: bool = False
    tampered: bool = False
    released: bool = False


# Is told the inputs at once and at every change, in order, from any thread; must return at once.
InputListener = Callable[[DoorInputs], None]


class DoorOutput(Protocol):
    """One strike with its reader's indicators. Methods return at once; the device times the pulse where it can."""

    def pulse(self, open_ms: int) -> None:
        """Release the strike for `open_ms` milliseconds, then lock again even if nobody calls.

        A pulse while the strike is released only ever makes it longer.

        Raises:
            OutputFault: the strike could not be released.
        """
        ...

    def lock(self) -> None:
        """End a running pulse now; nothing happens if there is none.

        Raises:
            OutputFault: the device does not answer; it locks as soon as it does.
        """
        ...

    def show(self, shown: Shown) -> None:
        """Show `shown` for a few seconds, then go dark.

        Raises:
            OutputFault: the indicators do not answer.
        """
        ...

    def state(self) -> StrikeState:
        """Return what the strike does now."""
        ...


@runtime_checkable
class DoorSensors(Protocol):
    """An output whose device also has inputs."""

    def watch(self, listener: InputListener) -> None:
        """From now on tell `listener`, and nobody else, what the contacts say."""
        ...
