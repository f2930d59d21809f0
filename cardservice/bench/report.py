# SPDX-License-Identifier: EUPL-1.2
"""What a benchmark hands back, as JSON and as a table."""

import os
import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

Figure = int | float | str


@dataclass(frozen=True, slots=True)
class Ratio:
    """One promised figure: `value` must be at least (or at most) `goal`."""

    name: str
    value: float
    goal: float
    at_least: bool

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal


@dataclass(slots=True)
class Report:
    """One benchmark's result: rows of figures with units in their names, and the promised ratios."""

    bench: str
    libraries: tuple[str, ...] = ()
    rows: list[dict[str, Figure]] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the document of `--json`."""
        return {
            "bench": self.bench,
            "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "processor": platform.machine()},
            "versions": {"python": platform.python_version()}
            | {name: metadata.version(name) for name in self.libraries},
            "rows": self.rows,
            "ratios": [
                {**asdict(ratio), "value": round(ratio.value, 3), "holds": ratio.holds} for ratio in self.ratios
            ],
        }

    def as_text(self) -> str:
        """Return the table a person reads."""
        lines = [self.bench]
        lines += ["  " + "  ".join(f"{name}={_short(value)}" for name, value in row.items()) for row in self.rows]
        for ratio in self.ratios:
            sign, verdict = (">=" if ratio.at_least else "<="), ("holds" if ratio.holds else "DOES NOT HOLD")
            lines.append(f"  {ratio.name}: {_short(ratio.value)} {sign} {_short(ratio.goal)} {verdict}")
        return "\n".join(lines)


def _short(value: Figure) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
