# SPDX-License-Identifier: EUPL-1.2
"""What every key store must do, wherever its masters lie: the contract of `cards.ports.KeyStore` and of `KeyFile`.

A test class inherits `KeyStoreContract` and gives a fixture `keys`: a `KeyFile` that nothing was made with yet.
"""

import secrets
from dataclasses import replace

import pytest

from cardservice.cards.keys import sealing, shares
from cardservice.cards.keys.keyfile import KeyFile, SharedSecret, check_values
from cardservice.cards.keys.rules import PURPOSES, USES
from cardservice.cards.keys.shares import ShareRefused
from cardservice.cards.keys.software import CardMaster, generate_masters
from cardservice.cards.keystore import SealedKeyStore, new_contents
from cardservice.cards.ports import KeyName
from cardservice.chip.conversation import drive
from cardservice.chip.errors import AuthenticationRefused, CardNotGenuine
from cardservice.chip.keys import SoftwareMasterKey
from cardservice.chip.layout import CardUse, diversification_input
from cardservice.chip.locate import ProvenNumber, identify
from cardservice.errors import Conflict, KeyStoreError
from cardsim.card import VirtualCard
from cardsim.personalise import CardKeys, desfire_with, use_application

SYSTEM_ID = b"CITY"
NUMBER = bytes(range(40, 52))
ZEROS = bytes(16)
MADE_MS = 1_790_000_000_000


def bytes_of(store: SealedKeyStore, purpose: str, generation: int) -> bytes:
    """The key that is written to a card: what an encoder's conversation gets to encipher."""
    return store.application_key(KeyName("door", purpose, generation), NUMBER).wrap_for_change(lambda key: key)


def card_of(store: SealedKeyStore, generation: int) -> VirtualCard:
    """A card for doors, made with the keys that the store gives out for writing."""
    keys = CardKeys(
        aid_as_sent=CardUse.DOOR.aid,
        number=NUMBER,
        generation=generation,
        application_key=bytes_of(store, "application_master", generation),
        proof_key=bytes_of(store, "proof", generation),
        locate_key=bytes_of(store, "locate", generation),
    )
    card = VirtualCard("own", "own", desfire=desfire_with([use_application(keys)]))
    card.power_on("contactless")
    return card


def tap(store: SealedKeyStore, card: VirtualCard) -> ProvenNumber:
    """Hold a card to a door."""
    return drive(identify(CardUse.DOOR, store.ring("door"), system_id=store.system_id), card.transmit)


class KeyStoreContract:
    """Promises of a key store."""

    @pytest.fixture
    def store(self, keys: KeyFile) -> SealedKeyStore:
        return keys.create(SYSTEM_ID, None, MADE_MS)

    def test_a_fresh_store_has_one_generation_of_everything(self, keys: KeyFile, store: SealedKeyStore) -> None:
        """What was made is there after it was opened again, and the service's own secrets are the same."""
        again = keys.load()
        for use in USES:
            assert len(again.ring(use).locate) == 1
            assert again.ring(use).proof(1) is not None
            assert again.ring(use).proof(2) is None
            assert again.newest(use) == 1
        assert again.newest("card") == 1
        assert again.secret("receipts") == store.secret("receipts")
        assert check_values(again) == check_values(store)
        assert len(set(check_values(store).values())) == len(USES) * len(PURPOSES) + 1

    def test_a_card_made_with_its_keys_proves_itself(self, store: SealedKeyStore) -> None:
        """Issuing and taps use the same keys; a card with another proof key is not genuine."""
        card = card_of(store, 1)
        assert tap(store, card).number == NUMBER
        assert tap(store, card).generation == 1
        other = replace_proof_key(store)
        with pytest.raises(CardNotGenuine):
            tap(store, other)

    def test_keys_are_derived_as_the_card_language_says(self, keys: KeyFile, tmp_path) -> None:
        """Masters brought in from elsewhere give the very keys that AN10922 gives of them."""
        masters, shared = brought_in(keys, tmp_path / "copy")
        store = keys.load()
        for use in USES:
            master = next(one for one in masters if (one.use, one.purpose) == (use, "proof"))
            message = diversification_input(NUMBER, CardUse(use), SYSTEM_ID)
            expected = SoftwareMasterKey(master.key).diversify(message)
            found = store.ring(use).proof(1).diversify(message)
            assert found.encrypt_cbc(ZEROS, b"a" * 32) == expected.encrypt_cbc(ZEROS, b"a" * 32)
            assert found.decrypt_cbc(NUMBER + b"1234", b"a" * 48) == expected.decrypt_cbc(NUMBER + b"1234", b"a" * 48)
            assert [found.cmac(text) for text in (b"", b"x" * 16, b"y" * 33)] == [
                expected.cmac(text) for text in (b"", b"x" * 16, b"y" * 33)
            ]
        assert keys.scheme() == shared.scheme

    def test_two_generations_are_accepted_while_keys_are_changed(self, keys: KeyFile, store: SealedKeyStore) -> None:
        """New cards get the new one, old cards work until theirs is closed; a third cannot be begun meanwhile."""
        old = card_of(store, 1)
        secret = store.secret("receipts")
        assert keys.rotate("door", None, MADE_MS + 1) == 2
        both = keys.load()
        new = card_of(both, 2)
        assert both.newest("door") == 2
        assert both.newest("printer") == 1
        assert [tap(both, card).generation for card in (new, old)] == [2, 1]
        with pytest.raises(Conflict, match="both open; close 1 first"):
            keys.rotate("door", None, MADE_MS + 2)
        keys.close([("door", 1, MADE_MS + 3)])
        only_new = keys.load()
        assert tap(only_new, new).generation == 2
        with pytest.raises(AuthenticationRefused):
            tap(only_new, old)
        assert only_new.ring("door").proof(1) is None
        with pytest.raises(KeyStoreError, match="generation 1 that is open"):
            only_new.application_key(KeyName("door", "proof", 1), NUMBER)
        assert only_new.secret("receipts") == secret
        assert keys.rotate("door", None, MADE_MS + 4) == 3

    def test_a_running_service_takes_a_rotation_over(self, keys: KeyFile, store: SealedKeyStore) -> None:
        """The same object has the new keys afterwards; another key store's are refused."""
        card = card_of(store, 1)
        keys.rotate("door", None, MADE_MS + 1)
        store.take_over(keys.load())
        assert store.newest("door") == 2
        assert tap(store, card).generation == 1
        foreign = SealedKeyStore(secrets.token_bytes(32), SYSTEM_ID, generate_masters())
        with pytest.raises(KeyStoreError, match="another key store"):
            store.take_over(foreign)

    def test_the_card_level_has_a_key_for_each_badge(self, store: SealedKeyStore) -> None:
        """It is derived from the badge number alone, and no two badges share one."""
        first, second = (store.picc_key(1, number) for number in (NUMBER, bytes(12)))
        assert first.cmac(b"x") == store.picc_key(1, NUMBER).cmac(b"x")
        assert first.cmac(b"x") != second.cmac(b"x")
        with pytest.raises(ValueError, match="12 bytes"):
            store.picc_key(1, NUMBER[:11])
        with pytest.raises(KeyStoreError, match="generation 9 that is open"):
            store.picc_key(9, NUMBER)

    def test_shares_open_it_where_it_has_some(self, keys: KeyFile, tmp_path) -> None:
        """Rotating needs them, wrong ones change nothing, and new ones make the old ones useless."""
        old, new = fresh_shares(), fresh_shares()
        keys.create(SYSTEM_ID, old, MADE_MS)
        before = keys.path.read_bytes()
        for wrong in (None, new.secret):
            with pytest.raises(ShareRefused, match="nothing was changed"):
                keys.rotate("door", wrong, MADE_MS)
        assert keys.path.read_bytes() == before
        assert keys.rotate("door", old.secret, MADE_MS) == 2
        keys.share_anew(old.secret, new)
        with pytest.raises(ShareRefused):
            keys.require_opened_by(old.secret)
        keys.require_opened_by(new.secret)
        assert keys.load().newest("door") == 2

    def test_a_copy_and_its_shares_are_enough_to_begin_again(self, keys: KeyFile, tmp_path) -> None:
        """Without the passphrase; and a key store that is there is never overwritten."""
        _, shared = brought_in(keys, tmp_path / "copy")
        with pytest.raises(KeyStoreError, match="never overwritten"):
            keys.bring_in(tmp_path / "copy", shared.secret)
        with pytest.raises(KeyStoreError, match="these shares do not open it"):
            replace(keys, path=tmp_path / "other").bring_in(tmp_path / "copy", shares.new_secret())

    def test_a_known_key_is_refused_when_it_is_brought_in(self, keys: KeyFile, tmp_path) -> None:
        """Though it was sealed properly: whoever sealed it may have had another list."""
        bad = [CardMaster("door", "proof", 1, bytes.fromhex("C238E449F725B1510EAA699550CABA16"))]
        shared = sealed_copy(tmp_path / "copy", bad)
        with pytest.raises(KeyStoreError, match="the proof key of door is refused: it is a published"):
            keys.bring_in(tmp_path / "copy", shared.secret)
        assert not keys.path.exists()

    def test_nothing_of_it_shows(self, store: SealedKeyStore) -> None:
        """Whatever is printed of keys, rings and masters names no key."""
        shown = [store, store.ring("door"), *store.ring("door").locate, store.ring("door").proof(1)]
        shown += [store.ring("door").proof(1).diversify(NUMBER), store.picc_key(1, NUMBER)]
        secret = [bytes_of(store, purpose, 1) for purpose in PURPOSES]
        for thing in shown:
            for key in secret:
                assert key.hex() not in repr(thing).lower()
                assert repr(key)[2:-1] not in repr(thing)


def fresh_shares() -> SharedSecret:
    return SharedSecret(shares.new_scheme(2, 3), shares.new_secret())


def sealed_copy(path, masters: list[CardMaster]) -> SharedSecret:
    """A key store from elsewhere, sealed without looking at its keys; its shares open it."""
    shared = fresh_shares()
    contents = replace(new_contents(SYSTEM_ID, generate_masters()), masters=tuple(masters))
    opened = sealing.new(b"of elsewhere", contents.document()).with_shares(shared.scheme, shared.secret)
    sealing.write_new(path, opened)
    return shared


def brought_in(keys: KeyFile, copy) -> tuple[list[CardMaster], SharedSecret]:
    masters = generate_masters()
    shared = sealed_copy(copy, masters)
    keys.bring_in(copy, shared.secret)
    return masters, shared


def replace_proof_key(store: SealedKeyStore) -> VirtualCard:
    """A card whose proof key is not the one of its number."""
    keys = CardKeys(
        aid_as_sent=CardUse.DOOR.aid,
        number=NUMBER,
        generation=1,
        application_key=bytes(range(16)),
        proof_key=bytes(range(16)),
        locate_key=bytes_of(store, "locate", 1),
    )
    card = VirtualCard("own", "own", desfire=desfire_with([use_application(keys)]))
    card.power_on("contactless")
    return card
