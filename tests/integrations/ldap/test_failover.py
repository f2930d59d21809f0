# SPDX-License-Identifier: EUPL-1.2
"""The order of servers, the waiting between rounds, and the small clocks."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from contracts.directory_source import RecordingSink

from cardservice.people.ports import SourceState
from integrations.ldap.failover import ServerOrder
from integrations.ldap.reconcile import ReconcileClock
from integrations.ldap.settings import Server, Timing
from integrations.ldap.silence import Silence
from integrations.ldap.state import StateReport

SERVERS = [Server(f"ldaps://{name}", name, 636, tls=True) for name in ("a", "b")]
TIMING = Timing(backoff_least_s=0.1, backoff_most_s=2.0, refused_wait_s=10.0)


def test_a_round_goes_through_all_servers_before_it_waits() -> None:
    order = ServerOrder(SERVERS, TIMING)
    assert order.current.host == "a"
    assert order.failed(worked_s=0, refused=False, now_s=0) == 0.0
    assert order.current.host == "b"
    assert 0.05 <= order.failed(worked_s=0, refused=False, now_s=0) <= 0.1
    assert order.current.host == "a"


def test_the_wait_grows_to_its_bound_and_starts_again_after_a_good_time() -> None:
    order = ServerOrder(SERVERS[:1], TIMING)
    waits = [order.failed(worked_s=0, refused=False, now_s=0) for _ in range(30)]
    assert waits[0] <= 0.1
    assert all(1.0 <= wait <= 2.0 for wait in waits[6:])
    assert len(set(waits[6:])) > 1, "many services would knock at the same moment"
    assert order.failed(worked_s=6.0, refused=False, now_s=0) <= 0.1


def test_the_next_server_is_tried_at_once_when_one_is_lost_that_has_served() -> None:
    """However often that happens; one that is lost at once each time is not run after."""
    order = ServerOrder(SERVERS, TIMING)
    assert [order.failed(worked_s=1.0, refused=False, now_s=0) for _ in range(9)] == [0.0] * 9
    assert max(order.failed(worked_s=0.1, refused=False, now_s=0) for _ in range(9)) > 0.5


def test_a_refusal_waits_long_enough_not_to_lock_the_account() -> None:
    order = ServerOrder(SERVERS, TIMING)
    assert order.failed(worked_s=0, refused=True, now_s=100.0) == 0.0
    assert order.current.host == "b"
    assert order.failed(worked_s=0, refused=True, now_s=101.0) == 9.0
    assert order.current.host == "a"
    assert order.failed(worked_s=0, refused=True, now_s=110.0) == 1.0
    assert order.current.host == "b"


def test_a_server_that_refused_us_rests_while_the_others_are_tried() -> None:
    """Its account must not be locked because another server cannot be reached."""
    order = ServerOrder(SERVERS, TIMING)
    order.failed(worked_s=0, refused=True, now_s=100.0)
    now_s, tried = 100.0, []
    while now_s < 109.0:
        tried.append(order.current.host)
        wait_s = order.failed(worked_s=0, refused=False, now_s=now_s)
        assert wait_s > 0, "one server alone is not tried without a pause"
        now_s += wait_s
    assert set(tried) == {"b"}
    order.failed(worked_s=0, refused=False, now_s=110.0)
    assert order.current.host == "a"


def test_silence_counts_only_while_somebody_listens() -> None:
    silence = Silence()
    assert silence.lasts_s(100.0, waiting_since_s=50.0) == 0.0
    assert silence.lasts_s(101.5, waiting_since_s=50.0) == 1.5
    assert silence.lasts_s(101.5, waiting_since_s=101.0) == 0.5
    silence.heard()
    assert silence.lasts_s(200.0, waiting_since_s=50.0) == 0.0


def test_the_comparison_comes_soon_after_the_start_then_periodically() -> None:
    clock = ReconcileClock(600.0, now_s=0.0)
    assert [clock.due(now) for now in (4.9, 5.0)] == [False, True]
    clock.done(10.0, took_s=2.0)
    assert [clock.due(now) for now in (609.0, 610.0)] == [False, True]
    clock.soon(20.0, 30.0)
    assert [clock.due(now) for now in (59.0, 60.0)] == [False, True]
    clock.failed(100.0)
    assert [clock.due(now) for now in (159.0, 160.0)] == [False, True]


def test_the_comparison_comes_soon_after_a_reconnect_but_leaves_most_of_the_time_to_other_work() -> None:
    clock = ReconcileClock(600.0, now_s=0.0)
    clock.done(10.0, took_s=0.1)
    clock.resumed(20.0)
    assert [clock.due(now) for now in (24.9, 25.0)] == [False, True]
    clock.done(100.0, took_s=1.0)
    clock.resumed(110.0)
    assert [clock.due(now) for now in (129.0, 130.0)] == [False, True]


@pytest.fixture
def instants(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A wall clock that goes on by one millisecond whenever it is asked, from 1."""
    ticks = itertools.count(1_000_000, 1_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: next(ticks))
    return ticks


@pytest.fixture
def reported() -> tuple[StateReport, list[SourceState]]:
    sink = RecordingSink()
    return StateReport(sink, "syncrepl"), sink.states


def test_a_state_is_told_once_and_keeps_its_beginning(
    reported: tuple[StateReport, list[SourceState]], instants: Iterator[int]
) -> None:
    """Neither another sentence nor another server that cannot be reached either is a new beginning."""
    report, states = reported
    report.lost("a", "No answer.")
    report.lost("a", "No answer.")
    report.lost("a", "Refused.")
    report.lost("b", "Refused.")
    assert [(state.server, state.trouble) for state in states] == [
        ("a", "No answer."),
        ("a", "Refused."),
        ("b", "Refused."),
    ]
    assert {state.since_ms for state in states} == {1}
    report.connected("b", None)
    assert states[-1].since_ms == 5


def test_a_failed_comparison_is_a_trouble_with_a_beginning_of_its_own(
    reported: tuple[StateReport, list[SourceState]], instants: Iterator[int]
) -> None:
    report, states = reported
    report.connected("a", "Everything was read again.")
    report.comparison("no answer.")
    report.comparison("no answer.")
    report.comparison("refused.")
    report.comparison(None)
    failed = "The comparison with the whole directory failed: "
    assert [(state.since_ms, state.trouble) for state in states] == [
        (1, None),
        (2, f"{failed}no answer."),
        (2, f"{failed}refused."),
        (4, None),
    ]
    assert all(state.connected and state.remark == "Everything was read again." for state in states)


def test_remarks_belong_to_a_connection_and_its_beginning_is_forgotten_after_a_comparison(
    reported: tuple[StateReport, list[SourceState]],
) -> None:
    report, states = reported
    report.connected("a", "Everything was read again.")
    report.unreadable(Counter({"shadowexpire": 2}))
    report.compared()
    report.compared()
    report.connected("b", None)
    odd = "2 values cannot be read (shadowexpire); people with a doubtful status count as disabled."
    assert [(state.server, state.remark, state.trouble) for state in states] == [
        ("a", "Everything was read again.", None),
        ("a", f"Everything was read again. {odd}", None),
        ("a", odd, None),
        ("b", None, None),
    ]
