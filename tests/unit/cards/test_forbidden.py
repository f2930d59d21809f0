# SPDX-License-Identifier: EUPL-1.2
"""Keys that must never protect a card."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.cards.forbidden import _PUBLISHED, DEMONSTRATION_SHA256, why_forbidden
from city import seed

GOOD = bytes.fromhex("9f3c5a7711e04be28d06c3f1a45b7e92")


def test_an_ordinary_key_is_allowed() -> None:
    assert why_forbidden(GOOD) is None


@pytest.mark.parametrize(
    "key",
    [
        "00112233445566778899aabbccddeeff",
        "f3f9377698707b688eaf84abe39e3791",
        "2b7e151628aed2a6abf7158809cf4f3c",
        "000102030405060708090a0b0c0d0e0f",
        "303132333435363738393a3b3c3d3e3f",
        "404142434445464748494a4b4c4d4e4f",
        "fedcba98765432100123456789abcdef",
        "0123456789abcdeffedcba9876543210",
        "79702553797025537970255379702553",
        "4e617468616e2e4c69204e6574776f72",
        "43464f494d48504e4c4359454e528841",
        "6ac292faa1315b4d858ab3a3d7d5933a",
        "3112b738d8862ccd34302eb299aab456",
        "00010203040506070809101112131415",
        "01020304050607080910111213141516",
        "15141312111009080706050403020100",
        "16151413121110090807060504030201",
        "22094904ff22677e5d28c6e3ed4f694c",
        "425245414b4d454946594f5543414e21",
        "47454d5850524553534f53414d504c45",
        "49454d4b41455242214e4143554f5946",
        "4e617468616e2e4c6920546564647920",
        "54686973206973206d79206b65792020",
        "9cabf398358405ae2f0e2b3d31c99a8a",
        "c238e449f725b1510eaa699550caba16",
        "f7ddac306ae266ccf90bc11ee46d513b",
        "fbeed618357133667c85e08f7236a8de",
        "feffe9928665731c6d6a8f9467308308",
    ],
)
@pytest.mark.parametrize("demonstration", [False, True])
def test_published_keys_are_refused_in_every_mode(key: str, *, demonstration: bool) -> None:
    assert why_forbidden(bytes.fromhex(key), demonstration=demonstration) is not None


def test_the_list_above_is_the_whole_list() -> None:
    assert len(_PUBLISHED) == 28
    assert all(why_forbidden(key) for key in _PUBLISHED)


@given(st.integers(0, 255))
def test_one_byte_again_and_again_is_refused(byte: int) -> None:
    assert why_forbidden(bytes([byte]) * 16) == "it repeats itself"


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_short_pattern_again_and_again_is_refused(period: int) -> None:
    assert why_forbidden(GOOD[:period] * (16 // period)) == "it repeats itself"


@given(st.integers(0, 255), st.integers(1, 255))
def test_any_sequence_is_refused(start: int, step: int) -> None:
    """Whatever its start and step, backwards too."""
    assert why_forbidden(bytes((start + n * step) % 256 for n in range(16))) is not None


def test_the_published_demonstration_keys_are_all_known() -> None:
    """Every master that follows from the seed, in generations 1 and 2, and nothing else."""
    names = [(use, purpose) for use in seed.USES for purpose in seed.PURPOSES] + [seed.PICC]
    masters = [seed.master(use, purpose, n) for use, purpose in names for n in (1, 2)]
    assert {hashlib.sha256(master).hexdigest() for master in masters} == DEMONSTRATION_SHA256
    assert len(masters) == 26
    for master in masters:
        assert "demonstration" in (why_forbidden(master) or "")
        assert why_forbidden(master, demonstration=True) is None
