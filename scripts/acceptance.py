#!/usr/bin/env python3
# SPDX-License-Identifier: EUPL-1.2
"""Runs the fault tests at their full size and writes what they found into docs/acceptance.md.

    .venv/bin/python scripts/acceptance.py [--seed N] [PYTEST-ARGUMENT...]

Exit code: pytest's. With pytest arguments only the tests that ran are written again; the rest of the report stays.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "acceptance.md"
KEPT = ROOT / "docs" / "acceptance.json"
BEGIN, END = "<!-- faults: written by scripts/acceptance.py -->", "<!-- end of faults -->"

Line = dict[str, Any]


def main() -> int:
    """Run, merge with what is kept of earlier runs, write; return pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="where all chance comes from")
    options, chosen = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.jsonl"
        code = _run(found, options.seed, chosen)
        lines = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
    stamp = {"commit": _commit(), "on": datetime.now(UTC).date().isoformat(), "machine": _machine()}
    kept = {line["test"]: line for line in _kept()} | {line["test"]: line | stamp for line in lines if line["full"]}
    KEPT.write_text(
        json.dumps(sorted(kept.values(), key=lambda line: line["test"]), indent=1, ensure_ascii=False) + "\n"
    )
    _write(list(kept.values()))
    return code


def _run(found: Path, seed: int | None, chosen: list[str]) -> int:
    environment = os.environ | {"FAULTS_FULL": "1", "FAULTS_REPORT": str(found)}
    environment["CARDSERVICE_REQUIRE_ALL"] = "1"
    if seed is not None:
        environment["FAULTS_SEED"] = str(seed)
    command = [sys.executable, "-m", "pytest", *(chosen or ["tests/faults", "tests/service_http/test_schemathesis.py"])]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603  # ours


def _kept() -> list[Line]:
    return json.loads(KEPT.read_text()) if KEPT.exists() else []


def _write(lines: list[Line]) -> None:
    rows = ["| what | found | seed | commit | on |", "| --- | --- | --- | --- | --- |"]
    for line in sorted(lines, key=lambda line: line["what"]):
        found = ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in line["found"].items())
        rows.append(f"| {line['what']} | {found} | {line['seed']} | {line['commit']} | {line['on']} |")
    machines = sorted({line["machine"] for line in lines})
    text = "\n".join([BEGIN, "", *rows, "", f"Machine: {'; '.join(machines)}.", "", END])
    document = REPORT.read_text()
    REPORT.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: text, document, flags=re.DOTALL))


def _number(value: float | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607  # the one on the path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    return f"{os.cpu_count()} processors, {platform.system()} {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
