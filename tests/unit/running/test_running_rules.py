# SPDX-License-Identifier: EUPL-1.2
"""When points begin to refuse because the copy of a directory is too old."""

from dataclasses import replace

import pytest

from cardservice.running.rules import ClassOfPoints, Copy, Prospect, outlook

HOUR_MS = 3_600_000
NOW_MS = 1_000 * HOUR_MS
DOORS = ClassOfPoints("office", "Innentür", 12 * HOUR_MS, stale_permits=False, asks_itself=False, points=8)
FOLLOWED = Copy("city", followed=True, age_ms=500)


def lost(hours: float) -> Copy:
    return Copy("city", followed=False, age_ms=int(hours * HOUR_MS))


def test_while_the_directory_is_followed_it_is_said_how_long_the_copy_would_do():
    found = outlook(DOORS, [FOLLOWED], NOW_MS)
    assert (found.prospect, found.length_ms, found.at_ms) == (Prospect.WORKS, 12 * HOUR_MS, None)


def test_once_it_is_lost_the_end_is_counted_from_the_last_proof():
    """Three hours old: nine are left."""
    found = outlook(DOORS, [lost(3)], NOW_MS)
    assert (found.prospect, found.at_ms) == (Prospect.ENDS, NOW_MS + 9 * HOUR_MS)


@pytest.mark.parametrize(("age_ms", "prospect"), [(0, Prospect.ENDS), (1, Prospect.REFUSES)])
def test_the_edge_is_the_one_of_the_decision(age_ms, prospect):
    """As old as is accepted still opens, a millisecond more does not."""
    copy = Copy("city", followed=False, age_ms=DOORS.freshness_ms + age_ms)
    found = outlook(DOORS, [copy], NOW_MS)
    assert (found.prospect, found.at_ms) == (prospect, NOW_MS - age_ms)


def test_points_that_go_on_with_an_old_copy_never_end():
    going_on = replace(DOORS, stale_permits=True)
    assert outlook(going_on, [FOLLOWED], NOW_MS).prospect is Prospect.WORKS
    assert outlook(going_on, [FOLLOWED], NOW_MS).length_ms is None
    assert outlook(going_on, [lost(1_000)], NOW_MS).prospect is Prospect.OLD_COPY


def test_points_that_ask_the_directory_itself_refuse_at_once():
    asking = replace(DOORS, asks_itself=True)
    assert outlook(asking, [lost(0)], NOW_MS).prospect is Prospect.REFUSES
    assert outlook(asking, [FOLLOWED], NOW_MS).length_ms == 0


@pytest.mark.parametrize("points", [DOORS, replace(DOORS, stale_permits=True)])
def test_of_a_directory_that_was_never_read_nobody_is_known(points):
    found = outlook(points, [Copy("city", followed=True, age_ms=None)], NOW_MS)
    assert (found.prospect, found.at_ms) == (Prospect.REFUSES, None)


def test_of_several_directories_the_worst_counts():
    """A lost one before a followed one, one that was never read before all."""
    lost_one, unread = replace(lost(1), directory="werke"), Copy("schule", followed=False, age_ms=None)
    assert outlook(DOORS, [FOLLOWED, lost_one], NOW_MS).directory == "werke"
    assert outlook(DOORS, [lost_one, unread, FOLLOWED], NOW_MS).directory == "schule"
    assert outlook(DOORS, [], NOW_MS) is None
