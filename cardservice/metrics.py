# SPDX-License-Identifier: EUPL-1.2
"""What `/metrics` shows. Labels are uses, reasons, agents and stages: never a person, a card or a login."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_FAST = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
)


class Metrics:
    """One registry per service, so that two services in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.taps = Counter("cardservice_taps", "Taps answered", ["use", "outcome", "reason"], registry=self.registry)
        self.stage = Histogram(
            "cardservice_tap_stage_seconds",
            "How long the stages of a tap took",
            ["stage"],
            buckets=_FAST,
            registry=self.registry,
        )
        self.events = Counter(
            "cardservice_agent_events", "Events uploaded by agents", ["result"], registry=self.registry
        )
        self.refused_messages = Counter(
            "cardservice_agent_messages_refused",
            "Messages from agents that made no sense",
            ["agent"],
            registry=self.registry,
        )
        self.agent_online = Gauge(
            "cardservice_agent_online", "1 while the agent's channel is open", ["agent"], registry=self.registry
        )
        self.agent_outbox = Gauge(
            "cardservice_agent_outbox_depth",
            "Events the agent has not handed over yet",
            ["agent"],
            registry=self.registry,
        )
        self.events_missing = Gauge(
            "cardservice_agent_events_missing",
            "Events acknowledged once and not here: asked for again, or lost",
            ["agent", "state"],
            registry=self.registry,
        )
        self.directory_age = Gauge(
            "cardservice_directory_age_seconds",
            "Since when the directory copy is not proved current (-1: never was)",
            ["directory"],
            registry=self.registry,
        )
        self.directory_connected = Gauge(
            "cardservice_directory_connected",
            "1 while the directory is followed",
            ["directory"],
            registry=self.registry,
        )
        self.directory_people = Gauge(
            "cardservice_directory_people", "People in the directory copy", ["directory"], registry=self.registry
        )
        self.removals_held = Gauge(
            "cardservice_directory_removals_held",
            "People the directory no longer names, kept until somebody looks",
            ["directory"],
            registry=self.registry,
        )
        self.snapshot_revision = Gauge(
            "cardservice_snapshot_revision", "Change log revision of the snapshot", registry=self.registry
        )
        self.snapshot_cards = Gauge("cardservice_snapshot_credentials", "Credentials known", registry=self.registry)
        self.snapshot_build = Gauge(
            "cardservice_snapshot_build_seconds", "How long the last full build took", registry=self.registry
        )
        self.recorder_depth = Gauge(
            "cardservice_recorder_waiting", "Units waiting for the record store", registry=self.registry
        )
        self.recorder_flushes = Gauge(
            "cardservice_recorder_flushes", "Transactions committed to the record store", registry=self.registry
        )
