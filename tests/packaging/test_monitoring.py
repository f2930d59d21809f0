# SPDX-License-Identifier: EUPL-1.2
"""Dashboard and alert rules: they ask for what the service shows, name no people, and each alarm is explained."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from support.service import CityFiles, ServiceThread, directory_in_thread

from cardservice.tls import Certificate
from rig.tls_files import make_tls_files

ROOT = Path(__file__).parents[2]
RULES = ROOT / "packaging" / "monitoring" / "alerts.yml"
DASHBOARD = ROOT / "packaging" / "monitoring" / "dashboard.json"
METRIC = re.compile(r"\bcardservice_[a-z0-9_]+")
LABELS = re.compile(r"\bby \(([^)]*)\)|\{([a-z_]+)[=!~]|\{\{ ?\$?(?:labels\.)?([a-z_]+) ?\}\}")
# What a series may be told apart by. None of these is a person, a card or a login.
KNOWN_LABELS = {
    "account",
    "agent",
    "authority",
    "code",
    "directory",
    "job",
    "le",
    "limit",
    "outcome",
    "reason",
    "result",
    "stage",
    "state",
    "use",
}


def rules() -> dict[str, str]:
    """The expression of each alarm by its name."""
    found = re.findall(r"- alert: (\w+)\n\s+expr: (.+)\n", RULES.read_text("utf-8"))
    assert len(found) == RULES.read_text("utf-8").count("alert:")
    return dict(found)


def panels() -> list[dict[str, object]]:
    document = json.loads(DASHBOARD.read_text("utf-8"))
    found: list[dict[str, object]] = document["panels"]
    return found


def dashboard_expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every name that `/metrics` of a service knows, with the certificate's, which it shows where it speaks TLS."""
    folder = tmp_path_factory.mktemp("monitoring")
    make_tls_files(folder / "tls")
    registry = CollectorRegistry()
    registry.register(Certificate(folder / "tls/cert.pem", folder / "tls/key.pem"))
    with directory_in_thread() as directory:
        files = CityFiles(folder / "city", directory.address)
        files.upgrade()
        service = ServiceThread(files)
        service.start()
        page = service.get("/metrics")[1] + generate_latest(registry).decode()
        service.stop()
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
        names |= {f"{name}{end}" for end in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))}
    return names


def test_the_rules_ask_for_what_is_shown(shown: set[str]) -> None:
    asked = {name for expression in rules().values() for name in METRIC.findall(expression)}
    assert asked - shown == set()
    assert len(asked) >= 12


def test_the_dashboard_asks_for_what_is_shown(shown: set[str]) -> None:
    asked = {name for expression in dashboard_expressions() for name in METRIC.findall(expression)}
    assert asked - shown == set()
    assert len(asked) >= 15


def test_nothing_is_told_apart_by_people() -> None:
    texts = [RULES.read_text("utf-8"), *dashboard_expressions(), DASHBOARD.read_text("utf-8")]
    found = {name.strip() for text in texts for names in LABELS.findall(text) for name in ",".join(names).split(",")}
    assert found - {"", "value"} <= KNOWN_LABELS
    assert "agent" in found


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    """Each panel has a number of its own and a place where no other is, and asks whichever Prometheus is chosen."""
    found = panels()
    assert len({panel["id"] for panel in found}) == len(found)
    taken = set()
    for panel in found:
        place: dict[str, int] = panel["gridPos"]  # type: ignore[assignment]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}


def test_each_alarm_is_explained() -> None:
    """`docs/operations.md` says what to do, under the alarm's name."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert set(re.findall(r"^#### (\w+)$", page, re.MULTILINE)) == set(rules())


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(("promtool", *arguments), capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.promtool
def test_prometheus_accepts_the_rules() -> None:
    done = promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@pytest.mark.promtool
def test_each_alarm_comes_on_a_bad_day_and_none_on_an_ordinary_one() -> None:
    """Prometheus itself plays both days."""
    played = Path(__file__).with_name("alerts_test.yml")
    assert all(played.read_text("utf-8").count(name) == 2 for name in rules())
    done = promtool("test", "rules", played)
    assert done.returncode == 0, done.stdout + done.stderr
