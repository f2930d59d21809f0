# SPDX-License-Identifier: EUPL-1.2
"""The service's own TLS: modern versions and ciphers alone, and a renewed certificate without a restart."""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

import structlog
from cryptography import x509
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cardservice.errors import SettingsError

LOOK_EVERY_S: Final = 10.0
# Whoever renews certificates by hand has a week for it.
WARN_S: Final = 7 * 86_400
# TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has nothing else. Level 2: nothing below 112 bits.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
_ALPN: Final = ["http/1.1"]

# Of each file: when it was changed, how long it is, and which it is.
_Marks: TypeAlias = tuple[tuple[int, int, int], ...]
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Files:
    chain: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, slots=True)
class _Loaded:
    context: ssl.SSLContext
    not_after_s: int


class Certificate(Collector):
    """The certificate that is shown, and the files it is renewed in; `look` and `follow` in one thread only.

    A renewed pair is taken over whole or not at all: while it cannot be used, the old one is shown further on. With
    `client_ca`, clients are asked for certificates of these authorities, and may do without.

    Raises:
        SettingsError: certificate or key cannot be used.
    """

    def __init__(self, chain: Path, key: Path, client_ca: Path | None = None) -> None:
        self._files = _Files(chain, key, client_ca)
        self._marks = self._marks_now()
        try:
            self._loaded = _load(self._files)
        except (OSError, ValueError) as error:
            raise SettingsError(f"service.tls_certificate, service.tls_key: {_said(error)}") from error
        # What listens keeps the context it began with: every handshake is given the newest one.
        self.context = self._loaded.context
        self.context.sni_callback = self._choose
        self.trouble: str | None = None

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._loaded.context

    async def follow(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look at the files now and then, for as long as the server runs."""
        while True:
            await asyncio.sleep(every_s)
            self.look()

    def look(self) -> None:
        """Take over what the files hold if they changed since; say once if it cannot be used."""
        marks = self._marks_now()
        if marks == self._marks:
            return
        self._marks = marks
        try:
            self._loaded = _load(self._files)
        except (OSError, ValueError) as error:
            # Between the new certificate and its key this is so for a moment: the key's change is another one.
            self.trouble = f"service.tls_certificate: what the files hold now cannot be used: {_said(error)}"
            _log.error("tls.not_renewed", trouble=self.trouble)
        else:
            self.trouble = None
            _log.info("tls.renewed", not_after=_day(self._loaded.not_after_s))

    @property
    def not_after_s(self) -> int:
        """When the certificate that is shown ends (Unix seconds)."""
        return self._loaded.not_after_s

    def sentences(self, now_s: float) -> list[str]:
        """Return what is wrong with the certificate, one sentence each."""
        found = [] if self.trouble is None else [self.trouble + "; the one before is still shown"]
        left_s = self._loaded.not_after_s - now_s
        if left_s < WARN_S:
            said = "expired on" if left_s <= 0 else "expires on"
            found.append(f"service.tls_certificate: the certificate {said} {_day(self._loaded.not_after_s)}; renew it")
        return found

    def collect(self) -> Iterable[Metric]:
        """Return the gauges as Prometheus reads them."""
        yield GaugeMetricFamily(
            "cardservice_certificate_not_after_seconds",
            "When the certificate that is shown expires, as seconds since 1970",
            value=self._loaded.not_after_s,
        )
        yield GaugeMetricFamily(
            "cardservice_certificate_not_renewed",
            "1 while the certificate's files hold what cannot be used",
            value=int(self.trouble is not None),
        )

    def _marks_now(self) -> _Marks:
        files = self._files
        return tuple(_mark(file) for file in (files.chain, files.key, files.client_ca) if file is not None)


def _mark(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except OSError:
        return (0, 0, 0)
    return status.st_mtime_ns, status.st_size, status.st_ino


def _load(files: _Files) -> _Loaded:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(_ALPN)
    # A sealed key would be asked for at the terminal.
    context.load_cert_chain(files.chain, files.key, password=_no_password)
    if files.client_ca is not None:
        _ask_clients(context, files.client_ca)
    own, *_ = x509.load_pem_x509_certificates(files.chain.read_bytes())
    return _Loaded(context, int(own.not_valid_after_utc.timestamp()))


def _ask_clients(context: ssl.SSLContext, authorities: Path) -> None:
    """Take certificates of these authorities from clients that have one; whoever shows another is not let in."""
    context.verify_mode = ssl.CERT_OPTIONAL
    # An authority counts though it is below another one that is not in the file.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(authorities)
    # No connection goes on with the certificate of one before it.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET


def _no_password() -> str:
    raise ValueError("the key is sealed with a passphrase; store it without one, readable by the service alone")


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no certificate or key in PEM").replace("_", " ").lower()
        return f"{reason}; the files must hold a PEM chain, the server's own first, and its key"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _day(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()
