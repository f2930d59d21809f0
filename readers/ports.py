# SPDX-License-Identifier: EUPL-1.2
"""What the agent needs of readers, outputs and the way to the centre, whoever provides them.

`readers/pcsc.py` fulfils `ReaderDriver` with a real pcscd; a bank of virtual readers may fulfil it in process. All
methods of a driver block and are called from worker threads: `wait` always from one and the same, `connect` and the
connection's methods from one thread per reader.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from cardservice.agents.messages import DecisionMessage, PointCommand, PointSetup, Prompt
from cardservice.doors.ports import DoorOutput, OutputObserver, Shown
from cardservice.workstations.ports import Sessions
from readers.errors import CardGone, ReaderError, ReaderFault

__all__ = [
    "CardArrived",
    "CardConnection",
    "CardGone",
    "CardRemoved",
    "CentreSocket",
    "Connector",
    "DriverDown",
    "DriverUp",
    "OutputFactory",
    "OutputObserver",
    "PinPad",
    "PointOutput",
    "ReaderAppeared",
    "ReaderDriver",
    "ReaderError",
    "ReaderEvent",
    "ReaderFault",
    "ReaderFaulted",
    "ReaderState",
    "ReaderVanished",
    "SessionsFactory",
]


@dataclass(frozen=True, slots=True)
class CardArrived:
    """A card is in `reader`; `found` means it already was when the reader was first looked at."""

    reader: str
    atr: bytes
    found: bool = False


@dataclass(frozen=True, slots=True)
class CardRemoved:
    """The card left `reader`; also reported before the arrival of another when two cards were swapped."""

    reader: str


@dataclass(frozen=True, slots=True)
class ReaderAppeared:
    """`reader` can be used from now on."""

    reader: str


@dataclass(frozen=True, slots=True)
class ReaderVanished:
    """`reader` was unplugged, or its driver is gone."""

    reader: str


@dataclass(frozen=True, slots=True)
class ReaderFaulted:
    """`reader` exists but must not be used; `reason` is one sentence for the administrator."""

    reader: str
    reason: str


@dataclass(frozen=True, slots=True)
class DriverDown:
    """No reader can be reached; `reason` is one sentence for the administrator."""

    reason: str


@dataclass(frozen=True, slots=True)
class DriverUp:
    """The driver answers; the readers it has follow as `ReaderAppeared`."""


ReaderEvent = CardArrived | CardRemoved | ReaderAppeared | ReaderVanished | ReaderFaulted | DriverDown | DriverUp


@dataclass(frozen=True, slots=True)
class ReaderState:
    """One reader as its driver knows it; `fault` says why it must not be used."""

    name: str
    present: bool
    fault: str | None = None


class CardConnection(Protocol):
    """An open connection to one card, until it is disconnected or the card is gone."""

    @property
    def atr(self) -> bytes:
        """The answer to reset (ISO 7816-3, at most 33 bytes)."""
        ...

    def transmit(self, apdu: bytes) -> bytes:
        """Send one command APDU and return the response APDU, status word included (at least 2 bytes).

        Raises:
            CardGone: the card is no longer there, or was reset.
            ReaderFault: the reader or its driver failed.
        """
        ...

    def disconnect(self, *, reset: bool) -> None:
        """End the connection; `reset` makes the card forget everything it was shown. Never raises."""
        ...


class ReaderDriver(Protocol):
    """All readers of one process."""

    @property
    def kind(self) -> Literal["pcsc", "in_process"]:
        """What the readers are, for the health message."""
        ...

    def wait(self, timeout_s: float) -> Sequence[ReaderEvent]:
        """Return what happened, in order, or nothing after `timeout_s` seconds. Never raises for a reader's fault."""
        ...

    def readers(self) -> Sequence[ReaderState]:
        """Return the readers as `wait` last reported them."""
        ...

    def connect(self, reader: str, *, exclusive: bool) -> CardConnection:
        """Power up the card in `reader`.

        Raises:
            CardGone: there is no card any more.
            ReaderFault: no such reader, in use by another program, or the card does not answer.
        """
        ...

    def close(self) -> None:
        """Let a running `wait` return soon and free everything. May be called from any thread, more than once."""
        ...


# Makes the output of one point; every change of it is told to the observer.
OutputFactory = Callable[[str, OutputObserver], DoorOutput]


class PinPad(Protocol):
    """Where digits are typed at a point: the page of a terminal, one day a keypad beside the reader.

    In the event loop. What was typed is in memory only, and only until the future has it.
    """

    def ask(self, for_ms: int) -> "asyncio.Future[str | None]":
        """Have a PIN typed; the future gets its digits, or None if it is broken off or `for_ms` are over.

        Whoever asks may end it: by cancelling the future, or with a result of their own.
        """
        ...


class PointOutput(Protocol):
    """What happens at one point of this agent, whatever its use: a strike, a session, a screen. In the event loop."""

    @property
    def pad(self) -> PinPad | None:
        """Where a PIN can be typed at this point now, None if nowhere."""
        ...

    def set_up(self, setup: PointSetup) -> None:
        """Take what the centre says of the point; again whenever that changed."""
        ...

    def card_came(self) -> str | None:
        """Take note that a card is at this point's reader; return, once, what was chosen at the terminal for it."""
        ...

    async def act(self, decision: DecisionMessage) -> None:
        """Do what a permit is for; bounded in time.

        Raises:
            OutputFault: it did not happen.
        """
        ...

    def show(self, shown: Shown, decision: DecisionMessage | None = None) -> None:
        """Show `shown`; `decision` is the answer it comes from, if it comes from one.

        Raises:
            OutputFault: the indicators do not answer.
        """
        ...

    def card_left(self) -> None:
        """Take note that no card is at this point's reader any more."""
        ...

    def command(self, command: PointCommand) -> None:
        """Do what the centre asks for without a card.

        Raises:
            OutputFault: it did not happen.
        """
        ...

    def people_ended(self, is_one: Callable[[str], bool]) -> None:
        """Take note whose cards no longer count; `is_one` tells it of a login."""
        ...

    def prompt(self, prompt: Prompt) -> None:
        """Ask for a card with these words until told otherwise."""
        ...

    def centre(self, *, connected: bool) -> None:
        """Take note whether the centre can be asked; tell a centre that just came what it should know."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class CentreSocket(Protocol):
    """One open connection to the centre; whole text frames, in order."""

    async def send(self, frame: str) -> None:
        """Send one frame; waits while the other side does not read."""
        ...

    async def recv(self) -> str | bytes:
        """Return the next frame."""
        ...


# Makes what unlocks and locks the sessions of this PC; asked only if a point of this agent is a workstation's.
SessionsFactory = Callable[[], Sessions]
# Opens a connection and closes it at the end; raises ChannelFault when it cannot be had or breaks, or TimeoutError.
Connector = Callable[[], AbstractAsyncContextManager[CentreSocket]]
