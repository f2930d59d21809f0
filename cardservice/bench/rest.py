# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench rest`: taps a second over REST, next to a bare FastAPI no-op on the same server.

On one side `POST /api/v1/taps` as `serve` builds it: within its limits, with an account's token, decided, chained into
the journal and on the disk before the answer. On the other a FastAPI application with nothing but `POST /noop`: a body
of the same size parsed by pydantic, answered with a constant. One process, one port, the same client, in turn.
"""

import json
import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Final

import uvloop

from cardservice.bench.asking import Count, Posting, ask_for, post, row, server
from cardservice.bench.channel_server import CREDENTIALS, POINT
from cardservice.bench.report import Ratio, Report
from cardservice.bench.rest_server import TOKEN

ROUNDS: Final = 7
SECONDS: Final = 2.0
CONNECTIONS: Final = (16, 64)
GOALS: Final = {16: 1.0, 64: 1.3}


def _body(number: int, sequence: int) -> bytes:
    credential = CREDENTIALS[(number * 7_919 + sequence) % len(CREDENTIALS)]
    return json.dumps({"point": f"{POINT}{number}", "number": credential}).encode()


def _tap(number: int, sequence: int) -> bytes:
    return post("/api/v1/taps", _body(number, sequence), f"Authorization: Bearer {TOKEN}")


def _question(number: int, sequence: int) -> bytes:
    return post("/noop", _body(number, sequence))


_taps: Final = partial(Posting, request=_tap, ends_with=b'"answer":null}')
_noop: Final = partial(Posting, request=_question, ends_with=b'{"ok":true}')


def run(rounds: int = ROUNDS, seconds: float = SECONDS, connections: Sequence[int] = CONNECTIONS) -> Report:
    """Measure both sides in turn; medians over the rounds."""
    report = Report("rest", libraries=("fastapi", "pydantic", "starlette", "uvicorn", "uvloop"))
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        server("cardservice.bench.rest_server", folder) as served,
    ):
        # The first tap of a person makes a key for their part of the journal; that happens once in a lifetime.
        uvloop.run(ask_for(served, _taps, max(connections), seconds * 2))
        for count in connections:
            taps: list[Count] = []
            noops: list[Count] = []
            for _ in range(rounds):
                noops.append(uvloop.run(ask_for(served, _noop, count, seconds)))
                taps.append(uvloop.run(ask_for(served, _taps, count, seconds)))
            for name, counts in (("FastAPI no-op", noops), ("tap over REST", taps)):
                report.rows.append({"case": f"{name}, {count} connections"} | row(counts))
            ratio = statistics.median(one.per_s for one in taps) / statistics.median(one.per_s for one in noops)
            report.ratios.append(
                Ratio(f"taps over REST, {count} connections", ratio, GOALS.get(count, 1.0), at_least=True)
            )
    return report
