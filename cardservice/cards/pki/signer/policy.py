# SPDX-License-Identifier: EUPL-1.2
"""What the process with the logon authority's key signs: people's logon certificates, lists, and little else.

Whoever takes the service over can ask for signatures, and never has the key: nothing else is signed, the accounts of
`never_for` get no certificate whoever asks, and `logons_per_hour` bounds how many there are.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from cardservice.cards.pki.mapping import PKINIT_NAME, SID_EXTENSION, UPN, pkinit_name, sid_extension, upn_name
from cardservice.cards.pki.profiles import PKINIT_CLIENT, SMART_CARD_LOGON
from cardservice.errors import Conflict

HOUR_NS: Final = 3_600 * 1_000_000_000
RESPONDER: Final = timedelta(days=8)
SLACK: Final = timedelta(days=1)
# The accounts that every domain has: Administrator and krbtgt ([MS-DTYP] 2.4.2.4).
_BUILT_IN: Final = ("-500", "-502")
_LOGON: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, SMART_CARD_LOGON, PKINIT_CLIENT})
_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_NO_SIGNATURE: Final = bytes.fromhex("03020000")
_UNREADABLE: Final = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.DuplicateExtension, x509.ExtensionNotFound, x509.UnsupportedGeneralNameType),
)
_Signable: TypeAlias = x509.Certificate | x509.CertificateRevocationList


class SigningRefused(Conflict):
    """What was to be signed is none of what this authority signs."""

    code = "signing_refused"


@dataclass(frozen=True, slots=True)
class SignerRules:
    """`never_for` are UPNs and SIDs of accounts that no certificate is for: domain administrators above all."""

    never_for: frozenset[str]
    logon_days: int
    logons_per_hour: int


@dataclass(slots=True)
class Signer:
    """Tells what may be signed with the key `own`; counts the logon certificates of the last hour."""

    rules: SignerRules
    _signed_ns: deque[int] = field(default_factory=deque)

    def require(self, tbs: bytes, own: ec.EllipticCurvePublicKey, at: datetime, now_ns: int) -> str:
        """Return what is signed (`authority`, `responder`, `list` or `logon`), for the log.

        Args:
            tbs: what the signature is to be over, DER: a TBSCertificate or TBSCertList (RFC 5280 §4.1, §5.1).
            own: the authority's key.
            at: now, by the wall clock.
            now_ns: now, by a clock that never goes back.

        Raises:
            SigningRefused: it is nothing that this authority signs, or more than it signs in an hour.
        """
        asked = _parsed(tbs)
        try:
            kind = _kind_of(asked, own)
            faults = [] if isinstance(asked, x509.CertificateRevocationList) else list(self._faults(asked, kind, at))
        except _UNREADABLE as error:
            raise SigningRefused(f"what is to be signed cannot be read: {error}") from error
        if faults:
            raise SigningRefused(f"not signed: {'; '.join(faults)}")
        if kind == "logon":
            self._count(now_ns)
        return kind

    def _faults(self, asked: x509.Certificate, kind: str, at: datetime) -> Iterator[str]:
        if kind == "authority":
            return
        begins, ends = asked.not_valid_before_utc, asked.not_valid_after_utc
        longest = RESPONDER if kind == "responder" else timedelta(days=self.rules.logon_days) + SLACK
        if abs(begins - at) > SLACK or ends - begins > longest:
            yield f"it is to begin now, and to last {longest.days} days at most"
        names = _names(asked)
        if kind == "responder":
            yield from ["a responder has no names"] if names else []
            return
        yield from _name_faults(names)
        unrecognized = [one.value for one in asked.extensions if isinstance(one.value, x509.UnrecognizedExtension)]
        sids = [one.value for one in unrecognized if one.oid == SID_EXTENSION]
        if any(sid.endswith(tuple(end.encode() for end in _BUILT_IN)) for sid in sids):
            yield "it is for an account that every domain has"
        if self._is_forbidden(names, sids):
            yield "it is for an account of never_for"

    def _is_forbidden(self, names: list[x509.OtherName], sids: list[bytes]) -> bool:
        said = {one.value.lower() for one in names} | {sid.lower() for sid in sids}
        return not said.isdisjoint(value.lower() for one in self.rules.never_for for value in _written(one))

    def _count(self, now_ns: int) -> None:
        while self._signed_ns and self._signed_ns[0] <= now_ns - HOUR_NS:
            self._signed_ns.popleft()
        if len(self._signed_ns) >= self.rules.logons_per_hour:
            raise SigningRefused(f"{self.rules.logons_per_hour} logon certificates were signed within an hour: wait")
        self._signed_ns.append(now_ns)


def _written(account: str) -> Iterator[bytes]:
    """Yield everything that a certificate may call an account."""
    if account.startswith("S-1-"):
        yield sid_extension(account).value
        return
    yield upn_name(account).value
    login, _, realm = account.partition("@")
    if login.isascii() and realm.isascii():
        yield pkinit_name(login, realm).value


def _parsed(tbs: bytes) -> _Signable:
    whole = _sequence(tbs + _ECDSA_SHA256 + _NO_SIGNATURE)
    for load in (x509.load_der_x509_certificate, x509.load_der_x509_crl):
        try:
            return load(whole)
        except ValueError:
            continue
    raise SigningRefused("what is to be signed is neither a certificate nor a revocation list")


def _sequence(content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((0x30, length)) + content
    encoded = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((0x30, 0x80 | len(encoded))) + encoded + content


def _kind_of(asked: _Signable, own: ec.EllipticCurvePublicKey) -> str:
    extensions = asked.extensions
    if isinstance(asked, x509.Certificate) and _is_authority(asked):
        if asked.public_key() != own or asked.subject != asked.issuer:
            raise SigningRefused("not signed: another authority")
        return "authority"
    signed_by = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    if signed_by != x509.SubjectKeyIdentifier.from_public_key(own).digest:
        raise SigningRefused("not signed: it names another key as its authority's")
    if isinstance(asked, x509.CertificateRevocationList):
        return "list"
    usages = frozenset(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    if usages == {ExtendedKeyUsageOID.OCSP_SIGNING}:
        return "responder"
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages or not usages <= _LOGON or not _signs_alone(extensions):
        raise SigningRefused("not signed: it is for something else than logging on")
    return "logon"


def _is_authority(asked: x509.Certificate) -> bool:
    return asked.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def _signs_alone(extensions: x509.Extensions) -> bool:
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    others = (usage.content_commitment, usage.key_encipherment, usage.data_encipherment, usage.key_agreement)
    return usage.digital_signature and not any((*others, usage.key_cert_sign, usage.crl_sign))


def _names(asked: x509.Certificate) -> list[x509.OtherName]:
    """Return the alternative names, all of which have to be those of accounts."""
    try:
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found = [one for one in names if isinstance(one, x509.OtherName)]
    if len(found) != len(list(names)):
        raise SigningRefused("not signed: it has names that are no accounts")
    return found


def _name_faults(names: Iterable[x509.OtherName]) -> Iterator[str]:
    kinds = sorted(one.type_id.dotted_string for one in names)
    upn, pkinit = UPN.dotted_string, PKINIT_NAME.dotted_string
    if kinds not in ([upn], sorted([upn, pkinit])):
        yield "it names one account by its UPN, and by its Kerberos name at most once"
