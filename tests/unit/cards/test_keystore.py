# SPDX-License-Identifier: EUPL-1.2
"""The sealed key store: what goes in comes out, everything else is refused, nothing shows."""

import json
import os
import traceback
from pathlib import Path

import pytest

from cardservice.cards import keystore
from cardservice.cards.keys import sealing
from cardservice.cards.keystore import CardMaster, create, generate_masters, open_store
from cardservice.chip.keys import SoftwareAesKey
from cardservice.errors import KeyStoreError
from city import seed

PASSPHRASE = b"correct horse battery staple"
CANARY = bytes.fromhex("c0ffee5eed1ca4a57e57b100d0ddf00d")
SYSTEM_ID = b"CITY"


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real cost is tested once; elsewhere a cheap one does."""
    monkeypatch.setattr(sealing, "SCRYPT", {"n": 2, "r": 8, "p": 1})


def masters(key: bytes = CANARY) -> list[CardMaster]:
    ours = generate_masters()
    return [CardMaster(m.use, m.purpose, 1, key if (m.use, m.purpose) == ("door", "proof") else m.key) for m in ours]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    create(file, PASSPHRASE, system_id=SYSTEM_ID, masters=masters())
    return file


def demonstration_masters() -> list[CardMaster]:
    return [CardMaster(use, purpose, 1, seed.master(use, purpose)) for use in seed.USES for purpose in seed.PURPOSES]


def test_what_goes_in_comes_out(path: Path) -> None:
    """Keys work as before after a restart, and the service's own secrets stay the same."""
    first, second = open_store(path, PASSPHRASE), open_store(path, PASSPHRASE)
    assert first.system_id == SYSTEM_ID
    assert not first.demonstration
    for use in keystore.USES:
        assert len(first.ring(use).locate) == 1
        assert first.ring(use).proof(1) is not None
        assert first.ring(use).proof(2) is None
    block = bytes(16)
    assert first.ring("door").locate[0].cmac(block) == second.ring("door").locate[0].cmac(block)
    assert first.ring("door").locate[0].cmac(block) != first.ring("printer").locate[0].cmac(block)
    assert first.secret("receipts") == second.secret("receipts")
    assert len({first.secret(purpose) for purpose in ("receipts", "journal door seal", "")}) == 3
    assert len(first.secret("receipts")) == 32


def test_two_stores_of_one_passphrase_share_nothing(tmp_path: Path) -> None:
    both = []
    for name in ("a", "b"):
        create(tmp_path / name, PASSPHRASE, system_id=SYSTEM_ID, masters=masters())
        both.append(open_store(tmp_path / name, PASSPHRASE))
    assert both[0].secret("receipts") != both[1].secret("receipts")


def test_the_real_cost_is_slow_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrypt takes 32 MiB; a file that asks for another cost is refused before any work is done."""
    monkeypatch.undo()
    create(tmp_path / "keys", PASSPHRASE, system_id=SYSTEM_ID, masters=masters())
    written = json.loads((tmp_path / "keys").read_bytes())
    assert written["passphrase"]["scrypt"] == {"n": 32768, "r": 8, "p": 1}
    assert open_store(tmp_path / "keys", PASSPHRASE).system_id == SYSTEM_ID
    written["passphrase"]["scrypt"] = {"n": 2**40, "r": 8, "p": 1}
    (tmp_path / "keys").write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(KeyStoreError, match="scrypt cost"):
        open_store(tmp_path / "keys", PASSPHRASE)


@pytest.mark.parametrize("passphrase", [b"", PASSPHRASE + b" ", PASSPHRASE.upper()])
def test_a_wrong_passphrase_opens_nothing(path: Path, passphrase: bytes) -> None:
    with pytest.raises(KeyStoreError, match="wrong passphrase, or the file was changed"):
        open_store(path, passphrase)


def test_a_changed_byte_anywhere_is_refused(path: Path) -> None:
    """Each byte before the sealed content in turn, and many of it: flipped, the store does not open."""
    original = path.read_bytes()
    sealed = original.index(b"sealed") + len("sealed") + 4
    for position in (*range(sealed), *range(sealed, len(original), 7), *range(len(original) - 5, len(original))):
        changed = bytearray(original)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(KeyStoreError):
            open_store(path, PASSPHRASE)
    path.write_bytes(original)
    assert open_store(path, PASSPHRASE).system_id == SYSTEM_ID


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    original = path.read_bytes()
    for length in range(0, len(original), 7):
        path.write_bytes(original[:length])
        with pytest.raises(KeyStoreError):
            open_store(path, PASSPHRASE)


@pytest.mark.parametrize(
    "part",
    [
        {"passphrase": None},
        {"passphrase": {}},
        {"passphrase": {"salt": 5}},
        {"shares": []},
        {"shares": {"needed": 2, "count": 3, "set": "0000"}},
        {"nonce": ""},
        {"nonce": "00"},
        {"sealed": None},
        {"sealed": ""},
        {"sealed": "xyz"},
        {"scrypt": []},
        {"format": "cardservice keys 1"},
        {"format": "cardservice keys 3"},
        {"format": []},
        {"more": 1},
    ],
)
def test_a_header_that_makes_no_sense_is_refused(path: Path, part: dict[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | part), encoding="utf-8")
    with pytest.raises(KeyStoreError):
        open_store(path, PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5_000])
def test_what_is_no_key_store_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(KeyStoreError, match="not a file of the form"):
        open_store(path, PASSPHRASE)


def test_a_huge_file_is_not_read_to_its_end(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(50 * 1024**3)
    with pytest.raises(KeyStoreError, match="larger than 1048576 bytes"):
        open_store(path, PASSPHRASE)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_file_others_may_touch_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(KeyStoreError, match=f"mode {mode:04o}.*chmod 600"):
        open_store(path, PASSPHRASE)


def test_a_new_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create(tmp_path / "keys", PASSPHRASE, system_id=SYSTEM_ID, masters=masters())
    finally:
        os.umask(before)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600


def test_a_missing_store_or_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="No such file"):
        open_store(tmp_path / "keys", PASSPHRASE)
    with pytest.raises(KeyStoreError, match="No such file"):
        create(tmp_path / "nowhere" / "keys", PASSPHRASE, system_id=SYSTEM_ID, masters=masters())


def test_a_store_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(KeyStoreError, match="never overwritten"):
        create(path, PASSPHRASE, system_id=SYSTEM_ID, masters=masters())
    assert path.read_bytes() == before


def test_a_demonstration_store_opens_in_the_demonstration_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    create(path, PASSPHRASE, system_id=SYSTEM_ID, masters=demonstration_masters(), demonstration=True)
    assert open_store(path, PASSPHRASE, demonstration_allowed=True).demonstration
    with pytest.raises(KeyStoreError, match="demonstration keys"):
        open_store(path, PASSPHRASE)


@pytest.mark.parametrize("bad", [bytes(16), seed.master("door", "proof"), CANARY[:15], CANARY + b"\0"])
def test_a_forbidden_key_never_enters(tmp_path: Path, bad: bytes) -> None:
    with pytest.raises(KeyStoreError, match="the proof key of door is refused"):
        create(tmp_path / "keys", PASSPHRASE, system_id=SYSTEM_ID, masters=masters(bad))
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("system_id", [b"", bytes(17)])
def test_a_system_id_has_one_to_sixteen_bytes(tmp_path: Path, system_id: bytes) -> None:
    with pytest.raises(KeyStoreError, match="1 to 16"):
        create(tmp_path / "keys", PASSPHRASE, system_id=system_id, masters=masters())


def test_a_use_without_keys_is_named(tmp_path: Path) -> None:
    only_doors = [master for master in masters() if master.use == "door"]
    create(tmp_path / "keys", PASSPHRASE, system_id=SYSTEM_ID, masters=only_doors)
    store = open_store(tmp_path / "keys", PASSPHRASE)
    assert store.ring("door").locate
    for use in ("printer", "workstation"):
        with pytest.raises(KeyStoreError, match=f"no keys for '{use}'"):
            store.ring(use)


def test_two_generations_are_tried_newest_first(tmp_path: Path) -> None:
    """While keys are rotated, the newest two locate keys are tried; every proof generation is known."""
    three = [master for generation in (2, 3, 1) for master in generate_masters(generation)]
    create(tmp_path / "keys", PASSPHRASE, system_id=SYSTEM_ID, masters=three)
    ring = open_store(tmp_path / "keys", PASSPHRASE).ring("door")
    newest = {m.generation: m.key for m in three if (m.use, m.purpose) == ("door", "locate")}
    expected = [SoftwareAesKey(newest[generation]).cmac(b"x") for generation in (3, 2)]
    assert [key.cmac(b"x") for key in ring.locate] == expected


def test_generated_masters_are_complete_and_all_different() -> None:
    fresh = generate_masters()
    assert {(m.use, m.purpose) for m in fresh} == {(use, p) for use in keystore.USES for p in keystore.PURPOSES}
    assert len({m.key for m in fresh}) == 12
    assert {len(m.key) for m in fresh} == {16}


def shows_canary(text: str | bytes) -> bool:
    raw = text if isinstance(text, bytes) else text.encode()
    return any(form in raw.lower() for form in (CANARY, CANARY.hex().encode(), repr(CANARY).lower().encode()))


def test_nothing_secret_shows(path: Path) -> None:
    """Neither the file, nor any repr or text, nor an error with its whole trace names a key or the passphrase."""
    store = open_store(path, PASSPHRASE)
    assert shows_canary(CANARY.hex())
    assert not shows_canary(path.read_bytes())
    ring = store.ring("door")
    shown = [CardMaster("door", "proof", 1, CANARY), store, ring, ring.proof(1), *ring.locate]
    for thing in shown:
        for text in (repr(thing), str(thing), f"{thing}", repr([thing])):
            assert not shows_canary(text)
            assert PASSPHRASE.decode() not in text
    assert store.secret("receipts").hex() not in repr(vars(ring))


def test_no_error_shows_a_secret(path: Path, tmp_path: Path) -> None:
    refused = [CardMaster("door", "proof", 1, CANARY * 2)]
    attempts = (
        lambda: create(tmp_path / "new", PASSPHRASE, system_id=SYSTEM_ID, masters=refused),
        lambda: create(path, PASSPHRASE, system_id=SYSTEM_ID, masters=masters()),
        lambda: open_store(path, PASSPHRASE + CANARY),
    )
    for attempt in attempts:
        with pytest.raises(KeyStoreError) as raised:
            attempt()
        trace = "".join(traceback.format_exception(raised.value))
        assert not shows_canary(trace)
        assert PASSPHRASE.decode() not in trace
