# SPDX-License-Identifier: EUPL-1.2
"""One simulated door: a strike that times its own pulse, a reader's light, buzzer and display, and a fault switch.

It has a leaf with a contact, a button for the way out and a tamper contact, to be worked by tests and pages. Its
errors are the port's: `OutputFault`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from cardservice.doors.ports import (
    DARK,
    DoorInputs,
    InputListener,
    OutputFault,
    OutputObserver,
    Shown,
    StrikeState,
)

SHOWN_US = 3_000_000


class SimulatedDoor:
    """A `DoorOutput` with `DoorSensors` whose strike locks again by its own timer, like a device would.

    `clock_us` is monotonic. With `own_timer=False` nothing happens by itself: call `advance` after moving the clock.
    """

    def __init__(
        self,
        point: str,
        observer: OutputObserver,
        *,
        clock_us: Callable[[], int] = lambda: time.monotonic_ns() // 1_000,
        own_timer: bool = True,
    ) -> None:
        self._point = point
        self._observer = observer
        self._clock_us = clock_us
        self._own_timer = own_timer
        self._changed = threading.Condition(threading.RLock())
        self._timer: threading.Thread | None = None
        self._shown = DARK
        self._lock_at_us: int | None = None
        self._dark_at_us: int | None = None
        self._broken: str | None = None
        self._inputs = DoorInputs(contact="closed")
        self._listener: InputListener | None = None

    def pulse(self, open_ms: int) -> None:
        """Release the strike for `open_ms` milliseconds; a pulse while it is released only ever makes it longer.

        Raises:
            OutputFault: the door is broken (`break_down`).
        """
        with self._changed:
            self._must_work()
            was = self.state()
            until_us = self._clock_us() + open_ms * 1_000
            self._lock_at_us = max(until_us, self._lock_at_us or 0)
            self._start_timer()
            if was != "released":
                self._tell()

    def lock(self) -> None:
        """End a running pulse now.

        Raises:
            OutputFault: the door is broken (`break_down`).
        """
        with self._changed:
            self._must_work()
            if self._lock_at_us is not None:
                self._lock_at_us = None
                self._tell()

    def show(self, shown: Shown) -> None:
        """Show `shown` for three seconds, then go dark.

        Raises:
            OutputFault: the door is broken (`break_down`).
        """
        with self._changed:
            self._must_work()
            self._shown = shown
            self._dark_at_us = self._clock_us() + SHOWN_US
            self._start_timer()
            self._tell()

    def state(self) -> StrikeState:
        """Return what the strike does now."""
        with self._changed:
            if self._broken is not None:
                return "fault"
            return "released" if self._lock_at_us is not None else "locked"

    def shown(self) -> Shown:
        """Return what the reader shows now."""
        with self._changed:
            return self._shown

    def watch(self, listener: InputListener) -> None:
        """From now on tell `listener` what the contacts say."""
        with self._changed:
            self._listener = listener
            self._tell_inputs()

    def inputs(self) -> DoorInputs:
        """Return what the contacts say now."""
        with self._changed:
            return self._inputs

    def open_leaf(self, *, by_force: bool = False) -> bool:
        """Pull the leaf open; tell whether it opened: a locked one gives way to force alone."""
        with self._changed:
            if self._lock_at_us is None and not by_force:
                return False
            self._sense(replace(self._inputs, contact="open"))
            return True

    def close_leaf(self) -> None:
        """Let the leaf fall shut."""
        self._sense(replace(self.inputs(), contact="closed"))

    def press_exit(self, *, pressed: bool = True) -> None:
        """Press the button for the way out, or let it go."""
        self._sense(replace(self.inputs(), exit_pressed=pressed))

    def tamper(self, *, tampered: bool = True) -> None:
        """Open the housing, or close it."""
        self._sense(replace(self.inputs(), tampered=tampered))

    def break_down(self, reason: str) -> None:
        """From now on every call fails with `reason`, and no contact is known; the strike drops into its lock."""
        with self._changed:
            self._broken = reason
            self._lock_at_us = self._dark_at_us = None
            self._shown = DARK
            self._inputs = replace(self._inputs, released=False)
            self._tell()
            self._tell_inputs()

    def repair(self) -> None:
        """End what `break_down` began."""
        with self._changed:
            self._broken = None
            self._tell()
            self._tell_inputs()

    def advance(self) -> None:
        """Do what the clock says is due: lock the strike, go dark."""
        with self._changed:
            now_us = self._clock_us()
            lock = self._lock_at_us is not None and now_us >= self._lock_at_us
            dark = self._dark_at_us is not None and now_us >= self._dark_at_us
            if lock:
                self._lock_at_us = None
            if dark:
                self._dark_at_us = None
                self._shown = DARK
            if lock or dark:
                self._tell()

    def _must_work(self) -> None:
        if self._broken is not None:
            raise OutputFault(f"simulated door {self._point}: {self._broken}")

    def _tell(self) -> None:
        self._observer(self._point, self.state(), self._shown)
        self._sense(replace(self._inputs, released=self.state() == "released"))

    def _sense(self, inputs: DoorInputs) -> None:
        with self._changed:
            if inputs != self._inputs:
                self._inputs = inputs
                self._tell_inputs()

    def _tell_inputs(self) -> None:
        if self._listener is not None:
            away = replace(self._inputs, contact="unknown", exit_pressed=False)
            self._listener(self._inputs if self._broken is None else away)

    def _start_timer(self) -> None:
        if not self._own_timer:
            return
        if self._timer is None:
            self._timer = threading.Thread(target=self._keep_time, name=f"door {self._point}", daemon=True)
            self._timer.start()
        self._changed.notify()

    def _keep_time(self) -> None:
        """The timer's thread: lives while something is due."""
        with self._changed:
            while True:
                due = [at_us for at_us in (self._lock_at_us, self._dark_at_us) if at_us is not None]
                if not due:
                    self._timer = None
                    return
                wait_us = min(due) - self._clock_us()
                if wait_us > 0:
                    self._changed.wait(wait_us / 1_000_000)
                self.advance()


def build(point: str, observer: OutputObserver) -> SimulatedDoor:
    """Make the output of `point`."""
    return SimulatedDoor(point, observer)


@contextmanager
def open_outputs(settings: object) -> Iterator[Callable[[str, OutputObserver], SimulatedDoor]]:
    """Yield what makes the points' outputs; the agent calls this for the adapter its settings name."""
    del settings  # nothing can be set here
    yield build
