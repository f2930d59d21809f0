# SPDX-License-Identifier: EUPL-1.2
"""A door with a page beside its reader, where the PIN is typed; the door itself is whatever it is without one.

The page is there as long as the point's option `pin_pad` says so.
"""

from collections.abc import Callable

from cardservice.agents.messages import DecisionMessage, PointCommand, PointSetup, Prompt
from cardservice.doors.ports import DoorOutput, Shown, StrikeState
from readers.kiosk.point import ScreenPoint
from readers.kiosk.terminals import Terminals
from readers.outputs import PointFactory
from readers.ports import PinPad, PointOutput


class _NoLights:
    """What a page moves besides itself: nothing, since the reader's lights are the door's."""

    def pulse(self, open_ms: int) -> None:
        """Nothing."""

    def lock(self) -> None:
        """Nothing."""

    def show(self, shown: Shown) -> None:
        """Nothing."""

    def state(self) -> StrikeState:
        """There is no strike here that could be open."""
        return "locked"


class DoorWithPage:
    """What happens at a door (`readers.ports.PointOutput`), and on its page if it has one."""

    def __init__(self, setup: PointSetup, output: DoorOutput, *, door: PointFactory, kiosk: Terminals) -> None:
        self._kiosk = kiosk
        self._door: PointOutput = door(setup, output)
        self._page: PointOutput | None = None
        self._connected = False
        self._turn(setup)

    @property
    def pad(self) -> PinPad | None:
        """The page, while one is open."""
        return None if self._page is None else self._page.pad

    def set_up(self, setup: PointSetup) -> None:
        """Take what the centre says of the door, and whether it has a page."""
        self._door.set_up(setup)
        if self._page is not None:
            self._page.set_up(setup)
        self._turn(setup)

    def card_came(self) -> str | None:
        """Show that a card is being read; there is nothing to choose."""
        if self._page is not None:
            self._page.card_came()
        return self._door.card_came()

    async def act(self, decision: DecisionMessage) -> None:
        """Open the door.

        Raises:
            OutputFault: it could not be.
        """
        await self._door.act(decision)

    def show(self, shown: Shown, decision: DecisionMessage | None = None) -> None:
        """Show `shown` on the page and at the reader.

        Raises:
            OutputFault: the reader's indicators do not answer; the page shows it all the same.
        """
        if self._page is not None:
            self._page.show(shown, decision)
        self._door.show(shown, decision)

    def card_left(self) -> None:
        """Tell the door."""
        self._door.card_left()

    def command(self, command: PointCommand) -> None:
        """Open the door without a card.

        Raises:
            OutputFault: it did not happen.
        """
        self._door.command(command)

    def people_ended(self, is_one: Callable[[str], bool]) -> None:
        """Tell the door."""
        self._door.people_ended(is_one)

    def prompt(self, prompt: Prompt) -> None:
        """Nothing: nobody is asked anything before their card."""

    def centre(self, *, connected: bool) -> None:
        """Tell both whether the centre can be asked."""
        self._connected = connected
        self._door.centre(connected=connected)
        if self._page is not None:
            self._page.centre(connected=connected)

    def close(self) -> None:
        """Give the door back and take the page down."""
        self._door.close()
        if self._page is not None:
            self._page.close()

    def _turn(self, setup: PointSetup) -> None:
        """Put a page up or take it down, as the point's options say now."""
        wanted = setup.options.get("pin_pad") is True
        if wanted and self._page is None:
            self._page = ScreenPoint(setup, _NoLights(), kiosk=self._kiosk)
            self._page.centre(connected=self._connected)
        elif not wanted and self._page is not None:
            self._page.close()
            self._page = None
