# SPDX-License-Identifier: EUPL-1.2
"""A schedule as a picture of its week: bars on a grid of hours, with everything a drawing needs as plain numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cardservice.access.schedules import SPECIAL_DAY
from cardservice.access.setup_parts import ScheduleSetup

LEFT: Final = 128
TOP: Final = 24
ROW: Final = 28
HOUR: Final = 24
WIDTH: Final = LEFT + 24 * HOUR + 8
_BAR: Final = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """One interval: where it is drawn, and what it says."""

    x: float
    width: float
    hours: str


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of day: `day` is 0 Monday .. 6 Sunday, 7 holiday, None a group of special days by its code."""

    day: int | None
    group: str | None
    y: int
    bars: Sequence[Bar]

    @property
    def text_y(self) -> int:
        """Where its name stands."""
        return self.y + _BAR - 5

    @property
    def hours(self) -> str:
        """Every interval in words; empty: shut all day."""
        return ", ".join(bar.hours for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Week:
    """The whole picture."""

    rows: Sequence[Row]
    height: int
    width: int = WIDTH
    left: int = LEFT
    bar: int = _BAR

    @property
    def lines(self) -> Sequence[tuple[int, int]]:
        """Every third hour and where its line stands."""
        return [(hour, LEFT + hour * HOUR) for hour in range(0, 25, 3)]


def week_of(schedule: ScheduleSetup) -> Week:
    """Return the picture: weekdays, holidays where the schedule knows them, special days."""
    kinds = range(SPECIAL_DAY + 1 if schedule.land else SPECIAL_DAY)
    days: list[tuple[int | None, str | None, Iterable[tuple[int, int]]]] = [
        (day, None, [(one.start_minute, one.end_minute) for one in schedule.intervals if one.day == day])
        for day in kinds
    ]
    days += [(None, one.days, one.hours) for one in schedule.special]
    rows = [
        Row(day, group, TOP + number * ROW, [_bar(*one) for one in sorted(hours)])
        for number, (day, group, hours) in enumerate(days)
    ]
    return Week(rows, TOP + len(rows) * ROW + 4)


def _bar(start: int, end: int) -> Bar:
    hours = f"{start // 60:02}:{start % 60:02}–{end // 60:02}:{end % 60:02}"
    return Bar(LEFT + start * HOUR / 60, (end - start) * HOUR / 60, hours)
