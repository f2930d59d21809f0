# SPDX-License-Identifier: EUPL-1.2
"""Which point a reader serves."""

from cardservice.agents.messages import MAX_MESSAGE_BYTES, PointSetup
from readers.points import PointMap


def setup(point: str, reader: str) -> PointSetup:
    return PointSetup(point=point, reader=reader, use="door")


def test_a_name_goes_before_the_star():
    points = PointMap([setup("any", "*"), setup("door-1", "Reader A")])
    assert points.for_reader("Reader A").point == "door-1"
    assert points.for_reader("Reader B").point == "any"


def test_a_reader_two_points_claim_serves_neither():
    """A guess could open the wrong door."""
    points = PointMap([setup("a", "Reader A"), setup("b", "Reader A"), setup("any", "*")])
    assert points.for_reader("Reader A") is None
    assert points.for_reader("Reader B").point == "any"
    assert points.ambiguous == ("Reader A",)


def test_without_a_star_unknown_readers_serve_nothing():
    assert PointMap([setup("door-1", "Reader A")]).for_reader("Reader B") is None


def test_points_are_remembered_and_rubbish_is_none():
    points = PointMap([setup("any", "*")])
    assert PointMap.from_json(points.to_json()).setups == points.setups
    for text in (None, "", "[{}]", "null"):
        assert PointMap.from_json(text).setups == ()


def test_no_more_points_are_remembered_than_a_welcome_may_hold():
    """What was remembered is held to the same bounds as what is received, however it got there."""
    one = setup("door-1", "Reader A").model_dump_json()
    for count, kept in ((64, 64), (65, 0)):
        assert len(PointMap.from_json("[" + ",".join([one] * count) + "]").setups) == kept
    assert PointMap.from_json("[" + one + " " * MAX_MESSAGE_BYTES + "]").setups == ()
