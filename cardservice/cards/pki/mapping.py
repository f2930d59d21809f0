# SPDX-License-Identifier: EUPL-1.2
"""How a logon certificate names its account: principal names, the Windows SID, and the strings of strong mapping.

Active Directory refuses logon certificates that only carry a name an administrator could give to somebody else. It
takes the SID in an extension, or a string in the account's `altSecurityIdentities` ([MS-PKCA] 3.1.5.2.1.3).
"""

import hashlib
import re
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from cardservice.chip import tlv
from cardservice.errors import Conflict

UPN: Final = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
PKINIT_NAME: Final = x509.ObjectIdentifier("1.3.6.1.5.2.2")
SID_EXTENSION: Final = x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2")
# 1.3.6.1.4.1.311.25.2.1, encoded.
_SID_VALUE: Final = bytes.fromhex("2b060104018237190201")
_SID: Final = re.compile(r"S-1-[0-9]{1,14}(-[0-9]{1,10}){1,15}")
_PRINCIPAL_TYPE: Final = b"\x01"
_SHORT_NAMES: Final = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.COUNTRY_NAME: "C",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "S",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
}


def upn_name(upn: str) -> x509.OtherName:
    """Return the subject alternative name by which Windows finds the account."""
    return x509.OtherName(UPN, bytes(tlv.build(0x0C, upn.encode())))


def pkinit_name(principal: str, realm: str) -> x509.OtherName:
    """Return the subject alternative name of RFC 4556, 3.2.2: KRB5PrincipalName."""
    text = tlv.build(0x1B, principal.encode("ascii"))
    parts = tlv.build(
        0x30,
        tlv.build(0xA0, tlv.build(0x02, _PRINCIPAL_TYPE)),
        tlv.build(0xA1, tlv.build(0x30, text)),
    )
    value = tlv.build(0x30, tlv.build(0xA0, tlv.build(0x1B, realm.encode("ascii"))), tlv.build(0xA1, parts))
    return x509.OtherName(PKINIT_NAME, bytes(value))


def sid_extension(sid: str) -> x509.UnrecognizedExtension:
    """Return the extension with an account's SID ([MS-WCCE] 2.2.2.7.7.4).

    Raises:
        Conflict: it is not a SID.
    """
    if _SID.fullmatch(sid) is None:
        raise Conflict("what the directory gives as the person's SID is none (S-1-...); it belongs in the certificate")
    value = tlv.build(0xA0, tlv.build(0x04, sid.encode("ascii")))
    name = tlv.build(0xA0, tlv.build(0x06, _SID_VALUE), value)
    return x509.UnrecognizedExtension(SID_EXTENSION, bytes(tlv.build(0x30, name)))


def strong_mappings(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the strings for `altSecurityIdentities` that count as strong; any one of them is enough."""
    key = certificate.public_key()
    bits = x509.SubjectKeyIdentifier.from_public_key(key).digest
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        named = None
    serial = serial_bytes(certificate.serial_number)[::-1].hex()
    found = [f"X509:<I>{_directory_name(certificate.issuer)}<SR>{serial}"]
    found += [] if named is None else [f"X509:<SKI>{named.hex()}"]
    return (*found, f"X509:<SHA1-PUKEY>{bits.hex()}")


def serial_bytes(number: int) -> bytes:
    """Return a serial number as certificates encode it."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big").lstrip(b"\0") or b"\0"


def key_digest(key: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    """Return SHA-256 of the public key (SubjectPublicKeyInfo), 32 bytes."""
    encoded = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).digest()


def _directory_name(name: x509.Name) -> str:
    """Return a name as Active Directory writes it here: in the order of the certificate, without escapes."""
    return ",".join(f"{_SHORT_NAMES.get(one.oid, f'OID.{one.oid.dotted_string}')}={one.value!s}" for one in name)
