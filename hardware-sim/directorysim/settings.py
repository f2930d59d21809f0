# SPDX-License-Identifier: EUPL-1.2
"""Settings of a directory server that have a sensible default."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the CA that clients trust, and the server's certificate with its key."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients can make the server hold."""

    max_connections: int = 256
    max_operations: int = 64
    max_outgoing_bytes: int = 16 * 1024 * 1024
    max_waiting_changes: int = 10_000
    anonymous_message_bytes: int = 64 * 1024
    tls_handshake_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """Everything about a server but its content and its administrator.

    A port of 0 takes a free one. Without `tls` a CA and a certificate are made in the run directory; without
    `run_dir` a temporary one is used. `size_limit` of 0 means none.
    """

    ldap_port: int = 0
    ldaps_port: int = 0
    run_dir: Path | None = None
    tls: TlsFiles | None = None
    size_limit: int = 500
    unlimited_dns: tuple[str, ...] = ()
    session_log_size: int = 10_000
    limits: Limits = field(default_factory=Limits)
