# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench NAME`: exit code 0 when it ran, whatever holds."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Final

from cardservice.bench import decide
from cardservice.bench.report import Report

BENCHES: Final[dict[str, Callable[[], Report]]] = {"decide": decide.run}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="cardservice bench", description="Figures, measured side by side.")
    parser.add_argument("name", choices=[*sorted(BENCHES), "all"])
    parser.add_argument("--json", action="store_true", help="print one JSON document (a list for 'all')")
    options = parser.parse_args(argv)
    names = sorted(BENCHES) if options.name == "all" else [options.name]
    reports = [BENCHES[name]() for name in names]
    if options.json:
        documents = [report.as_json() for report in reports]
        sys.stdout.write(json.dumps(documents if options.name == "all" else documents[0], indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(report.as_text() for report in reports) + "\n")
    return 0
