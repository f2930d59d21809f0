# SPDX-License-Identifier: EUPL-1.2
"""Receipts: opened for exactly the event, point and decision they were sealed for, and opaque to everybody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.agents.messages import DecisionMessage, EventId
from cardservice.agents.receipts import Decided, open_receipt, seal_receipt

SECRET = b"s" * 32
EVENT = EventId(agent="rathaus", epoch=5, sequence=7)
DECIDED = Decided(permit=True, level=3, at_ms=1_790_000_000_000, holder=4711, card=815)
RECEIPT = seal_receipt(SECRET, EVENT, point="door-1", decision="d0", decided=DECIDED)
HONEST = {"receipt": RECEIPT, "secret": SECRET, "event": EVENT, "point": "door-1", "decision": "d0"}


def test_what_was_sealed_comes_out_again():
    assert open_receipt(**HONEST) == DECIDED
    assert len(RECEIPT) <= 128
    assert DecisionMessage.model_fields["receipt"].is_required()


@pytest.mark.parametrize(
    "change",
    [
        {"event": EVENT.model_copy(update={"agent": "other"})},
        {"event": EVENT.model_copy(update={"epoch": 6})},
        {"event": EVENT.model_copy(update={"sequence": 8})},
        {"point": "door-2"},
        {"decision": "d1"},
        {"decision": None},
        {"receipt": None},
        {"receipt": ""},
        {"receipt": RECEIPT[:-2]},
        {"receipt": RECEIPT + "00"},
        {"receipt": "0"},
        {"receipt": "0" * len(RECEIPT)},
        {"secret": b"t" * 32},
    ],
)
def test_nothing_else_opens_it(change):
    """Another agent, event, point, decision or installation: none of them fits."""
    assert open_receipt(**(HONEST | change)) is None


@given(place=st.integers(0, len(RECEIPT) // 2 - 1), flip=st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place, flip):
    """A refusal cannot be turned into a permit, nor one holder into another."""
    changed = bytearray.fromhex(RECEIPT)
    changed[place] ^= flip
    assert open_receipt(**(HONEST | {"receipt": changed.hex()})) is None


@given(receipt=st.text("0123456789abcdef", max_size=128))
def test_whatever_an_agent_makes_up_is_refused_quietly(receipt):
    assert open_receipt(**(HONEST | {"receipt": receipt})) is None


def test_a_receipt_does_not_tell_whose_tap_it_was():
    """Sealed twice, it looks different; neither holder nor card can be recognised again in it."""
    again = seal_receipt(SECRET, EVENT, point="door-1", decision="d0", decided=DECIDED)
    assert again != RECEIPT
    assert DECIDED.holder.to_bytes(8, "big").hex() not in RECEIPT


def test_a_number_cannot_move_from_one_field_to_the_next():
    ids = (EventId(agent="a", epoch=1, sequence=23), EventId(agent="a", epoch=12, sequence=3))
    receipt = seal_receipt(SECRET, ids[0], point="p", decision="d", decided=DECIDED)
    assert open_receipt(receipt, SECRET, ids[1], point="p", decision="d") is None
