# SPDX-License-Identifier: EUPL-1.2
"""One connection to the system bus, made when it is needed and made again after it broke."""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import Any, Final

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, DBusError, InvalidAddressError

from cardservice.workstations.ports import SessionFault

SERVICE: Final = "org.freedesktop.login1"
# Answers of the bus while logind itself is being restarted: asked again a moment later it is there.
_STARTING: Final = frozenset(
    f"org.freedesktop.DBus.Error.{name}" for name in ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected")
)
_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.2
_MAX_NAME: Final = 120


class BusRefused(SessionFault):
    """The bus or logind answered with an error of its own; `name` is D-Bus's name of it."""

    def __init__(self, member: str, name: str) -> None:
        super().__init__(f"logind: {member}: {name[:_MAX_NAME]}")
        self.name = name


class SystemBus:
    """Calls of logind's methods, each within the time its caller has; `address` None: the system's own bus."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._bus: MessageBus | None = None
        self._connecting = asyncio.Lock()

    async def call(self, path: str, member: str, signature: str = "", body: Sequence[Any] = ()) -> list[Any]:
        """Call "interface.Member" of the object at `path` and return what it returns.

        Sent again when the connection broke or logind was not there: every call made here may be made twice. Goes on
        until it is answered; the caller sets the limit.

        Raises:
            BusRefused: logind answered that it will not.
        """
        pause_s = _PAUSE_S
        while True:
            try:
                reply = await self._once(path, member, signature, body)
            except (OSError, EOFError, AuthError, DBusError, InvalidAddressError):
                self._drop()
                reply = None
            # None: another call found the connection broken and gave it up.
            if reply is not None:
                if reply.message_type is not MessageType.ERROR:
                    return list(reply.body)
                name = reply.error_name or "an error without a name"
                if name not in _STARTING:
                    raise BusRefused(member, name)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def close(self) -> None:
        """Disconnect. Never raises."""
        self._drop()

    async def _once(self, path: str, member: str, signature: str, body: Sequence[Any]) -> Message | None:
        bus = await self._connected()
        interface, _, name = member.rpartition(".")
        return await bus.call(
            Message(
                destination=SERVICE,
                path=path,
                interface=interface,
                member=name,
                signature=signature,
                body=list(body),
            )
        )

    async def _connected(self) -> MessageBus:
        async with self._connecting:
            if self._bus is None or not self._bus.connected:
                self._drop()
                address = self._address or os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
                bus = MessageBus(bus_address=address, bus_type=BusType.SYSTEM)
                await bus.connect()
                self._bus = bus
            return self._bus

    def _drop(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            with contextlib.suppress(OSError):
                bus.disconnect()
