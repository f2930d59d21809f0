# SPDX-License-Identifier: EUPL-1.2
"""The contract of key stores on a real PKCS#11 token (SoftHSM), and what a token promises besides."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pkcs11
import pytest
from contracts.key_store import MADE_MS, NUMBER, SYSTEM_ID, KeyStoreContract, brought_in, card_of, tap
from pkcs11 import Attribute, ObjectClass
from support.softhsm import SoftToken, fresh_token

from cardservice.cards.forbidden import why_check_value_forbidden, why_forbidden
from cardservice.cards.keys import sealing
from cardservice.cards.keys.keyfile import KeyFile
from cardservice.cards.ports import KeyName, KeyRefused, TokenTrouble
from cardservice.errors import KeyStoreError
from integrations.pkcs11 import Token, TokenMasters, TokenSettings

pytestmark = pytest.mark.softhsm
PROOF = KeyName("door", "proof", 1)


@pytest.fixture
def soft_token() -> SoftToken:
    return fresh_token()


@pytest.fixture
def token(soft_token: SoftToken) -> Iterator[Token]:
    opened = Token(TokenSettings(soft_token.module, soft_token.label, lambda: soft_token.pin))
    yield opened
    opened.close()


def masters_of(token: Token) -> TokenMasters:
    return TokenMasters(token, why_check_value_forbidden, why_key_forbidden=why_forbidden)


@pytest.fixture
def keys(tmp_path: Path, token: Token, monkeypatch: pytest.MonkeyPatch) -> KeyFile:
    monkeypatch.setattr(sealing, "SCRYPT", {"n": 2, "r": 8, "p": 1})
    return KeyFile(tmp_path / "keys.json", lambda: b"passphrase-canary-2c71", masters_of(token))


class TestToken(KeyStoreContract):
    """Masters in the token."""


def stored(token: Token) -> list[dict[Attribute, object]]:
    """The rights of every key that lies in the token."""
    asked = [Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.WRAP, Attribute.DECRYPT, Attribute.TOKEN]

    def listed(session: pkcs11.Session, _: int) -> list[dict[Attribute, object]]:
        return [one.get_attributes(asked) for one in session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})]

    return token.run(listed)


def test_no_master_can_be_read(keys: KeyFile, token: Token, tmp_path: Path) -> None:
    """Neither those made inside nor those brought in; and a card's key derived for a tap cannot either."""
    brought_in(keys, tmp_path / "copy")
    store = keys.load()
    key = store.ring("door").proof(1).diversify(NUMBER)
    key.cmac(b"x")
    found = stored(token)
    assert len(found) == 2 * 4 + 1
    for rights in found:
        assert rights[Attribute.SENSITIVE]
        assert not rights[Attribute.EXTRACTABLE]
        assert not rights.get(Attribute.WRAP)

    def read(session: pkcs11.Session, _: int) -> None:
        for one in session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}):
            with pytest.raises(pkcs11.PKCS11Error):
                one[Attribute.VALUE]

    token.run(read)


def test_derived_keys_leave_the_token_with_the_tap(keys: KeyFile, token: Token) -> None:
    """Else it would fill up: after many taps there are no more objects than before."""
    store = keys.create(SYSTEM_ID, None, MADE_MS)
    card = card_of(store, 1)
    before = len(stored(token))
    for _ in range(20):
        tap(store, card)
    assert len(stored(token)) == before


def test_the_file_holds_no_master_of_the_token(keys: KeyFile, tmp_path: Path) -> None:
    """File and passphrase without the token open no door: only what finds a card's number lies in it."""
    keys.create(SYSTEM_ID, None, MADE_MS)
    content = sealing.open_file(keys.path, keys.passphrase()).content
    assert {one["purpose"] for one in content["masters"]} == {"locate"}
    with pytest.raises(KeyStoreError, match=r"are in a token, but keys\.masters says 'sealed'"):
        replace(keys, token=None).load()


def test_a_session_that_ended_is_opened_again(keys: KeyFile, token: Token) -> None:
    """A token that was restarted logs everybody out: the next tap logs in, and keys of before work on."""
    store = keys.create(SYSTEM_ID, None, MADE_MS)
    card, key = card_of(store, 1), store.ring("door").proof(1).diversify(NUMBER)
    before = key.cmac(b"x")
    token.run(lambda session, _: session.close())
    assert key.cmac(b"x") == before
    token.run(lambda session, _: session.close())
    assert tap(store, card).number == NUMBER


def test_a_token_that_is_away_is_named_and_found_again(keys: KeyFile, token: Token, soft_token: SoftToken) -> None:
    """Meanwhile nothing is answered; afterwards everything goes on without a restart."""
    store = keys.create(SYSTEM_ID, None, MADE_MS)
    card = card_of(store, 1)
    soft_token.away()
    try:
        token.close()
        with pytest.raises(TokenTrouble, match=soft_token.label):
            tap(store, card)
    finally:
        soft_token.back()
    card.power_on("contactless")
    assert tap(store, card).number == NUMBER


def test_a_missing_master_is_named(keys: KeyFile, token: Token) -> None:
    """A store whose token lost a key does not open halfway."""
    keys.create(SYSTEM_ID, None, MADE_MS)
    masters_of(token).remove([PROOF])
    with pytest.raises(KeyStoreError, match="holds no proof key of door, generation 1"):
        keys.load()


def test_a_master_that_could_be_taken_out_is_refused(keys: KeyFile, token: Token) -> None:
    """Somebody made it beside us, with rights that nobody should have."""
    keys.create(SYSTEM_ID, None, MADE_MS)
    masters_of(token).remove([PROOF])

    def planted(session: pkcs11.Session, _: int) -> None:
        rights = {Attribute.DERIVE: True, Attribute.ENCRYPT: True, Attribute.EXTRACTABLE: True}
        label = "cardservice door proof 1 standard"
        session.generate_key(pkcs11.KeyType.AES, 128, label=label, store=True, template=rights)

    token.run(planted)
    with pytest.raises(KeyRefused, match="could be taken out of the token"):
        keys.load()


@pytest.mark.parametrize("known", [bytes(16), b"\xff" * 16, bytes.fromhex("00112233445566778899AABBCCDDEEFF")])
def test_a_known_key_in_a_token_is_recognised(keys: KeyFile, token: Token, known: bytes) -> None:
    """By what it makes of zeros, although nobody can read it; and none is ever brought in."""
    keys.create(SYSTEM_ID, None, MADE_MS)
    masters = masters_of(token)
    masters.remove([PROOF])
    with pytest.raises(KeyRefused, match="is refused"):
        masters.put(PROOF, known)
    unaware = TokenMasters(token, lambda _: None, why_key_forbidden=lambda _: None)
    unaware.put(PROOF, known)
    with pytest.raises(KeyRefused, match="the proof key of door is refused"):
        keys.load()


def test_a_master_is_never_overwritten(token: Token) -> None:
    masters = masters_of(token)
    masters.put(PROOF, secrets.token_bytes(16))
    with pytest.raises(KeyRefused, match="never overwritten"):
        masters.put(PROOF, secrets.token_bytes(16))


def test_what_is_wrong_with_a_token_is_said(soft_token: SoftToken, tmp_path: Path) -> None:
    """No library, another label, a wrong PIN: each in one sentence, without the PIN."""
    wrong = "pin-canary-wrong"
    cases = {
        "does not exist": TokenSettings(tmp_path / "none.so", soft_token.label, lambda: soft_token.pin),
        "there is no token 'nowhere'": TokenSettings(soft_token.module, "nowhere", lambda: soft_token.pin),
        "refuses the PIN of keys.pin_file": TokenSettings(soft_token.module, soft_token.label, lambda: wrong),
    }
    for sentence, settings in cases.items():
        with pytest.raises(TokenTrouble, match=sentence) as said:
            Token(settings).run(lambda *_: None)
        assert "pin-canary" not in str(said.value) + repr(settings)


def test_many_threads_use_one_token(keys: KeyFile) -> None:
    """Taps at many doors at once: each gets its own answer."""
    store = keys.create(SYSTEM_ID, None, MADE_MS)
    found: list[bytes] = []

    def tapping() -> None:
        card = card_of(store, 1)
        found.extend(tap(store, card).number for _ in range(10))

    threads = [Thread(target=tapping) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [NUMBER] * 40
