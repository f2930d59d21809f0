# SPDX-License-Identifier: EUPL-1.2
"""One point on a Modbus module: a `DoorOutput` with `DoorSensors`. The module has no reader's lights."""

import threading
from dataclasses import replace
from typing import Protocol

from cardservice.doors.ports import (
    DARK,
    DoorInputs,
    InputListener,
    OutputFault,
    OutputObserver,
    Shown,
    StrikeState,
)
from integrations.modbus.wiring import PointWiring


class Coils(Protocol):
    """What a door needs of its module; both calls wait for its answer, within bounds, and raise OutputFault."""

    def release(self, coil: int, open_ms: int) -> None:
        """Switch a coil on, and off again after `open_ms`."""
        ...

    def lock(self, coil: int) -> None:
        """Switch a coil off."""
        ...


class ModbusDoor:
    """One point; `wiring` is None if the settings do not name it: then it is a fault for ever."""

    def __init__(self, point: str, observer: OutputObserver, wiring: PointWiring | None, coils: Coils) -> None:
        self._point = point
        self._observer = observer
        self.wiring = wiring
        self._coils = coils
        self._told = threading.Lock()
        self._state: StrikeState | None = None
        self._inputs = DoorInputs()
        self._listener: InputListener | None = None

    def pulse(self, open_ms: int) -> None:
        """Release the strike for `open_ms` milliseconds; waits for the module's answer.

        Raises:
            OutputFault: the module did not answer, or the point is not wired.
        """
        self._coils.release(self._strike(), open_ms)

    def lock(self) -> None:
        """End a running pulse now.

        Raises:
            OutputFault: the module did not answer, or the point is not wired.
        """
        self._coils.lock(self._strike())

    def show(self, shown: Shown) -> None:
        """Nothing: the module has no lights."""

    def state(self) -> StrikeState:
        """Return what the module last said of the strike."""
        return self._state or "fault"

    def watch(self, listener: InputListener) -> None:
        """From now on tell `listener` what the contacts say."""
        with self._told:
            self._listener = listener
            listener(self._inputs)

    def _strike(self) -> int:
        if self.wiring is None:
            raise OutputFault(f"point {self._point}: section [modbus] does not say how it is wired")
        return self.wiring.strike

    def seen(self, coils: dict[int, bool], bits: dict[int, bool]) -> None:
        """Take what the module reads now; for the board."""
        wiring = self.wiring
        if wiring is None:
            return
        released = coils[wiring.strike]
        closed = None if wiring.contact is None else bits[wiring.contact] == wiring.contact_closed
        inputs = DoorInputs(
            contact="unknown" if closed is None else "closed" if closed else "open",
            exit_pressed=wiring.rex is not None and bits[wiring.rex] == wiring.rex_pressed,
            tampered=wiring.tamper is not None and bits[wiring.tamper] != wiring.tamper_fine,
            released=released,
        )
        self._tell("released" if released else "locked", inputs)

    def moved(self, *, released: bool) -> None:
        """Take what the module has just confirmed of the strike; for the board."""
        self._tell("released" if released else "locked", replace(self._inputs, released=released))

    def lost(self) -> None:
        """The module does not answer; for the board."""
        self._tell("fault", replace(self._inputs, contact="unknown", exit_pressed=False, released=False))

    def _tell(self, state: StrikeState, inputs: DoorInputs) -> None:
        with self._told:
            if state != self._state:
                self._state = state
                self._observer(self._point, state, DARK)
            if inputs != self._inputs:
                self._inputs = inputs
                if self._listener is not None:
                    self._listener(inputs)
