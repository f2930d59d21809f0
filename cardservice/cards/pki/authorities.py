# SPDX-License-Identifier: EUPL-1.2
"""The certification authorities of this installation: their certificates and keys, sealed in a file.

The file is sealed as the key store is (`cards/keys/sealing.py`), under a passphrase of its own. An authority for logon
keeps its key in a PKCS#11 token; only the demonstration may keep one in the file. No key serves two authorities.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from cardservice.cards.keys import sealing
from cardservice.cards.pki.delegated import DelegatedEcKey
from cardservice.cards.pki.mapping import key_digest
from cardservice.cards.pki.ports import CaToken
from cardservice.cards.pki.profiles import key_usage
from cardservice.cards.pki.rules import CLOCK_SLACK_MS, SERIAL_BYTES, AuthorityKind
from cardservice.errors import Conflict, KeyStoreError
from cardservice.randomness import random_bytes

AUTHORITY_DAYS: Final = 3_650
_FORMAT: Final = "cardservice authorities 1"
_EMPTY: Final[Mapping[str, Any]] = {"kind": _FORMAT, "authorities": []}
MAX_AUTHORITIES: Final = 16


@dataclass(frozen=True, slots=True)
class Authority:
    """One that signs: `name` is its kind and a number that counts up, and part of its addresses."""

    name: str
    kind: AuthorityKind
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    in_token: bool

    @property
    def issuer_key(self) -> bytes:
        """SHA-256 of its public key, 32 bytes: names it whatever it calls itself."""
        return key_digest(self.certificate)

    @property
    def der(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.DER)


class Authorities:
    """Those of one file; the newest of a kind signs, older ones keep their lists."""

    def __init__(self, found: tuple[Authority, ...] = ()) -> None:
        self._found = found
        self._by_key = {one.issuer_key: one for one in found}
        if len(self._by_key) != len(found):
            raise KeyStoreError("two certification authorities have the same key; each needs one of its own")

    def __iter__(self) -> Iterator[Authority]:
        return iter(self._found)

    def of_kind(self, kind: AuthorityKind) -> Authority | None:
        """Return the one that signs now, None if there is none."""
        return next((one for one in reversed(self._found) if one.kind is kind), None)

    def with_key(self, issuer_key: bytes) -> Authority | None:
        """Return the one with this key, None if it is none of ours."""
        return self._by_key.get(issuer_key)

    def named(self, name: str) -> Authority | None:
        """Return the one with this name, None if there is none."""
        return next((one for one in self._found if one.name == name), None)


@dataclass(frozen=True, slots=True)
class AuthorityFile:
    """Where the authorities are sealed. `token` is for logon; None: none is set up."""

    path: Path
    passphrase: Callable[[], bytes] = field(repr=False)
    token: CaToken | None = None
    software_logon: bool = False

    def load(self) -> Authorities:
        """Open the file.

        Raises:
            KeyStoreError: it cannot be opened, its token is away, or a logon authority's key lies where it may not.
        """
        content = _ours(self.path, sealing.open_file(self.path, self.passphrase()).content)
        return Authorities(tuple(self._authority(one) for one in content["authorities"]))

    def init(self, kind: AuthorityKind, organisation: str, now_ms: int) -> Authority:
        """Make an authority, and the file if there is none yet.

        Raises:
            KeyStoreError: the file or the token cannot be used.
            Conflict: an authority for logon would have its key in this file, or there are too many.
        """
        in_token = kind is AuthorityKind.LOGON and not self.software_logon
        if in_token and self.token is None:
            raise Conflict(
                'an authority for logon keeps its key in a process of its own: set pki.logon to "signer", or let '
                'your own PKI sign: pki.logon = "outside"'
            )
        if not self.path.exists():
            sealing.write_new(self.path, sealing.new(self.passphrase(), _EMPTY))
        with sealing.changing(self.path):
            opened = sealing.open_file(self.path, self.passphrase())
            content = _ours(self.path, opened.content)
            said = list(content["authorities"])
            if len(said) >= MAX_AUTHORITIES:
                raise Conflict(f"there are {MAX_AUTHORITIES} authorities already")
            name = f"{kind}-{1 + sum(one['kind'] == kind for one in said)}"
            key = self._made_key(name, in_token=in_token)
            certificate = _self_signed(key, kind, f"{organisation[:40]} {name}", organisation, now_ms)
            made = Authority(name, kind, certificate, key, in_token)
            Authorities((*(self._authority(one) for one in said), made))
            sealing.rewrite(self.path, opened.with_content({**content, "authorities": [*said, _document(made)]}))
        return made

    def _made_key(self, name: str, *, in_token: bool) -> ec.EllipticCurvePrivateKey:
        if in_token and self.token is not None:
            return _in_token(self.token, name, self.token.make(name))
        return ec.generate_private_key(ec.SECP256R1())

    def _key_in_token(self, name: str, certificate: x509.Certificate) -> ec.EllipticCurvePrivateKey:
        public = certificate.public_key()
        if self.token is None or not isinstance(public, ec.EllipticCurvePublicKey):
            raise KeyStoreError(f"authority {name} has its key in a token, and no token is set up")
        return _in_token(self.token, name, public)

    def _authority(self, said: Mapping[str, Any]) -> Authority:
        try:
            kind, name = AuthorityKind(said["kind"]), str(said["name"])
            certificate = x509.load_pem_x509_certificate(said["certificate"].encode())
            sealed = said["key"]
            loaded: object = None if sealed is None else load_der_private_key(bytes.fromhex(sealed), None)
        except (KeyError, TypeError, ValueError):
            raise KeyStoreError(f"{self.path} was sealed by another program; it cannot be read") from None
        if kind is AuthorityKind.LOGON and loaded is not None and not self.software_logon:
            raise KeyStoreError(
                f"authority {name} signs logons and has its key in a file; that is for the demonstration alone"
            )
        if loaded is None:
            loaded = self._key_in_token(name, certificate)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.public_key() != certificate.public_key():
            raise KeyStoreError(f"authority {name}: its key is not the one of its certificate")
        return Authority(name, kind, certificate, loaded, said["key"] is None)


def _in_token(token: CaToken, name: str, public: ec.EllipticCurvePublicKey) -> ec.EllipticCurvePrivateKey:
    """Return a key that the token is asked for only when it signs: while it is away everything else goes on."""

    def sign(data: bytes) -> bytes:
        signature = token.sign(name, data)
        try:
            public.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise KeyStoreError(f"the token's key of authority {name} is not the one of its certificate") from None
        return signature

    return DelegatedEcKey(public, sign)


def new_serial() -> int:
    """Return a serial number: random, positive, 20 bytes long (RFC 5280, 4.1.2.2)."""
    drawn = bytearray(random_bytes(SERIAL_BYTES))
    # The first bit says that it is positive; the second one keeps it from being shorter.
    drawn[0] = (drawn[0] & 0x7F) | 0x40
    return int.from_bytes(drawn, "big")


def instant_utc(at_ms: int) -> datetime:
    """Return an instant as certificates name it: whole seconds."""
    return datetime.fromtimestamp(at_ms // 1000, UTC)


def _self_signed(
    key: ec.EllipticCurvePrivateKey, kind: AuthorityKind, common_name: str, organisation: str, now_ms: int
) -> x509.Certificate:
    begins = instant_utc(now_ms - CLOCK_SLACK_MS)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(new_serial())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage({"key_cert_sign", "crl_sign"}), critical=True)
        .add_extension(own, critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def _document(made: Authority) -> dict[str, Any]:
    encoded = None
    if not made.in_token:
        encoded = made.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).hex()
    pem = made.certificate.public_bytes(Encoding.PEM).decode()
    return {"name": made.name, "kind": made.kind.value, "certificate": pem, "key": encoded}


def _ours(path: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
    if content.get("kind") != _FORMAT or not isinstance(content.get("authorities"), list):
        raise KeyStoreError(f"{path} holds no certification authorities")
    return content
