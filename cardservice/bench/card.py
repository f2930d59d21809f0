# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench card`: what it costs to have a card prove itself, with the keys at hand and at the centre.

Cards of both kinds lie in readers of a real pcscd. In turn one is read by a real agent and the real service, one by a
program that has the keys, and every floor is measured once beside them, so that all see the same machine. `card_keys`
is the third part: how many authentications one core does in a second.
"""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from cardservice.bench import card_keys
from cardservice.bench.card_city import READERS, CardRig, MeasuredRead, running_cards
from cardservice.bench.city_figures import load_row, spread
from cardservice.bench.report import Ratio, Report

LIBRARIES: Final = ("cryptography", "picows", "pyscard", "uvloop", "websockets")
LOCAL_GOAL: Final = 1.25
RELAYED_GOAL: Final = 1.5
_TITLES: Final = {
    "relayed_us": "relayed",
    "local_us": "local",
    "apdus_us": "floor: APDU echoes",
    "websocket_us": "floor: WebSocket echoes",
    "crypto_us": "floor: cryptography, both sides",
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: reads of each kind of card and in how many rounds; taps for each place of the keys.

    The first reads, `warm_up` of them, load what all later ones find loaded, and do not count.
    """

    warm_up: int = 3
    reads: int = 120
    rounds: int = 6
    taps: int = 200


def run(size: Size = Size()) -> Report:  # frozen
    """Measure all three parts.

    Raises:
        CardServiceError, RigError: a part of it does not run here; one sentence.
    """
    report = Report("card", libraries=LIBRARIES, rows=[load_row()])
    with tempfile.TemporaryDirectory(prefix="card-") as name, running_cards(Path(name)) as cards:
        found = _reads(cards, size)
        for kind, shape in cards.shapes.items():
            _report(report, kind, shape, found[kind], size.rounds)
    card_keys.measure(report, size.taps)
    return report


def _reads(cards: CardRig, size: Size) -> dict[str, list[MeasuredRead]]:
    """Return what was measured of each kind of card, without the warm-up; the kinds take turns."""
    found: dict[str, list[MeasuredRead]] = {kind: [] for kind in READERS}
    for number in range(size.warm_up + size.reads):
        for kind, reads in found.items():
            read = cards.read(kind)
            if number >= size.warm_up:
                reads.append(read)
    return found


def _report(report: Report, kind: str, shape: Mapping[str, int], reads: Sequence[MeasuredRead], rounds: int) -> None:
    for field in fields(MeasuredRead):
        values = [getattr(read, field.name) for read in reads]
        report.rows.append(spread(f"{kind} {_TITLES[field.name]}", values, "us"))
    length = len(reads) // rounds
    parts = [reads[at : at + length] for at in range(0, length * rounds, length)]
    local = [_median(part, "local_us") / _local_floor_us(part) for part in parts]
    relayed = [_median(part, "relayed_us") / _relayed_floor_us(part) for part in parts]
    report.rows.append(
        {
            "case": f"{kind} against its floors",
            "apdus": shape["apdus"],
            "relay_steps": shape["steps"],
            "local_min": round(min(local), 3),
            "local_max": round(max(local), 3),
            "relayed_min": round(min(relayed), 3),
            "relayed_max": round(max(relayed), 3),
        }
    )
    report.ratios += [
        Ratio(f"{kind}, local, against its floors", statistics.median(local), LOCAL_GOAL, at_least=False),
        Ratio(f"{kind}, relayed, against its floors", statistics.median(relayed), RELAYED_GOAL, at_least=False),
    ]


def _median(reads: Sequence[MeasuredRead], name: str) -> float:
    return float(statistics.median(getattr(read, name) for read in reads))


def _local_floor_us(reads: Sequence[MeasuredRead]) -> float:
    """Return what a read costs at least: every APDU echoed, and the cryptography of both sides."""
    return _median(reads, "apdus_us") + _median(reads, "crypto_us")


def _relayed_floor_us(reads: Sequence[MeasuredRead]) -> float:
    """Return the same with one WebSocket echo for each step of the relay."""
    return _local_floor_us(reads) + _median(reads, "websocket_us")
