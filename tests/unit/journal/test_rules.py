# SPDX-License-Identifier: EUPL-1.2
"""The chain's arithmetic: every part of an entry counts, and no two entries read alike."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.journal.canonical import MAX_PAYLOAD_BYTES, canonical
from cardservice.journal.rules import GENESIS, Place, chain_hash, sealed_digest

PLACE = Place("door", 1, 1)
PAYLOADS = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text())


def test_every_part_counts() -> None:
    """A change of any part of an entry changes its hash."""
    hashes = {
        chain_hash(GENESIS, PLACE, 5, "{}", GENESIS),
        chain_hash(bytes([1]) * 32, PLACE, 5, "{}", GENESIS),
        chain_hash(GENESIS, Place("till", 1, 1), 5, "{}", GENESIS),
        chain_hash(GENESIS, Place("door", 2, 1), 5, "{}", GENESIS),
        chain_hash(GENESIS, Place("door", 1, 2), 5, "{}", GENESIS),
        chain_hash(GENESIS, PLACE, 6, "{}", GENESIS),
        chain_hash(GENESIS, PLACE, -5, "{}", GENESIS),
        chain_hash(GENESIS, PLACE, 5, '{"a":1}', GENESIS),
        chain_hash(GENESIS, PLACE, 5, "{}", sealed_digest(b"")),
    }
    assert len(hashes) == 9


def test_a_letter_moved_from_stream_to_payload_counts() -> None:
    one = chain_hash(GENESIS, Place("door", 1, 1), 5, "s{}", GENESIS)
    assert one != chain_hash(GENESIS, Place("doors", 1, 1), 5, "{}", GENESIS)


def test_the_hash_is_what_it_was_when_the_first_city_wrote_one() -> None:
    """Journals are kept for years: the arithmetic must not change unnoticed."""
    link = chain_hash(GENESIS, PLACE, 1_773_651_600_000, '{"point":"tür"}', sealed_digest(b"sealed"))
    assert link.hex() == "307a13ac2cca018c23bcdc32b2ddcb8dc9b73a8acf4f64bd357f560117df97fe"


def test_no_sealed_part_and_an_empty_one_differ() -> None:
    assert sealed_digest(None) == GENESIS != sealed_digest(b"")


@given(PAYLOADS)
def test_a_payload_has_one_text_whatever_the_order(payload: dict[str, str | int | bool | None]) -> None:
    """The same that the standard library writes, in which the journals of years before stand."""
    backwards = dict(reversed(payload.items()))
    try:
        before = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        before.encode()
    except UnicodeEncodeError:
        with pytest.raises(ValueError):  # noqa: PT011  # the library's own, whose text is its own too
            canonical(payload)
        return
    assert canonical(payload) == canonical(backwards) == before
    assert json.loads(before) == payload


def test_the_length_is_bounded_in_bytes() -> None:
    """16 KiB as they are stored, not as characters."""
    frame = len('{"a":""}')
    assert canonical({"a": "x" * (MAX_PAYLOAD_BYTES - frame)})
    with pytest.raises(ValueError, match="at most 16384 bytes"):
        canonical({"a": "x" * (MAX_PAYLOAD_BYTES - frame + 1)})
    with pytest.raises(ValueError, match="at most"):
        canonical({"a": "ü" * (MAX_PAYLOAD_BYTES // 2)})
