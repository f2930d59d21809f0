# SPDX-License-Identifier: EUPL-1.2
"""Certificates that systems show: by TLS to the service itself, or to a proxy before it that passes them on (RFC 9440).

Whatever counts here leads to an authority of the settings. Whose account it is, and whether its time has come or is
over, is asked at each request: a connection may outlive both (`web/callers.py`).
"""

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cardservice.errors import SettingsError

LOOK_EVERY_S: Final = 10.0
# Where a request carries what was shown (`Shown`), among the extensions of its ASGI scope.
EXTENSION: Final = "cardservice.client_certificate"
MAX_DER: Final = 16 * 1024
MAX_CHAIN: Final = 4
MAX_SUBJECT: Final = 200
MAX_AUTHORITIES: Final = 100
UNREADABLE: Final = "certificate_unreadable"
UNTRUSTED: Final = "certificate_untrusted"
_CERT, _CHAIN = b"client-cert", b"client-cert-chain"
# A byte sequence of structured fields (RFC 9651, section 3.3.5).
_BYTES: Final = re.compile(rb":([A-Za-z0-9+/]{0,24000}={0,2}):")
_REMEMBERED: Final = 256
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What is known of a certificate: SHA-256 of its public key, what it calls itself, and when it holds."""

    key_digest: bytes
    subject: str
    begins_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request came with: a certificate of an authority of ours, or why it is none (a problem's code)."""

    certificate: ClientCertificate | None = None
    trouble: str | None = None


class CertificateRefused(Exception):
    """A certificate cannot be read, or leads to no authority of ours; `code` says which."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Authorities:
    """The authorities whose certificates count, as their file holds them; `look` in one thread only.

    `required`: every system has to show one.

    Raises:
        SettingsError: the file holds no certificates.
    """

    def __init__(self, file: Path, *, required: bool = False) -> None:
        self.file, self.required = file, required
        self.trouble: str | None = None
        self._text = b""
        try:
            self._take(file.read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(f"api.client_ca_file: {file}: {_said(error)}") from error

    async def follow(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look at the file now and then, for as long as the server runs."""
        while True:
            await asyncio.sleep(every_s)
            self.look()

    def look(self) -> None:
        """Take over what the file holds if it changed; what cannot be used is said, and the old ones count on."""
        try:
            text = self.file.read_bytes()
            if text != self._text:
                self._take(text)
                _log.info("client_ca.renewed")
        except (OSError, ValueError) as error:
            if self.trouble is None:
                _log.error("client_ca.not_renewed", trouble=_said(error))
            self.trouble = f"api.client_ca_file: what the file holds now cannot be used: {_said(error)}"
        else:
            self.trouble = None

    def sentences(self) -> list[str]:
        """Return what is wrong, one sentence each."""
        return [] if self.trouble is None else [self.trouble + "; the authorities from before still count"]

    def verified(self, leaf: bytes, chain: Sequence[bytes] = ()) -> ClientCertificate:
        """Return what is known of a certificate in DER that leads to an authority, by way of others in `chain`.

        Raises:
            CertificateRefused: it cannot be read, or does not.
        """
        return self._remembered(leaf, tuple(chain))

    def _take(self, text: bytes) -> None:
        found = x509.load_pem_x509_certificates(text)
        if len(found) > MAX_AUTHORITIES:
            raise ValueError(f"{len(found)} certificates; at most {MAX_AUTHORITIES} authorities are allowed")
        store = Store(found)
        # The time of its own is no matter of a chain: whoever asks compares it with the clock.
        self._remembered = lru_cache(_REMEMBERED)(lambda leaf, chain: _verified(store, leaf, chain))
        self._text = text


class ShownByProxy:
    """ASGI middleware around all others, which sees who really connected.

    The header with a certificate is believed of the proxies that the settings name. Nobody's reaches a route. A
    certificate that a proxy itself showed is the proxy's, and counts for no account.
    """

    def __init__(self, app: ASGIApp, authorities: Authorities, proxies: Collection[str]) -> None:
        self._app, self._authorities = app, authorities
        networks = [ip_network(proxy) for proxy in proxies]
        self._is_proxy = lru_cache(4_096)(lambda host: _within(host, networks))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with what was shown for it."""
        if scope["type"] != "lifespan":
            certificates = [value for name, value in scope["headers"] if name == _CERT]
            chains = [value for name, value in scope["headers"] if name == _CHAIN]
            if certificates or chains:
                scope["headers"] = [one for one in scope["headers"] if one[0] not in {_CERT, _CHAIN}]
            peer = scope.get("client")
            if peer is not None and self._is_proxy(peer[0]):
                extensions: dict[str, Any] = dict(scope.get("extensions") or {})
                extensions.pop(EXTENSION, None)
                if certificates or chains:
                    extensions[EXTENSION] = self._shown(certificates, chains)
                scope["extensions"] = extensions
        await self._app(scope, receive, send)

    def _shown(self, certificates: Sequence[bytes], chains: Sequence[bytes]) -> Shown:
        chain = [part.strip() for value in chains for part in value.split(b",") if part.strip()]
        if len(certificates) != 1 or len(chain) > MAX_CHAIN:
            return Shown(trouble=UNREADABLE)
        try:
            leaf = _byte_sequence(certificates[0].strip())
            return Shown(self._authorities.verified(leaf, [_byte_sequence(part) for part in chain]))
        except CertificateRefused as error:
            return Shown(trouble=error.code)


class ShownByTls(HttpToolsProtocol):
    """uvicorn's protocol, whose requests carry the certificate of their connection; OpenSSL has verified its chain."""

    _shown: Shown | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Read the certificate once for all requests of a connection; the handshake is over by now."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        der = None if connection is None else connection.getpeercert(binary_form=True)
        if der is not None:
            try:
                self._shown = Shown(read_certificate(der))
            except CertificateRefused as error:
                self._shown = Shown(trouble=error.code)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if self._shown is not None:
            # uvicorn's type knows the standard's own extensions alone.
            self.scope["extensions"] = {EXTENSION: self._shown}  # type: ignore[dict-item]


def read_certificate(der: bytes) -> ClientCertificate:
    """Return what is known of a certificate, whoever signed it.

    Raises:
        CertificateRefused: it cannot be read.
    """
    return _known(_load(der))


def read_pem(text: str) -> list[bytes]:
    """Return the certificates of a text in PEM as DER: the one that is meant, and those above it.

    Raises:
        CertificateRefused: it holds none, too many, or something else.
    """
    try:
        found = x509.load_pem_x509_certificates(text.encode("ascii"))
        ders = [one.public_bytes(Encoding.DER) for one in found]
    except ValueError:
        raise CertificateRefused(UNREADABLE) from None
    if len(ders) > MAX_CHAIN + 1 or any(len(der) > MAX_DER for der in ders):
        raise CertificateRefused(UNREADABLE)
    return ders


def _verified(store: Store, leaf: bytes, chain: Sequence[bytes]) -> ClientCertificate:
    certificate, above = _load(leaf), [_load(one) for one in chain]
    known = _known(certificate)
    now = datetime.now(UTC)
    at = min(max(now, certificate.not_valid_before_utc), certificate.not_valid_after_utc)
    builder = PolicyBuilder().store(store).time(at.replace(tzinfo=None)).max_chain_depth(MAX_CHAIN)
    builder = builder.extension_policies(ca_policy=_AUTHORITY, ee_policy=_SYSTEM)
    try:
        verified = builder.build_client_verifier().verify(certificate, above)
        bounds = [_known(one) for one in verified.chain]
    except (VerificationError, ValueError, UnsupportedAlgorithm):
        raise CertificateRefused(UNTRUSTED) from None
    return ClientCertificate(
        known.key_digest,
        known.subject,
        begins_ms=max(one.begins_ms for one in bounds),
        expires_ms=min(one.expires_ms for one in bounds),
    )


def _is_authority(_: Policy, __: x509.Certificate, said: x509.BasicConstraints) -> None:
    if not said.ca:
        raise ValueError("not an authority")


def _signs_certificates(_: Policy, __: x509.Certificate, said: x509.KeyUsage | None) -> None:
    if said is not None and not said.key_cert_sign:
        raise ValueError("may sign no certificates")


def _is_for_clients(_: Policy, __: x509.Certificate, said: x509.ExtendedKeyUsage | None) -> None:
    if said is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in said:
        raise ValueError("not for clients")


# What OpenSSL asks of them too, and no more: a city's authority is not one of the web's.
_AUTHORITY: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs_certificates)
)
_SYSTEM: Final = ExtensionPolicy.permit_all().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_clients
)


def _load(der: bytes) -> x509.Certificate:
    if len(der) > MAX_DER:
        raise CertificateRefused(UNREADABLE)
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise CertificateRefused(UNREADABLE) from None


def _known(certificate: x509.Certificate) -> ClientCertificate:
    try:
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        subject = certificate.subject.rfc4514_string()
        begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateRefused(UNREADABLE) from None
    shown = "".join(sign if sign.isprintable() else "?" for sign in subject)[:MAX_SUBJECT]
    return ClientCertificate(hashlib.sha256(key).digest(), shown, _ms(begins), _ms(expires))


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1_000


def _byte_sequence(value: bytes) -> bytes:
    found = _BYTES.fullmatch(value)
    try:
        return base64.b64decode(found[1], validate=True) if found else b""
    except binascii.Error:
        raise CertificateRefused(UNREADABLE) from None


def _within(host: str, networks: Collection[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it must hold the authorities' certificates in PEM, at most 100"
