# SPDX-License-Identifier: EUPL-1.2
"""The originality signature against the example of AN12343, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.chip.originality import NXP_PUBLIC_POINTS, is_original
from cardsim.desfire_signature import demonstration_public_key, sign_uid

UID = bytes.fromhex("045A115A346180")
SIGNATURE = bytes.fromhex(
    "1CA298FC3F0F04A329254AC0DF7A3EB8E756C076CD1BAAF47B8BBA6DCD78BCC64DFD3E80E679D9A663CAE9E4D4C2C77023077CC549CE4A61"
)


def test_the_published_example_is_original():
    """AN12343 §8: the signature of a real chip under NXP's published key; it is known by default."""
    assert is_original(UID, SIGNATURE)
    assert is_original(UID, SIGNATURE, NXP_PUBLIC_POINTS[:1])
    assert not is_original(UID, SIGNATURE, NXP_PUBLIC_POINTS[1:])


def test_a_virtual_card_is_original_for_whoever_trusts_its_maker():
    """Its signature was written independently; NXP's keys do not accept it."""
    assert is_original(UID, sign_uid(UID), [demonstration_public_key()])
    assert not is_original(UID, sign_uid(UID))


@given(position=st.integers(0, 55), bit=st.integers(0, 7))
def test_a_changed_bit_is_no_signature(position, bit):
    changed = bytearray(SIGNATURE)
    changed[position] ^= 1 << bit
    assert not is_original(UID, bytes(changed))


@given(st.binary(max_size=40), st.binary(max_size=80))
def test_nothing_else_is_a_signature(uid, signature):
    """Any identifier with any bytes, of any length: false, and never an error."""
    assert not is_original(uid, signature)


def test_a_maker_that_is_no_point_is_our_own_mistake():
    with pytest.raises(ValueError, match=r"point|valid"):
        is_original(UID, SIGNATURE, [bytes(57)])
