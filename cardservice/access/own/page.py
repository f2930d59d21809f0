# SPDX-License-Identifier: EUPL-1.2
"""What `own_points.html` shows, the same at every place; the place brings the words."""

from collections.abc import Callable, Mapping
from typing import Any

from cardservice.access.own.service import OwnPoint, OwnView
from cardservice.access.rules import Reason
from cardservice.access.sentences import SENTENCES
from cardservice.web.pages import Language, when


def own_points_content(
    found: OwnView, language: Language, texts: Mapping[str, str], remark: Callable[[OwnPoint], str]
) -> dict[str, Any]:
    """Return what the template needs; `remark` is said of each point that permits, the holder's sentence of others."""
    return {
        "at": when(found.at_ms, language),
        "trouble": _trouble(found, language, texts),
        "facts": (),
        "open": [_row(one, remark(one)) for one in found.open],
        "later": [_row(one, _sentence(one.reason, language)) for one in found.later],
        "more": found.more,
    }


def _trouble(found: OwnView, language: Language, texts: Mapping[str, str]) -> str | None:
    """Return why no card of theirs works, None if one is in order."""
    if not found.has_card:
        return texts["no_card"]
    if found.out_of_use is None:
        return None
    return f"{texts['out_of_use']} {_sentence(found.out_of_use, language)}"


def _row(one: OwnPoint, remark: str) -> dict[str, str]:
    return {"name": one.point.name, "zone": one.zone, "remark": remark}


def _sentence(reason: Reason, language: Language) -> str:
    sentences = SENTENCES[reason]
    return sentences.holder_de if language == "de" else sentences.holder_en
