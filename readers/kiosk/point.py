# SPDX-License-Identifier: EUPL-1.2
"""A point with a screen: its reader's lights as everywhere, and the same answer in words and figures on the page."""

import asyncio
from collections.abc import Callable
from typing import Final

from cardservice.agents.messages import DecisionMessage, PointCommand, PointSetup, Prompt
from cardservice.doors.ports import DoorOutput, OutputFault, Shown
from readers.kiosk.faces import FACES
from readers.kiosk.screen import Screen, Tone
from readers.kiosk.terminals import Terminals
from readers.ports import PinPad

# The uses whose points have a screen.
SCREEN_USES: Final = tuple(FACES)
_TONES: Final[dict[str, Tone]] = {"green": "ok", "red": "refused", "amber": "fault"}


class ScreenPad:
    """A PIN typed on a terminal's page (`readers.ports.PinPad`)."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def ask(self, for_ms: int) -> "asyncio.Future[str | None]":
        """Have a PIN typed on the page."""
        typed: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        def answered(pin: str | None) -> None:
            if not typed.done():
                typed.set_result(pin)

        number = self._screen.ask_pin(for_ms, answered)
        typed.add_done_callback(lambda _: self._screen.end_pin(number))
        return typed


class ScreenPoint:
    """What happens at a point with a screen (`readers.ports.PointOutput`)."""

    def __init__(self, setup: PointSetup, output: DoorOutput, *, kiosk: Terminals) -> None:
        self._point = setup.point
        self._output = output
        self._kiosk = kiosk
        self._screen = kiosk.add(setup)
        self._pad = ScreenPad(self._screen)

    @property
    def pad(self) -> PinPad | None:
        """The page, while one is open: nobody is asked where nobody sees it."""
        terminal = self._kiosk.of(self._point)
        return self._pad if terminal is not None and terminal.is_watched else None

    def set_up(self, setup: PointSetup) -> None:
        """Take what the centre says of the point."""
        self._screen.set_up(setup)

    def card_came(self) -> str | None:
        """Return, once, the key that was pressed for the card that comes now."""
        return self._screen.take_choice()

    async def act(self, decision: DecisionMessage) -> None:
        """Nothing is left to do: the place has acted at the centre."""

    def show(self, shown: Shown, decision: DecisionMessage | None = None) -> None:
        """Show `shown` on the screen, with the figures of the answer it comes from, and at the reader.

        Raises:
            OutputFault: the reader's indicators do not answer; the screen shows it all the same.
        """
        tone = _TONES.get(shown.led)
        if tone is not None and shown.text is not None:
            answer = None if decision is None or tone == "fault" else decision.answer
            self._screen.answer(tone, shown.text, {} if answer is None else answer.facts)
        self._output.show(shown)

    def card_left(self) -> None:
        """Nothing: an answer stays for its time, also when the card is gone."""

    def command(self, command: PointCommand) -> None:
        """Refuse: a terminal opens nothing.

        Raises:
            OutputFault: always.
        """
        raise OutputFault("a terminal has nothing to open")

    def people_ended(self, is_one: Callable[[str], bool]) -> None:
        """Nothing: what a terminal shows of somebody is gone within seconds."""

    def prompt(self, prompt: Prompt) -> None:
        """Show what the centre asks for before the next card."""
        self._screen.ask(prompt)

    def centre(self, *, connected: bool) -> None:
        """Say plainly when the centre is away."""
        self._screen.centre(connected=connected)

    def close(self) -> None:
        """Take the screen down."""
        self._kiosk.remove(self._point)
