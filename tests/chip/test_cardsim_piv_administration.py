# SPDX-License-Identifier: EUPL-1.2
"""What a PIV card lets an administrator do, with the status words of SP 800-73-4 part 2."""

from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from support.piv_card import DIGEST, PIN, PUK, Terminal, encrypt, new_card, slots

from cardsim import tlv
from cardsim.piv_administration import KEY_LENGTHS, ManagementKey
from cardsim.piv_objects import BEHIND_THE_PIN, FREE_AT_CONTACTLESS, STANDARD_OBJECTS
from cardsim.piv_variant import Handler, StandardCard

CERTIFICATE_9A, FACE, PRINTED = (bytes.fromhex(tag) for tag in ("5FC105", "5FC108", "5FC109"))
ANOTHER = bytes.fromhex("F0010203040506")
DISCOVERY, TEMPLATES = b"\x7e", b"\x7f\x61"
ALGORITHMS = sorted(KEY_LENGTHS)
SHA256_INFO = bytes.fromhex("3031300D060960864801650304020105000420")


@pytest.fixture
def terminal() -> Terminal:
    return Terminal(new_card()).power()


@pytest.fixture
def administrator(terminal) -> Terminal:
    assert terminal.administrate() == "9000"
    return terminal


def key_of(algorithm: int) -> ManagementKey:
    return ManagementKey(algorithm, bytes(range(1, KEY_LENGTHS[algorithm] + 1)))


# --- key 9B --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_external_authentication_opens_the_card(algorithm):
    """Appendix A.1: only the right answer to the card's own challenge counts, and each challenge counts once."""
    key = key_of(algorithm)
    at = Terminal(new_card(key=key)).power()
    challenge = at.step(algorithm, b"\x81\x00")[0][0x81]
    response = tlv.encode(b"\x82", encrypt(key, challenge))
    assert at.put(PRINTED, b"x") == "6982"
    assert at.step(algorithm, response) == ({}, "9000")
    assert at.put(PRINTED, b"x") == "9000"
    assert at.step(algorithm, response)[1] == "6982"
    assert at.put(PRINTED, b"x") == "6982"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("asked", [b"\x82\x00", b""])
def test_mutual_authentication_proves_both_sides(algorithm, asked):
    """Appendix A.2: the witness comes enciphered and goes back in clear, the card enciphers the other's challenge."""
    key = key_of(algorithm)
    at = Terminal(new_card(key=key)).power()
    witness = encrypt(key, at.step(algorithm, b"\x80\x00")[0][0x80], backwards=True)
    challenge = bytes(range(len(witness)))
    sent = (tlv.encode(b"\x80", witness), tlv.encode(b"\x81", challenge), asked)
    answer, ended = at.step(algorithm, *sent)
    assert (answer, ended) == ({0x82: encrypt(key, challenge)}, "9000")
    assert at.put(PRINTED, b"x") == "9000"


def test_a_wrong_witness_gets_no_cryptogram_and_ends_what_was_proved(administrator):
    administrator.step(0x08, b"\x80\x00")
    sent = (tlv.encode(b"\x80", bytes(16)), tlv.encode(b"\x81", bytes(16)))
    assert administrator.step(0x08, *sent) == ({}, "6982")
    assert administrator.put(PRINTED, b"x") == "6982"


def test_an_authentication_begun_anew_ends_what_was_proved(administrator):
    assert administrator.step(0x08, b"\x81\x00")[1] == "9000"
    assert administrator.put(PRINTED, b"x") == "6982"


def test_the_card_enciphers_nothing_for_whoever_has_not_proved_the_key(terminal):
    """A bare challenge would turn the card into an oracle for the answer it asks for itself."""
    challenge = terminal.step(0x08, b"\x81\x00")[0][0x81]
    assert terminal.step(0x08, tlv.encode(b"\x81", challenge), b"\x82\x00") == ({}, "6A80")


@pytest.mark.parametrize(
    ("algorithm", "members", "ended"),
    [
        (0x0A, b"\x81\x00", "6A86"),
        (0x03, b"\x81\x00", "6A86"),
        (0x07, b"\x81\x00", "6A86"),
        (0x08, b"", "6A80"),
        (0x08, b"\x85\x00", "6A80"),
        (0x08, b"\x82\x00", "6982"),
        (0x08, b"\x82\x10" + bytes(16), "6982"),
        (0x08, b"\x80\x10" + bytes(16) + b"\x81\x08" + bytes(8), "6A80"),
    ],
)
def test_statuses_of_general_authenticate_with_9b(terminal, algorithm, members, ended):
    assert terminal.step(algorithm, members) == ({}, ended)


def test_a_triple_des_key_answers_to_both_of_its_names():
    key = key_of(0x03)
    at = Terminal(new_card(key=key)).power()
    challenge = at.step(0x00, b"\x81\x00")[0][0x81]
    assert at.step(0x00, tlv.encode(b"\x82", encrypt(key, challenge)))[1] == "9000"


def test_a_management_key_has_the_length_of_its_algorithm():
    with pytest.raises(ValueError, match="0A has no key of 16 bytes") as refused:
        ManagementKey(0x0A, bytes(range(16)))
    assert bytes(range(16)).hex() not in str(refused.value)


# --- PUT DATA ------------------------------------------------------------------------------------------------------


def test_every_object_of_part_1_is_replaced_as_a_whole(administrator):
    """Written twice, the second content is read, with tag 53 or under the object's own tag."""
    administrator.verify()
    for tag in STANDARD_OBJECTS - {DISCOVERY, TEMPLATES}:
        assert administrator.put(tag, b"a longer first content") == "9000"
        assert administrator.put(tag, b"second") == "9000"
        assert administrator.get(tag) == (b"\x53\x06second", "9000")
    for tag in (DISCOVERY, TEMPLATES):
        whole = tag + b"\x03\x4f\x01\x07"
        assert administrator.status("00DB3FFF", whole) == "9000"
        assert administrator.get(tag) == (whole, "9000")


def test_the_largest_object_of_part_1_fits_in_a_chain(administrator):
    """A facial image of 12,710 bytes in fifty commands; one byte more than the card has room for is refused."""
    administrator.verify()
    image = bytes(n % 251 for n in range(12_700))
    assert administrator.put(FACE, image) == "9000"
    assert administrator.get(FACE)[0].endswith(image)
    assert administrator.put(FACE, image + bytes(10)) == "6A84"
    assert administrator.put(PRINTED, bytes(4096)) == "6A84"
    assert administrator.get(FACE)[0].endswith(image)


@pytest.mark.parametrize(
    ("header", "data", "ended"),
    [
        ("00DB3FFE", "5C035FC1055300", "6A86"),
        ("00DB3FFF", "", "6A80"),
        ("00DB3FFF", "5C035FC105", "6A80"),
        ("00DB3FFF", "53005C035FC105", "6A80"),
        ("00DB3FFF", "5C035FC1055305AA", "6A80"),
        ("00DB3FFF", "5C035FC13F5300", "6A81"),
        ("00DB3FFF", "5C017E5300", "9000"),
        ("00DB3FFF", "7E05AA", "6A80"),
    ],
)
def test_statuses_of_put_data(administrator, header, data, ended):
    assert administrator.status(header, bytes.fromhex(data)) == ended


def test_put_data_wants_the_administrator(terminal):
    before = terminal.get(CERTIFICATE_9A)
    terminal.verify()
    assert terminal.put(CERTIFICATE_9A, b"x") == "6982"
    assert terminal.get(CERTIFICATE_9A) == before


# --- GENERATE ASYMMETRIC KEY PAIR ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mechanism", "bits"), [(0x07, 2048), (0x05, 3072)])
def test_an_rsa_pair_is_made_and_signs(administrator, mechanism, bits):
    answer, ended = administrator.generate(0x9A, mechanism)
    assert ended == "9000"
    assert answer[:2] == b"\x7f\x49"
    members = tlv.decode(tlv.decode(answer[1:])[0x49])
    modulus, exponent = (int.from_bytes(members[tag], "big") for tag in (0x81, 0x82))
    assert (modulus.bit_length(), exponent) == (bits, 65_537)
    administrator.verify()
    block = b"\x00\x01" + b"\xff" * (bits // 8 - 54) + b"\x00" + SHA256_INFO + DIGEST
    signature, ended = administrator.use(0x9A, block, algorithm=mechanism)
    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    assert ended == "9000"
    public.verify(signature, DIGEST, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


@pytest.mark.parametrize(
    ("mechanism", "curve", "hash_"), [(0x11, ec.SECP256R1(), hashes.SHA256()), (0x14, ec.SECP384R1(), hashes.SHA384())]
)
def test_an_ec_pair_is_made_and_replaces_the_one_before(administrator, mechanism, curve, hash_):
    points = []
    for _ in range(2):
        answer, ended = administrator.generate(0x9E, mechanism)
        assert ended == "9000"
        points.append(tlv.decode(tlv.decode(answer[1:])[0x49])[0x86])
    assert points[0] != points[1]
    digest = bytes(hash_.digest_size)
    signature, ended = administrator.use(0x9E, digest, algorithm=mechanism)
    assert ended == "9000"
    public = ec.EllipticCurvePublicKey.from_encoded_point(curve, points[1])
    public.verify(signature, digest, ec.ECDSA(Prehashed(hash_)))


@pytest.mark.parametrize(
    ("header", "data", "ended"),
    [
        ("0047009B", "AC03800111", "6A86"),
        ("00470004", "AC03800111", "6A86"),
        ("00470082", "AC03800111", "6A86"),
        ("0047019A", "AC03800111", "6A86"),
        ("0047009A", "", "6A80"),
        ("0047009A", "AC00", "6A80"),
        ("0047009A", "AC03800106", "6A80"),
        ("0047009A", "AC0480021111", "6A80"),
        ("0047009A", "AC06800111AA0101", "6A80"),
        ("0047009A", "AC06800111810103", "6A80"),
        ("0047009A", "AC06800107810103", "6A80"),
        ("0047009A", "AD03800111", "6A80"),
    ],
)
def test_statuses_of_generate(administrator, header, data, ended):
    assert administrator.send(header, bytes.fromhex(data)) == (b"", ended)


def test_generate_wants_the_administrator_and_changes_nothing_without(terminal):
    terminal.verify()
    assert terminal.generate(0x9E, 0x11) == (b"", "6982")
    signature, _ = terminal.use(0x9E)
    slots()[0x9E].private_key.public_key().verify(signature, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


# --- who reads, and over which interface ---------------------------------------------------------------------------


def test_objects_about_the_body_are_behind_the_pin(administrator):
    """Part 1 table 2: fingerprints, face, irises, printed information and pairing code."""
    for tag in BEHIND_THE_PIN:
        assert administrator.put(tag, b"x") == "9000"
        assert administrator.get(tag) == (b"", "6982")
    administrator.verify()
    assert {administrator.get(tag)[1] for tag in BEHIND_THE_PIN} == {"9000"}
    administrator.status("0020FF80")
    assert {administrator.get(tag)[1] for tag in BEHIND_THE_PIN} == {"6982"}


def test_contactless_reads_five_objects_and_no_other(administrator):
    for tag in STANDARD_OBJECTS - {DISCOVERY, TEMPLATES}:
        administrator.put(tag, b"x")
    administrator.status("00DB3FFF", b"\x7f\x61\x00")
    administrator.power("contactless")
    readable = {tag for tag in STANDARD_OBJECTS if administrator.get(tag)[1] == "9000"}
    refused = {tag for tag in STANDARD_OBJECTS if administrator.get(tag) == (b"", "6982")}
    assert readable == FREE_AT_CONTACTLESS
    assert readable | refused == STANDARD_OBJECTS


@pytest.mark.parametrize(
    ("header", "data", "ended"),
    [
        ("00200080", PIN, "6982"),
        ("0020FF80", b"", "6982"),
        ("00240080", PIN + PIN, "6982"),
        ("00240081", PUK + PUK, "6982"),
        ("002C0080", PUK + PIN, "6A81"),
        ("00DB3FFF", bytes.fromhex("5C035FC1055300"), "6A81"),
        ("0047009E", bytes.fromhex("AC03800111"), "6A81"),
        ("0087089B", bytes.fromhex("7C028100"), "6982"),
        ("0087119A", bytes.fromhex("7C24820081") + b"\x20" + DIGEST, "6982"),
    ],
)
def test_what_part_2_does_not_allow_contactless(terminal, header, data, ended):
    """Part 2 table 2 and its notes; nothing about the card has changed afterwards."""
    counters = (terminal.card.piv.pin.remaining, terminal.card.piv.puk.remaining)
    terminal.power("contactless")
    assert terminal.status(header, data) == ended
    assert (terminal.card.piv.pin.remaining, terminal.card.piv.puk.remaining) == counters
    assert terminal.power().administrate() == "9000"
    assert terminal.verify() == "9000"


def test_contactless_piv_is_off_unless_the_card_was_made_so():
    card = new_card(contactless=False)
    card.power_on("contactless")
    assert card.transmit(bytes.fromhex("00A4040009A0000003080000100000")) == b"\x6a\x82"


# --- SELECT and chains ---------------------------------------------------------------------------------------------


def test_selecting_piv_again_or_something_unknown_forgets_nothing(administrator):
    """Part 2 section 3.1.1: the security statuses stay; only power takes them."""
    administrator.verify()
    assert administrator.send("00A40400", bytes.fromhex("A0000003080000100001 00"))[1] == "9000"
    assert administrator.send("00A40400", bytes.fromhex("A000000527471117")) == (b"", "6A82")
    assert (administrator.verify(b""), administrator.put(PRINTED, b"x")) == ("9000", "9000")
    administrator.power()
    assert (administrator.verify(b""), administrator.put(PRINTED, b"x")) == ("63C3", "6982")


class WithAnotherApplication(StandardCard):
    """A standard card that has a second application."""

    def application(self, aid: bytes) -> Mapping[int, Handler] | None:
        """Under one AID, which answers nothing but its own selection."""
        return {0xA4: lambda _command: b"other"} if aid == ANOTHER else None


def test_selecting_another_application_of_the_card_ends_pivs_security_statuses():
    """Part 2 section 3.1.1; its instructions are gone as well until it is selected again."""
    card = new_card()
    card.piv.variant = WithAnotherApplication()
    at = Terminal(card).power()
    assert (at.verify(), at.administrate()) == ("9000", "9000")
    assert at.send("00A40400", ANOTHER) == (b"other", "9000")
    assert at.verify(b"") == "6D00"
    assert at.send("00A40400", bytes.fromhex("A00000030800001000"))[1] == "9000"
    assert (at.verify(b""), at.put(PRINTED, b"x")) == ("63C3", "6982")


@pytest.mark.parametrize("header", ["10A40400", "10CB3FFF", "102C0080", "10200080", "10240080"])
def test_commands_that_part_2_does_not_chain(terminal, header):
    assert terminal.card.transmit(bytes.fromhex(header) + b"\x01\x00") == b"\x68\x84"


@pytest.mark.parametrize("between", ["00CB3FFF035C017E00", "00C0000000", "0020008000"])
def test_an_interrupted_chain_leaves_no_trace(terminal, between):
    """Whatever comes between the parts, what follows is a command of its own."""
    template = tlv.encode(b"\x7c", b"\x82\x00" + tlv.encode(b"\x81", DIGEST))
    assert terminal.card.transmit(bytes.fromhex("1087119E") + b"\x0a" + template[:10]) == b"\x90\x00"
    terminal.card.transmit(bytes.fromhex(between))
    rest = template[10:]
    assert terminal.card.transmit(bytes.fromhex("0087119E") + bytes([len(rest)]) + rest + b"\x00") == b"\x6a\x80"


@pytest.mark.parametrize("reference", ["00", "81", "96", "97", "98"])
def test_key_references_that_this_card_cannot_verify(terminal, reference):
    """Global PIN, fingers and pairing code are absent, and the discovery object says so."""
    assert terminal.get(DISCOVERY)[0][-2:] == b"\x40\x00"
    assert terminal.status(f"002000{reference}", PIN) == "6A88"
    assert terminal.status(f"002C00{reference}", PUK + PIN) == "6A88"


def test_a_wrong_puk_ends_the_pins_status_and_a_right_one_leaves_it_as_it_is(terminal):
    """Part 2 section 3.2.3, after the PIN was given and after it was not."""
    new = b"999999\xff\xff"
    assert terminal.status("002C0080", PUK + new) == "9000"
    assert terminal.verify(b"") == "63C3"
    assert terminal.verify(new) == "9000"
    assert terminal.status("002C0080", PUK + PIN) == "9000"
    assert terminal.verify(b"") == "9000"
    assert terminal.status("002C0080", PUK + b"short\xff\xff\xff") == "6A80"
    assert terminal.verify(b"") == "9000"
    assert terminal.status("002C0080", b"00000000" + PIN) == "63C2"
    assert terminal.verify(b"") == "63C3"


def test_p1_ff_takes_no_data(terminal):
    terminal.verify()
    assert terminal.status("0020FF80", PIN) == "6A80"
    assert terminal.verify(b"") == "9000"


def test_a_blocked_pin_is_told_before_its_form_is(terminal):
    for _ in range(3):
        terminal.verify(b"000000\xff\xff")
    assert terminal.verify(b"short") == "6983"
    assert terminal.status("00240080", PIN + b"short\xff\xff\xff") == "6983"
    assert terminal.status("00240080", b"short") == "6983"
    assert terminal.verify(b"") == "63C0"
