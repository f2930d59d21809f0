# SPDX-License-Identifier: EUPL-1.2
"""What the adapter has to be told: where the module is, and what is wired where. Addresses count from 0."""

from collections.abc import Iterable, Mapping
from typing import Protocol

# Modbus Application Protocol V1.1b3, 6.1: one request reads at most 2000 bits.
MOST_BITS = 2_000


class PointWiring(Protocol):
    """One point: its coil, its discrete inputs if it has them, and what these read while all is well."""

    @property
    def strike(self) -> int:
        """The coil that releases the strike while it is on."""
        ...

    @property
    def contact(self) -> int | None:
        """The input of the door contact."""
        ...

    @property
    def rex(self) -> int | None:
        """The input of the request to exit."""
        ...

    @property
    def tamper(self) -> int | None:
        """The input of the tamper loop."""
        ...

    @property
    def contact_closed(self) -> bool:
        """What the contact's input reads while the door is closed."""
        ...

    @property
    def rex_pressed(self) -> bool:
        """What the input of the request to exit reads while somebody asks."""
        ...

    @property
    def tamper_fine(self) -> bool:
        """What the tamper input reads while nothing is tampered with."""
        ...


class BoardSettings(Protocol):
    """One module and the points wired to it."""

    @property
    def host(self) -> str:
        """Its name or address."""
        ...

    @property
    def port(self) -> int:
        """Its TCP port."""
        ...

    @property
    def unit(self) -> int:
        """Its Modbus unit identifier."""
        ...

    @property
    def poll_ms(self) -> int:
        """How often it is asked."""
        ...

    @property
    def timeout_ms(self) -> int:
        """How long one answer is waited for."""
        ...

    @property
    def points(self) -> Mapping[str, PointWiring]:
        """How each point is wired."""
        ...


class AgentWithModule(Protocol):
    """The settings of an agent whose outputs are on a module."""

    @property
    def modbus(self) -> BoardSettings | None:
        """The module; never None where the settings name this adapter."""
        ...


def runs(addresses: Iterable[int]) -> list[range]:
    """Return the addresses as ranges without gaps, each of which one request can read.

    Many modules refuse a request that touches an address they have not got: nothing between is read along.
    """
    found: list[range] = []
    for address in sorted(set(addresses)):
        last = found[-1] if found else range(0)
        if found and address == last.stop and len(last) < MOST_BITS:
            found[-1] = range(last.start, address + 1)
        else:
            found.append(range(address, address + 1))
    return found
