# SPDX-License-Identifier: EUPL-1.2
"""Instants as people read and write them."""

import pytest

from cardservice.instants import MAX_INSTANT_MS, instant, instant_of


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2027-03-31", "2027-03-31T22:00:00+00:00"),
        # The day on which summer time begins ends an hour earlier, seen from Greenwich.
        ("2027-03-27", "2027-03-27T23:00:00+00:00"),
        ("2027-03-28", "2027-03-28T22:00:00+00:00"),
        ("2027-03-31T18:00", "2027-03-31T16:00:00+00:00"),
        ("2027-03-31T18:00+00:00", "2027-03-31T18:00:00+00:00"),
    ],
)
def test_a_written_instant(text, at):
    assert instant(instant_of(text)) == at


@pytest.mark.parametrize("text", ["", "soon", "2027-02-30", "1066-10-14", "31.03.2027", "9999-12-31"])
def test_what_is_no_instant_is_refused(text):
    with pytest.raises((ValueError, OverflowError)):
        instant_of(text)


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (0, "1970-01-01T00:00:00+00:00"),
        (MAX_INSTANT_MS - 1, "9999-12-31T23:59:59+00:00"),
        (MAX_INSTANT_MS, "253402300800000 ms after 1970"),
        (2**62, f"{2**62} ms after 1970"),
        (-1, "-1 ms after 1970"),
    ],
)
def test_every_number_can_be_shown(at_ms, text):
    """A grant may end at an instant that no calendar has; a list that shows it does not break."""
    assert instant(at_ms) == text
