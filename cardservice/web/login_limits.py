# SPDX-License-Identifier: EUPL-1.2
"""How often a wrong password may be tried: by name, by address, and on devices where the name is known.

An attempt is counted before it is made, so that many at once get no further than one after the other; one that was
right, or that nobody could judge, is taken back.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Final

from cardservice.clock import Clock

# To push one name out of the table somebody would have to try this many others, from hundreds of addresses.
MAX_COUNTED: Final = 50_000
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """How many wrong passwords are tried within `within_s`.

    `per_name` from devices that are not known, and `per_name_known_device` beside them from those that are: together
    fewer than lock an account in the directory. `per_address` of one client, for whatever names.
    """

    per_name: int = 3
    per_name_known_device: int = 1
    per_address: int = 60
    within_s: int = 600


class Counter:
    """Attempts of the last `within_s` by key, `most` for each. Used from the event loop."""

    def __init__(self, clock: Clock, most: int, within_s: int) -> None:
        self._clock = clock
        self._most = most
        self._within_ns = within_s * _NS
        # By age, the oldest first.
        self._attempts: dict[bytes, list[int]] = {}

    def wait_s(self, key: bytes) -> int:
        """Return how long until the next attempt is allowed, 0 if one is allowed now."""
        now_ns = self._clock.monotonic_ns()
        recent = self._recent(key, now_ns)
        if len(recent) < self._most:
            return 0
        oldest_ns = recent[-self._most] if self._most else now_ns
        return max(1, -(-(oldest_ns + self._within_ns - now_ns) // _NS))

    def count(self, key: bytes) -> int:
        """Count an attempt; return its mark for `take_back`."""
        now_ns = self._clock.monotonic_ns()
        recent = self._recent(key, now_ns)
        self._attempts.pop(key, None)
        if len(self._attempts) >= MAX_COUNTED:
            del self._attempts[next(iter(self._attempts))]
        self._attempts[key] = [*recent, now_ns]
        return now_ns

    def take_back(self, key: bytes, mark: int) -> None:
        """Take an attempt back."""
        counted = self._attempts.get(key, [])
        if mark in counted:
            counted.remove(mark)
        if not counted:
            self._attempts.pop(key, None)

    def _recent(self, key: bytes, now_ns: int) -> list[int]:
        return [at_ns for at_ns in self._attempts.get(key, ()) if now_ns - at_ns < self._within_ns]


class Guesses:
    """All counters together."""

    def __init__(self, clock: Clock, limits: LoginLimits) -> None:
        self._names = Counter(clock, limits.per_name, limits.within_s)
        self._known = Counter(clock, limits.per_name_known_device, limits.within_s)
        self._addresses = Counter(clock, limits.per_address, limits.within_s)

    def begin(self, name: str, address: str, *, known_device: bool) -> "Attempt | int":
        """Count an attempt; return it, or the seconds to wait if there may be none now.

        On a known device the name's own allowance there comes first, and the address, which many may share, is not
        asked about.
        """
        by_name = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
        if known_device and self._known.wait_s(by_name) == 0:
            return Attempt([(self._known, by_name, self._known.count(by_name))])
        wanted = [(self._names, by_name)]
        if not known_device:
            wanted.append((self._addresses, _network(address)))
        wait_s = max(counter.wait_s(key) for counter, key in wanted)
        if wait_s:
            return wait_s
        return Attempt([(counter, key, counter.count(key)) for counter, key in wanted])


class Attempt:
    """One attempt that was counted."""

    def __init__(self, counted: list[tuple[Counter, bytes, int]]) -> None:
        self._counted = counted

    def take_back(self) -> None:
        """It was right, or nobody could tell."""
        for counter, key, mark in self._counted:
            counter.take_back(key, mark)


def _network(address: str) -> bytes:
    """Return what counts as one client: an IPv4 address, or the network an IPv6 host chooses its addresses from."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address.encode("utf-8", "surrogatepass")
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return mapped.packed if mapped is not None else parsed.packed[:8]
    return parsed.packed
