# SPDX-License-Identifier: EUPL-1.2
"""AuthZEN requests are hostile bytes: parsed or refused, never anything else; and times mean what RFC 3339 says."""

import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.access.rules import Level, Use
from cardservice.authzen.rules import (
    VERBS,
    Entity,
    Evaluation,
    Malformed,
    Semantic,
    action_fits,
    batch_of,
    evaluation_of,
    instant_ms,
    parse,
)

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["person", "point"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "id", "name", "properties", "time", "level", "explain"]), inner)
    ),
    max_leaves=12,
)
REQUESTS = st.dictionaries(
    st.sampled_from(["subject", "action", "resource", "context", "evaluations", "options"]), ANYTHING
)


@given(st.binary(max_size=200))
def test_bytes_are_an_object_or_malformed(raw):
    with contextlib.suppress(Malformed):
        assert isinstance(parse(raw), dict)


@given(REQUESTS)
def test_any_json_is_a_request_or_malformed(document):
    for read in (evaluation_of, batch_of):
        with contextlib.suppress(Malformed):
            read(document)


@given(
    st.datetimes(datetime.min.replace(year=1970), datetime.min.replace(year=2200)),  # noqa: DTZ901  # its zone follows
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from(["seconds", "milliseconds", "microseconds", "minutes"]),
)
def test_a_time_is_the_instant_it_names(at, offset_minutes, precision):
    zoned = at.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    text = zoned.isoformat(timespec=precision)
    meant = datetime.fromisoformat(text)
    assert instant_ms(text) == (meant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.5z", 500),
        ("1969-12-31T23:59:60Z", 0),
        ("2025-06-27T18:03-07:00", 1_751_072_580_000),
    ],
)
def test_unusual_ways_to_write_a_time_are_understood(text, at_ms):
    """A leap second is the second after; small letters; no seconds, as the specification's examples have them."""
    assert instant_ms(text) == at_ms


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2027-13-01T00:00:00Z", "2027-02-30T00:00:00Z", "2027-01-01T24:00:00Z", "2027-01-01T00:00:61Z"),
        *("2027-01-01", "2027-01-01T00:00:00", "2027-01-01T00:00:00+25:00", "2027-01-01T00:00:00+01:60", 1, None, []),
        "\u0662\u0660\u0662\u0667-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_malformed(text):
    with pytest.raises(Malformed):
        instant_ms(text)


def test_a_request_says_this_and_no_more():
    document = json.loads(
        '{"subject": {"type": "card", "id": "c1", "properties": {}}, "action": {"name": "open"}, "more": 1,'
        ' "resource": {"type": "point", "id": "tor"}, "context": {"level": "card_pin", "explain": true, "ip": "::1"}}'
    )
    asked = Evaluation(Entity("card", "c1"), "open", Entity("point", "tor"), None, Level.CARD_PIN, explain=True)
    assert evaluation_of(document) == asked
    assert batch_of(document) is None
    batch = batch_of(document | {"evaluations": [{}, {"context": {}}]})
    assert batch.semantic is Semantic.EXECUTE_ALL
    assert batch.evaluations[0] == asked
    assert batch.evaluations[1].explain is False


def test_each_use_has_one_verb_and_pass():
    assert set(VERBS) == set(Use)
    for use, verb in VERBS.items():
        assert [one for one in (*VERBS.values(), "pass", "read", "") if action_fits(one, use)] == [verb, "pass"]
