# SPDX-License-Identifier: EUPL-1.2
"""The card of Yubico's make: its own instructions and status words, and that a plain PIV card has none of them."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from hypothesis import given, settings
from hypothesis import strategies as st
from support.piv_card import DIGEST, PIN, Terminal, new_card

from cardsim import tlv, yubico
from cardsim.card import VirtualCard
from cardsim.piv_administration import ManagementKey

CHUID = bytes.fromhex("5FC102")
MANAGER = bytes.fromhex("A000000527471117")
WRONG_PIN, WRONG_PUK = b"000000\xff\xff", b"00000000"
OWN_INSTRUCTIONS = ("F7", "F8", "F9", "FA", "FB", "FD", "FE", "FF")


@pytest.fixture
def terminal() -> Terminal:
    return Terminal(VirtualCard("key", "Key", piv=yubico.factory_card(4_711))).power()


@pytest.fixture
def administrator(terminal) -> Terminal:
    assert terminal.administrate(yubico.FACTORY_MANAGEMENT_KEY) == "9000"
    return terminal


def metadata(at: Terminal, reference: int) -> dict[int, bytes]:
    answer, ended = at.send(f"00F700{reference:02X}")
    assert ended == "9000"
    return tlv.decode(answer)


def ec_import(key: ec.EllipticCurvePrivateKey, size: int) -> bytes:
    return tlv.encode(b"\x06", key.private_numbers().private_value.to_bytes(size, "big"))


def rsa_import(key: rsa.RSAPrivateKey) -> bytes:
    numbers = key.private_numbers()
    parts = (numbers.p, numbers.q, numbers.dmp1, numbers.dmq1, numbers.iqmp)
    return b"".join(tlv.encode(bytes([tag]), part.to_bytes(128, "big")) for tag, part in enumerate(parts, 1))


def numbered_members(values: list[bytes]) -> bytes:
    return b"".join(tlv.encode(bytes([tag]), value) for tag, value in enumerate(values, 1))


def block(at: Terminal) -> None:
    for _ in range(3):
        at.verify(WRONG_PIN)
        at.status("002C0080", WRONG_PUK + PIN)


@pytest.mark.parametrize("ins", OWN_INSTRUCTIONS)
def test_a_plain_card_knows_none_of_it(ins):
    at = Terminal(new_card()).power()
    at.administrate()
    at.verify()
    assert at.send(f"00{ins}0080") == (b"", "6D00")
    assert at.send("00A40400", MANAGER) == (b"", "6A82")


def test_a_new_card_has_its_discovery_object(terminal):
    """It is loaded when the card is made: libraries take from it which PIN is meant."""
    assert terminal.get(bytes.fromhex("7E")) == (bytes.fromhex("7E124F0BA0000003080000100001005F2F024000"), "9000")


def test_version_and_serial_number(terminal):
    assert terminal.send("00FD0000") == (b"\x05\x04\x03", "9000")
    assert terminal.send("00F80000") == ((4_711).to_bytes(4, "big"), "9000")


def test_the_manager_tells_what_the_device_is_and_leaves_nothing_of_piv(administrator):
    """Another application is selected: PIV's instructions and its security statuses are gone."""
    administrator.verify()
    assert administrator.send("00A40400", MANAGER) == (b"Virtual mgr - FW version 5.4.3", "9000")
    content, ended = administrator.send("001D0000")
    assert (content[0], ended) == (len(content) - 1, "9000")
    assert tlv.decode(content[1:])[0x02] == (4_711).to_bytes(4, "big")
    assert administrator.send("001D0100")[1] == "6A86"
    assert administrator.verify() == "6D00"
    assert administrator.send("00A40400", bytes.fromhex("A000000308"))[1] == "9000"
    assert administrator.verify(b"") == "63C3"
    assert administrator.put(CHUID, b"x") == "6982"


def test_every_select_begins_anew(administrator):
    administrator.verify()
    administrator.send("00A40400", bytes.fromhex("A000000308"))
    assert (administrator.verify(b""), administrator.put(CHUID, b"x")) == ("63C3", "6982")


def test_metadata_of_the_factorys_secrets_and_of_new_ones(administrator):
    assert metadata(administrator, 0x80) == {0x01: b"\xff", 0x05: b"\x01", 0x06: b"\x03\x03"}
    assert metadata(administrator, 0x81) == {0x01: b"\xff", 0x05: b"\x01", 0x06: b"\x03\x03"}
    assert metadata(administrator, 0x9B) == {0x01: b"\x03", 0x02: b"\x00\x01", 0x05: b"\x01"}
    administrator.status("00240080", PIN + b"999999\xff\xff")
    administrator.verify(WRONG_PIN)
    assert metadata(administrator, 0x80) == {0x01: b"\xff", 0x05: b"\x00", 0x06: b"\x03\x02"}
    assert administrator.send("00F7009A") == (b"", "6A88")


def test_metadata_of_a_key_name_its_policy_origin_and_public_half(administrator):
    answer, _ = administrator.generate(0x9A, 0x11, bytes.fromhex("AA0103AB0101"))
    told = metadata(administrator, 0x9A)
    assert (told[0x01], told[0x02], told[0x03]) == (b"\x11", b"\x03\x01", b"\x01")
    assert told[0x04] == tlv.decode(answer[1:])[0x49]
    administrator.status("00FE119E", ec_import(ec.generate_private_key(ec.SECP256R1()), 32))
    told = metadata(administrator, 0x9E)
    assert (told[0x02], told[0x03]) == (b"\x01\x01", b"\x02")


@pytest.mark.parametrize(("policy", "uses"), [("01", ["9000"] * 3), ("02", ["6982", "9000", "9000"])])
def test_a_keys_own_pin_policy_goes_before_the_slots(administrator, policy, uses):
    """Slot 9C asks for the PIN before each use, unless its key was made with another policy."""
    administrator.generate(0x9C, 0x11, bytes.fromhex(f"AA01{policy}"))
    ended = [administrator.use(0x9C)[1]]
    administrator.verify()
    ended += [administrator.use(0x9C)[1] for _ in range(2)]
    assert ended == uses


def test_imported_keys_are_those_keys(administrator):
    """EC keys sign as their public halves expect, an RSA key undoes what its public half did."""
    for algorithm, size, curve, digest in ((0x11, 32, ec.SECP256R1(), SHA256()), (0x14, 48, ec.SECP384R1(), SHA384())):
        key = ec.generate_private_key(curve)
        assert administrator.status(f"00FE{algorithm:02X}9E", ec_import(key, size)) == "9000"
        signature, _ = administrator.use(0x9E, bytes(size), algorithm=algorithm)
        key.public_key().verify(signature, bytes(size), ec.ECDSA(Prehashed(digest)))
    rsa_key = rsa.generate_private_key(65_537, 2048)
    assert administrator.status("00FE079E", rsa_import(rsa_key)) == "9000"
    numbers = rsa_key.public_key().public_numbers()
    message = 0x1234567890
    sealed = pow(message, numbers.e, numbers.n).to_bytes(256, "big")
    assert int.from_bytes(administrator.use(0x9E, sealed, algorithm=0x07)[0], "big") == message


def test_a_shorter_digest_is_signed_with_zeros_before_it(administrator):
    key = ec.generate_private_key(ec.SECP384R1())
    administrator.status("00FE149E", ec_import(key, 48))
    signature, ended = administrator.use(0x9E, DIGEST, algorithm=0x14)
    assert ended == "9000"
    key.public_key().verify(signature, bytes(16) + DIGEST, ec.ECDSA(Prehashed(SHA384())))


@pytest.mark.parametrize(
    ("header", "data", "ended"),
    [
        ("00FE119B", "0601AA", "6A86"),
        ("00FE069A", "0601AA", "6A86"),
        ("00FE119A", "", "6A80"),
        ("00FE119A", "060100", "6A80"),
        ("00FE119A", "0620" + "FF" * 32, "6A80"),
        ("00FE119A", "010105", "6A80"),
        ("00FE079A", "0101050201070301010401010501 01", "6A80"),
        ("00FE079A", "010100020100030100040100050100", "6A80"),
        ("00FE119A", "060105AA0109", "6A80"),
        ("00FFFFFF", "039B18" + "00" * 23, "6A80"),
        ("00FFFFFF", "079B10" + "00" * 16, "6A80"),
        ("00FFFFFF", "0A9B10" + "00" * 16, "6A80"),
        ("00FFFFFF", "", "6A80"),
        ("0047009B", "AC03800111", "6A86"),
        ("0047009A", "AC03800105", "6A80"),
        ("0047009A", "AC06800111AA0104", "6A80"),
        ("00FA0303", "", "6982"),
        ("00FB0000", "", "6985"),
        ("00F9009A", "", "6A81"),
    ],
)
def test_statuses(administrator, header, data, ended):
    assert administrator.status(header, bytes.fromhex(data)) == ended


@pytest.mark.parametrize(
    "command", ["00FE119A 0601AA", "00FFFFFF 089B10" + "00" * 16, "00FA0505", "0047009A AC03800111"]
)
def test_management_wants_the_management_key(terminal, command):
    header, _, data = command.partition(" ")
    terminal.verify()
    assert terminal.status(header, bytes.fromhex(data)) == "6982"


def test_a_new_management_key_is_in_force_at_once(administrator):
    key = ManagementKey(0x0C, bytes(range(32)))
    assert administrator.status("00FFFFFF", b"\x0c\x9b\x20" + key.value) == "9000"
    assert administrator.administrate(yubico.FACTORY_MANAGEMENT_KEY) == "6A86"
    assert administrator.administrate(key) == "9000"
    assert metadata(administrator, 0x9B)[0x05] == b"\x00"


def test_other_numbers_of_tries_bring_the_factorys_secrets_back(administrator):
    administrator.status("00240080", PIN + b"999999\xff\xff")
    administrator.verify(b"999999\xff\xff")
    assert administrator.status("00FA0000") == "6A86"
    assert administrator.status("00FA0507") == "9000"
    assert metadata(administrator, 0x80)[0x06] == b"\x05\x05"
    assert metadata(administrator, 0x81)[0x06] == b"\x07\x07"
    assert administrator.verify(PIN) == "9000"


def test_the_reset_needs_both_blocked_and_forgets_everything(administrator):
    administrator.generate(0x9A, 0x11)
    administrator.put(CHUID, b"x")
    administrator.status("00FFFFFF", b"\x08\x9b\x10" + bytes(range(16)))
    for _ in range(3):
        administrator.verify(WRONG_PIN)
    assert administrator.status("00FB0000") == "6985"
    block(administrator)
    assert administrator.status("00FB0000") == "9000"
    assert administrator.get(CHUID) == (b"", "6A82")
    assert administrator.send("00F7009A")[1] == "6A88"
    assert administrator.put(CHUID, b"x") == "6982"
    assert administrator.verify() == "9000"
    assert administrator.administrate(yubico.FACTORY_MANAGEMENT_KEY) == "9000"


@settings(max_examples=200, deadline=None)
@given(
    ins=st.sampled_from([0x47, 0x87, 0xDB, 0xF7, 0xF9, 0xFA, 0xFE, 0xFF]),
    parameters=st.binary(min_size=2, max_size=2) | st.sampled_from([b"\x11\x9a", b"\x07\x9a", b"\0\x9a", b"\xff\xff"]),
    data=st.binary(max_size=255) | st.lists(st.binary(max_size=48), max_size=6).map(numbered_members),
)
def test_whatever_comes_is_answered_with_a_status(ins, parameters, data):
    """Even for an administrator, whose commands go furthest."""
    at = Terminal(VirtualCard("key", "Key", piv=yubico.factory_card())).power()
    at.administrate(yubico.FACTORY_MANAGEMENT_KEY)
    ended = at.status(f"00{ins:02X}{parameters.hex()}", data[:255])
    assert ended == "9000" or ended[:2] in ("61", "67", "69", "6A")


def test_an_object_without_content_is_deleted(administrator):
    administrator.put(CHUID, b"x")
    assert administrator.get(CHUID)[1] == "9000"
    assert administrator.put(CHUID, b"") == "9000"
    assert administrator.get(CHUID) == (b"", "6A82")
    assert administrator.put(CHUID, bytes(4000)) == "6A84"


def test_a_command_without_le_gets_its_answer_nevertheless(terminal):
    assert terminal.card.transmit(bytes.fromhex("00FD0000")) == b"\x05\x04\x03\x90\x00"
    assert Terminal(new_card()).power().card.transmit(bytes.fromhex("00CB3FFF035C017E")) == b"\x61\x14"
