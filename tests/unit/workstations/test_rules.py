# SPDX-License-Identifier: EUPL-1.2
"""What a workstation's options mean, and what its answers say."""

import pytest

from cardservice.workstations.rules import (
    SENTENCES,
    AnswerCode,
    WorkstationOptions,
    check_options,
    login_from,
)


def test_without_options_a_workstation_locks_at_once():
    """Nothing set means the safest: lock, no grace time, confirmed within a second."""
    assert WorkstationOptions.parse({}) == WorkstationOptions("lock", 0, 1_000)


def test_options_are_taken_as_they_are_and_those_of_others_ignored():
    options = {"removal": "none", "grace_ms": 60_000, "lock_confirm_ms": 100, "unknown": True}
    assert WorkstationOptions.parse(options) == WorkstationOptions("none", 60_000, 100)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("removal", "log off"),
        ("removal", True),
        ("grace_ms", -1),
        ("grace_ms", 60_001),
        ("grace_ms", True),
        ("grace_ms", "5"),
        ("lock_confirm_ms", 99),
        ("lock_confirm_ms", 10_001),
    ],
)
def test_an_option_out_of_its_bounds_is_refused_by_name(name, value):
    """An administrator reads which option it is; a workstation that has it all the same keeps to the safest."""
    with pytest.raises(ValueError, match=f"^option {name}: {value!r}; allowed are "):
        check_options({name: value})
    assert WorkstationOptions.parse({name: value}) == WorkstationOptions()


def test_an_administrator_is_told_of_an_option_nobody_knows():
    """A slip in a name is no silent default."""
    check_options({"removal": "none"})
    with pytest.raises(ValueError, match=r"^option grace: there is none; allowed are removal, grace_ms, "):
        check_options({"grace": 5})


@pytest.mark.parametrize("facts", [{}, {"user": ""}, {"user": 7}, {"user": True}, {"user": "x" * 201}])
def test_an_answer_that_names_nobody_unlocks_nobody(facts):
    assert login_from(facts) is None


def test_every_answer_has_a_sentence_in_both_languages():
    """Closed: a code without words would leave the holder without an answer."""
    assert set(SENTENCES) == set(AnswerCode)
    assert all(sentence.endswith(".") for both in SENTENCES.values() for sentence in both)
    assert all(german != english for german, english in SENTENCES.values())
