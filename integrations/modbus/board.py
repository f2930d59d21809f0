# SPDX-License-Identifier: EUPL-1.2
"""One Modbus TCP module: its connection, its coils and inputs, in a thread with an event loop of its own.

    connect ─▶ look, every poll_ms: coils, inputs ─▶ tell the doors
       ▲                 │ no answer in time, or a refusal
       └─ a little later ◀ every door is a fault

What the module reads back is believed, not what was written: a coil that is on without a pulse is switched off, one
that the module switched off by itself ends the pulse. A pulse that a lost connection cuts is over: the first look at a
module switches off what is on.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import structlog
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from cardservice.doors.ports import OutputFault
from integrations.modbus.door import ModbusDoor, Observer
from integrations.modbus.wiring import BoardSettings, runs

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

    def build(self, point: str, observer: Observer) -> ModbusDoor:
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
            # One request may be under way before it.
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
        await self._look()
        self._trouble = None
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
        """End the pulses that are due, ask what the module reads, and tell the doors."""
        async with self._line:
            now_s = time.monotonic()
            for coil in [coil for coil, end_s in self._pulses.items() if end_s <= now_s]:
                await self._write(coil, on=False)
                self._pulses.pop(coil, None)
            coils = await self._read(self._coil_runs, coils=True)
            for coil, on in coils.items():
                if on and coil not in self._pulses:
                    await self._write(coil, on=False)
                    coils[coil] = False
                elif not on:
                    # Modules that time a coil themselves have ended the pulse.
                    self._pulses.pop(coil, None)
            bits = await self._read(self._input_runs, coils=False)
            for door in self._doors.values():
                door.seen(coils, bits)

    async def _release(self, coil: int, open_ms: int) -> None:
        async with self._line:
            if coil not in self._pulses:
                await self._write(coil, on=True)
            end_s = time.monotonic() + open_ms / 1_000
            self._pulses[coil] = max(end_s, self._pulses.get(coil, 0.0))
        with contextlib.suppress(_Trouble):
            # It is released; whatever goes wrong from here on the loop finds out by itself.
            await self._look()
        # The loop waits for the end of another pulse, or for its next look.
        self._wake.set()

    async def _lock(self, coil: int) -> None:
        async with self._line:
            self._pulses.pop(coil, None)
            await self._write(coil, on=False)
        await self._look()

    async def _write(self, coil: int, *, on: bool) -> None:
        client = self._client
        if client is None:
            raise _Trouble(f"{self._where}: not connected")
        await self._answered(client.write_coil(coil, on, device_id=self._settings.unit), f"coil {coil}")

    async def _read(self, wanted: Sequence[range], *, coils: bool) -> dict[int, bool]:
        client = self._client
        if client is None:
            raise _Trouble(f"{self._where}: not connected")
        found: dict[int, bool] = {}
        ask, what = (client.read_coils, "coil") if coils else (client.read_discrete_inputs, "input")
        for run in wanted:
            answer = await self._answered(
                ask(run.start, count=len(run), device_id=self._settings.unit), f"{what} {run.start}"
            )
            if len(answer.bits) < len(run):
                raise _Trouble(f"{self._where}: {what} {run.start}: {len(answer.bits)} bits, asked for {len(run)}")
            found.update(zip(run, answer.bits, strict=False))
        return found

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


def open_board(settings: BoardSettings) -> ModbusBoard:
    """Begin to talk to the module that the agent's settings name; `build` then makes the points' outputs."""
    return ModbusBoard(settings)
