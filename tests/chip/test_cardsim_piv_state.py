# SPDX-License-Identifier: EUPL-1.2
"""A PIV card outlives the process that simulates it: its file holds what its memory holds, and nothing else."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from support.piv_card import DIGEST, KEY, PIN, PUK, Terminal, new_card

from cardsim import tlv, yubico
from cardsim.card import VirtualCard
from cardsim.errors import DeckError
from cardsim.piv import memory_of
from cardsim.piv_state import load_card, load_cards, save_card

ROOT = Path(__file__).resolve().parents[2]
PRINTED = bytes.fromhex("5FC109")
WRONG_PIN = b"000000\xff\xff"


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "card.json"
    save_card(new_card(), path)
    return path


def kept(file: Path) -> Terminal:
    return Terminal(load_cards(file.parent)["card"]).power()


def test_what_a_command_changed_is_on_disk_when_it_is_answered(file):
    """Counters, objects, keys, PIN and PUK: a second process that looks after the answer sees them."""
    at = kept(file)
    assert at.verify(WRONG_PIN) == "63C2"
    assert load_card(file).piv.pin.remaining == 2
    assert at.status("00240081", PUK + b"abcdefgh") == "9000"
    assert load_card(file).piv.puk.value == b"abcdefgh"
    assert at.administrate() == "9000"
    assert at.put(PRINTED, b"printed") == "9000"
    assert load_card(file).piv.objects[PRINTED] == b"\x53\x07printed"
    answer, _ = at.generate(0x9E, 0x11)
    point = tlv.decode(tlv.decode(answer[1:])[0x49])[0x86]
    other = kept(file)
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    public.verify(other.use(0x9E)[0], DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


def test_security_statuses_are_not_kept(file):
    at = kept(file)
    assert (at.verify(), at.administrate()) == ("9000", "9000")
    other = kept(file)
    assert (other.verify(b""), other.put(PRINTED, b"x")) == ("63C3", "6982")


def test_a_card_is_the_same_after_being_written_and_read(file):
    first, second = load_card(file), load_card(file)
    save_card(second, file)
    third = load_card(file)
    assert memory_of(first.piv).objects == memory_of(third.piv).objects
    assert memory_of(first.piv).management_key == KEY
    keys = [{n: s.private_key.private_numbers() for n, s in card.piv.slots.items()} for card in (first, third)]
    assert keys[0] == keys[1]
    assert (third.card_id, third.label, third.piv_contactless) == ("card", "card", True)


def test_another_process_takes_the_card_up_where_it_was_left(file):
    """Two wrong PINs here, the third there: it blocks."""
    at = kept(file)
    assert [at.verify(WRONG_PIN), at.verify(WRONG_PIN)] == ["63C2", "63C1"]
    program = (
        "import sys; from pathlib import Path; from cardsim.piv_state import load_cards;"
        "card = load_cards(Path(sys.argv[1]))['card']; card.power_on('contact');"
        "card.transmit(bytes.fromhex('00A4040009A0000003080000100000'));"
        "print(card.transmit(bytes.fromhex('0020008008303030303030FFFF')).hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file.parent)],
        env={"PYTHONPATH": str(ROOT / "hardware-sim")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "63c0"
    assert kept(file).verify(PIN) == "6983"


def test_a_card_that_another_reader_had_in_between_knows_what_happened_there(file):
    """Both readers loaded the card before; each takes it up as it lies in the file."""
    first, second = kept(file), kept(file)
    assert first.verify(WRONG_PIN) == "63C2"
    assert second.power().verify(b"") == "63C2"
    assert second.status("00240080", PIN + b"999999\xff\xff") == "9000"
    assert first.power().verify(PIN) == "63C2"
    assert first.verify(b"999999\xff\xff") == "9000"


def test_a_factory_new_card_of_yubicos_make_comes_back_as_one(tmp_path):
    file = tmp_path / "key.json"
    save_card(VirtualCard("key", "Key", piv=yubico.factory_card()), file)
    at = Terminal(load_card(file)).power()
    assert at.send("00FD0000") == (b"\x05\x04\x03", "9000")
    assert at.administrate(yubico.FACTORY_MANAGEMENT_KEY) == "9000"


def test_the_file_is_for_its_owner_alone_and_nothing_is_left_beside_it(file):
    kept(file).verify(WRONG_PIN)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["card.json"]


def test_reading_writes_nothing(file):
    before = file.stat().st_mtime_ns
    at = kept(file)
    assert at.verify() == "9000"
    at.get(b"\x7e")
    at.use(0x9E)
    assert file.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("variant", "other", "one of piv, yubico"),
        ("pin", {"value": "3132333435360000", "retries": 3, "remaining": 9}, "at most 3"),
        ("pin", {"value": "31", "retries": 3, "remaining": 3}, "8 bytes in hex"),
        ("management_key", {"algorithm": 10, "value": "00" * 16}, "no key of 16 bytes"),
        ("slots", [{"slot": "9A", "key": "3000", "certificate": "", "pin_policy": 0, "imported": False}], "PKCS #8"),
        ("objects", {}, "a list"),
        ("surplus", 1, "unknown member"),
    ],
)
def test_a_broken_file_is_refused_with_the_place_and_without_the_value(file, member, value, message):
    content = json.loads(file.read_text())
    content[member] = value
    file.write_text(json.dumps(content))
    with pytest.raises(DeckError, match=message) as refused:
        load_cards(file.parent)
    assert "3132333435360000" not in str(refused.value)


def test_what_is_no_card_at_all_is_refused(tmp_path, file):
    with pytest.raises(DeckError, match="not JSON"):
        load_card(_written(tmp_path / "a.txt", "{"))
    with pytest.raises(DeckError, match="an object"):
        load_card(_written(tmp_path / "b.txt", " " * ((1 << 20) + 1)))
    with pytest.raises(DeckError, match="cannot be read"):
        load_card(tmp_path / "absent.json")
    with pytest.raises(DeckError, match="nothing to keep"):
        save_card(VirtualCard("empty", "empty"), tmp_path / "c.json")
    (tmp_path / "again.json").write_text(file.read_text())
    with pytest.raises(DeckError, match="the same id"):
        load_cards(tmp_path)


def test_a_card_whose_file_cannot_be_written_gives_no_answer(file):
    """It would promise what it has not kept."""
    at = kept(file)
    file.parent.rename(file.parent.with_name("gone"))
    with pytest.raises(DeckError, match="cannot be written"):
        at.verify(WRONG_PIN)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
