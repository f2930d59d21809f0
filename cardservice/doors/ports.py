# SPDX-License-Identifier: EUPL-1.2
"""What moves at a door: the strike, and what the reader shows. Adapters live below `integrations/`."""

from dataclasses import dataclass
from typing import Literal, Protocol

StrikeState = Literal["released", "locked", "fault"]


class OutputFault(Exception):
    """The output did not do what it was told; the message says what and where, for the administrator."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the person in front of the reader sees and hears; `text` is (German, English)."""

    led: Literal["off", "green", "red", "amber"]
    buzzer: Literal["silent", "ok", "refused"]
    text: tuple[str, str] | None = None


class DoorOutput(Protocol):
    """One strike with its reader's indicators. Methods return at once; the device times the pulse where it can."""

    def pulse(self, open_ms: int) -> None:
        """Release the strike for `open_ms` milliseconds, then lock again even if nobody calls.

        Raises:
            OutputFault: the strike could not be released.
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
