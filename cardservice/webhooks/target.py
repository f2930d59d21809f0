# SPDX-License-Identifier: EUPL-1.2
"""A receiver's address, taken apart; what could mean two things is refused."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from cardservice.webhooks.rules import MAX_URL, TargetRules, Unusable


@dataclass(frozen=True, slots=True)
class Target:
    """A receiver's address, taken apart."""

    host: str
    port: int
    path: str
    tls: bool

    @property
    def named(self) -> str:
        """Host and port as the Host header says them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def target_of(url: str, rules: TargetRules) -> Target:
    """Return the parts of a receiver's address.

    Raises:
        Unusable: it is not one that may be used.
    """
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Unusable(f"url: at most {MAX_URL} printable ASCII characters without spaces or backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Unusable("url: not an address") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and rules.plain_http):
        raise Unusable("url: allowed is https://")
    if not host or "%" in host or parts.username is not None or parts.password is not None or parts.fragment:
        raise Unusable("url: a host is needed; user, password and fragment are not allowed")
    tls = parts.scheme == "https"
    if port == 0:
        raise Unusable("url: there is no port 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or (443 if tls else 80), path, tls)
