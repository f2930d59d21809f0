# SPDX-License-Identifier: EUPL-1.2
"""What an administrator says about the directory: plain values, built by the composition root."""

import functools
import hashlib
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from cardservice.people.rules import DirectoryEntry, DirectoryGroup, MalformedDn, normalise_dn
from integrations.ldap.errors import SettingsRefused
from integrations.ldap.mapping import AttributeMapping

AUTOMATIC = "auto"
_PORTS = {"ldap": 389, "ldaps": 636}
_READING_VERSION = 3
"""Raise it when the same server bytes lead to other entries: every copy is then read again."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How often and how long, in seconds; the defaults notice a hung server in 2 s, in 0.7 s if there is another.

    `answer_s` is an integer because ldap3 takes no other; it bounds each answer while connecting. `beat_answer_s`
    bounds one proof while other traffic flows. `refused_wait_s` keeps a wrong password from locking the account.
    `list_s` is how often everything is listed where a server can only be polled: deletions are found that late.
    """

    beat_s: float = 0.2
    dead_s: float = 2.0
    spare_dead_s: float = 0.7
    refresh_dead_s: float = 10.0
    beat_answer_s: float = 60.0
    connect_s: float = 0.5
    answer_s: int = 2
    reconcile_s: float = 600.0
    list_s: float = 5.0
    backoff_least_s: float = 0.1
    backoff_most_s: float = 2.0
    refused_wait_s: float = 10.0
    behind_grace_s: float = 5.0
    settle_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server URL, taken apart."""

    url: str
    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """One directory: servers in order of preference, the account to read with, where people and groups are.

    `password` is called at each sign-in and never kept. One search over what both bases have in common reads people and
    groups, so that one cookie covers both. `mode` names how to follow (`modes.py`) or leaves it to what each server
    offers. `plain_on_loopback` is for tests: it allows ldap:// without TLS to this machine only.
    """

    servers: tuple[str, ...]
    bind_dn: str
    password: Callable[[], str] = field(repr=False)
    people_base: str
    groups_base: str
    ca_file: Path | None = None
    people_filter: str = "(objectClass=inetOrgPerson)"
    groups_filter: str = "(objectClass=groupOfNames)"
    mapping: AttributeMapping = field(default_factory=AttributeMapping)
    timing: Timing = field(default_factory=Timing)
    max_entries: int = 2_000_000
    plain_on_loopback: bool = False
    mode: str = AUTOMATIC

    def ordered_servers(self) -> tuple[Server, ...]:
        """Return the servers in order.

        Raises:
            SettingsRefused: no server, a URL that is not ldap:// or ldaps://, or no account to sign in with.
        """
        if not self.servers:
            raise SettingsRefused("No directory server is configured.")
        if not self.bind_dn:
            raise SettingsRefused("No account to read the directory with is configured; anonymous reading is refused.")
        return tuple(_read_url(url) for url in self.servers)

    def as_followed(self) -> "LdapSettings":
        """Return the settings with the patience that following takes: less for a server that can be replaced."""
        if len(self.servers) <= 1 or self.timing.spare_dead_s >= self.timing.dead_s:
            return self
        return replace(self, timing=replace(self.timing, dead_s=self.timing.spare_dead_s))

    def search_base(self) -> str:
        """Return the DN that people and groups have in common.

        Raises:
            SettingsRefused: one of them is not a DN, or they have nothing in common.
        """
        people, groups = _read_base(self.people_base), _read_base(self.groups_base)
        common: list[str] = []
        for one, other in zip(reversed(people.split(",")), reversed(groups.split(",")), strict=False):
            if one != other:
                break
            common.insert(0, one)
        if not common:
            raise SettingsRefused("People and groups must lie in one directory; their bases have no part in common.")
        return ",".join(common)

    def search_filter(self) -> str:
        """Return the one filter that covers people and groups."""
        return f"(|{self.people_filter}{self.groups_filter})"

    def holds(self, entry: DirectoryEntry) -> bool:
        """Tell whether `entry` lies below its own base: the common search finds more than that."""
        base = _read_base(self.groups_base if isinstance(entry, DirectoryGroup) else self.people_base)
        return entry.dn == base or entry.dn.endswith(f",{base}")

    def fingerprint(self) -> str:
        """Return 12 hex digits that change when another copy would result: a cookie is only good for the same."""
        bases = (self.people_base, self.groups_base)
        parts = (_READING_VERSION, sorted(self.servers), bases, self.search_filter(), self.mapping)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@functools.lru_cache(maxsize=16)
def _read_base(dn: str) -> str:
    try:
        return normalise_dn(dn)
    except MalformedDn as error:
        raise SettingsRefused(f"'{dn}' is not a DN: {error}.") from None


def _read_url(url: str) -> Server:
    parts = urlsplit(url)
    if "@" in url:
        raise SettingsRefused("A directory server's URL holds no user and no password; there are settings for both.")
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"}:
        raise SettingsRefused(f"'{url}' is no directory server; write ldaps://name, or ldap://name for StartTLS.")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise SettingsRefused(f"'{url}' has a port that is not a number from 1 to 65535.") from None
    return Server(url.rstrip("/"), parts.hostname, port, tls=parts.scheme == "ldaps")


def is_loopback(host: str) -> bool:
    """Tell whether `host` is a literal loopback address; names do not count, because they can point anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
