# SPDX-License-Identifier: EUPL-1.2
"""What stands in the certificate of each slot, made here or checked when another PKI made it.

Logon is possible with 9A alone: no other slot has clientAuth, a UPN or a SID, and none is without an extended key
usage, which would mean: every one.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, ExtensionOID, NameOID

from cardservice.cards.pki.mapping import SID_EXTENSION, UPN, pkinit_name, sid_extension, upn_name
from cardservice.cards.pki.requests import CardPublicKey, common_name, require_key_fits
from cardservice.cards.pki.rules import PkiRules, Slot
from cardservice.chip.piv_certificate import ID_PIV_CARD_AUTH
from cardservice.errors import Conflict

E = TypeVar("E", bound=x509.ExtensionType)
SMART_CARD_LOGON: Final = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.2")
PKINIT_CLIENT: Final = x509.ObjectIdentifier("1.3.6.1.5.2.3.4")
DOCUMENT_SIGNING: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
_LOGON_USAGES: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, SMART_CARD_LOGON, PKINIT_CLIENT})
_USAGES: Final = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a certificate is about: the card for 9E, the person for all others. Names are not in the repr."""

    card_uuid: uuid.UUID
    name: str | None = None
    login: str | None = None
    upn: str | None = None
    sid: str | None = None
    mail: str | None = None

    def __repr__(self) -> str:
        return "Holder()"


@dataclass(frozen=True, slots=True)
class Profile:
    """What is said of a key, besides its dates and who says so."""

    subject: x509.Name
    names: tuple[x509.GeneralName, ...]
    usages: tuple[x509.ObjectIdentifier, ...]
    usages_critical: bool
    key_usage: frozenset[str]
    more: tuple[x509.UnrecognizedExtension, ...] = ()


def profile_for(slot: Slot, holder: Holder, key: CardPublicKey, rules: PkiRules) -> Profile:
    """Return what stands in the certificate of a slot.

    Raises:
        Conflict: the key does not fit, or the holder lacks what the certificate needs.
    """
    require_key_fits(slot, key, rules.logon_rsa_bits)
    return _PROFILES[slot](holder, key, rules)


def _card(holder: Holder, _: CardPublicKey, __: PkiRules) -> Profile:
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, str(holder.card_uuid))])
    names = (x509.UniformResourceIdentifier(holder.card_uuid.urn),)
    return Profile(
        subject, names, (ID_PIV_CARD_AUTH,), usages_critical=True, key_usage=frozenset({"digital_signature"})
    )


def _logon(holder: Holder, _: CardPublicKey, rules: PkiRules) -> Profile:
    if not holder.upn:
        raise Conflict("the directory knows no UPN of the card's holder; without one nobody logs on")
    names: list[x509.GeneralName] = [upn_name(holder.upn)]
    if rules.realm is not None and holder.login:
        if not holder.login.isascii():
            raise Conflict("the login of the card's holder has letters that no Kerberos name can have")
        names.append(pkinit_name(holder.login, rules.realm))
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, SMART_CARD_LOGON]
    usages += [PKINIT_CLIENT] if rules.pkinit_eku else []
    more = () if not holder.sid else (sid_extension(holder.sid),)
    return Profile(
        _person(holder),
        tuple(names),
        tuple(usages),
        False,
        frozenset({"digital_signature"}),
        more,
    )


def _signature(holder: Holder, _: CardPublicKey, __: PkiRules) -> Profile:
    usages: tuple[x509.ObjectIdentifier, ...] = (DOCUMENT_SIGNING,)
    usages += (ExtendedKeyUsageOID.EMAIL_PROTECTION,) if _mail(holder) else ()
    usage = frozenset({"digital_signature", "content_commitment"})
    return Profile(_person(holder), _mail(holder), usages, usages_critical=False, key_usage=usage)


def _key_management(holder: Holder, key: CardPublicKey, _: PkiRules) -> Profile:
    usage = "key_agreement" if isinstance(key, ec.EllipticCurvePublicKey) else "key_encipherment"
    usages = (ExtendedKeyUsageOID.EMAIL_PROTECTION,)
    return Profile(_person(holder), _mail(holder), usages, usages_critical=False, key_usage=frozenset({usage}))


_PROFILES: Final[Mapping[Slot, Callable[[Holder, CardPublicKey, PkiRules], Profile]]] = {
    Slot.CARD: _card,
    Slot.LOGON: _logon,
    Slot.SIGNATURE: _signature,
    Slot.KEY_MANAGEMENT: _key_management,
}


def _person(holder: Holder) -> x509.Name:
    if not holder.name:
        raise Conflict("the card belongs to nobody; only a card authentication certificate (9E) needs no holder")
    return x509.Name([common_name(holder.name)])


def _mail(holder: Holder) -> tuple[x509.GeneralName, ...]:
    return (x509.RFC822Name(holder.mail),) if holder.mail and holder.mail.isascii() else ()


def key_usage(granted: Iterable[str]) -> x509.KeyUsage:
    """Return the extension that grants these and nothing else."""
    wanted = frozenset(granted)
    return x509.KeyUsage(**{name: name in wanted for name in _USAGES})


def extensions_of(profile: Profile, key: CardPublicKey) -> list[tuple[x509.ExtensionType, bool]]:
    """Return a certificate's own extensions, each with whether it is critical."""
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(profile.key_usage), True),
        (x509.ExtendedKeyUsage(profile.usages), profile.usages_critical),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
    ]
    if profile.names:
        found.append((x509.SubjectAlternativeName(profile.names), False))
    return found + [(one, False) for one in profile.more]


def extensions_of_issuer(issuer: x509.Certificate, name: str, url: str | None) -> list[tuple[x509.ExtensionType, bool]]:
    """Return what a certificate says of who signed it, and where lists and answers about it are."""
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), False)
    ]
    if url is None:
        return found
    at = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, _uri(f"{url}/pki/ocsp")),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, _uri(f"{url}/pki/{name}.cer")),
    ]
    points = [
        x509.DistributionPoint(full_name=[_uri(list_url(name, url))], relative_name=None, reasons=None, crl_issuer=None)
    ]
    return [*found, (x509.AuthorityInformationAccess(at), False), (x509.CRLDistributionPoints(points), False)]


def list_url(name: str, url: str) -> str:
    """Return where the revocation list of an authority is."""
    return f"{url}/pki/{name}.crl"


def _uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def require_logon_certificate(certificate: x509.Certificate, holder: Holder, key: CardPublicKey) -> None:
    """Refuse a certificate of another PKI that is not one for logging on as the card's holder, and for nothing else.

    Raises:
        Conflict: it is for another key or person, for more or less than logging on, or too weak.
    """
    faults = list(_logon_faults(certificate, holder, key))
    if faults:
        raise Conflict(f"the certificate is not taken: {'; '.join(faults)}")


def _logon_faults(certificate: x509.Certificate, holder: Holder, key: CardPublicKey) -> Iterable[str]:
    extensions = certificate.extensions
    if certificate.public_key() != key:
        yield "it is for another key"
    if not isinstance(certificate.signature_hash_algorithm, hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        yield "it is signed with neither SHA-256, -384 nor -512"
    basic = _value(extensions, x509.BasicConstraints)
    if basic is not None and basic.ca:
        yield "it is an authority's"
    usage = _value(extensions, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        yield "its key usage is not for signing"
    usages = frozenset(_value(extensions, x509.ExtendedKeyUsage) or ())
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages or not usages <= _LOGON_USAGES:
        yield "its extended key usages are not those of logging on alone"
    yield from _name_faults(extensions, holder)


def _name_faults(extensions: x509.Extensions, holder: Holder) -> Iterable[str]:
    names = _value(extensions, x509.SubjectAlternativeName)
    others = [] if names is None else names.get_values_for_type(x509.OtherName)
    upns = [one.value for one in others if one.type_id == UPN]
    if not holder.upn or upns != [upn_name(holder.upn).value]:
        yield "its UPN is not the holder's"
    sids = [
        one.value.value
        for one in extensions
        if one.oid == SID_EXTENSION and isinstance(one.value, x509.UnrecognizedExtension)
    ]
    if sids and (not holder.sid or sids != [sid_extension(holder.sid).value]):
        yield "its SID is not the holder's"
    known = {
        *(ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE),
        *(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, ExtensionOID.CERTIFICATE_POLICIES),
    }
    if any(one.critical and one.oid not in known for one in extensions):
        yield "a critical extension of it is not understood"


def _value(extensions: x509.Extensions, kind: type[E]) -> E | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
