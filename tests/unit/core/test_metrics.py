# SPDX-License-Identifier: EUPL-1.2
"""Metrics name uses, reasons, agents and stages, never a person or a card."""

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from cardservice.metrics import Metrics

ALLOWED_LABELS = {"use", "outcome", "reason", "stage", "result", "agent", "directory"}


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
