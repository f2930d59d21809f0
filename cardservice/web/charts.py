# SPDX-License-Identifier: EUPL-1.2
"""Numbers drawn as SVG on the server: bars and lines, without script or style, in the colours of `service.css`.

Who cannot see the picture has its title and description, and the table that stands beside it (`chart.html`). Series
are told apart by more than their colour: by hatching, or by dashes. Pure.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from markupsafe import Markup

from cardservice.web.i18n import Language, number

MAX_LABELS: Final = 200
# As many as can be told apart.
MAX_SERIES: Final = 3
_WIDTH, _HEIGHT = 480, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 30, 26
_PLOT_WIDTH, _PLOT_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_TICKS: Final = 4
# What one label needs; others are left out of the picture, never out of the table.
_LABEL_WIDTH: Final = 58
_BAR_SHARE: Final = 0.7


@dataclass(frozen=True, slots=True)
class Series:
    """Values by label, none below zero. `look` is the colour it has everywhere: what went well, what did not."""

    name: str
    values: tuple[float, ...]
    look: Literal["good", "bad", "plain"] = "plain"


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn and what stands in the table beside it; all texts are in the language of the page.

    `name` is part of the page's ids. `heading` names the labels, `empty` is said where there is nothing to draw.
    `digits` is how many a value may have behind the comma, `unit` stands after it.
    """

    name: str
    title: str
    description: str
    heading: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    empty: str
    kind: Literal["bars", "line"] = "bars"
    unit: str = ""
    digits: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            ValueError: too much, of different lengths, or below zero.
        """
        if len(self.labels) > MAX_LABELS or not 1 <= len(self.series) <= MAX_SERIES:
            raise ValueError(f"a chart has at most {MAX_LABELS} labels and {MAX_SERIES} series")
        if any(len(one.values) != len(self.labels) for one in self.series):
            raise ValueError("a series has one value for each label")
        if any(not math.isfinite(value) or value < 0 for one in self.series for value in one.values):
            raise ValueError("a chart shows no value below zero")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value for one in self.series for value in one.values)

    def rows(self) -> Iterator[tuple[str, tuple[float, ...]]]:
        """Yield the table: each label with its values."""
        for place, label in enumerate(self.labels):
            yield label, tuple(one.values[place] for one in self.series)


def draw(chart: Chart, language: Language) -> Markup:
    """Return the chart as an SVG element."""
    top = _top(chart)
    parts = [*_scale(chart, top, language), *_below(chart)]
    parts += _bars(chart, top[-1]) if chart.kind == "bars" else _lines(chart, top[-1])
    parts += _legend(chart)
    return Markup(  # every text in it was escaped
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-title {n}-desc">'
        '<title id="{n}-title">{t}</title><desc id="{n}-desc">{d}</desc>{hatching}{parts}</svg>'
    ).format(
        w=_WIDTH,
        h=_HEIGHT,
        n=chart.name,
        t=chart.title,
        d=chart.description,
        hatching=_hatching(chart),
        parts=Markup("").join(parts),
    )


def ticks(highest: float, *, whole: bool) -> tuple[float, ...]:
    """Return round values from 0 to what is not below `highest`, about four steps; of counts no fractions."""
    step = max(highest, 1e-9) / _TICKS
    size = 10.0 ** math.floor(math.log10(step))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= step * (1 - 1e-9))
    if whole:
        step = max(1.0, float(math.ceil(step)))
    count = max(1, math.ceil(highest / step - 1e-9))
    return tuple(step * place for place in range(count + 1))


def _top(chart: Chart) -> tuple[float, ...]:
    if chart.kind == "bars":
        highest = max((sum(values) for _, values in chart.rows()), default=0.0)
    else:
        highest = max((value for one in chart.series for value in one.values), default=0.0)
    return ticks(highest, whole=chart.digits == 0)


def _y(value: float, highest: float) -> float:
    return _TOP + _PLOT_HEIGHT * (1 - value / highest)


def _scale(chart: Chart, values: Sequence[float], language: Language) -> Iterator[Markup]:
    digits = chart.digits if values[1] % 1 == 0 else max(chart.digits, 2)
    for value in values:
        y = _y(value, values[-1])
        line, text = (
            Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>'),
            Markup('<text class="tick end" x="{}" y="{}">{}{}</text>'),
        )
        yield line.format(_LEFT, _short(y), _WIDTH - _RIGHT, _short(y))
        yield text.format(_LEFT - 5, _short(y + 4), number(value, language, digits=digits), _behind(chart))


def _behind(chart: Chart) -> str:
    return f" {chart.unit}" if chart.unit else ""


def _below(chart: Chart) -> Iterator[Markup]:
    width = _PLOT_WIDTH / max(1, len(chart.labels))
    every = max(1, math.ceil(_LABEL_WIDTH / width))
    for place, label in enumerate(chart.labels):
        if place % every == 0:
            yield Markup('<text class="tick middle" x="{}" y="{}">{}</text>').format(
                _short(_LEFT + width * (place + 0.5)), _HEIGHT - 8, label
            )


def _bars(chart: Chart, highest: float) -> Iterator[Markup]:
    """One bar for each label, its series on top of each other."""
    width = _PLOT_WIDTH / max(1, len(chart.labels))
    for place, (_, values) in enumerate(chart.rows()):
        below = 0.0
        for turn, (one, value) in enumerate(zip(chart.series, values, strict=True)):
            if not value:
                continue
            # A single one among very many is still seen.
            height = max(1.0, _PLOT_HEIGHT * value / highest)
            x, y = _LEFT + width * (place + (1 - _BAR_SHARE) / 2), _y(below, highest) - height
            below += value
            shape = Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"/>')
            numbers = (_short(x), _short(y), _short(width * _BAR_SHARE), _short(height))
            yield shape.format(one.look, *numbers)
            if turn:
                hatched = Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="url(#{}-hatching)"/>')
                yield hatched.format(*numbers, chart.name)


def _lines(chart: Chart, highest: float) -> Iterator[Markup]:
    width = _PLOT_WIDTH / max(1, len(chart.labels))
    for turn, one in enumerate(chart.series):
        places = [(_LEFT + width * (at + 0.5), _y(value, highest)) for at, value in enumerate(one.values)]
        points = " ".join(f"{_short(x)},{_short(y)}" for x, y in places)
        yield Markup('<polyline class="line {} turn-{}" points="{}"/>').format(one.look, turn, points)
        for x, y in places:
            yield Markup('<circle class="dot {}" cx="{}" cy="{}" r="2.5"/>').format(one.look, _short(x), _short(y))


def _legend(chart: Chart) -> Iterator[Markup]:
    if len(chart.series) < 2:
        return
    x = float(_LEFT)
    for turn, one in enumerate(chart.series):
        if chart.kind == "bars":
            yield Markup('<rect class="bar {}" x="{}" y="6" width="14" height="12"/>').format(one.look, _short(x))
            if turn:
                yield Markup('<rect x="{}" y="6" width="14" height="12" fill="url(#{}-hatching)"/>').format(
                    _short(x), chart.name
                )
        else:
            yield Markup('<polyline class="line {} turn-{}" points="{},12 {},12"/>').format(
                one.look, turn, _short(x), _short(x + 22)
            )
        yield Markup('<text class="tick" x="{}" y="16">{}</text>').format(_short(x + 28), one.name)
        x += 44 + 7.5 * len(one.name)


def _hatching(chart: Chart) -> Markup:
    if chart.kind != "bars" or len(chart.series) < 2:
        return Markup("")
    return Markup(
        '<defs><pattern id="{}-hatching" width="5" height="5" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><line class="hatching" x1="0" y1="0" x2="0" y2="5"/></pattern></defs>'
    ).format(chart.name)


def _short(value: float) -> str:
    """Return a coordinate with no more digits than anybody sees."""
    return f"{value:.1f}".removesuffix(".0")
