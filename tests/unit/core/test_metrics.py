# SPDX-License-Identifier: EUPL-1.2
"""Metrics name uses, reasons, agents and stages, never a person or a card."""

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from cardservice.metrics import Metrics

ALLOWED_LABELS = {"use", "outcome", "reason", "stage", "code", "result", "agent", "directory", "state"}


def test_no_label_can_hold_a_person() -> None:
    collectors = [one for one in vars(Metrics()).values() if isinstance(one, Counter | Gauge | Histogram)]
    assert len(collectors) > 10
    assert {label for one in collectors for label in one._labelnames} <= ALLOWED_LABELS


def test_two_services_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.taps.labels("door", "permitted", "granted").inc()
    assert b'cardservice_taps_total{outcome="permitted",reason="granted",use="door"} 1.0' in generate_latest(
        one.registry
    )
    assert b"cardservice_taps_total{" not in generate_latest(other.registry)


def test_stages_are_a_histogram_as_prometheus_reads_it() -> None:
    """Cumulative buckets in seconds, a bound included; sum and count fit."""
    metrics = Metrics()
    for took_us in (10, 11, 999, 1_000, 9_000_000):
        metrics.stage.observe("card", took_us)
    text = generate_latest(metrics.registry).decode()
    name = "cardservice_tap_stage_seconds"
    found = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith(name)}
    assert found[name + '_bucket{le="1e-05",stage="card"}'] == 1
    assert found[name + '_bucket{le="2.5e-05",stage="card"}'] == 2
    assert found[name + '_bucket{le="0.001",stage="card"}'] == 4
    assert found[name + '_bucket{le="2.5",stage="card"}'] == 4
    assert found[name + '_bucket{le="+Inf",stage="card"}'] == found[name + '_count{stage="card"}'] == 5
    assert found[name + '_sum{stage="card"}'] == 9.00202
