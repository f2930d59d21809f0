# SPDX-License-Identifier: EUPL-1.2
"""Every reason can be told, in both languages, to both readers."""

from dataclasses import astuple

import pytest

from cardservice.access.rules import Reason
from cardservice.access.sentences import SENTENCES


def test_every_reason_has_its_sentences_and_no_other() -> None:
    assert set(SENTENCES) == set(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_sentence_is_a_sentence(reason: Reason) -> None:
    for sentence in astuple(SENTENCES[reason]):
        assert sentence == sentence.strip()
        assert sentence[0].isupper()
        assert sentence[-1] in ".:!?"


def test_administrators_can_tell_all_reasons_apart() -> None:
    assert len({sentences.admin_en for sentences in SENTENCES.values()}) == len(Reason)
    assert len({sentences.admin_de for sentences in SENTENCES.values()}) == len(Reason)
