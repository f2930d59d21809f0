# SPDX-License-Identifier: EUPL-1.2
"""The limits of the settings: shorter freely, longer with a reason, never out of bounds."""

from pathlib import Path

import pytest

from cardservice.errors import SettingsError
from cardservice.keeping import DAY_MS, LIMITS, RetentionSection
from cardservice.settings import load


def loaded(tmp_path: Path, text: str) -> RetentionSection:
    file = tmp_path / "cardservice.toml"
    file.write_text(f"[retention]\n{text}\n", "utf-8")
    return load(file).retention


def test_every_limit_can_be_set_and_begins_as_usual() -> None:
    """A setting for each limit and for nothing else; none is usually outside of its own bounds."""
    section = RetentionSection()
    assert set(RetentionSection.model_fields) - {"reasons"} == set(LIMITS)
    assert {name: section.days(name) for name in LIMITS} == {name: limit.usual for name, limit in LIMITS.items()}
    assert all(limit.least <= limit.usual < limit.most for limit in LIMITS.values())
    assert section.longer() == {}
    assert section.kept_ms("doors") == 7 * DAY_MS


def test_shorter_needs_no_reason(tmp_path: Path) -> None:
    assert loaded(tmp_path, "doors = 1\nsecurity_log = 30").days("doors") == 1


def test_longer_needs_a_reason_that_everybody_reads(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"doors: 14 days are more than the usual 7: say why in \[retention.reas"):
        loaded(tmp_path, "doors = 14")
    section = loaded(tmp_path, 'doors = 14\nreasons = {doors = "Agreed with the staff council on 1 July"}')
    assert section.longer() == {"doors": "Agreed with the staff council on 1 July"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("doors = 0", "retention.doors"),
        ("doors = 91", "retention.doors"),
        ("time_bookings = 365", "retention.time_bookings"),
        ("lookups = 30", "retention.lookups"),
        ("forever = 1", "there is no such setting; allowed here: canteen_books, canteen_requests"),
        ('reasons = {tea = "x"}', "tea is nothing that is kept"),
        ('reasons = {doors = " "}', "reasons.doors: allowed are 1 to 300"),
        (f'reasons = {{doors = "{"x" * 301}"}}', "reasons.doors: allowed are 1 to 300"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, text)
    assert said in str(refused.value)
