# SPDX-License-Identifier: EUPL-1.2
"""Options of points: one way to refuse and to read them, the same at every place of use."""

import pytest

from cardservice.access.options.rules import LANGUAGE, SWITCH, Option, one_of, require, usable, whole
from cardservice.access.rules import Use
from cardservice.places import OPTION_RULES

KNOWN = {"mode": one_of("fast", "slow"), "limit_s": whole(1, 9), "loud": SWITCH, "language": LANGUAGE}


@pytest.mark.parametrize(
    ("name", "fits", "wrong"),
    [
        ("mode", ["fast", "slow"], ["", "Fast", 1, True]),
        ("limit_s", [1, 9], [0, 10, True, "5"]),
        ("loud", [True, False], [0, 1, "true", ""]),
        ("language", ["de", "en"], ["fr", False]),
    ],
)
def test_a_value_fits_or_is_refused_and_left_out(name, fits, wrong):
    """True is no number and 1 no switch; what is left out takes nothing else with it."""
    for value in fits:
        require({name: value}, KNOWN)
        assert usable({name: value}, KNOWN) == {name: value}
    other = "mode" if name == "loud" else "loud"
    beside = {other: "fast" if other == "mode" else True}
    for value in wrong:
        with pytest.raises(ValueError, match=f"^option {name}: {value!r}; allowed are {KNOWN[name].allowed}$"):
            require(beside | {name: value}, KNOWN)
        assert usable(beside | {name: value}, KNOWN) == beside


def test_an_unknown_option_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"^option colour: there is none; allowed are mode, limit_s, loud, language$"):
        require({"loud": True, "colour": "red"}, KNOWN)
    with pytest.raises(ValueError, match=r"^option colour: there is none; allowed are no options$"):
        require({"colour": "red"}, {})
    assert usable({"colour": "red"}, KNOWN) == {}


def test_a_place_may_have_a_kind_of_option_of_its_own():
    even = {"pairs": Option("even numbers", lambda value: isinstance(value, int) and value % 2 == 0)}
    require({"pairs": 4}, even)
    with pytest.raises(ValueError, match="option pairs: 3; allowed are even numbers"):
        require({"pairs": 3}, even)


@pytest.mark.parametrize(
    ("use", "options", "wrong"),
    [
        (Use.DOOR, {}, {"held_open_ms": 1}),
        (Use.WORKSTATION, {}, {"removal": "log off"}),
        (Use.TIMECLOCK, {"language": "en"}, {"language": "fr"}),
        (Use.CANTEEN, {"language": "en"}, {"language": "fr"}),
        (Use.PRINTER, {"printer": "flur-1", "language": "en"}, {"printer": "flur-1", "language": "fr"}),
        (Use.PRINTER, {"printer": "flur-1"}, {"printer": ""}),
        (Use.PRINTER, {"printer": "flur-1"}, {"language": "de"}),
    ],
)
def test_every_place_refuses_what_its_points_cannot_have(use, options, wrong):
    """By name, whether the value is wrong, the option is none of this place, or one that it needs is missing."""
    check = OPTION_RULES[use]
    check(options)
    with pytest.raises(ValueError, match=r"^option (held_open_ms|removal|language|printer): "):
        check(wrong)
    with pytest.raises(ValueError, match=r"^option colour: there is none; allowed are "):
        check(options | {"colour": "red"})
