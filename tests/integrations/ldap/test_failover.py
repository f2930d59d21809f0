# SPDX-License-Identifier: EUPL-1.2
"""The order of servers, the waiting between rounds, and the small clocks."""

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
    assert order.failed(worked_s=0, refused=False) == 0.0
    assert order.current.host == "b"
    assert 0.05 <= order.failed(worked_s=0, refused=False) <= 0.1
    assert order.current.host == "a"


def test_the_wait_grows_to_its_bound_and_starts_again_after_a_good_time() -> None:
    order = ServerOrder(SERVERS[:1], TIMING)
    waits = [order.failed(worked_s=0, refused=False) for _ in range(30)]
    assert waits[0] <= 0.1
    assert all(1.0 <= wait <= 2.0 for wait in waits[6:])
    assert order.failed(worked_s=6.0, refused=False) <= 0.1


def test_a_refusal_waits_long_enough_not_to_lock_the_account() -> None:
    order = ServerOrder(SERVERS, TIMING)
    assert [order.failed(worked_s=0, refused=True) for _ in range(4)] == [0.0, 10.0, 0.0, 10.0]


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


@pytest.fixture
def reported() -> tuple[StateReport, list[SourceState]]:
    sink = RecordingSink()
    return StateReport(sink, "syncrepl"), sink.states


def test_a_state_is_told_once_and_keeps_its_beginning(reported: tuple[StateReport, list[SourceState]]) -> None:
    report, states = reported
    report.lost("a", "No answer.")
    report.lost("a", "No answer.")
    report.lost("a", "Refused.")
    assert [state.trouble for state in states] == ["No answer.", "Refused."]
    assert states[0].since_ms == states[1].since_ms


def test_remarks_belong_to_a_connection(reported: tuple[StateReport, list[SourceState]]) -> None:
    report, states = reported
    report.connected("a", "Everything was read again.")
    report.comparison("no answer.")
    report.comparison("no answer.")
    report.comparison(None)
    report.connected("b", None)
    assert [state.trouble for state in states] == [
        "Everything was read again.",
        "Everything was read again. The comparison with the whole directory failed: no answer.",
        "Everything was read again.",
        None,
    ]
    assert [state.server for state in states] == ["a", "a", "a", "b"]
