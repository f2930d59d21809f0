# SPDX-License-Identifier: EUPL-1.2
"""A Modbus TCP module with eight relays and eight inputs: pymodbus' own server, in a process of its own.

    python modbus_module.py PORT [TIMED_MS]

Says `listening PORT` once it answers; port 0 takes a free one. Reads commands on standard input, answers each with a
line: `input N 0|1` sets a discrete input, `coil N 0|1` works a relay by hand, `coils` says what the relays do, `writes`
how often each was switched on by the wire, `reset` makes it as new. With TIMED_MS a relay goes off by itself after so
long, as modules do that time a coil themselves.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

UNIT = 1
WRITE_COIL, READ_INPUTS = 5, 2
POINTS = 8


class Module:
    """The process's side: one device and what was asked of it."""

    def __init__(self, timed_ms: int) -> None:
        self._timed_s = timed_ms / 1_000
        self.switched_on = [0] * POINTS
        self.server: ModbusTcpServer

    async def listen(self, port: int) -> int:
        bits = [SimData(0, values=[False] * POINTS, datatype=DataType.BITS) for _ in range(2)]
        registers = [SimData(0, values=[0], datatype=DataType.REGISTERS)]
        device = SimDevice(UNIT, simdata=([bits[0]], [bits[1]], registers, registers), action=self.asked)
        self.server = ModbusTcpServer(device, address=("127.0.0.1", port))
        await self.server.serve_forever(background=True)
        return self.server.transport.sockets[0].getsockname()[1]

    async def asked(self, code: int, _start: int, address: int, _count: int, _now: list, values: list | None) -> None:
        """Count what the wire switches on, refuse what is not there."""
        if address >= POINTS:
            return ExcCodes.ILLEGAL_ADDRESS
        if code == WRITE_COIL and values and values[0] and not self.by_hand:
            self.switched_on[address] += 1
            if self._timed_s:
                asyncio.get_running_loop().call_later(self._timed_s, self._off, address)
        return None

    by_hand = False

    def _off(self, address: int) -> None:
        self._task = asyncio.ensure_future(self.work(WRITE_COIL, address, on=False))

    async def work(self, code: int, address: int, *, on: bool) -> None:
        self.by_hand = True
        try:
            await self.server.async_setValues(UNIT, code, address, [on])
        finally:
            self.by_hand = False

    async def obey(self, line: str) -> str:
        match line.split():
            case ["input", number, level]:
                await self.work(READ_INPUTS, int(number), on=level == "1")
            case ["coil", number, level]:
                await self.work(WRITE_COIL, int(number), on=level == "1")
            case ["reset"]:
                for number in range(POINTS):
                    await self.work(WRITE_COIL, number, on=False)
                    await self.work(READ_INPUTS, number, on=False)
                self.switched_on = [0] * POINTS
            case ["coils"]:
                found = await self.server.async_getValues(UNIT, 1, 0, POINTS)
                return json.dumps([bool(bit) for bit in found[:POINTS]])
            case ["writes"]:
                return json.dumps(self.switched_on)
            case _:
                return "what?"
        return "done"


async def main(port: int, timed_ms: int) -> None:
    module = Module(timed_ms)
    say(f"listening {await module.listen(port)}")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        say(await module.obey(line))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class ModuleProcess:
    """The test's side: a module that can be killed and plugged in again at the same address."""

    def __init__(self, timed_ms: int = 0) -> None:
        self._timed_ms = timed_ms
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Plug it in: every relay is off, every input 0."""
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(self.port), str(self._timed_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        word, port = self._read().split()
        assert word == "listening"
        self.port = int(port)

    def _read(self) -> str:
        assert self.process is not None
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, command: str) -> str:
        """Have one command obeyed; return the answer."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._read()

    def set_input(self, number: int, *, on: bool) -> None:
        """Open or close the loop of an input."""
        assert self.tell(f"input {number} {int(on)}") == "done"

    def coil(self, number: int) -> bool:
        """Tell whether a relay is on."""
        return bool(json.loads(self.tell("coils"))[number])

    def switched_on(self, number: int) -> int:
        """Tell how often a relay was switched on over the wire."""
        return int(json.loads(self.tell("writes"))[number])

    def as_new(self) -> None:
        """Plug it in if it is not, with every relay off and every input 0."""
        if self.process is None:
            self.start()
        assert self.tell("reset") == "done"

    def stop(self) -> None:
        """Pull the plug."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
            self.process = None


@contextlib.contextmanager
def running_module(timed_ms: int = 0) -> Iterator[ModuleProcess]:
    module = ModuleProcess(timed_ms)
    module.start()
    try:
        yield module
    finally:
        module.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
