# SPDX-License-Identifier: EUPL-1.2
"""The whole life of a card with its keys in a PKCS#11 token (SoftHSM): encoded, tapped, re-keyed, erased."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from contracts.key_store import MADE_MS, SYSTEM_ID
from support.softhsm import fresh_token
from unit.cards.encoding.encoder_desk import USES, Desk, migrated, opened

from cardservice.cards.encoding.rules import JobKind, JobState
from cardservice.cards.forbidden import why_check_value_forbidden, why_forbidden
from cardservice.cards.keys import sealing
from cardservice.cards.keys.keyfile import KeyFile
from cardservice.cards.rules import CardState
from integrations.pkcs11 import Token, TokenMasters, TokenSettings

pytestmark = pytest.mark.softhsm


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyFile]:
    monkeypatch.setattr(sealing, "SCRYPT", {"n": 2, "r": 8, "p": 1})
    soft_token = fresh_token()
    token = Token(TokenSettings(soft_token.module, soft_token.label, lambda: soft_token.pin))
    masters = TokenMasters(token, why_check_value_forbidden, why_key_forbidden=why_forbidden)
    yield KeyFile(tmp_path / "keys.json", lambda: b"passphrase", masters)
    token.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with opened(tmp_path / "stores", migrated(tmp_path / "template")) as made:
        yield made


def test_a_card_lives_on_keys_that_nobody_can_read(keys: KeyFile, desk: Desk) -> None:
    desk.keys = keys.create(SYSTEM_ID, None, MADE_MS)  # type: ignore[assignment]
    card, hand = desk.encoded("employee")
    assert desk.opens(hand) == set(USES)
    for use in USES:
        keys.rotate(use, None, MADE_MS + 1)
    desk.keys = keys.load()  # type: ignore[assignment]
    assert desk.opens(hand) == set(USES), "two generations count"
    desk.move(card, CardState.READY_FOR_PICKUP, CardState.ACTIVE)
    assert desk.run(desk.order(JobKind.REKEY, card), hand.lay_on()).state is JobState.DONE
    keys.close([(use, 1, MADE_MS + 2) for use in USES])
    desk.keys = keys.load()  # type: ignore[assignment]
    assert desk.opens(hand) == set(USES), "the new one alone"
    desk.move(card, CardState.REVOKED, reason="damaged")
    desk.move(card, CardState.RETURNED)
    assert desk.run(desk.order(JobKind.ERASE, card), hand.lay_on()).state is JobState.DONE
    assert desk.opens(hand) == set()
