# SPDX-License-Identifier: EUPL-1.2
"""Yubico's library at one reader: `python yubikit_client.py READER STEP`; prints what it got as one JSON object."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from smartcard.CardConnection import CardConnection
from smartcard.System import readers
from ykman.pcsc import ScardSmartCardConnection
from ykman.piv import generate_self_signed_certificate
from yubikit.core import NotSupportedError
from yubikit.core.smartcard import AID, ApduError, SmartCardProtocol
from yubikit.management import ManagementSession
from yubikit.piv import (
    KEY_TYPE,
    MANAGEMENT_KEY_TYPE,
    OBJECT_ID,
    PIN_POLICY,
    SLOT,
    InvalidPinError,
    PivSession,
)

DEFAULT_KEY = bytes.fromhex("010203040506070801020304050607080102030405060708")
PIN, PUK, NEW_PIN, NEW_PUK, WRONG = "123456", "12345678", "24681012", "abcdefgh", "000000"
MESSAGE = b"what the holder signs"
Answers = dict[str, object]


def main(reader: str, step: str) -> int:
    """Run one step at one reader."""
    (chosen,) = [one for one in readers() if str(one) == reader]
    card = chosen.createConnection()
    card.connect(CardConnection.T1_protocol)
    connection = ScardSmartCardConnection(card)
    try:
        print(json.dumps(STEPS[step](connection)))  # noqa: T201 - a program's answer
    finally:
        connection.close()
    return 0


def bare(connection: ScardSmartCardConnection) -> Answers:
    """The library's own card channel on a card that is only PIV, and how its session ends there."""
    protocol = SmartCardProtocol(connection)
    protocol.select(AID.PIV)
    chuid = protocol.send_apdu(0, 0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC102"))
    certificate = protocol.send_apdu(0, 0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC105"))
    refusals = {}
    for ins in (0xFD, 0xF8, 0xF7, 0xFF, 0xFE, 0xFA, 0xFB, 0xF9):
        try:
            protocol.send_apdu(0, ins, 0, 0x9A)
        except ApduError as error:
            refusals[f"{ins:02X}"] = f"{error.sw:04X}"
    return {"chuid": chuid.hex(), "certificate": certificate.hex(), "refusals": refusals}


def keys(connection: ScardSmartCardConnection) -> Answers:
    """Generate, sign, agree, import and certify; every signature is returned with its public key."""
    session = PivSession(connection)
    session.authenticate(DEFAULT_KEY)
    made = [
        (SLOT.AUTHENTICATION, KEY_TYPE.RSA2048),
        (SLOT.SIGNATURE, KEY_TYPE.ECCP384),
        (SLOT.KEY_MANAGEMENT, KEY_TYPE.ECCP256),
        (SLOT.CARD_AUTH, KEY_TYPE.ECCP256),
        (SLOT.RETIRED1, KEY_TYPE.ECCP256),
    ]
    signatures = []
    for slot, kind in made:
        public = session.generate_key(slot, kind)
        session.verify_pin(PIN)
        chosen = padding.PKCS1v15() if kind is KEY_TYPE.RSA2048 else None
        signature = session.sign(slot, kind, MESSAGE, hashes.SHA256(), chosen)
        signatures.append({"slot": f"{slot:02X}", "public": pem(public), "signature": signature.hex()})
    own = ec.generate_private_key(ec.SECP256R1())
    session.verify_pin(PIN)
    shared = session.calculate_secret(SLOT.KEY_MANAGEMENT, own.public_key())
    management = session.get_slot_metadata(SLOT.KEY_MANAGEMENT).public_key
    certificate = generate_self_signed_certificate(
        session, SLOT.CARD_AUTH, session.get_slot_metadata(SLOT.CARD_AUTH).public_key, "CN=card", *period()
    )
    session.put_certificate(SLOT.CARD_AUTH, certificate)
    return {
        "signatures": signatures,
        "agreed": shared == own.exchange(ec.ECDH(), management),
        "certificate_kept": session.get_certificate(SLOT.CARD_AUTH) == certificate,
        "metadata": str(session.get_slot_metadata(SLOT.SIGNATURE).pin_policy),
        **imported(session),
    }


def imported(session: PivSession) -> Answers:
    """Keys made outside: they sign and decrypt as their owners expect."""
    ec_key, rsa_key = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65_537, 2048)
    session.put_key(SLOT.RETIRED2, ec_key, PIN_POLICY.NEVER)
    session.put_key(SLOT.RETIRED3, rsa_key, PIN_POLICY.ONCE)
    signature = session.sign(SLOT.RETIRED2, KEY_TYPE.ECCP384, MESSAGE, hashes.SHA384())
    ec_key.public_key().verify(signature, MESSAGE, ec.ECDSA(hashes.SHA384()))
    sealed = rsa_key.public_key().encrypt(MESSAGE, padding.PKCS1v15())
    opened = session.decrypt(SLOT.RETIRED3, sealed, padding.PKCS1v15())
    return {"imported": not session.get_slot_metadata(SLOT.RETIRED2).generated, "opened": opened == MESSAGE}


def certified(connection: ScardSmartCardConnection) -> Answers:
    """A logon key and a signature key, each with a certificate it has signed itself; returns the public keys."""
    session = PivSession(connection)
    session.authenticate(DEFAULT_KEY)
    answers: Answers = {}
    for slot, kind in ((SLOT.AUTHENTICATION, KEY_TYPE.RSA2048), (SLOT.SIGNATURE, KEY_TYPE.ECCP256)):
        public = session.generate_key(slot, kind)
        session.verify_pin(PIN)
        certificate = generate_self_signed_certificate(session, slot, public, f"CN={slot:02X}", *period())
        session.put_certificate(slot, certificate)
        answers[f"{slot:02X}"] = pem(public)
    return answers


def renew(connection: ScardSmartCardConnection) -> Answers:
    """The library's reset, for which nothing has to be known."""
    PivSession(connection).reset()
    return {}


def secrets(connection: ScardSmartCardConnection) -> Answers:
    """Management keys of every kind, PIN, PUK, blocking, unblocking, other numbers of tries, and the reset."""
    session = PivSession(connection)
    session.authenticate(DEFAULT_KEY)
    kinds = [MANAGEMENT_KEY_TYPE.AES128, MANAGEMENT_KEY_TYPE.AES192, MANAGEMENT_KEY_TYPE.AES256]
    for kind in kinds:
        key = bytes(range(kind.key_len))
        session.set_management_key(kind, key)
        session.authenticate(key)
    answers: Answers = {"management_key": str(session.get_management_key_metadata().key_type)}
    answers["wrong_management_key"] = refusal(lambda: session.authenticate(bytes(32)))
    session.change_pin(PIN, NEW_PIN)
    session.change_puk(PUK, NEW_PUK)
    answers["left"] = [tries_left(session, WRONG) for _ in range(3)]
    answers["blocked"] = tries_left(session, NEW_PIN)
    answers["wrong_puk"] = refusal(lambda: session.unblock_pin(PUK, PIN))
    session.unblock_pin(NEW_PUK, PIN)
    session.authenticate(bytes(range(32)))
    session.verify_pin(PIN)
    session.set_pin_attempts(5, 7)
    answers["tries"] = [session.get_pin_metadata().total_attempts, session.get_puk_metadata().total_attempts]
    session.put_object(OBJECT_ID.PRINTED, b"soon gone")
    session.reset()
    session = PivSession(connection)
    answers["after_reset"] = [session.get_pin_attempts(), session.get_pin_metadata().default_value]
    answers["object_after_reset"] = refusal(lambda: session.get_object(OBJECT_ID.CHUID))
    session.authenticate(DEFAULT_KEY)
    answers["attestation"] = refusal(lambda: session.attest_key(SLOT.AUTHENTICATION))
    answers["version"] = str(session.version)
    answers["serial"] = [session.get_serial(), ManagementSession(connection).read_device_info().serial]
    return answers


def tries_left(session: PivSession, pin: str) -> int:
    """What is left after one attempt that fails."""
    try:
        session.verify_pin(pin)
    except InvalidPinError as error:
        return error.attempts_remaining
    return -1


def refusal(attempt: Callable[[], object]) -> str:
    """How the library tells of a refusal."""
    try:
        attempt()
    except ApduError as error:
        return f"{error.sw:04X}"
    except (InvalidPinError, NotSupportedError) as error:
        return type(error).__name__
    return "allowed"


def period() -> tuple[object, object]:
    """The days a certificate of a test is valid."""
    return datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)


def pem(public: object) -> str:
    """A public key as text."""
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*form).decode("ascii")


STEPS: dict[str, Callable[[ScardSmartCardConnection], Answers]] = {
    "bare": bare,
    "certified": certified,
    "keys": keys,
    "renew": renew,
    "secrets": secrets,
}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
