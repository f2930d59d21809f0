# SPDX-License-Identifier: EUPL-1.2
"""The day's verdict at the printer: a document that was out before the tap was not held for it."""

import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from cardservice.demo import one_day
from city import building

PRINTER = next(str(place.options["printer"]) for place in building.PLACES if place.code == building.PRINTER)


class Trays:
    """Two printers; `early`: what is sent comes out at once, whoever taps."""

    def __init__(self, *, early: bool, elsewhere: bool) -> None:
        self._early = early
        self._out: dict[str, list[int]] = {PRINTER: [1], "other": []}
        self._elsewhere = elsewhere

    def printed(self) -> Mapping[str, int]:
        return {name: len(out) for name, out in self._out.items()}

    def arrivals_ns(self) -> Mapping[str, Sequence[int]]:
        return self._out

    def print_something(self, _login: str, _title: str) -> None:
        if self._early:
            self.come_out()

    def come_out(self) -> None:
        self._out[PRINTER].append(time.time_ns())
        if self._elsewhere:
            self._out["other"].append(time.time_ns())

    def tap(self, _point: str) -> dict[str, Any]:
        if not self._early:
            self.come_out()
        return {"answer": {"code": "released"}}


@pytest.mark.parametrize(
    ("early", "elsewhere", "ok"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_the_document_has_to_wait_for_the_tap(early, elsewhere, ok):
    trays = Trays(early=early, elsewhere=elsewhere)
    day = SimpleNamespace(city=SimpleNamespace(around=trays), tap=trays.tap)
    verdict, seen = one_day._print(day)
    assert (verdict, seen["held_until_the_tap"], seen["came_out_elsewhere"]) == (ok, not early, elsewhere)
