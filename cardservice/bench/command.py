# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench NAME`: exit code 0 when it ran, whatever holds; 1 when a part it needs is missing, and which."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Final

from cardservice.bench import card, channel, decide, pay, printing, rest, revoke, tap, unlock
from cardservice.bench.report import Report
from cardservice.errors import CardServiceError
from rig.errors import RigError

BENCHES: Final[dict[str, Callable[[], Report]]] = {
    "card": card.run,
    "channel": channel.run,
    "decide": decide.run,
    "pay": pay.run,
    "print": printing.run,
    "rest": rest.run,
    "revoke": revoke.run,
    "tap": tap.run,
    "unlock": unlock.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="cardservice bench", description="Figures, measured side by side.")
    parser.add_argument("name", choices=[*sorted(BENCHES), "all"])
    parser.add_argument("--json", action="store_true", help="print one JSON document (a list for 'all')")
    options = parser.parse_args(argv)
    names = sorted(BENCHES) if options.name == "all" else [options.name]
    reports, missing = _run(names)
    if options.json and reports:
        documents = [report.as_json() for report in reports]
        sys.stdout.write(json.dumps(documents if options.name == "all" else documents[0], indent=1) + "\n")
    elif reports:
        sys.stdout.write("\n".join(report.as_text() for report in reports) + "\n")
    for sentence in missing:
        sys.stderr.write(f"cardservice bench {sentence}\n")
    return 1 if missing else 0


def _run(names: Sequence[str]) -> tuple[list[Report], list[str]]:
    """Run these benchmarks; return what they measured, and one sentence for each that cannot run here."""
    reports, missing = [], []
    for name in names:
        try:
            reports.append(BENCHES[name]())
        except (CardServiceError, RigError) as error:
            missing.append(f"{name}: {error}")
    return reports, missing
