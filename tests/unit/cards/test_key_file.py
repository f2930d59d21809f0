# SPDX-License-Identifier: EUPL-1.2
"""The key store's file over time: older ones open, changes are whole or not at all, and two programs never mix."""

import json
import os
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cardservice.cards import forbidden
from cardservice.cards.keys import rules, sealing, software
from cardservice.cards.keys.keyfile import KeyFile, check_values
from cardservice.cards.keys.rules import USES, Generation, names_of
from cardservice.cards.keystore import SealedKeyStore, generate_masters
from cardservice.cards.ports import KeyName
from cardservice.errors import Conflict, KeyStoreError

PASSPHRASE = b"passphrase-canary-2c71"
KNOWN = bytes.fromhex("C238E449F725B1510EAA699550CABA16")
NUMBER = bytes(range(40, 52))


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "SCRYPT", {"n": 2, "r": 8, "p": 1})


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json", lambda: PASSPHRASE)


def write_format_1(path: Path) -> None:
    """A file as the first version of the program wrote it."""
    masters = [
        {"use": one.use, "purpose": one.purpose, "generation": 1, "key": one.key.hex()} for one in generate_masters()
    ]
    content = {"demonstration": False, "root": secrets.token_hex(32), "system_id": b"CITY".hex(), "masters": masters}
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    header = {"format": "cardservice keys 1", "scrypt": sealing.SCRYPT, "salt": salt.hex(), "nonce": nonce.hex()}
    key = sealing.stretch(PASSPHRASE, salt, sealing.SCRYPT)
    aad = json.dumps(header, sort_keys=True).encode()
    sealed = AESGCM(key).encrypt(nonce, json.dumps(content).encode(), aad)
    path.write_text(json.dumps(header | {"sealed": sealed.hex()}, indent=1))
    path.chmod(0o600)


def test_a_file_of_the_first_format_opens_and_is_rotated(keys: KeyFile) -> None:
    """Its cards go on; a change writes the new format; the card level gets its first key by rotating it."""
    write_format_1(keys.path)
    before = keys.load()
    with pytest.raises(KeyStoreError, match="'cardservice keys rotate card' makes them"):
        before.newest("card")
    assert keys.rotate("door", None, 5) == 2
    assert keys.rotate("card", None, 5) == 1
    after = keys.load()
    assert json.loads(keys.path.read_text())["format"] == sealing.FORMAT
    assert [len(after.ring(use).locate) for use in USES] == [2, 1, 1, 1]
    old = check_values(before)
    assert {name: value for name, value in check_values(after).items() if name in old} == old
    assert after.secret("receipts") == before.secret("receipts")
    assert after.newest("card") == 1


def test_a_change_keeps_the_file_before(keys: KeyFile) -> None:
    """Beside it, as closed to others as itself, until the next change."""
    keys.create(b"CITY", None, 1)
    first = keys.path.read_bytes()
    keys.rotate("door", None, 2)
    previous = keys.path.with_name("keys.json.previous")
    assert previous.read_bytes() == first
    assert previous.stat().st_mode & 0o777 == keys.path.stat().st_mode & 0o777 == 0o600
    second = keys.path.read_bytes()
    keys.rotate("printer", None, 3)
    assert previous.read_bytes() == second


@pytest.mark.parametrize("dying", ["fsync", "link", "replace"])
def test_a_crash_leaves_the_file_before_or_after(keys: KeyFile, dying: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step the program dies at: what stands there opens, and the next change works."""
    keys.create(b"CITY", None, 1)

    def die(*_: object, **__: object) -> None:
        raise OSError(5, "died here")

    with monkeypatch.context() as patched:
        if dying == "replace":
            patched.setattr(Path, "replace", die)
        else:
            patched.setattr(os, dying, die)
        with pytest.raises(KeyStoreError, match="it was not changed"):
            keys.rotate("door", None, 2)
    assert keys.load().newest("door") == 1
    assert keys.rotate("door", None, 3) == 2
    assert keys.load().newest("door") == 2


def test_two_programs_never_change_it_at_once(keys: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LOCK_S", 0.0)
    keys.create(b"CITY", None, 1)
    with sealing.changing(keys.path), pytest.raises(KeyStoreError, match="another program is changing it"):
        keys.rotate("door", None, 2)
    assert keys.rotate("door", None, 2) == 2


def test_a_closed_generation_is_gone_from_the_file(keys: KeyFile) -> None:
    """Not only marked: its keys are not in the content any more; that it was there, and when it ended, is."""
    keys.create(b"CITY", None, 1)
    keys.rotate("door", None, 2)
    keys.close([("door", 1, 3)])
    content = sealing.open_file(keys.path, PASSPHRASE).content
    assert {one["generation"] for one in content["masters"] if one["use"] == "door"} == {2}
    ended = [one for one in content["generations"] if (one["use"], one["number"]) == ("door", 1)]
    assert [(one["made_ms"], one["closed_ms"]) for one in ended] == [(1, 3)]


def test_a_use_without_keys_is_not_rotated(keys: KeyFile) -> None:
    keys.create(b"CITY", None, 1)
    with pytest.raises(Conflict, match="'workstation' has no keys; allowed are door"):
        keys.rotate("workstation", None, 2)


def test_the_last_generation_is_the_last() -> None:
    """A card's file has one byte for it."""
    assert rules.next_number([Generation("card", 254, 1, 2)], "card") == 255
    with pytest.raises(ValueError, match="generation 255 of card is the last one"):
        rules.next_number([Generation("card", 255, 1, 2)], "card")


def test_a_known_key_is_thrown_away_when_keys_are_made() -> None:
    """Generation: the source of random numbers gives one, and the next is taken; only known ones end it."""
    good = secrets.token_bytes(16)
    drawn = iter([bytes(16), KNOWN, good])
    made = software.generate(names_of("card", 1), random_bytes=lambda _: next(drawn))
    assert [one.key for one in made] == [good]
    with pytest.raises(KeyStoreError, match="known keys only; it is broken"):
        software.generate(names_of("card", 1), random_bytes=lambda _: KNOWN)


@pytest.mark.parametrize("purpose", ["locate", "proof", "application_master"])
def test_a_known_key_is_never_written_to_a_card(purpose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Personalisation: whatever the master was, the key that came of it is looked at once more."""
    store = SealedKeyStore(bytes(32), b"CITY", generate_masters())
    name = KeyName("door", purpose, 1)
    key = store.application_key(name, NUMBER).wrap_for_change(lambda key: key)
    monkeypatch.setattr(forbidden, "_PUBLISHED", frozenset({key}))
    with pytest.raises(KeyStoreError, match=f"the {purpose} key of door is refused"):
        store.application_key(name, NUMBER)


def test_the_file_and_its_errors_show_no_key(keys: KeyFile) -> None:
    store = keys.create(b"CITY", None, 1)
    key = store.application_key(KeyName("door", "locate", 1), NUMBER).wrap_for_change(lambda key: key)
    text = keys.path.read_text()
    assert key.hex() not in text
    assert PASSPHRASE.decode() not in text + repr(keys.load()) + repr(sealing.open_file(keys.path, PASSPHRASE))
    assert key.hex() not in repr(sealing.open_file(keys.path, PASSPHRASE))
