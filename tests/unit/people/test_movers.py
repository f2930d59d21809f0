# SPDX-License-Identifier: EUPL-1.2
"""Who still counts in a department they left: cases worked out by hand."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import pytest

from cardservice.people.movers.rules import (
    MAX_WINDOWS_OF_ONE,
    Departments,
    MoverRule,
    Window,
    still_in,
    windows_after,
)
from cardservice.people.rules import normalise_dn

# Left at 100, for 50: counts from 100 to 149.
LEFT_A = {"a": Window(100, 150)}
LEFT_A_AND_B = {"a": Window(100, 150), "b": Window(120, 170)}


@pytest.mark.parametrize(
    ("departments", "windows", "now_ms", "expected"),
    [
        # Who never left anything counts where they are, and nowhere else.
        (set(), {}, 120, set()),
        ({"b"}, {}, 120, set()),
        # Who left and is in no other one counts nowhere.
        (set(), LEFT_A, 100, set()),
        (set(), LEFT_A_AND_B, 130, set()),
        # From the instant they left on, until the window's end and not in it.
        ({"b"}, LEFT_A, 100, {"a"}),
        ({"b"}, LEFT_A, 149, {"a"}),
        ({"b"}, LEFT_A, 150, set()),
        ({"b"}, LEFT_A, 10_000, set()),
        # Each window by itself.
        ({"c"}, LEFT_A_AND_B, 130, {"a", "b"}),
        ({"c"}, LEFT_A_AND_B, 150, {"b"}),
        ({"c"}, LEFT_A_AND_B, 170, set()),
        # A window in the group they are in again is none, and the group they are in is no other one.
        ({"a"}, LEFT_A, 120, set()),
        ({"a"}, LEFT_A_AND_B, 130, {"b"}),
        ({"a", "b"}, LEFT_A_AND_B, 130, set()),
        # A clock that was set back does not end a window.
        ({"b"}, LEFT_A, 50, {"a"}),
    ],
)
def test_who_counts_where(
    departments: AbstractSet[str], windows: Mapping[str, Window], now_ms: int, expected: AbstractSet[str]
) -> None:
    """A window counts before its end while its owner is in another department group."""
    assert still_in(departments, windows, now_ms) == expected


@pytest.mark.parametrize(
    ("windows", "before", "now", "now_ms", "expected"),
    [
        # Leaving begins a window, joining begins none.
        ({}, {"a"}, {"b"}, 200, {"a": Window(200, 250)}),
        ({}, set(), {"b"}, 200, {}),
        ({}, {"a"}, {"a"}, 200, {}),
        # Also for whoever is in no other one now.
        ({}, {"a", "b"}, set(), 200, {"a": Window(200, 250), "b": Window(200, 250)}),
        # Nothing moved: a window stays as it began, until its end.
        (LEFT_A, {"b"}, {"b"}, 149, LEFT_A),
        (LEFT_A, {"b"}, {"b"}, 150, {}),
        # Whoever comes back has no window; when they leave again, one begins then.
        (LEFT_A, {"b"}, {"a"}, 120, {"b": Window(120, 170)}),
        ({"b": Window(120, 170)}, {"a"}, {"b"}, 130, {"a": Window(130, 180)}),
        # Moving on leaves the older window alone.
        (LEFT_A, {"b"}, {"c"}, 120, LEFT_A_AND_B),
        # A group that is none any more has no windows, old or new.
        ({"gone": Window(100, 150)}, {"b"}, {"b"}, 120, {}),
        ({}, {"gone"}, {"b"}, 120, {}),
        # Other settings since: a window is as long as they say now.
        ({"a": Window(100, 110)}, {"b"}, {"b"}, 105, LEFT_A),
        ({"a": Window(100, 900)}, {"b"}, {"b"}, 150, {}),
    ],
)
def test_what_a_step_does_to_windows(
    windows: Mapping[str, Window],
    before: AbstractSet[str],
    now: AbstractSet[str],
    now_ms: int,
    expected: Mapping[str, Window],
) -> None:
    """A window begins when somebody leaves a department group, ends by its time, by coming back, and with the group."""
    assert windows_after(windows, Departments(before, now), {"a", "b", "c"}, 50, now_ms) == expected


def test_nobody_has_more_windows_than_allowed() -> None:
    """Of whoever leaves ever more groups, the newest windows stay."""
    windows = {f"g{number:02}": Window(number, number + 1_000) for number in range(MAX_WINDOWS_OF_ONE)}
    moved = Departments({"new"}, {"other"})
    after = windows_after(windows, moved, {*windows, "new", "other"}, 1_000, 500)
    assert after == {one: window for one, window in windows.items() if one != "g00"} | {"new": Window(500, 1_500)}


@pytest.mark.parametrize(
    ("dn", "covered"),
    [
        ("ou=Departments,ou=groups,dc=x", True),
        ("cn=Bauamt, OU=departments, ou=Groups, dc=X", True),
        ("cn=Hochbau,cn=Bauamt,ou=departments,ou=groups,dc=x", True),
        ("cn=Bauamt,ou=groups,dc=x", False),
        ("ou=groups,dc=x", False),
        # The same text at the end is not the same place.
        ("cn=Bauamt,ou=old-ou=departments,ou=groups,dc=x", False),
        (r"cn=Bauamt\,ou=departments,ou=groups,dc=x", False),
        (r"cn=Bau\,amt,ou=departments,ou=groups,dc=x", True),
        ("cn=Bauamt,xou=departments,ou=groups,dc=x", False),
        ("cn=Bauamt,ou=departments,ou=groups,dc=x,dc=y", False),
    ],
)
def test_which_groups_are_departments(dn: str, covered: bool) -> None:
    """Those whose DN ends with the parts of the setting, part by part."""
    rule = MoverRule(normalise_dn("ou=departments,ou=groups,dc=x"), 50)
    assert rule.covers(normalise_dn(dn)) is covered


def test_a_setting_beside_the_groups_that_are_read_would_meet_none() -> None:
    rule = MoverRule("ou=departments,ou=groups,dc=x", 50)
    assert [rule.meets(base) for base in ("ou=groups,dc=x", "dc=x", "ou=departments,ou=groups,dc=x")] == [True] * 3
    assert rule.meets("ou=hall,ou=departments,ou=groups,dc=x")
    assert not rule.meets("ou=people,dc=x")
