# SPDX-License-Identifier: EUPL-1.2
"""Two readings of a card without any key, as by a stranger who meets it twice: what was the same both times.

Where it was read and how many bytes they are is told; the bytes themselves are not kept.
"""

from typing import Any

from cardservice.cards.encoding.ports import CardInReader
from cardservice.cards.encoding.works import converse
from cardservice.chip.open_reading import OpenReading, read_openly
from cardservice.chip.privacy_scan import Finding, Tells, compare


def scan(card: CardInReader) -> tuple[OpenReading, tuple[Finding, ...]]:
    """Return the first reading, and the stable bytes beyond the chip's type. Blocks.

    Raises:
        CardGone: the card left.
    """
    card.begin()
    first = converse(read_openly(), card)
    card.begin()
    return first, compare(first, converse(read_openly(), card))


def findings_document(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    """Return findings as JSON has them: where, from which byte, how many, and whom they could tell."""
    return [
        {
            "where": str(one.place),
            "place": one.place.name,
            "offset": one.offset,
            "bytes": len(one.value),
            "tells": one.tells.value,
        }
        for one in findings
    ]


def followed_by(document: list[dict[str, Any]]) -> list[str]:
    """Return what the bytes are by which the card could be followed, each place's name once."""
    return list(dict.fromkeys(one["place"] for one in document if one["tells"] == Tells.ONE_CARD.value))
