# SPDX-License-Identifier: EUPL-1.2
"""An employee's PIV card serves programs we have not written: OpenSC (beside `test_opensc.py`) and others."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from e2e.piv_desk import (
    BLANK_KEY,
    BLANK_READER,
    MANAGEMENT_KEY,
    PIN,
    PUK,
    STAFF_READER,
    WRONG_PIN,
    Desk,
    Done,
    desk,
)
from support.pkcs11_client import MESSAGE

from cardsim import tlv
from cardsim.piv_keys import public_key_objects
from cardsim.piv_state import load_card

pytestmark = [pytest.mark.pcscd, pytest.mark.opensc]

TOKEN = "Anna Schmidt"
TOKEN_URL = "pkcs11:token=Anna%20Schmidt"


@pytest.fixture(scope="module")
def desk_with_cards() -> Iterator[Desk]:
    with desk() as made:
        yield made


@pytest.fixture(scope="module")
def opensc_module() -> str:
    return str(next(Path("/usr/lib").glob("*/opensc-pkcs11.so")))


def pkcs11_tool(at: Desk, *arguments: str | Path, pin: str = PIN) -> Done:
    return at.run("pkcs11-tool", "--token-label", TOKEN, "--login", "--pin", pin, *arguments)


def key_file(at: Desk, key: bytes) -> str:
    return str(at.file("management-key", key.hex(":").encode("ascii")))


def piv_tool(at: Desk, reader: str, key: bytes, *arguments: str | Path) -> Done:
    return at.run("piv-tool", "--reader", reader, *arguments, PIV_EXT_AUTH_KEY=key_file(at, key))


def public_point() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    own = ec.generate_private_key(ec.SECP256R1())
    return own, own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def test_opensc_finds_no_fault_but_the_random_numbers_no_piv_card_has(desk_with_cards):
    """Its own test of everything a token does ends with the one complaint that PIV has no command for."""
    done = pkcs11_tool(desk_with_cards, "--test")
    said = done.stdout + done.stderr
    # Newer versions ask three times, each with the arguments of its call.
    errors = [re.sub(r"\(buf[^)]*\)", "", line) for line in re.findall(r"ERR: .*", said)]
    assert set(errors) == {"ERR: C_GenerateRandom failed: CKR_FUNCTION_NOT_SUPPORTED (0x54)"}
    assert said.count("SHA256-RSA-PKCS: OK") >= 1
    assert "RSA-PKCS-OAEP" in said
    assert f"{len(errors)} errors" in said


def test_the_logon_key_signs_with_pss(desk_with_cards):
    message, signature = desk_with_cards.file("pss-message", MESSAGE), desk_with_cards.folder / "pss"
    mechanism = ("--sign", "--mechanism", "SHA256-RSA-PKCS-PSS", "--id", "01")
    done = pkcs11_tool(desk_with_cards, *mechanism, "--input-file", message, "--output-file", signature)
    assert done.returncode == 0, done.stderr
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    key = desk_with_cards.certificates["9A"].public_key()
    key.verify(signature.read_bytes(), MESSAGE, scheme, hashes.SHA256())
    with pytest.raises(InvalidSignature):
        key.verify(signature.read_bytes(), MESSAGE + b"!", scheme, hashes.SHA256())


def test_the_logon_key_decrypts(desk_with_cards):
    sealed = desk_with_cards.certificates["9A"].public_key().encrypt(MESSAGE, padding.PKCS1v15())
    opened = desk_with_cards.folder / "opened"
    files = ("--input-file", desk_with_cards.file("sealed", sealed), "--output-file", opened)
    done = pkcs11_tool(desk_with_cards, "--decrypt", "--mechanism", "RSA-PKCS", "--id", "01", *files)
    assert done.returncode == 0, done.stderr
    assert opened.read_bytes() == MESSAGE


def test_the_key_management_key_agrees_on_a_secret(desk_with_cards):
    own = ec.generate_private_key(ec.SECP256R1())
    peer = own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    secret = desk_with_cards.folder / "secret"
    files = ("--input-file", desk_with_cards.file("peer.der", peer), "--output-file", secret)
    done = pkcs11_tool(desk_with_cards, "--derive", "--mechanism", "ECDH1-DERIVE", "--id", "03", *files)
    assert done.returncode == 0, done.stderr
    assert secret.read_bytes() == own.exchange(ec.ECDH(), desk_with_cards.certificates["9D"].public_key())


def test_pkcs15_lists_certificates_and_keys(desk_with_cards):
    certificates = desk_with_cards.run("pkcs15-tool", "--reader", STAFF_READER, "--list-certificates")
    keys = desk_with_cards.run("pkcs15-tool", "--reader", STAFF_READER, "--list-keys")
    assert certificates.stdout.count("X.509 Certificate [") == 4
    assert re.findall(r"Key ref +: \d+ \(0x(..)\)", keys.stdout) == ["9A", "9C", "9D", "9E"]


def test_opensc_tells_a_wrong_pin_from_a_right_one(desk_with_cards):
    wrong = pkcs11_tool(desk_with_cards, "--list-objects", pin=WRONG_PIN)
    assert "CKR_PIN_INCORRECT" in wrong.stderr
    right = pkcs11_tool(desk_with_cards, "--list-objects")
    assert right.stdout.count("Private Key Object") == 4


def test_pin_and_puk_are_changed_and_changed_back(desk_with_cards):
    """By CHANGE REFERENCE DATA and RESET RETRY COUNTER of OpenSC; a PIN that was replaced opens nothing."""
    new_pin = "98765432"
    tool = ("pkcs15-tool", "--reader", STAFF_READER, "--auth-id", "01")
    changed = desk_with_cards.run(*tool, "--change-pin", "--pin", PIN, "--new-pin", new_pin)
    assert changed.returncode == 0, changed.stderr
    assert "CKR_PIN_INCORRECT" in pkcs11_tool(desk_with_cards, "--list-objects").stderr
    reset = desk_with_cards.run(*tool, "--unblock-pin", "--puk", PUK, "--new-pin", PIN)
    assert reset.returncode == 0, reset.stderr
    assert pkcs11_tool(desk_with_cards, "--list-objects").returncode == 0


def test_piv_tool_names_the_card(desk_with_cards):
    done = desk_with_cards.run("piv-tool", "--reader", STAFF_READER, "--name")
    assert done.stdout.strip() == "Personal Identity Verification Card"


@pytest.mark.parametrize(
    ("reader", "algorithm", "key"), [(STAFF_READER, "0A", MANAGEMENT_KEY), (BLANK_READER, "0C", BLANK_KEY)]
)
def test_the_management_key_is_proved_to_each_other(desk_with_cards, reader, algorithm, key):
    """AES-192 and AES-256; who holds another key of the right length is refused, and so is another algorithm."""
    proved = piv_tool(desk_with_cards, reader, key, "--admin", f"M:9B:{algorithm}")
    assert proved.returncode == 0, proved.stderr
    guessed = piv_tool(desk_with_cards, reader, bytes(len(key)), "--admin", f"M:9B:{algorithm}")
    assert guessed.returncode != 0
    other = piv_tool(desk_with_cards, reader, key[:16], "--admin", "M:9B:08")
    assert other.returncode != 0


def test_a_certificate_is_stored_on_a_blank_card(desk_with_cards):
    """PUT DATA by OpenSC, in a chain of commands; whoever has not the key stores nothing."""
    certificate = desk_with_cards.certificates["9E"]
    file = desk_with_cards.file("certificate.pem", certificate.public_bytes(Encoding.PEM))
    listing = ("pkcs15-tool", "--reader", BLANK_READER, "--list-certificates")
    # The standard keeps what a program proved for the next one, as long as the card has power.
    desk_with_cards.insert_again(BLANK_READER)
    desk_with_cards.run("piv-tool", "--reader", BLANK_READER, "--cert", "9A", "--in", file)
    assert "X.509 Certificate [" not in desk_with_cards.run(*listing).stdout
    piv_tool(desk_with_cards, BLANK_READER, BLANK_KEY, "--admin", "M:9B:0C", "--cert", "9A", "--in", file)
    kept = desk_with_cards.run(*listing).stdout
    assert f"{certificate.serial_number:X}" in kept


def test_a_key_pair_is_made_on_a_blank_card_and_outlives_the_process(desk_with_cards):
    """GENERATE by OpenSC, whose version 0.23 then cannot write the public key into a file (its issue 3156)."""
    piv_tool(desk_with_cards, BLANK_READER, BLANK_KEY, "--admin", "M:9B:0C", "--genkey", "9E:11")
    card = load_card(desk_with_cards.folder / "cards" / "blank.json")
    assert card.piv is not None
    (slot,) = card.piv.slots.values()
    assert len(tlv.decode(public_key_objects(slot.private_key))[0x86]) == 65


@pytest.mark.gnutls
def test_gnutls_signs_by_the_same_module(desk_with_cards, opensc_module):
    """Its p11tool lists the keys after the PIN, signs with RSA and with ECDSA and checks both by the certificates."""
    tool = ("p11tool", "--provider", opensc_module, "--login")
    listed = desk_with_cards.run(*tool, "--list-privkeys", TOKEN_URL, GNUTLS_PIN=PIN)
    assert listed.stdout.count("type=private") == 4
    for number in ("01", "02"):
        url = f"{TOKEN_URL};id=%{number};type=private"
        done = desk_with_cards.run(*tool, "--test-sign", url, GNUTLS_PIN=PIN)
        assert done.returncode == 0
        assert done.stderr.count("... ok") == 3, done.stderr


@pytest.mark.gnutls
def test_gnutls_asks_for_a_certificate_in_the_name_of_the_cards_key(desk_with_cards, opensc_module):
    """Its certtool signs a request with the logon key; the request is that key's and says whose it is."""
    template = desk_with_cards.file("template", b'cn = "Anna Schmidt"\n')
    request = desk_with_cards.folder / "request.pem"
    key = ("--load-privkey", f"{TOKEN_URL};id=%01;type=private")
    tool = ("certtool", "--provider", opensc_module, "--generate-request", "--template", template)
    done = desk_with_cards.run(*tool, *key, "--outfile", request, GNUTLS_PIN=PIN)
    assert done.returncode == 0, done.stderr
    read = x509.load_pem_x509_csr(request.read_bytes())
    assert read.is_signature_valid
    assert read.public_key() == desk_with_cards.certificates["9A"].public_key()
    assert read.subject.rfc4514_string() == "CN=Anna Schmidt"


def test_a_python_program_signs_and_agrees_by_pkcs11(desk_with_cards, opensc_module):
    own, point = public_point()
    done = desk_with_cards.script("pkcs11_client.py", opensc_module, TOKEN, PIN, point.hex())
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    logon, management = (desk_with_cards.certificates[slot].public_key() for slot in ("9A", "9D"))
    logon.verify(bytes.fromhex(answers["signature"]), MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    assert bytes.fromhex(answers["secret"]) == own.exchange(ec.ECDH(), management)


@pytest.mark.yubico
def test_yubicos_channel_reads_a_plain_card_that_has_nothing_of_yubicos(desk_with_cards):
    """Its library reads what the standard has; each of Yubico's own instructions is unknown to the card."""
    done = desk_with_cards.script("yubikit_client.py", STAFF_READER, "bare")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    certificate = tlv.decode(tlv.decode(bytes.fromhex(answers["certificate"]))[0x53])[0x70]
    assert certificate == desk_with_cards.certificates["9A"].public_bytes(Encoding.DER)
    assert bytes.fromhex(answers["chuid"])[:1] == b"\x53"
    assert set(answers["refusals"].values()) == {"6D00"}
    assert len(answers["refusals"]) == 8
