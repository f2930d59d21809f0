# SPDX-License-Identifier: EUPL-1.2
"""What came of each line of a batch as a file (RFC 4180, semicolons, UTF-8): by its line numbers, no names."""

import csv
import io
from collections.abc import Sequence
from typing import Final

from cardservice.cards.bulk.service import CANCELLED, LineDone

_COLUMNS: Final = ("line", "profile", "card", "outcome", "fault")
# What a spreadsheet would take for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def report(lines: Sequence[LineDone]) -> str:
    """Return the file; `outcome` is done, failed, cancelled or waiting."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";")
    writer.writerow(_COLUMNS)
    for one in lines:
        outcome = outcome_of(one)
        fault = one.fault if outcome == "failed" else None
        writer.writerow((one.line, one.profile, one.card or "", outcome, _plain(fault or "")))
    return text.getvalue()


def outcome_of(line: LineDone) -> str:
    """Return what came of a line, in one word."""
    if line.fault is not None:
        return "cancelled" if line.fault == CANCELLED else "failed"
    return "waiting" if line.card is None else "done"


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
