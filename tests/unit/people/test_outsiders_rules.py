# SPDX-License-Identifier: EUPL-1.2
"""How somebody outside the directory stands at an instant, and for how long they may be kept. To the millisecond."""

from dataclasses import replace

import pytest

from cardservice import settings_check
from cardservice.people.outsiders.rules import (
    DAY_MS,
    Bounds,
    Standing,
    State,
    erased_before_ms,
    objection_to_time,
    state_at,
)
from cardservice.people.rules import OUTSIDE
from cardservice.settings import OutsidersSection

AT = 1_773_651_600_000
SPONSOR = Standing("city", present=True, enabled=True, from_ms=None, until_ms=None)
OWN = Standing(OUTSIDE, present=True, enabled=True, from_ms=AT - 10, until_ms=AT + 10)


@pytest.mark.parametrize(
    ("at_ms", "state"),
    [
        (AT - 11, State.NOT_YET),
        (AT - 10, State.CURRENT),
        (AT + 9, State.CURRENT),
        (AT + 10, State.ENDED),
    ],
)
def test_the_beginning_counts_and_the_end_does_not(at_ms: int, state: State) -> None:
    assert state_at(OWN, SPONSOR, at_ms) is state


@pytest.mark.parametrize(
    ("sponsor", "answers"),
    [
        (SPONSOR, True),
        (replace(SPONSOR, present=False), False),
        (replace(SPONSOR, enabled=False), False),
        (replace(SPONSOR, from_ms=AT), True),
        (replace(SPONSOR, from_ms=AT + 1), False),
        (replace(SPONSOR, until_ms=AT + 1), True),
        (replace(SPONSOR, until_ms=AT), False),
        (replace(SPONSOR, directory=OUTSIDE), False),
    ],
)
def test_only_somebody_of_a_directory_in_their_own_time_answers(sponsor: Standing, answers: bool) -> None:
    """Whoever is gone, disabled, early or expired does not, nor does another outsider."""
    assert sponsor.answers(AT) is answers
    assert state_at(OWN, sponsor, AT) is (State.CURRENT if answers else State.NO_SPONSOR)


def test_what_is_over_is_told_before_what_is_missing() -> None:
    """An end that has come needs no sponsor, an erased name no end; a sponsor is missed before the beginning too."""
    gone = replace(SPONSOR, present=False)
    assert state_at(OWN, gone, AT + 10) is State.ENDED
    assert state_at(OWN, gone, AT - 11) is State.NO_SPONSOR
    assert state_at(replace(OWN, present=False), SPONSOR, AT) is State.ERASED
    assert state_at(replace(OWN, until_ms=None), SPONSOR, AT) is State.ENDED


@pytest.mark.parametrize(
    ("from_ms", "until_ms", "fits"),
    [
        (AT, AT + 1, True),
        (AT, AT, False),
        (AT - 5 * DAY_MS, AT, False),
        (AT + 2, AT + 2, False),
        (AT, AT + 30 * DAY_MS, True),
        (AT, AT + 30 * DAY_MS + 1, False),
        (AT + 5 * DAY_MS, AT + 30 * DAY_MS, True),
    ],
)
def test_an_end_lies_ahead_after_the_beginning_and_within_the_setting(from_ms: int, until_ms: int, fits: bool) -> None:
    assert (objection_to_time(from_ms, until_ms, AT, Bounds(max_days=30)) is None) is fits


def test_names_go_so_many_days_after_the_end() -> None:
    assert erased_before_ms(AT, Bounds(erase_days=90)) == AT - 90 * DAY_MS


def test_what_is_usual_is_what_the_settings_say() -> None:
    """The rules alone and the settings' defaults are the same numbers, and the reserved name the same word."""
    section = OutsidersSection()
    assert Bounds() == Bounds(section.max_days, section.erase_days)
    assert settings_check._OUTSIDE == OUTSIDE
