# SPDX-License-Identifier: EUPL-1.2
"""How far a right goes, as a batch keeps it: what was begun goes on as far as it could then, and no further."""

import json
from typing import Final

from cardservice.web.reach import Reach

_PARTS: Final = ("organisations", "zones", "units", "points")


def text_of(reaches: tuple[Reach, ...]) -> str:
    """Return reaches as JSON."""
    return json.dumps([{part: _listed(getattr(reach, part)) for part in _PARTS} for reach in reaches])


def reaches_from(text: str) -> tuple[Reach, ...]:
    """Return what `text_of` wrote."""
    return tuple(
        Reach(**{part: None if one[part] is None else frozenset(one[part]) for part in _PARTS})
        for one in json.loads(text)
    )


def _listed(part: frozenset[str] | None) -> list[str] | None:
    return None if part is None else sorted(part)
