# SPDX-License-Identifier: EUPL-1.2
"""The virtual employee card is a PIV card for programs we have not written: OpenSC through the real pcscd."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from e2e.desk_deck import CARD, PIN, PUK, WRONG_PIN, DeskDeck, write_deck
from support.waiting import wait_until

from rig.process import RigProcess

pytestmark = [pytest.mark.pcscd, pytest.mark.opensc]

READER = "Desk 1 00 00"
MESSAGE = b"what the holder signs"
BLOCKED_AFTER = 10


class Desk:
    """A reader with contacts, the card in it, and OpenSC's tools."""

    def __init__(self, rig: RigProcess, deck: DeskDeck, folder: Path) -> None:
        self.rig = rig
        self.deck = deck
        self.folder = folder

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one tool on the rig's pcscd."""
        return subprocess.run(
            command,
            env={**self.rig.environment, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )

    def sign(self, slot_id: str, mechanism: str, pin: str) -> tuple[subprocess.CompletedProcess[str], bytes]:
        """Sign `MESSAGE` with the key of a slot."""
        message, signature = self.folder / "message", self.folder / f"signature-{slot_id}"
        signature.unlink(missing_ok=True)
        message.write_bytes(MESSAGE)
        login = ("--login", "--pin", pin, "--sign", "--mechanism", mechanism, "--id", slot_id)
        done = self.run("pkcs11-tool", *login, "--input-file", str(message), "--output-file", str(signature))
        return done, signature.read_bytes() if signature.exists() else b""


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with tempfile.TemporaryDirectory(prefix="desk-") as name:
        folder = Path(name)
        deck = write_deck(folder)
        (folder / "readers.json").write_text(json.dumps([{"name": "Desk 1", "slots": ["contact"]}]))
        arguments = ["--readers", str(folder / "readers.json")]
        with RigProcess(folder / "run", deck=deck.file, loader="cardsim.deck:load_deck", arguments=arguments) as rig:
            made = Desk(rig, deck, folder)
            with rig.client() as control:
                control.insert(CARD, READER)
            wait_until(lambda: "Yes" in made.run("opensc-tool", "--list-readers").stdout)
            yield made


def test_opensc_recognises_the_card(desk):
    assert desk.run("opensc-tool", "--reader", READER, "--atr").stdout.strip() == "3b:81:80:01:80:80"
    assert desk.run("opensc-tool", "--reader", READER, "--name").stdout.strip() == (
        "Personal Identity Verification Card"
    )


def test_pkcs15_sees_its_keys_certificates_and_pins(desk):
    """Four keys with the lengths and rights of the card layout; its identity is the CHUID's GUID."""
    done = desk.run("pkcs15-tool", "--reader", READER, "--dump")
    assert done.returncode == 0
    for expected in (
        "PIN [PIN]",
        "PIN [PIV PUK]",
        "Private RSA Key [PIV AUTH key]",
        "ModLength      : 2048",
        "Private EC Key [SIGN key]",
        "Private EC Key [KEY MAN key]",
        "Private EC Key [CARD AUTH key]",
        "Certificate for PIV Authentication",
        "Certificate for Card Authentication",
    ):
        assert expected in done.stdout
    for certificate in desk.deck.certificates.values():
        assert f"{certificate.serial_number:X}" in done.stdout


def test_pkcs11_lists_its_objects(desk):
    done = desk.run("pkcs11-tool", "--list-objects")
    assert done.returncode == 0
    assert done.stdout.count("Certificate Object; type = X.509 cert") == 4
    assert done.stdout.count("Public Key Object; EC") == 3
    assert "Public Key Object; RSA 2048 bits" in done.stdout
    # Before the PIN only the key for card authentication can be used.
    assert done.stdout.count("Private Key Object") == 1


def test_the_authentication_key_signs_with_the_pin(desk):
    done, signature = desk.sign("01", "SHA256-RSA-PKCS", PIN)
    assert done.returncode == 0, done.stderr
    key = desk.deck.certificates["9A"].public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())


def test_the_signature_key_signs_with_the_pin(desk):
    done, signature = desk.sign("02", "ECDSA-SHA256", PIN)
    assert done.returncode == 0, done.stderr
    key = desk.deck.certificates["9C"].public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    key.verify(encode_dss_signature(r, s), MESSAGE, ec.ECDSA(hashes.SHA256()))


def test_a_wrong_pin_signs_nothing_and_the_right_one_works_again(desk):
    done, signature = desk.sign("01", "SHA256-RSA-PKCS", WRONG_PIN)
    assert done.returncode != 0
    assert "CKR_PIN_INCORRECT" in done.stderr
    assert signature == b""
    done, signature = desk.sign("01", "SHA256-RSA-PKCS", PIN)
    assert done.returncode == 0
    assert signature


def test_wrong_pins_block_the_card_and_the_puk_opens_it_again(desk):
    """As many attempts as the card gives; then not even the right PIN, until the PUK sets a new one."""
    for _ in range(BLOCKED_AFTER):
        done, _ = desk.sign("01", "SHA256-RSA-PKCS", WRONG_PIN)
        assert done.returncode != 0
        if "CKR_PIN_LOCKED" in done.stderr:
            break
    done, signature = desk.sign("01", "SHA256-RSA-PKCS", PIN)
    assert "CKR_PIN_LOCKED" in done.stderr
    assert signature == b""
    unblock = ("--unblock-pin", "--auth-id", "01", "--puk", PUK, "--new-pin", PIN)
    done = desk.run("pkcs15-tool", "--reader", READER, *unblock)
    assert done.returncode == 0, done.stderr
    assert desk.sign("01", "SHA256-RSA-PKCS", PIN)[0].returncode == 0
