# SPDX-License-Identifier: EUPL-1.2
"""A right that is bound to something reaches that, and nothing beside it."""

import pytest

from cardservice.web.reach import EVERYWHERE, Reach

ZONES = frozenset({"rathaus", "rathaus-keller"})


@pytest.mark.parametrize(
    ("reach", "within"),
    [
        (EVERYWHERE, True),
        (Reach(zones=frozenset({"rathaus"})), True),
        (Reach(zones=frozenset({"rathaus-keller"})), True),
        (Reach(zones=frozenset({"bauamt"})), False),
        (Reach(zones=frozenset()), False),
        (Reach(organisations=frozenset({"city"})), True),
        (Reach(organisations=frozenset({"works"})), False),
        (Reach(organisations=frozenset({"city"}), zones=frozenset({"bauamt"})), False),
        (Reach(points=frozenset({"keller.innen"})), True),
        (Reach(points=frozenset({"keller.aussen"})), False),
        # A point lies in no department.
        (Reach(units=frozenset({"Bauamt"})), False),
    ],
)
def test_a_point_is_within_every_bound(reach, within):
    assert reach.holds_point("keller.innen", "city", ZONES) is within


@pytest.mark.parametrize("bound", ["organisations", "zones", "units", "points"])
def test_only_a_right_without_bounds_is_about_all_points(bound):
    assert EVERYWHERE.all_points
    assert not Reach(**{bound: frozenset({"any"})}).all_points


@pytest.mark.parametrize(
    ("reach", "within"),
    [
        (EVERYWHERE, True),
        (Reach(units=frozenset({"Bauamt"})), True),
        (Reach(units=frozenset({"Kasse"})), False),
        (Reach(organisations=frozenset({"works"}), units=frozenset({"Bauamt"})), False),
        (Reach(organisations=frozenset({"city"})), True),
    ],
)
def test_a_person_is_within_their_organisation_and_department(reach, within):
    assert reach.holds_person("city", "Bauamt") is within


def test_whoever_has_no_department_is_in_none():
    assert not Reach(units=frozenset({"Bauamt"})).holds_person("city", None)
