# SPDX-License-Identifier: EUPL-1.2
"""What metrics say: those of a page of text, and those of a registry in this process."""

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families


def values(page: str, name: str, *labels: str) -> dict[tuple[str, ...], float]:
    """Return every value of the metric `name` on a page of metrics, by the values of these labels."""
    samples = (sample for family in text_string_to_metric_families(page) for sample in family.samples)
    return {tuple(one.labels[label] for label in labels): one.value for one in samples if one.name == name}


def label_values(registry: CollectorRegistry, label: str) -> set[str]:
    """Return every value that a label has in any metric."""
    samples = (sample for family in registry.collect() for sample in family.samples)
    return {sample.labels[label] for sample in samples if label in sample.labels}
