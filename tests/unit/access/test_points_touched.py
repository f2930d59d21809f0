# SPDX-License-Identifier: EUPL-1.2
"""Which points a changed zone or class is about: all of them, however deep, and no other."""

import pytest

from cardservice.access.plan.rules import points_touched
from cardservice.access.setup_parts import AccessSetup, PointSetup, ZoneSetup

MODEL = AccessSetup(
    # Out of order: a zone may stand before the one it lies in.
    zones=[
        ZoneSetup("cellar", "Cellar", "house"),
        ZoneSetup("house", "House", "town"),
        ZoneSetup("town", "Town"),
        ZoneSetup("works", "Works", "town"),
    ],
    points=[
        PointSetup("gate", "Gate", "town", "outer"),
        PointSetup("hall", "Hall", "house", "inner"),
        PointSetup("vault", "Vault", "cellar", "inner"),
        PointSetup("shed", "Shed", "works", "outer"),
    ],
)


@pytest.mark.parametrize(
    ("zones", "classes", "touched"),
    [
        ({"town"}, set(), {"gate", "hall", "vault", "shed"}),
        ({"house"}, set(), {"hall", "vault"}),
        ({"cellar"}, set(), {"vault"}),
        (set(), {"outer"}, {"gate", "shed"}),
        ({"cellar"}, {"outer"}, {"vault", "gate", "shed"}),
        (set(), set(), set()),
    ],
)
def test_every_point_in_a_zone_or_of_a_class_is_touched(zones, classes, touched):
    """Those in zones inside the zone too; nothing changed touches nothing."""
    assert {point.code for point in points_touched(MODEL, zones, classes)} == touched
