# SPDX-License-Identifier: EUPL-1.2
"""What is told, how it is signed, when it is tried again, and where it may be sent. Pure.

Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md). No event names a
person: whoever needs more asks the API, where asking is written down.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

Scalar = str | int | bool | None
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What the doors' stream of the journal calls it, and what it is called outside. Taps are not told: they follow people.
DOOR_EVENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "alarm_begun": "door.alarm_begun",
        "alarm_ended": "door.alarm_ended",
        "open_once_done": "door.opened_from_desk",
        "lockdown_begun": "door.lockdown_begun",
        "lockdown_ended": "door.lockdown_ended",
    }
)
CARD_CHANGED: Final = "card.changed"
TEST: Final = "webhook.test"
# What lasts, and what it is called once it is over.
LASTING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "directory.stale": "directory.current",
        "directory.held": "directory.decided",
        "agent.away": "agent.back",
    }
)
EVENT_TYPES: Final = frozenset({*DOOR_EVENTS.values(), CARD_CHANGED, *LASTING, *LASTING.values()})

MAX_URL: Final = 2_000
MAX_WAITING: Final = 10_000
NAME: Final = re.compile(r"[a-z0-9-]{1,40}")
SECRET_BYTES: Final = 32
# How long after a rotation the secret before still signs beside the new one.
OLD_SECRET_MS: Final = 24 * 3_600_000
# From one attempt to the next, as the specification proposes: three days in all.
RETRY_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
# A receiver that fails is left alone this long before anything else is sent to it.
FIRST_PAUSE_S: Final = 5
LONGEST_PAUSE_S: Final = 300
MAX_RETRY_AFTER_S: Final = 86_400
GONE: Final = 410
_JITTER: Final = 0.2

# Addresses inside others: what stands in them is reached through them.
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
# Not for everybody, although the library calls some of them global.
_LOCAL: Final = tuple(ipaddress.ip_network(net) for net in ("fec0::/10", "64:ff9b:1::/48", "192.88.99.0/24"))


class Unusable(Exception):
    """A name, an address or an event type that cannot be used: which, and what is allowed."""


@dataclass(frozen=True, slots=True)
class TargetRules:
    """Where events may be sent besides public addresses; `plain_http` to those alone."""

    allowed: tuple[Network, ...] = ()
    plain_http: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `message` is its name for ever, so that a receiver knows it again."""

    type: str
    at_ms: int
    message: str
    data: Mapping[str, Scalar]

    def body(self) -> str:
        """Return what is sent."""
        timestamp = datetime.fromtimestamp(self.at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
        document = {"type": self.type, "timestamp": timestamp.replace("+00:00", "Z"), "data": dict(self.data)}
        return json.dumps(document, separators=(",", ":"))


def require_name(name: str) -> None:
    """Refuse what no webhook may be called.

    Raises:
        Unusable: it is none of 1 to 40 of a-z, 0-9 and '-'.
    """
    if not NAME.fullmatch(name):
        raise Unusable("name: 1 to 40 of a-z, 0-9 and '-'")


def require_types(events: Sequence[str]) -> tuple[str, ...]:
    """Return the event types in order, each once.

    Raises:
        Unusable: none, or one that does not exist.
    """
    strange = sorted(set(events) - EVENT_TYPES)
    if strange or not events:
        what = f"there is no {strange[0][:60]!r}" if strange else "name at least one"
        raise Unusable(f"events: {what}; there are {', '.join(sorted(EVENT_TYPES))}")
    return tuple(sorted(set(events)))


def may_be_reached(address: str, rules: TargetRules, *, tls: bool) -> bool:
    """Tell whether a connection may be made to an address: a public one, or one that the settings allow.

    Loopback, private, link-local, multicast and reserved ones are not public, nor is what only carries such a one
    inside (IPv4 in IPv6, 6to4, Teredo, NAT64).
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if any(_within(one, rules.allowed) for one in {found, _plain(found)}):
        return True
    return tls and _public(found)


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one only writes otherwise."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (inner := _carried(address)) is not None:
        return all(_public(one) for one in inner)
    special = address.is_multicast or address.is_reserved or address.is_unspecified or _within(address, _LOCAL)
    return address.is_global and not special


def _carried(address: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...] | None:
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    return (ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF),) if address in _NAT64 else None


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == net.version and address in net for net in networks)


def secret_text(secret: bytes) -> str:
    """Return a secret as it is shown to people, once."""
    return "whsec_" + base64.b64encode(secret).decode()


def signature(secret: bytes, message: str, at_s: int, body: str) -> str:
    """Return one entry of `webhook-signature`: HMAC-SHA256 over id, timestamp and body."""
    signed = f"{message}.{at_s}.{body}".encode()
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def headers_of(secrets: Sequence[bytes], message: str, at_ms: int, body: str) -> dict[str, str]:
    """Return the three headers of a delivery, signed with each of these secrets, the newest first."""
    at_s = at_ms // 1_000
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(signature(secret, message, at_s, body) for secret in secrets),
    }


def next_attempt_s(attempts: int, chance: float) -> float | None:
    """Return how long after that many failed attempts the next one comes, None for never; `chance` is 0 to 1."""
    if attempts > len(RETRY_S):
        return None
    return _jittered(RETRY_S[attempts - 1], chance)


def pause_s(failures: int, chance: float, retry_after_s: int | None) -> float:
    """Return how long a receiver is left alone after that many failures one after the other."""
    usual = _jittered(min(FIRST_PAUSE_S * 2 ** min(failures - 1, 16), LONGEST_PAUSE_S), chance)
    return max(usual, min(retry_after_s or 0, MAX_RETRY_AFTER_S))


def _jittered(seconds: float, chance: float) -> float:
    return seconds * (1 + _JITTER * (2 * chance - 1))
