# SPDX-License-Identifier: EUPL-1.2
"""Under which key a card is known."""

import pytest

from cardservice.cards.rules import (
    ISSUER_KEY_BYTES,
    NUMBER_BYTES,
    TRANSITIONS,
    UUID_BYTES,
    CardState,
    desfire_credential,
    piv_credential,
)

USES = ("door", "timeclock", "printer", "canteen")


def test_one_number_gives_another_key_in_each_use() -> None:
    """A number of one use is never mistaken for another's, nor for a PIV card's."""
    number = bytes(NUMBER_BYTES)
    keys = {desfire_credential(use, number) for use in USES} | {
        piv_credential(bytes(ISSUER_KEY_BYTES), bytes(UUID_BYTES))
    }
    assert len(keys) == len(USES) + 1
    assert not any(a != b and a.startswith(b) for a in keys for b in keys)


@pytest.mark.parametrize("length", [0, NUMBER_BYTES - 1, NUMBER_BYTES + 1, 1000])
def test_a_number_has_twelve_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=f"a number of {length} bytes"):
        desfire_credential("door", bytes(length))


@pytest.mark.parametrize(("issuer", "uuid"), [(0, 16), (31, 16), (33, 16), (32, 15), (32, 17), (32, 0), (16, 32)])
def test_a_piv_card_is_known_by_issuer_and_uuid(issuer: int, uuid: int) -> None:
    with pytest.raises(ValueError, match="an issuer's key has 32 bytes and a card UUID 16"):
        piv_credential(bytes(issuer), bytes(uuid))


def test_another_issuer_cannot_issue_our_card() -> None:
    """The same UUID under another trusted CA is another credential."""
    uuid = bytes(range(16))
    assert piv_credential(b"\1" * 32, uuid) != piv_credential(b"\2" * 32, uuid)
    assert piv_credential(b"\1" * 32, uuid) != piv_credential(b"\1" * 32, bytes(16))


@pytest.mark.parametrize("use", ["workstation", "", "Door"])
def test_a_use_without_an_application_has_no_numbers(use: str) -> None:
    with pytest.raises(ValueError, match="allowed are door"):
        desfire_credential(use, bytes(NUMBER_BYTES))


def test_a_revoked_card_is_only_returned_and_no_step_stands_still() -> None:
    assert [end for start, end in TRANSITIONS if start is CardState.REVOKED] == [CardState.RETURNED]
    assert not any(start is end for start, end in TRANSITIONS)
