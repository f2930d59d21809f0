# SPDX-License-Identifier: EUPL-1.2
"""One card in a reader of this machine, for a program that wants nothing but that."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from readers.errors import CardGone, ReaderFault
from readers.pcsc import PcscDriver
from readers.ports import CardConnection

LOOK_S: Final = 2.0


class CardHere:
    """A card in a PC/SC reader. Blocks; every `begin` powers the card up anew."""

    def __init__(self, driver: PcscDriver, reader: str) -> None:
        self._driver, self._reader = driver, reader
        self._connection: CardConnection | None = None

    def begin(self) -> None:
        """Let the next exchange be the first of a new activation of the card."""
        self.release()

    def exchange(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        """Transmit in order; return the answers, fewer if the card or its reader went away."""
        answers: list[bytes] = []
        try:
            if self._connection is None:
                self._connection = self._driver.connect(self._reader, exclusive=True)
            for command in commands:
                answers.append(self._connection.transmit(command))  # noqa: PERF401  # what came before it left counts
        except (CardGone, ReaderFault):
            self.release()
        return tuple(answers)

    def release(self) -> None:
        """Power the card off."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect(reset=True)


@contextmanager
def card_here(reader: str | None) -> Iterator[CardHere]:
    """Find the card in a reader, None: in the first one in which a card lies.

    Raises:
        ReaderFault: pcscd does not run, there is no such reader, or no card lies there.
    """
    driver = PcscDriver()
    try:
        card = CardHere(driver, _found(driver, reader))
        try:
            yield card
        finally:
            card.release()
    finally:
        driver.close()


def _found(driver: PcscDriver, reader: str | None) -> str:
    """Return the reader with a card; what pcscd knows comes in a few pieces."""
    until_s = time.monotonic() + LOOK_S
    while time.monotonic() < until_s:
        driver.wait(until_s - time.monotonic())
        for one in driver.readers():
            if one.present and reader in {None, one.name}:
                return one.name
    here = ", ".join(one.name for one in driver.readers()) or "none"
    raise ReaderFault(f"no card lies in {reader or 'any reader'}; readers of this machine: {here}")
