# SPDX-License-Identifier: EUPL-1.2
"""The rig's readers inside our process, where there is no pcscd: the agent's `ReaderDriver` on the rig's bank."""

import threading
from collections.abc import Sequence
from typing import Literal

from readers.errors import CardGone, ReaderFault
from readers.ports import CardArrived, CardConnection, CardRemoved, DriverUp, ReaderAppeared, ReaderEvent, ReaderState
from rig.bank import Bank
from rig.errors import BankClosedError, CardError, ReaderUnavailableError


class _Connection:
    """A powered card in one virtual reader."""

    def __init__(self, bank: Bank, reader: str, atr: bytes) -> None:
        self._bank = bank
        self._reader = reader
        self.atr = atr

    def transmit(self, apdu: bytes) -> bytes:
        """Send one command, return its answer.

        Raises:
            CardGone: the card is no longer there.
            ReaderFault: the reader is gone.
        """
        try:
            answer = self._bank.transmit(self._reader, apdu)
        except CardError as error:
            raise CardGone(str(error)) from error
        except (ReaderUnavailableError, BankClosedError) as error:
            raise ReaderFault(str(error)) from error
        if len(answer) < 2:
            raise CardGone("the card gave no answer")
        return answer

    def disconnect(self, *, reset: bool) -> None:  # a bank has no connection that outlives its power
        """Power the card down, which makes it forget everything."""
        try:
            self._bank.power_off(self._reader)
        except (CardError, ReaderUnavailableError, BankClosedError):
            return


class VirtualReaders:
    """The bank seen as a driver. `wait` is called from one thread."""

    kind: Literal["pcsc", "in_process"] = "in_process"

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._known: dict[str, int] = {}
        self._present: dict[str, bool] = {}
        self._announced = False
        self._closed = threading.Event()

    def wait(self, timeout_s: float) -> Sequence[ReaderEvent]:
        """Return what happened since the last call, or nothing after `timeout_s`."""
        events: list[ReaderEvent] = []
        if not self._announced:
            self._announced = True
            events.append(DriverUp())
            states = self._bank.state()
        else:
            try:
                states = self._bank.wait(dict(self._known), timeout_s)
            except BankClosedError:
                self._closed.wait(timeout_s)
                return ()
        for reader, state in states.items():
            first = reader not in self._known
            if first:
                events.append(ReaderAppeared(reader))
            elif state.events == self._known[reader]:
                continue
            was, present = self._present.get(reader, False), state.state == "present"
            if was:
                events.append(CardRemoved(reader))
            if present:
                # The rig's cards have no answer to reset before they are powered; the agent reads it on connecting.
                events.append(CardArrived(reader, b"", found=first))
            self._known[reader], self._present[reader] = state.events, present
        return events

    def readers(self) -> Sequence[ReaderState]:
        """Return the readers as `wait` last reported them."""
        return tuple(ReaderState(reader, present) for reader, present in self._present.items())

    def connect(self, reader: str, *, exclusive: bool) -> CardConnection:  # nobody else is in here
        """Power up the card in `reader`.

        Raises:
            CardGone: there is no card any more.
            ReaderFault: no such reader, or it was taken out.
        """
        try:
            return _Connection(self._bank, reader, self._bank.power_on(reader))
        except CardError as error:
            raise CardGone(str(error)) from error
        except (ReaderUnavailableError, BankClosedError) as error:
            raise ReaderFault(str(error)) from error

    def close(self) -> None:
        """Let a running `wait` return soon."""
        self._closed.set()
        self._bank.close()
