# SPDX-License-Identifier: EUPL-1.2
"""One Modbus TCP module: its connection, its coils and inputs, in a thread with an event loop of its own.

    connect ─▶ look, every poll_ms: coils, inputs ─▶ tell the doors
       ▲                 │ no answer in time, or a refusal
       └─ a little later ◀ every door is a fault

What the module reads back is believed, not what was written: a coil that is on without a pulse is switched off, one
that the module switched off by itself ends the pulse. A pulse that a lost connection cuts is over: the first look at a
module switches off what is on.

The line is held for one request at a time, so that nobody who opens a door waits for a whole look. What a request says
of a coil is taken before the next one leaves: no older answer ends a newer pulse.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any, Protocol

import structlog
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from cardservice.doors.ports import OutputFault, OutputObserver
from integrations.modbus.door import ModbusDoor
from integrations.modbus.wiring import AgentWithModule, BoardSettings, runs

RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0
STOP_S = 5.0
_log = structlog.get_logger("modbus")


class _Trouble(Exception):
    """The module did not do what it was asked; the message is for the administrator."""


class _Answer(Protocol):
    """What an answer of the library has in common."""

    bits: list[bool]

    def isError(self) -> bool:  # noqa: N802  # the library's name
        """Tell whether the module refused."""
        ...


class ModbusBoard:
    """One module; `build` makes the output of one of its points. Used from any thread."""

    def __init__(self, settings: BoardSettings) -> None:
        self._settings = settings
        self._where = f"modbus {settings.host}:{settings.port}"
        wirings = tuple(settings.points.values())
        self._coil_runs = runs(wiring.strike for wiring in wirings)
        inputs = (address for wiring in wirings for address in (wiring.contact, wiring.rex, wiring.tamper))
        self._input_runs = runs(address for address in inputs if address is not None)
        self._doors: dict[str, ModbusDoor] = {}
        # Coil -> when its pulse ends, monotonic.
        self._pulses: dict[int, float] = {}
        # What the module last said of each coil, to a reading or to a change.
        self._coils: dict[int, bool] = {}
        self._trouble: str | None = f"{self._where}: not connected yet"
        self._client: AsyncModbusTcpClient | None = None
        self._loop = asyncio.new_event_loop()
        self._line = asyncio.Lock()
        self._wake = asyncio.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="modbus", daemon=True)
        # It reports each attempt; what matters is said here, once.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why the module cannot be used now, None if it can."""
        return self._trouble

    def build(self, point: str, observer: OutputObserver) -> ModbusDoor:
        """Make the output of `point`; the agent calls this once for each of its points."""
        door = ModbusDoor(point, observer, self._settings.points.get(point), self)
        if door.wiring is None:
            _log.error("modbus_point_not_wired", point=point)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._add, point, door)
        return door

    def _add(self, point: str, door: ModbusDoor) -> None:
        self._doors[point] = door
        if self._trouble is not None:
            door.lost()
        self._wake.set()

    def release(self, coil: int, open_ms: int) -> None:
        """Switch a coil on, and off again after `open_ms`; waits for the module's answer.

        Raises:
            OutputFault: it does not answer.
        """
        self._ask(self._release(coil, open_ms))

    def lock(self, coil: int) -> None:
        """Switch a coil off; waits for the module's answer.

        Raises:
            OutputFault: it does not answer; the coil is switched off as soon as it does.
        """
        self._ask(self._lock(coil))

    def close(self) -> None:
        """Switch every coil off that is on, and end the connection and its thread."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(STOP_S)

    def _ask(self, work: Coroutine[Any, Any, None]) -> None:
        if self._trouble is not None or not self._thread.is_alive():
            work.close()
            raise OutputFault(self._trouble or f"{self._where}: closed")
        try:
            asked: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise OutputFault(f"{self._where}: closed") from None
        try:
            # One request may be under way before it; no more, as nobody keeps the line between two.
            asked.result(2 * self._settings.timeout_ms / 1_000)
        except TimeoutError:
            asked.cancel()
            raise OutputFault(f"{self._where}: no answer in time") from None
        except _Trouble as trouble:
            raise OutputFault(str(trouble)) from None

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._stay_connected())
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            self._trouble = self._trouble or f"{self._where}: closed"
            self._loop.close()

    def _stop(self) -> None:
        self._closing = True
        self._wake.set()

    async def _stay_connected(self) -> None:
        pause_s = RETRY_MIN_S
        while not self._closing:
            try:
                await self._connect()
                pause_s = RETRY_MIN_S
                await self._serve()
            except _Trouble as trouble:
                self._lost(str(trouble))
            except Exception as error:  # noqa: BLE001  # a thread that dies in silence would leave every door as it was
                self._lost(f"{self._where}: {type(error).__name__}")
            finally:
                if self._client is not None:
                    self._client.close()
                    self._client = None
            await self._sleep(pause_s)
            pause_s = min(RETRY_MAX_S, pause_s * 2)

    async def _connect(self) -> None:
        settings = self._settings
        self._client = AsyncModbusTcpClient(
            settings.host,
            port=settings.port,
            timeout=settings.timeout_ms / 1_000,
            retries=0,
            reconnect_delay=0,
        )
        if not await self._client.connect():
            raise _Trouble(f"{self._where}: no connection")
        self._pulses.clear()
        self._coils.clear()
        await self._look()
        _log.info("modbus_connected", module=self._where)

    async def _serve(self) -> None:
        poll_s = self._settings.poll_ms / 1_000
        while not self._closing:
            due_s = min([*self._pulses.values(), time.monotonic() + poll_s]) - time.monotonic()
            await self._sleep(max(0.0, due_s))
            await self._look()
        async with self._line:
            for coil in tuple(self._pulses):
                await self._write(coil, on=False)

    async def _look(self) -> None:
        """Ask what the module reads, end the pulses that are due, and tell the doors."""
        for run in self._coil_runs:
            await self._end_due()
            async with self._line:
                self._coils.update(await self._read(run, coils=True))
                # Modules that time a coil themselves have ended the pulse.
                for coil in [coil for coil in run if not self._coils[coil]]:
                    self._pulses.pop(coil, None)
        for coil in tuple(self._coils):
            await self._end(coil, self._is_stray)
        bits: dict[int, bool] = {}
        for run in self._input_runs:
            await self._end_due()
            async with self._line:
                bits.update(await self._read(run, coils=False))
        # First, so that whoever sees a door ready finds it so.
        self._trouble = None
        for door in self._doors.values():
            door.seen(self._coils, bits)

    def _is_stray(self, coil: int) -> bool:
        return self._coils[coil] and coil not in self._pulses

    def _is_due(self, coil: int) -> bool:
        return coil in self._pulses and self._pulses[coil] <= time.monotonic()

    async def _end_due(self) -> None:
        for coil in tuple(self._pulses):
            await self._end(coil, self._is_due)

    async def _end(self, coil: int, is_to_end: Callable[[int], bool]) -> None:
        """Switch a coil off if it is still to end once the line is free."""
        if not is_to_end(coil):
            return
        async with self._line:
            if is_to_end(coil):
                await self._write(coil, on=False)
                self._pulses.pop(coil, None)

    async def _release(self, coil: int, open_ms: int) -> None:
        async with self._line:
            self._must_serve()
            if coil not in self._pulses:
                await self._write(coil, on=True)
            end_s = time.monotonic() + open_ms / 1_000
            self._pulses[coil] = max(end_s, self._pulses.get(coil, 0.0))
        # The loop waits for the end of another pulse, or for its next look.
        self._wake.set()

    async def _lock(self, coil: int) -> None:
        async with self._line:
            self._must_serve()
            self._pulses.pop(coil, None)
            await self._write(coil, on=False)

    def _must_serve(self) -> None:
        """Refuse what waited for the line until the module was gone, or given up."""
        if self._trouble is not None or self._closing:
            raise _Trouble(self._trouble or f"{self._where}: closed")

    async def _write(self, coil: int, *, on: bool) -> None:
        client = self._client
        if client is None:
            raise _Trouble(f"{self._where}: not connected")
        await self._answered(client.write_coil(coil, on, device_id=self._settings.unit), f"coil {coil}")
        self._coils[coil] = on
        if self._trouble is not None:
            # The first look is not over: nothing is ready.
            return
        for door in self._doors.values():
            if door.wiring is not None and door.wiring.strike == coil:
                door.moved(released=on)

    async def _read(self, run: range, *, coils: bool) -> dict[int, bool]:
        client = self._client
        if client is None:
            raise _Trouble(f"{self._where}: not connected")
        ask, what = (client.read_coils, "coil") if coils else (client.read_discrete_inputs, "input")
        answer = await self._answered(
            ask(run.start, count=len(run), device_id=self._settings.unit), f"{what} {run.start}"
        )
        if len(answer.bits) < len(run):
            raise _Trouble(f"{self._where}: {what} {run.start}: {len(answer.bits)} bits, asked for {len(run)}")
        return dict(zip(run, answer.bits, strict=False))

    async def _answered(self, asked: Any, what: str) -> _Answer:
        try:
            answer: _Answer = await asked
        except (ModbusException, OSError) as error:
            raise _Trouble(f"{self._where}: {what}: no answer ({type(error).__name__})") from error
        if answer.isError():
            raise _Trouble(f"{self._where}: {what}: the module refuses it")
        return answer

    def _lost(self, trouble: str) -> None:
        """Nothing of what was known holds any more."""
        if self._trouble is None:
            _log.error("modbus_trouble", reason=trouble)
        self._trouble = trouble
        self._pulses.clear()
        for door in self._doors.values():
            door.lost()

    async def _sleep(self, longest_s: float) -> None:
        """Wait until something is to be done, at most `longest_s`."""
        self._wake.clear()
        if self._closing:
            return
        try:
            async with asyncio.timeout(longest_s):
                await self._wake.wait()
        except TimeoutError:
            return


@contextlib.contextmanager
def open_outputs(settings: AgentWithModule) -> Iterator[Callable[[str, OutputObserver], ModbusDoor]]:
    """Yield what makes the points' outputs; the agent calls this for the adapter its settings name.

    One module for all points: its connection is opened once, and at the end no strike stays released.
    """
    assert settings.modbus is not None  # noqa: S101  # the settings are refused without it
    board = ModbusBoard(settings.modbus)
    try:
        yield board.build
    finally:
        board.close()
