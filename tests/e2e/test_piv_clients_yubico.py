# SPDX-License-Identifier: EUPL-1.2
"""The card of Yubico's make serves Yubico's own programs: ykman, its library, yubico-piv-tool and libykcs11."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from e2e.piv_desk import YUBICO_READER, Desk, Done, desk

from cardsim.yubico import FACTORY_PIN, SERIAL

pytestmark = [pytest.mark.pcscd, pytest.mark.opensc, pytest.mark.yubico]

MESSAGE = b"what the holder signs"
NEW_PIN, WRONG_PIN = "135790", "000000"
MANAGEMENT_KEY = "010203040506070801020304050607080102030405060708"


@pytest.fixture(scope="module")
def desk_with_cards() -> Iterator[Desk]:
    with desk() as made:
        yield made


@pytest.fixture
def new_card(desk_with_cards) -> Desk:
    """The desk, with the card as the factory made it: Yubico's own reset, whatever a test left."""
    answers(desk_with_cards, "renew")
    return desk_with_cards


def answers(at: Desk, step: str) -> dict[str, object]:
    done = at.script("yubikit_client.py", YUBICO_READER, step)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ykman(at: Desk, *arguments: str | Path) -> str:
    done = at.ykman("--reader", YUBICO_READER, "piv", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def piv_tool(at: Desk, *arguments: str | Path) -> Done:
    return at.run("yubico-piv-tool", "--reader", "Yubico", *arguments)


def public_key(path: Path) -> PublicKeyTypes:
    return load_pem_public_key(path.read_bytes())


def check(key: object, signature: bytes) -> None:
    """Raise InvalidSignature unless it is this key's signature of the message by SHA-256."""
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, MESSAGE, ec.ECDSA(hashes.SHA256()))


def test_ykman_recognises_the_card(desk_with_cards):
    done = desk_with_cards.ykman("--reader", YUBICO_READER, "info")
    assert f"Serial number: {SERIAL}" in done.stdout
    assert "Firmware version: 5.4.3" in done.stdout
    assert "PIV         \tEnabled" in done.stdout


def test_ykman_makes_a_key_and_certifies_it(new_card):
    """Generate, a certificate signed by the card, put: another program reads it, it is the key's and signed by it."""
    public = new_card.folder / "9a.pem"
    key = ("--management-key", MANAGEMENT_KEY)
    ykman(new_card, "keys", "generate", "9a", "--algorithm", "RSA2048", *key, public)
    ykman(new_card, "certificates", "generate", "9a", public, "--subject", "CN=x", *key, "--pin", FACTORY_PIN)
    read = piv_tool(new_card, "--action", "read-certificate", "--slot", "9a")
    certificate = x509.load_pem_x509_certificate(read.stdout.encode("ascii"))
    assert certificate.public_key() == public_key(public)
    certificate.verify_directly_issued_by(certificate)
    shown = ykman(new_card, "info")
    assert "PIN tries remaining:      3/3" in shown
    assert "Private key type: RSA2048" in shown


def test_yubicos_library_uses_every_kind_of_key(new_card):
    """Generated and imported ones: signatures are the public keys', agreement and decryption give what they must."""
    got = answers(new_card, "keys")
    signatures = got.pop("signatures")
    assert [one["slot"] for one in signatures] == ["9A", "9C", "9D", "9E", "82"]
    for one in signatures:
        check(load_pem_public_key(one["public"].encode("ascii")), bytes.fromhex(one["signature"]))
    assert got == {
        "agreed": True,
        "certificate_kept": True,
        "metadata": "3",
        "imported": True,
        "opened": True,
    }


def test_yubicos_library_changes_blocks_unblocks_and_resets(new_card):
    """Management keys of three kinds, PIN and PUK changed, wrong PINs block, the PUK opens, the reset forgets all."""
    got = answers(new_card, "secrets")
    assert got == {
        "management_key": "12",
        "wrong_management_key": "6982",
        "left": [2, 1, 0],
        "blocked": 0,
        "wrong_puk": "InvalidPinError",
        "tries": [5, 7],
        "after_reset": [3, True],
        "object_after_reset": "6A82",
        "attestation": "6A81",
        "version": "5.4.3",
        "serial": [SERIAL, SERIAL],
    }


def test_yubico_piv_tool_sees_verifies_generates_and_changes_the_pin(new_card):
    assert f"Serial Number:\t{SERIAL}" in piv_tool(new_card, "--action", "status").stdout
    verified = piv_tool(new_card, "--action", "verify-pin", "--pin", FACTORY_PIN)
    assert "Successfully verified PIN" in verified.stderr
    public = new_card.folder / "9e.pem"
    made = piv_tool(new_card, "--action", "generate", "--slot", "9e", "--algorithm", "ECCP384", "--output", public)
    assert made.returncode == 0, made.stderr
    key = public_key(public)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"
    change = ("--action", "change-pin", "--pin", FACTORY_PIN, "--new-pin", NEW_PIN)
    assert piv_tool(new_card, *change).returncode == 0
    refused = piv_tool(new_card, "--action", "verify-pin", "--pin", FACTORY_PIN)
    assert "2 tries left" in refused.stderr


def test_libykcs11_signs_with_the_pin_and_not_without(new_card):
    """Yubico's PKCS#11 module finds the card by its reader's name, lists its certificates, signs with RSA and ECDSA."""
    keys = {slot: load_pem_public_key(text.encode("ascii")) for slot, text in answers(new_card, "certified").items()}
    module = next(Path("/usr/lib").glob("*/libykcs11.so*"))
    tool = ("pkcs11-tool", "--module", module)
    listed = new_card.run(*tool, "--list-objects").stdout
    assert listed.count("Certificate Object; type = X.509 cert") == 2
    assert listed.count("Private Key Object") == 0
    message, signature = new_card.file("message", MESSAGE), new_card.folder / "signature"
    files = ("--input-file", message, "--output-file", signature)
    rsa_sign = ("--sign", "--mechanism", "SHA256-RSA-PKCS", "--id", "01", *files)
    refused = new_card.run(*tool, "--login", "--pin", WRONG_PIN, *rsa_sign)
    assert "CKR_PIN_INCORRECT" in refused.stderr
    assert not signature.exists()
    assert new_card.run(*tool, "--login", "--pin", FACTORY_PIN, *rsa_sign).returncode == 0
    check(keys["9A"], signature.read_bytes())
    ecdsa = ("--sign", "--mechanism", "ECDSA-SHA256", "--id", "02", *files)
    assert new_card.run(*tool, "--login", "--pin", FACTORY_PIN, *ecdsa).returncode == 0
    r, s = (int.from_bytes(half, "big") for half in (signature.read_bytes()[:32], signature.read_bytes()[32:]))
    check(keys["9C"], encode_dss_signature(r, s))
