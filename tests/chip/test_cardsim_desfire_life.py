# SPDX-License-Identifier: EUPL-1.2
"""A virtual DESFire from the factory to its second generation of keys, as docs/card-layout.md describes it."""

import pytest

from cardsim.card import VirtualCard
from cardsim.deck import load_deck, save_deck
from cardsim.desfire_ciphers import BlockCipher, KeyKind, crc32, filled
from cardsim.desfire_data import AesKey
from cardsim.desfire_memory import CardMemory, Chip, StateError
from cardsim.desfire_signature import SIGNATURE_LENGTH, is_demonstration_signature
from cardsim.errors import CardPulled, DeckError, PersonalisationError
from cardsim.faults import PulledAfter, TornWrite
from cardsim.kept import KeptCard
from cardsim.personalise import UseKeys, derive_card_keys, derive_picc_key, factory_desfire, personalise_desfire
from cardsim.reader import CardRefused, DesfireReader, tap
from cardsim.timing import RelayedCard, TimedCard, TimingProfile
from city import deck as city_deck
from city import seed

DOOR = bytes.fromhex("01C1F5")
PICC_KEY, DEFAULT_KEY = b"the card's key..", b"default of a card"[:16]
OLD = UseKeys(DOOR, b"A" * 16, b"P" * 16, b"L" * 16, 1, b"door-number!")
NEW = UseKeys(DOOR, b"a" * 16, b"p" * 16, b"l" * 16, 2, b"door-number!")
SYSTEM_ID = b"STADT"
KEYS, NEXT = derive_card_keys(SYSTEM_ID, OLD), derive_card_keys(SYSTEM_ID, NEW)
CREATE_DOOR = DOOR + bytes.fromhex("0B930101021000")
NUMBER_FILE = bytes.fromhex("010300200E0000")


def factory_card(chip: Chip = Chip.EV2) -> VirtualCard:
    card = VirtualCard("blank", "blank", desfire=factory_desfire(chip=chip))
    card.power_on("contactless")
    return card


def make_picc_key_aes(card: VirtualCard, new_key: bytes) -> None:
    """AuthenticateISO with the key of zeros and ChangeKey to AES, in EV1 messaging, by hand."""
    cipher = BlockCipher(KeyKind.DES, bytes(16))
    challenge = card.transmit(bytes.fromhex("901A0000010000"))
    rnd_b = cipher.decrypt(challenge[:-2])
    rnd_a = b"reader's"
    proof = cipher.encrypt(rnd_a + rnd_b[1:] + rnd_b[:1], challenge[:-2])
    answer = card.transmit(bytes.fromhex("90AF000010") + proof + b"\x00")
    assert (answer[-2:], cipher.decrypt(answer[:-2], proof[-8:])) == (b"\x91\x00", rnd_a[1:] + rnd_a[:1])
    session = BlockCipher(KeyKind.DES, rnd_a[:4] + rnd_b[:4])
    plain = new_key + b"\x00"
    sealed = session.encrypt(filled(plain + crc32(b"\xc4\x80" + plain), 8))
    body = b"\x80" + sealed
    assert card.transmit(bytes([0x90, 0xC4, 0, 0, len(body)]) + body + b"\x00") == b"\x91\x00"


def issue(card: VirtualCard) -> DesfireReader:
    """All steps of the layout with one use; the card is finished."""
    make_picc_key_aes(card, PICC_KEY)
    reader = DesfireReader(card)
    reader.authenticate_first(0, PICC_KEY)
    reader.command(0x54, b"", b"\x09")
    reader.command(0x5C, b"\x01", DEFAULT_KEY + bytes(9))
    reader.managed(0xCA, CREATE_DOOR)
    reader.select(DOOR)
    reader.authenticate_first(0, DEFAULT_KEY)
    reader.managed(0xCD, NUMBER_FILE)
    reader.write_full(1, 0, b"\x01\x01" + OLD.number)
    reader.change_other_key(b"\x01", DEFAULT_KEY, KEYS.proof_key)
    reader.change_other_key(b"\x02", DEFAULT_KEY, KEYS.locate_key)
    reader.change_own_key(b"\x00", KEYS.application_key)
    for number, key in enumerate((KEYS.application_key, KEYS.proof_key, KEYS.locate_key)):
        reader.authenticate_first(number, key)
    reader.select(bytes(3))
    reader.authenticate_first(0, PICC_KEY)
    reader.command(0x5C, b"\x00", b"\x02")
    return reader


def prepare_next(reader: DesfireReader) -> None:
    """InitializeKeySet, ChangeKeyEV2 of all keys, FinalizeKeySet."""
    reader.select(DOOR)
    reader.authenticate_first(0, KEYS.application_key)
    reader.managed(0x56, b"\x01\x02")
    old = (KEYS.application_key, KEYS.proof_key, KEYS.locate_key)
    new = (NEXT.application_key, NEXT.proof_key, NEXT.locate_key)
    for number in (1, 2, 0):
        reader.change_other_key(bytes([1, number]), old[number], new[number])
    reader.managed(0x57, b"\x01\x02")


def taps(card: VirtualCard, keys=KEYS) -> bytes:
    card.power_on("contactless")
    return tap(card, DOOR, locate_key=keys.locate_key, proof_key=keys.proof_key)


@pytest.mark.parametrize("chip", [Chip.EV2, Chip.EV3])
def test_a_factory_card_becomes_one_of_ours(chip):
    """Every step of the layout is carried out, and the card taps and shows a random UID afterwards."""
    card = factory_card(chip)
    issue(card)
    assert taps(card) == b"\x01\x01" + OLD.number
    made = personalise_desfire(SYSTEM_ID, [OLD]).applications[0]
    assert card.desfire.applications[0] == made
    assert card.desfire.memory.picc.key_settings == 0x09


def test_the_real_uid_is_on_the_air_until_random_uids_are_on():
    """Seven bytes, the same at every activation, in GetVersion too; after SetConfiguration four bytes that change."""
    card = factory_card()
    uid = card.desfire.uid
    for _ in range(2):
        card.power_on("contactless")
        assert card.transmit(bytes.fromhex("FFCA000000")) == uid + b"\x90\x00"
    issue(card)
    seen = set()
    for _ in range(4):
        card.power_on("contactless")
        seen.add(card.transmit(bytes.fromhex("FFCA000000"))[:-2])
    assert len(seen) > 1
    assert {(len(each), each[0]) for each in seen} == {(4, 0x08)}
    frames = [card.transmit(bytes.fromhex(f)) for f in ("9060000000", "90AF000000", "90AF000000")]
    assert uid not in b"".join(frames)


def test_random_uids_and_the_ban_on_formatting_are_never_taken_back():
    card = factory_card()
    reader = issue(card)
    reader.command(0x5C, b"\x00", b"\x01")
    settings = card.desfire.memory.configuration
    assert (settings.random_uid, settings.format_disabled) == (True, True)
    reader.command(0x5C, b"\x00", b"\x00")
    assert (settings.random_uid, settings.format_disabled) == (True, True)
    with pytest.raises(CardRefused, match="919D"):
        reader.managed(0xFC)


def test_new_keys_come_into_force_together_and_the_old_ones_are_dead():
    """Until RollKeySet the old keys work, after it only the new ones; the file still names the generation before."""
    card = factory_card()
    reader = issue(card)
    prepare_next(reader)
    assert taps(card) == b"\x01\x01" + OLD.number
    reader.select(DOOR)
    reader.authenticate_first(0, KEYS.application_key)
    reader.roll_key_set(1)
    assert taps(card, NEXT) == b"\x01\x01" + OLD.number
    for number, key in enumerate((KEYS.application_key, KEYS.proof_key, KEYS.locate_key)):
        reader.select(DOOR)
        with pytest.raises(CardRefused, match="91AE"):
            reader.authenticate_first(number, key)
    reader.select(DOOR)
    reader.authenticate_first(0, NEXT.application_key)
    reader.write_full(1, 1, b"\x02")
    assert reader.managed(0x64, b"\x40\x80") == b"\x02\x01"
    assert taps(card, NEXT) == b"\x01\x02" + OLD.number


def test_the_old_set_must_be_prepared_again_before_it_is_rolled_to():
    card = factory_card()
    reader = issue(card)
    prepare_next(reader)
    reader.roll_key_set(1)
    reader.authenticate_first(0, NEXT.application_key)
    with pytest.raises(CardRefused, match="919D"):
        reader.roll_key_set(1)


def test_key_sets_turn_in_a_circle():
    """With three sets the order of versions after a roll is the circle begun at the rolled one."""
    card = factory_card()
    make_picc_key_aes(card, PICC_KEY)
    reader = DesfireReader(card)
    reader.authenticate_first(0, PICC_KEY)
    reader.managed(0xCA, DOOR + bytes.fromhex("0F910111031000"))
    reader.select(DOOR)
    reader.authenticate_first(0, bytes(16))
    for number in (1, 2):
        reader.managed(0x56, bytes([number, 2]))
        reader.managed(0x57, bytes([number, 0x20 + number]))
    assert reader.managed(0x64, b"\x40\x80") == bytes.fromhex("112122")
    assert reader.managed(0x45) == bytes.fromhex("0F910111031000")
    reader.roll_key_set(2)
    reader.authenticate_first(0, bytes(16))
    assert reader.managed(0x64, b"\x40\x80") == bytes.fromhex("221121")
    reader.roll_key_set(2)
    reader.authenticate_first(0, bytes(16))
    assert reader.managed(0x64, b"\x40\x80") == bytes.fromhex("212211")


@pytest.mark.parametrize(
    ("ins", "header", "expected"),
    [
        (0x56, "0002", "919E"),
        (0x56, "0202", "919E"),
        (0x56, "0101", "919E"),
        (0x56, "0103", "919E"),
        (0x57, "0101", "919D"),
        (0x55, "00", "919E"),
        (0x55, "01", "919D"),
        (0x64, "4101", "9140"),
        (0x64, "4105", "9140"),
    ],
)
def test_key_sets_that_cannot_be(ins, header, expected):
    """The set in force, sets beyond the number, keys too long, sets not prepared: each has its status."""
    reader = issue(factory_card())
    reader.select(DOOR)
    reader.authenticate_first(0, KEYS.application_key)
    with pytest.raises(CardRefused, match=expected):
        reader.managed(ins, bytes.fromhex(header))


def test_only_the_roll_key_rolls_and_only_the_master_key_prepares():
    reader = issue(factory_card())
    reader.select(DOOR)
    for ins, header in ((0x56, b"\x01\x02"), (0x57, b"\x01\x02"), (0x55, b"\x01")):
        reader.authenticate_first(1, KEYS.proof_key)
        with pytest.raises(CardRefused, match="91AE"):
            reader.managed(ins, header)


def test_a_final_set_takes_no_more_keys():
    reader = issue(factory_card())
    prepare_next(reader)
    with pytest.raises(CardRefused, match="919D"):
        reader.change_other_key(b"\x01\x01", NEXT.proof_key, KEYS.proof_key)


def test_an_ev1_knows_none_of_the_later_commands():
    card = factory_card(Chip.EV1)
    for frame in ("9071000002000000", "903C0000010000", "90AD0000070100000000000000", "90550000010100"):
        assert card.transmit(bytes.fromhex(frame)) == b"\x91\x1c"


def test_formatting_gives_back_the_memory_and_deleting_does_not():
    card = factory_card()
    memory = card.desfire.memory
    reader = issue(card)
    used = memory.used_bytes
    assert used > 0
    reader.managed(0xDA, DOOR)
    assert (memory.applications, memory.used_bytes) == ([], used)
    assert reader.managed(0x6E) == memory.free_bytes.to_bytes(3, "little")
    reader.managed(0xFC)
    assert memory.used_bytes == 0
    assert memory.picc.keys == [AesKey(PICC_KEY)]


def test_the_originality_signature_is_for_the_uid_and_hidden_by_random_uids():
    """Plain on a factory card; with random UIDs nobody gets it without a session, for it would identify the card."""
    card = factory_card()
    answer = card.transmit(bytes.fromhex("903C0000010000"))
    assert (len(answer) - 2, answer[-2:]) == (SIGNATURE_LENGTH, b"\x91\x90")
    assert is_demonstration_signature(answer[:-2], card.desfire.uid)
    assert not is_demonstration_signature(answer[:-2], bytes(7))
    assert not is_demonstration_signature(b"short", card.desfire.uid)
    issue(card)
    card.power_on("contactless")
    assert card.transmit(bytes.fromhex("903C0000010000")) == b"\x91\x9d"


def test_a_saved_card_is_the_same_card():
    """Keys, sets, files and configuration survive; the session and what was not committed do not."""
    card = factory_card()
    prepare_next(issue(card))
    restored = CardMemory.from_bytes(card.desfire.memory.to_bytes())
    assert restored == card.desfire.memory
    assert restored.to_bytes() == card.desfire.memory.to_bytes()


@pytest.mark.parametrize(
    "saved", [b"", b"{}", b"[]", b'{"desfire": 2}', b"\xff", b'{"desfire": 1, "configuration": 3}']
)
def test_other_bytes_are_no_saved_card(saved):
    with pytest.raises(StateError):
        CardMemory.from_bytes(saved)


def test_a_kept_card_is_on_disk_before_its_answer(tmp_path):
    """Another process that takes the file at any moment has the card as the last answer left it."""
    path = tmp_path / "card.json"
    card = KeptCard(factory_card(), path)
    card.power_on("contactless")
    issue(card.card)
    card.transmit(bytes.fromhex("9060000000"))
    again = KeptCard(factory_card(), path)
    assert again.card.desfire.memory == card.card.desfire.memory
    assert path.stat().st_mode & 0o777 == 0o600
    again.power_on("contactless")
    assert again.transmit(bytes.fromhex("9060000000"))[-2:] == b"\x91\xaf"
    path.write_bytes(b"{}")
    with pytest.raises(StateError):
        again.power_on("contactless")


def test_a_pulled_card_may_have_carried_out_its_last_command():
    """Before or after: the key is the old one or the new one, and the answer is lost both times."""
    for carried_out in (False, True):
        inner = factory_card()
        issue(inner)
        card = PulledAfter(inner, 5, carried_out=carried_out)
        card.power_on("contactless")
        reader = DesfireReader(card)
        reader.select(DOOR)
        reader.authenticate_first(0, KEYS.application_key)
        assert reader.read_full(1, 0, 1) == b"\x01"
        with pytest.raises(CardPulled):
            reader.change_own_key(b"\x00", NEXT.application_key)
        holds = inner.desfire.applications[0].keys[0].value
        assert holds == (NEXT.application_key if carried_out else KEYS.application_key)


def test_a_torn_write_leaves_a_part_and_the_next_activation_tears_again():
    inner = factory_card()
    issue(inner)
    card = TornWrite(inner, inner, 3)
    card.power_on("contactless")
    reader = DesfireReader(card)
    reader.select(DOOR)
    reader.authenticate_first(0, KEYS.application_key)
    with pytest.raises(CardPulled, match="3 of 6"):
        reader.write_full(1, 2, b"XXXXXX")
    assert inner.desfire.applications[0].files[1].content[2:8] == b"XXX" + OLD.number[3:6]
    assert card.transmit(bytes.fromhex("9060000000")) == b""
    with pytest.raises(PersonalisationError):
        TornWrite(card, VirtualCard("none", "none"), 3)


def test_a_cell_that_takes_no_bytes_says_so_and_changes_nothing():
    card = factory_card()
    reader = issue(card)
    reader.select(DOOR)
    reader.authenticate_first(0, KEYS.application_key)
    card.desfire.memory.weakness.refuses = True
    with pytest.raises(CardRefused, match="91EE"):
        reader.write_full(1, 0, b"\x09")
    assert taps(card) == b"\x01\x01" + OLD.number


def test_a_relayed_card_is_genuine_and_late_and_a_timed_one_takes_its_time():
    """The answers are those of the card; what is waited for is bounded, reproducible, and longer for a write."""
    inner = factory_card()
    issue(inner)
    waits: list[float] = []
    relayed = RelayedCard(inner, 0.2, 0.1, 7, waits.append)
    assert taps(relayed)[2:] == OLD.number
    assert len(waits) == 6
    assert all(0.2 <= wait <= 0.3 for wait in waits)
    durations: list[float] = []
    timed = TimedCard(inner, TimingProfile(), durations.append)
    assert taps(timed)[2:] == OLD.number
    assert 0.02 < sum(durations) < 0.2
    profile = TimingProfile()
    assert profile.duration_s(b"\x90\x8d\x00\x00", b"") > profile.duration_s(b"\x90\xad\x00\x00", b"")


def test_a_deck_holds_factory_cards_old_cards_and_cards_with_a_file(tmp_path):
    """The members of docs and code agree: factory, capacity, one key set, badge number, memory file."""
    use = {"aid_as_sent": DOOR.hex(), "application_master": "41" * 16, "proof_master": "50" * 16}
    use |= {"locate_key": "4c" * 16, "generation": 1, "number": OLD.number.hex()}
    ours = {"system_id": SYSTEM_ID.hex(), "uses": [use], "one_key_set": True}
    ours |= {"picc_master": "43" * 16, "badge_number": b"badge-number".hex(), "memory_file": "ours.json"}
    cards = [
        {"card_id": "blank", "label": "blank", "desfire": {"factory": "EV1", "capacity_bytes": 4096}},
        {"card_id": "ours", "label": "ours", "desfire": ours, "fault": {"kind": "torn_write", "n_bytes": 0}},
        {
            "card_id": "late",
            "label": "late",
            "desfire": ours | {"memory_file": "late.json"},
            "fault": {"kind": "timed"},
        },
        {"card_id": "far", "label": "far", "fault": {"kind": "relayed", "delay_s": 0, "jitter_s": 0, "seed": 1}},
        {"card_id": "gone", "label": "gone", "fault": {"kind": "pulled_after", "n_apdus": 1, "carried_out": True}},
    ]
    save_deck(cards, tmp_path / "deck.json")
    deck = load_deck(tmp_path / "deck.json")
    assert deck["blank"].desfire.memory.capacity_bytes == 4096
    assert deck["blank"].desfire.memory.chip is Chip.EV1
    assert [type(deck[name]) for name in ("late", "far", "gone")] == [TimedCard, RelayedCard, PulledAfter]
    deck["ours"].power_on("contactless")
    memory = CardMemory.from_bytes((tmp_path / "ours.json").read_bytes())
    expected = derive_picc_key(SYSTEM_ID, picc_master=b"C" * 16, badge_number=b"badge-number")
    assert memory.picc.keys[0].value == expected
    assert memory.applications[0].key_set_rules is None


def test_the_cards_of_the_city_have_the_card_level_of_the_layout(tmp_path):
    """Two key sets in every application, settings 09, and the PICC key that follows from master and badge number."""
    save_deck(city_deck.build().descriptions, tmp_path / "city.json")
    memory = load_deck(tmp_path / "city.json")["anna"].desfire.memory
    master, badge_number = seed.master(*seed.PICC), seed.badge_number("anna")
    expected = derive_picc_key(seed.SYSTEM_ID, picc_master=master, badge_number=badge_number)
    assert (memory.picc.keys, memory.picc.key_settings) == ([AesKey(expected)], 0x09)
    assert memory.configuration.random_uid
    assert len(memory.applications) == len(seed.USES)
    for application in memory.applications:
        assert application.told_settings() == bytes.fromhex("0B930101021000")


@pytest.mark.parametrize(
    ("badge_number", "system_id", "message"), [(b"short", b"STADT", "12 bytes"), (bytes(12), b"", "1 to 16 bytes")]
)
def test_a_picc_key_needs_a_badge_number_and_a_system_id(badge_number, system_id, message):
    with pytest.raises(PersonalisationError, match=message):
        derive_picc_key(system_id, picc_master=bytes(16), badge_number=badge_number)


@pytest.mark.parametrize(
    ("desfire", "message"),
    [
        ({"factory": "EV9"}, "one of EV1, EV2, EV3"),
        ({"factory": "EV2", "capacity_bytes": 5000}, "4096 or 8192"),
        ({"factory": "EV2", "memory_file": "../card.json"}, "without a folder"),
        ({"uses": [], "badge_number": "00" * 12}, "needs the master"),
    ],
)
def test_factory_cards_that_cannot_be(tmp_path, desfire, message):
    with pytest.raises(DeckError, match=message):
        save_deck([{"card_id": "c", "label": "c", "desfire": desfire}], tmp_path / "deck.json")


def test_an_ats_of_ones_own_changes_the_atr():
    """SetConfiguration 02: what a reader derives from it has the new historical bytes and a right check byte."""
    card = factory_card()
    assert card.power_on("contactless") == bytes.fromhex("3B8180018080")
    make_picc_key_aes(card, PICC_KEY)
    reader = DesfireReader(card)
    reader.authenticate_first(0, PICC_KEY)
    reader.command(0x5C, b"\x02", bytes.fromhex("0875778102414243"))
    assert card.power_on("contactless")[:-1] == bytes.fromhex("3B838001414243")


@pytest.mark.parametrize("flags", ["01", "21"])
def test_an_application_has_an_identifier_whether_its_files_have_or_not(flags):
    """Bit 5 of KeySett2 is about the files; libfreefare's own tests of hardware create such applications."""
    card = factory_card()
    named = bytes.fromhex("01C1F50F" + flags + "1F114E414D45")
    assert card.transmit(bytes([0x90, 0xCA, 0, 0, len(named)]) + named + b"\x00") == b"\x91\x00"
    assert card.transmit(bytes.fromhex("906D000000")) == bytes.fromhex("01C1F51F114E414D459100")
    assert card.transmit(bytes.fromhex("00A4000002111F00")) == b"\x90\x00"
    file = bytes.fromhex("01" + ("03E1" if flags == "21" else "") + "00EEEE100000")
    assert card.transmit(bytes([0x90, 0xCD, 0, 0, len(file)]) + file + b"\x00") == b"\x91\x00"
    assert card.transmit(bytes.fromhex("9045000000"))[1] == int(flags, 16)


@pytest.mark.parametrize(
    ("select", "aid"),
    [
        ("00A4040007D276000085010000", "000000"),
        ("00A40000023F0000", "000000"),
        ("00A4000002341200", "01C1F5"),
        ("00A40400044E414D4500", "01C1F5"),
    ],
)
def test_iso_select_finds_card_and_application(select, aid):
    """By name or file identifier; the native commands then act on what was selected."""
    card = factory_card()
    named = bytes.fromhex("01C1F50FA112344E414D45")
    assert card.transmit(bytes([0x90, 0xCA, 0, 0, len(named)]) + named + b"\x00") == b"\x91\x00"
    assert card.transmit(bytes.fromhex(select)) == b"\x90\x00"
    assert card.desfire.activation.selected.aid == bytes.fromhex(aid)
    assert card.transmit(bytes.fromhex("00A4000002999900")) == b"\x6a\x82"
