# SPDX-License-Identifier: EUPL-1.2
"""What a printer says of itself, asked over IPP at its own address.

CUPS learns a printer's troubles while it prints and keeps the last ones afterwards: a queue looks idle in front of a
printer that has been switched off, and out of paper long after somebody has filled it.
"""

import asyncio
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from cardservice.printing.ports import Condition, PrinterState
from integrations.cups import ipp
from integrations.cups.connection import Address, Connection, NoAnswer, Refused, decoded
from integrations.cups.ipp import Group, Operation, Tag

UNREACHABLE: Final = "offline-error"
MAX_DEVICES: Final = 2_000
_PORT: Final = 631
_CONDITIONS: Final[dict[int, Condition]] = {3: "idle", 4: "printing", 5: "stopped"}
FIELDS: Final = ("printer-state", "printer-state-reasons", "printer-is-accepting-jobs")


def state_of(name: str, group: Group) -> PrinterState:
    """Read a printer's attributes; a state nobody knows is taken for `stopped`."""
    condition = _CONDITIONS.get(ipp.number(group, "printer-state") or 0, "stopped")
    reasons = tuple(reason for reason in group.get("printer-state-reasons", ()) if isinstance(reason, str))
    said = tuple(reason for reason in reasons if reason != "none")
    return PrinterState(name, condition, ipp.flag(group, "printer-is-accepting-jobs"), said)


class Device:
    """One printer with a kept connection."""

    def __init__(self, uri: str, address: Address, path: str, limit_s: float) -> None:
        self.uri = uri
        self._path = path
        self._limit_s = limit_s
        self._connection = Connection(address, limit_s)

    async def ask(self, name: str) -> PrinterState:
        """Return what it says; whatever goes wrong means that it cannot be reached."""
        request = ipp.encode(
            Operation.GET_PRINTER_ATTRIBUTES,
            1,
            [
                (Tag.URI, "printer-uri", [self.uri]),
                (Tag.KEYWORD, "requested-attributes", list(FIELDS)),
            ],
        )
        try:
            async with asyncio.timeout(self._limit_s):
                response = await decoded(await self._exchange(request))
        except (NoAnswer, Refused, ipp.MalformedIpp, TimeoutError):
            return _unreachable(name)
        if not response.successful or len(response.printers) != 1:
            return _unreachable(name)
        return state_of(name, response.printers[0])

    async def _exchange(self, request: bytes) -> bytes:
        try:
            return await self._connection.ask(self._path, request)
        except NoAnswer:
            # Printers close idle connections.
            return await self._connection.ask(self._path, request)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()


class Devices:
    """The printers behind the queues, by queue."""

    Asked = asyncio.Task[tuple[Device, PrinterState]]

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._by_queue: dict[str, Device] = {}

    def begin(self, queue: str) -> Asked | None:
        """Ask the printer `queue` had the last time, while CUPS is asked for the queue."""
        device = self._by_queue.get(queue)
        return asyncio.create_task(_ask(device, queue)) if device is not None else None

    async def complete(self, queue: PrinterState, uri: str, asked: Asked | None) -> PrinterState:
        """Return the state of the queue and of the printer at `uri` in one; a printer without IPP is not asked."""
        if queue.condition == "stopped" or not queue.accepting:
            return queue
        if asked is not None:
            device, state = await asked
            if device.uri == _bare(uri):
                return _both(queue, state)
        device_now = await self._device(queue.name, uri)
        return queue if device_now is None else _both(queue, await device_now.ask(queue.name))

    async def _device(self, queue: str, uri: str) -> Device | None:
        bare = _bare(uri)
        old = self._by_queue.get(queue)
        if old is not None and old.uri == bare:
            return old
        address = _address(bare)
        device = None
        if address is not None and len(self._by_queue) < MAX_DEVICES:
            device = self._by_queue[queue] = Device(bare, address, urlsplit(bare).path or "/", self._limit_s)
        else:
            self._by_queue.pop(queue, None)
        if old is not None:
            await old.close()
        return device

    async def close(self) -> None:
        """Disconnect from all of them."""
        for device in self._by_queue.values():
            await device.close()
        self._by_queue.clear()


def _unreachable(name: str) -> PrinterState:
    return PrinterState(name, "stopped", accepting=False, reasons=(UNREACHABLE,))


async def _ask(device: Device, name: str) -> tuple[Device, PrinterState]:
    return device, await device.ask(name)


def _both(queue: PrinterState, device: PrinterState) -> PrinterState:
    """The queue takes jobs; what the printer says of itself is newer than what CUPS remembers of it."""
    return replace(device, accepting=device.accepting and queue.accepting)


def _bare(uri: str) -> str:
    """Return the address without the options CUPS' backends take."""
    return uri.partition("?")[0]


def _address(uri: str) -> Address | None:
    try:
        parts = urlsplit(uri)
        port = parts.port or _PORT
    except ValueError:
        return None
    if parts.scheme not in ("ipp", "ipps") or not parts.hostname:
        return None
    return Address(host=parts.hostname, port=port, tls=parts.scheme == "ipps")
