# SPDX-License-Identifier: EUPL-1.2
"""How many people may vanish at once before somebody must look."""

import pytest

from cardservice.people.rules import RemovalGuard


@pytest.mark.parametrize(
    ("losing", "total", "believed"),
    [
        (0, 0, True),
        (20, 10, True),
        (20, 20, True),
        (21, 21, False),
        (20, 999, True),
        (21, 1_049, False),
        (21, 1_050, True),
        (200, 10_000, True),
        (201, 10_000, False),
    ],
)
def test_twenty_or_two_percent_whichever_is_more(losing: int, total: int, *, believed: bool) -> None:
    assert RemovalGuard().allows(losing, total) is believed


def test_both_bounds_can_be_set() -> None:
    guard = RemovalGuard(floor=1, share=0.5)
    assert guard.allows(5, 10)
    assert not guard.allows(6, 10)
