# SPDX-License-Identifier: EUPL-1.2
"""Bad certificates and keys of 9E, at a door that accepts PIV without contacts (SP 800-78-4, RFC 5280)."""

from datetime import timedelta
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from cardsim import tlv
from cardsim.bad_cards import (
    VICTIM,
    BadCard,
    Description,
    Maker,
    OnRecord,
    Town,
    issued_piv,
    order_of,
    piv_with,
    uuid_of,
)
from cardsim.certificates import (
    PIV_CARD_AUTH,
    Flaw,
    Issuer,
    Order,
    card_authentication_slot,
    logon_slot,
    make_issuer,
    signature_alone,
)
from cardsim.piv_keys import PivSlot, SlotKey
from cardsim.piv_objects import CERTIFICATES

CERTIFICATE_9E = CERTIFICATES[0x9E].hex().upper()
_DAY = timedelta(days=1)
_SUPERSEDED = 0x2BAD_CE27


def _flawed(flaw: Flaw) -> Maker:
    def describe(town: Town, name: str) -> Description:
        card_uuid = uuid_of(name)
        order = Order(town.authority, town.today, flaw=flaw)
        return piv_with(card_uuid, card_authentication_slot(order, card_uuid))

    return describe


def _certificate(
    town: Town, card_uuid: UUID, key: SlotKey, *, signer: Issuer | None = None, serial: int | None = None
) -> bytes:
    """A 9E certificate for any kind of key, by the town's authority or by ``signer`` under a name of its own."""
    authority = signer or town.authority
    public_key = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, str(card_uuid))]))
        .issuer_name(authority.certificate.subject)
        .public_key(public_key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(town.today)
        .not_valid_after(town.today + 365 * _DAY)
        .add_extension(signature_alone(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([PIV_CARD_AUTH]), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(card_uuid.urn)]), critical=False)
    )
    return builder.sign(authority.private_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _with_key(town: Town, name: str, key: SlotKey) -> Description:
    return piv_with(uuid_of(name), PivSlot(key, _certificate(town, uuid_of(name), key)))


def _self_signed(town: Town, name: str) -> Description:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, str(uuid_of(name)))])
    own = make_issuer("unused", town.today)
    himself = Issuer(key, _renamed(own, subject, key))
    return piv_with(uuid_of(name), PivSlot(key, _certificate(town, uuid_of(name), key, signer=himself)))


def _renamed(authority: Issuer, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """A certificate whose subject signs its own cards."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.certificate.not_valid_before_utc)
        .not_valid_after(authority.certificate.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )


def _unknown_authority(town: Town, name: str) -> Description:
    key = ec.generate_private_key(ec.SECP256R1())
    stranger = make_issuer("Some other authority", town.today)
    return piv_with(uuid_of(name), PivSlot(key, _certificate(town, uuid_of(name), key, signer=stranger)))


def _superseded(town: Town, name: str) -> Description:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(town, uuid_of(name), key, serial=_SUPERSEDED)
    return piv_with(uuid_of(name), PivSlot(key, certificate))


def _logon_certificate(town: Town, name: str) -> Description:
    """The 9A certificate of a person in the place of 9E's."""
    slot = logon_slot(order_of(town), "Erika Muster", "muster@stadt.example")
    return piv_with(uuid_of(name), slot)


def _copied_certificate(town: Town, name: str) -> Description:
    """The victim's certificate, which anybody can read, beside a key of the card's own."""
    victims = card_authentication_slot(order_of(town), uuid_of(VICTIM))
    key = ec.generate_private_key(ec.SECP256R1())
    return piv_with(uuid_of(VICTIM), PivSlot(key, victims.certificate))


def _cut_certificate(town: Town, name: str) -> Description:
    slot = card_authentication_slot(order_of(town), uuid_of(name))
    cut = tlv.encode(b"\x70", slot.certificate[: len(slot.certificate) // 2]) + tlv.encode(b"\x71", b"\x00")
    tampered = tlv.encode(b"\x53", cut + tlv.encode(b"\xfe", b""))
    return issued_piv(town, name, objects={CERTIFICATE_9E: tampered.hex()})


def _tampered_certificate(town: Town, name: str) -> Description:
    """The victim's UUID written over the card's own: the authority never signed that."""
    slot = card_authentication_slot(order_of(town), uuid_of(name))
    own, victims = str(uuid_of(name)).encode(), str(uuid_of(VICTIM)).encode()
    forged = slot.certificate.replace(own, victims)
    return piv_with(uuid_of(VICTIM), PivSlot(slot.private_key, forged))


def _weak_certificate(town: Town, name: str) -> Description:
    """A certificate over RSA of 1,024 bits, which SP 800-78-4 no longer allows; the card's own key is another."""
    weak = rsa.generate_private_key(65_537, 1024)  # noqa: S505 - its weakness is what is tried
    content = tlv.encode(b"\x70", _certificate(town, uuid_of(name), weak)) + tlv.encode(b"\x71", b"\x00")
    return issued_piv(
        town, name, objects={CERTIFICATE_9E: tlv.encode(b"\x53", content + tlv.encode(b"\xfe", b"")).hex()}
    )


CERTIFICATE_CARDS = (
    BadCard(
        "certificate-expired",
        "a card that should have been renewed long ago",
        "a 9E certificate whose time is over",
        "certificate_refused",
        "certificate_expired",
        _flawed(Flaw.EXPIRED),
        piv=True,
    ),
    BadCard(
        "certificate-not-yet-valid",
        "a card for a contract that has not begun",
        "a 9E certificate whose time has not come",
        "certificate_refused",
        "certificate_not_yet_valid",
        _flawed(Flaw.NOT_YET_VALID),
        piv=True,
    ),
    BadCard(
        "certificate-revoked",
        "an old key, copied before it was renewed, opens as long as the card is in use",
        "a 9E certificate that was superseded and revoked; the card itself is in use, with a newer one",
        "certificate_refused",
        "certificate_revoked",
        _superseded,
        OnRecord(revoked_serial=_SUPERSEDED),
        piv=True,
    ),
    BadCard(
        "certificate-usage",
        "a certificate for something else (a logon, a mail signature) opens doors",
        "the extended key usage is clientAuth instead of id-PIV-cardAuth",
        "certificate_refused",
        "certificate_extended_key_usage",
        _flawed(Flaw.WRONG_EKU),
        piv=True,
    ),
    BadCard(
        "certificate-logon",
        "a certificate for something else (a logon, a mail signature) opens doors",
        "the certificate and key of 9A, with a person's name, in the place of 9E",
        "certificate_refused",
        "certificate_extended_key_usage",
        _logon_certificate,
        piv=True,
    ),
    BadCard(
        "certificate-self-signed",
        "anybody's own certificate with the right UUID",
        "signed by its own key, under its own name",
        "certificate_refused",
        "certificate_issuer_unknown",
        _self_signed,
        piv=True,
    ),
    BadCard(
        "certificate-unknown-authority",
        "a certificate of somebody else's authority with the right UUID",
        "signed by an authority the city does not trust",
        "certificate_refused",
        "certificate_issuer_unknown",
        _unknown_authority,
        piv=True,
    ),
    BadCard(
        "certificate-forged-authority",
        "an authority that only bears the right name",
        "the issuer's name is the city's, the signature is not",
        "certificate_refused",
        "certificate_signature_wrong",
        _flawed(Flaw.OTHER_ISSUER),
        piv=True,
    ),
    BadCard(
        "certificate-tampered",
        "the UUID of somebody who may enter is written into one's own certificate",
        "the victim's UUID over the card's own in the signed part",
        "certificate_refused",
        "certificate_signature_wrong",
        _tampered_certificate,
        None,
        piv=True,
    ),
    BadCard(
        "certificate-cut",
        "a parser that reads past the end",
        "half of the certificate is missing",
        "certificate_refused",
        "certificate_unreadable",
        _cut_certificate,
        piv=True,
    ),
    BadCard(
        "key-p384",
        "a key of another kind drives the reader into a path nobody tried",
        "key and certificate over P-384 where P-256 is laid down",
        "certificate_refused",
        "certificate_key_type",
        lambda town, name: _with_key(town, name, ec.generate_private_key(ec.SECP384R1())),
        piv=True,
    ),
    BadCard(
        "key-rsa-1024",
        "a key that can be broken",
        "a certificate over RSA of 1,024 bits",
        "certificate_refused",
        "certificate_key_type",
        _weak_certificate,
        piv=True,
    ),
    BadCard(
        "key-of-another-card",
        "a certificate is public: it is copied from the victim's card",
        "the victim's certificate beside a key of the card's own",
        "card_not_genuine",
        "signature_wrong",
        _copied_certificate,
        None,
        piv=True,
    ),
    BadCard(
        "key-mismatch",
        "a mistake at personalisation, or a copied certificate",
        "a certificate on record whose key is not the one in slot 9E",
        "card_not_genuine",
        "signature_wrong",
        _flawed(Flaw.OTHER_KEY),
        piv=True,
    ),
)
