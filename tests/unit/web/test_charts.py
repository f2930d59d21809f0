# SPDX-License-Identifier: EUPL-1.2
"""Charts: numbers in, SVG out, with what a reader without eyes or colours needs, and nothing the policy forbids."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.web.charts import MAX_LABELS, Chart, Series, draw, ticks

HOURS = Chart(
    name="taps",
    title="Taps",
    description="By hour",
    heading="Hour",
    labels=("08:00", "09:00", "10:00"),
    series=(Series("permitted", (1_200.0, 0.0, 3.0), "good"), Series("refused", (300.0, 0.0, 1.0), "bad")),
    empty="None.",
)
SVG = "{http://www.w3.org/2000/svg}"


def drawn(chart: Chart, language="de") -> ET.Element:
    return ET.fromstring(str(draw(chart, language)).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def test_a_chart_is_a_picture_with_a_title_and_a_description():
    """Read out as one picture, by what its own title and description say."""
    svg = drawn(HOURS)
    assert svg.get("role") == "img"
    texts = {one.get("id"): one.text for one in svg if one.get("id")}
    assert [texts[name] for name in svg.get("aria-labelledby", "").split()] == ["Taps", "By hour"]


@pytest.mark.parametrize("kind", ["bars", "line"])
def test_a_chart_has_no_style_and_no_script_of_its_own(kind):
    """The policy of the pages forbids both: colours come by class."""
    text = str(draw(replace(HOURS, kind=kind), "de"))
    assert "style" not in text
    assert "script" not in text
    assert "good" in text


def test_bars_stand_on_each_other_and_are_as_high_as_their_numbers():
    """A stack ends where its sum is; nothing is drawn for zero."""
    bars = [one for one in drawn(HOURS).iter(f"{SVG}rect") if (one.get("class") or "").startswith("bar")]
    # The last two are the legend.
    permitted, refused = bars[:2]
    assert len(bars) == 4 + 2
    assert float(permitted.get("height", 0)) == pytest.approx(4 * float(refused.get("height", 0)), rel=0.01)
    top = float(refused.get("y", 0)) + float(refused.get("height", 0))
    assert top == pytest.approx(float(permitted.get("y", 0)), abs=0.11)


def test_the_second_series_is_told_apart_without_colour():
    """Bars are hatched, lines are dashed."""
    assert str(draw(HOURS, "de")).count("url(#taps-hatching)") == 2 + 1
    assert 'class="line bad turn-1"' in str(draw(replace(HOURS, kind="line"), "de"))


def test_numbers_are_written_as_the_language_does():
    """Thousands and commas of German and English; the unit stands behind."""
    large = replace(HOURS, series=(Series("a", (40_000.0, 0.0, 0.0)),))
    assert "40.000<" in str(draw(large, "de"))
    assert "40,000<" in str(draw(large, "en"))
    share = replace(HOURS, series=(Series("a", (0.5, 0.0, 0.0)),), unit="%", digits=1, kind="line")
    assert "0,4 %" in str(draw(share, "de"))


def test_hostile_texts_stay_texts():
    """A name from outside cannot become an element."""
    svg = drawn(replace(HOURS, title="<script>alert(1)</script>", labels=("<b>", '"', "'")))
    assert not list(svg.iter(f"{SVG}script"))
    assert "<script>alert(1)</script>" in [one.text for one in svg]


def test_nothing_but_zeros_is_empty():
    assert replace(HOURS, labels=(), series=(Series("a", ()),)).is_empty
    assert replace(HOURS, series=(Series("a", (0.0, 0.0, 0.0)),)).is_empty
    assert not HOURS.is_empty


def test_the_table_holds_every_number():
    """Also those whose label found no room in the picture."""
    many = replace(HOURS, labels=tuple(map(str, range(100))), series=(Series("a", tuple(map(float, range(100)))),))
    assert list(many.rows()) == [(str(number), (float(number),)) for number in range(100)]
    labels = [one for one in drawn(many).iter(f"{SVG}text") if one.get("class") == "tick middle"]
    assert 2 <= len(labels) < 15


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": ("a",)},
        {"labels": ("x",) * (MAX_LABELS + 1), "series": (Series("a", (1.0,) * (MAX_LABELS + 1)),)},
        {"series": ()},
        {"series": (Series("a", (-1.0, 0.0, 0.0)),)},
        {"series": (Series("a", (float("nan"), 0.0, 0.0)),)},
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(ValueError, match=r"chart|series"):
        replace(HOURS, **wrong)


@given(st.floats(0, 1e12), st.booleans())
def test_a_scale_begins_at_zero_reaches_the_highest_and_has_few_equal_steps(highest, whole):
    """Round steps, of counts whole ones; the highest value always lies within."""
    found = ticks(highest, whole=whole)
    steps = [after - before for before, after in pairwise(found)]
    assert found[0] == 0
    assert found[-1] >= highest * (1 - 1e-6)
    assert 1 <= len(steps) <= 5
    assert max(steps) == pytest.approx(min(steps))
    assert not whole or all(value == int(value) for value in found)
