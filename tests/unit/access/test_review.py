# SPDX-License-Identifier: EUPL-1.2
"""The rules of reviews: bounds, what can be said when, owners by zone, and the reminder's sentences."""

from dataclasses import replace

import pytest

from cardservice.access.review.rules import (
    DAY_MS,
    ItemState,
    Owners,
    Reviewed,
    Tally,
    Verdict,
    bound_of,
    zones_inside,
)
from cardservice.instants import MAX_INSTANT_MS

NOW, DEADLINE = 1_000_000, 2_000_000
OPEN = Reviewed(before_ms=None, bound_ms=DEADLINE, ends_ms=DEADLINE, verdict=None, deleted=False, aborted=False)
EARLY = replace(OPEN, before_ms=1_500_000, bound_ms=1_500_000, ends_ms=1_500_000)
TALLY = Tally("spring-2027", 10 * DAY_MS, 80, 12, 0)


@pytest.mark.parametrize(("before", "bound"), [(None, 20), (19, 19), (20, 20), (21, 20)])
def test_a_review_never_moves_an_end_further_away(before, bound):
    assert bound_of(before, 20) == bound


@pytest.mark.parametrize(
    ("item", "at_ms", "state"),
    [
        (OPEN, DEADLINE - 1, ItemState.OPEN),
        (OPEN, DEADLINE, ItemState.LAPSED),
        (EARLY, 1_499_999, ItemState.OPEN),
        (EARLY, 1_500_000, ItemState.LAPSED),
        (replace(OPEN, ends_ms=NOW), NOW, ItemState.LAPSED),
        (replace(OPEN, ends_ms=None), NOW, ItemState.PROLONGED),
        (replace(OPEN, ends_ms=DEADLINE + 1), DEADLINE, ItemState.PROLONGED),
        (replace(OPEN, ends_ms=None, deleted=True), NOW, ItemState.DELETED),
        (replace(OPEN, ends_ms=None, aborted=True), NOW, ItemState.ABORTED),
        (replace(OPEN, verdict=Verdict.KEEP, aborted=True), NOW, ItemState.KEPT),
        (replace(OPEN, verdict=Verdict.END, deleted=True), NOW, ItemState.ENDED),
        (replace(OPEN, verdict=Verdict.RENEW), NOW, ItemState.RENEWED),
    ],
)
def test_what_became_of_a_grant(item, at_ms, state):
    assert item.state(at_ms) is state


@pytest.mark.parametrize(
    ("item", "verdict", "until_ms", "at_ms", "end"),
    [
        (OPEN, Verdict.KEEP, None, NOW, None),
        (OPEN, Verdict.KEEP, 9_000_000, NOW, 9_000_000),
        (OPEN, Verdict.KEEP, 1_500_000, NOW, 1_500_000),
        (EARLY, Verdict.KEEP, None, NOW, 1_500_000),
        # Somebody set another end meanwhile: it stands.
        (replace(OPEN, ends_ms=1_200_000), Verdict.KEEP, None, NOW, 1_200_000),
        (replace(OPEN, ends_ms=3_000_000), Verdict.KEEP, None, NOW, 3_000_000),
        (OPEN, Verdict.END, None, NOW, NOW),
        (replace(OPEN, ends_ms=None), Verdict.END, None, NOW, NOW),
        (OPEN, Verdict.RENEW, None, DEADLINE, None),
        (EARLY, Verdict.RENEW, 5_000_000, 1_500_000, 5_000_000),
    ],
)
def test_where_a_grant_ends_after_an_answer(item, verdict, until_ms, at_ms, end):
    assert item.new_end(verdict, until_ms, at_ms) == end


@pytest.mark.parametrize(
    ("item", "verdict", "until_ms", "at_ms", "says"),
    [
        (OPEN, Verdict.KEEP, None, DEADLINE, "nobody answered in time"),
        (OPEN, Verdict.END, None, DEADLINE, "nobody answered in time"),
        (OPEN, Verdict.RENEW, None, NOW, "has not lapsed"),
        (OPEN, Verdict.KEEP, NOW, NOW, "must lie in the future"),
        (OPEN, Verdict.KEEP, MAX_INSTANT_MS, NOW, "must lie in the future"),
        (EARLY, Verdict.RENEW, None, 1_500_000, "say until when"),
        (replace(OPEN, deleted=True), Verdict.KEEP, None, NOW, "was deleted"),
        (replace(OPEN, aborted=True), Verdict.END, None, NOW, "was aborted"),
        (replace(OPEN, verdict=Verdict.END), Verdict.KEEP, None, NOW, "was answered: ended"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_way_on(item, verdict, until_ms, at_ms, says):
    with pytest.raises(ValueError, match=says):
        item.new_end(verdict, until_ms, at_ms)


def test_the_nearest_owner_answers():
    """The grant's own, else that of the innermost zone around it that has one; a circle of zones ends."""
    owners = Owners(of_grant={1: 100}, of_zone={10: 200, 12: 300}, parent={10: None, 11: 10, 12: 11, 20: 21, 21: 20})
    assert owners.of(1, 12) == 100
    assert owners.of(2, 12) == 300
    assert owners.of(2, 11) == 200
    assert owners.of(2, None) is None
    assert owners.of(2, 20) is None
    assert zones_inside(11, owners.parent) == {11, 12}
    assert zones_inside(20, owners.parent) == {20, 21}


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (2.9, None),
        (3, "12 of 80 grants are unanswered, 7 days left; they end on 1970-01-11T00:00:00+00:00"),
        (7, "3 days left"),
        (7.1, "3 days left"),
        (9, "1 day left"),
        (9.999, "1 day left"),
        (10, "12 of 80 grants were not answered and ended on 1970-01-11T00:00:00+00:00"),
        (17, "were not answered"),
        (17.1, None),
    ],
)
def test_the_reminder_says_what_is_left_and_what_follows(days, says):
    """From a week before to a week after the deadline."""
    sentence = TALLY.sentence(int(days * DAY_MS))
    assert sentence is None if says is None else says in sentence


def test_the_reminder_ends_with_the_last_answer_and_names_what_lives_on():
    assert replace(TALLY, unanswered=0).sentence(9 * DAY_MS) is None
    assert "2 of them were given a later end beside" in replace(TALLY, prolonged=2).sentence(9 * DAY_MS)
    assert "2 of them were given a later end beside" in replace(TALLY, prolonged=2).sentence(11 * DAY_MS)
