# SPDX-License-Identifier: EUPL-1.2
"""Closing a generation where two people are needed: one asks for it, saying how many cards that shuts out."""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy.engine import Connection, Engine

from cardservice.approvals.kinds import ContentRefused, Facts, Kind
from cardservice.approvals.rules import Content, Request
from cardservice.cards.keys.rules import CARD, LAST, USES, Generation
from cardservice.cards.keys.service import Closing, close, require_closable
from cardservice.database import read
from cardservice.errors import Conflict
from cardservice.web.i18n import Language, marked, translated
from cardservice.web.operations import Role

CLOSE: Final = "keys.close"
USE_WORDS: Final = {
    "door": marked("Doors"),
    "timeclock": marked("Time clocks"),
    "printer": marked("Printing"),
    "canteen": marked("Canteen"),
    "card": marked("The card itself"),
}
_LABELS: Final = {
    "use": marked("Keys of"),
    "generation": marked("Generation"),
    "cards_left": marked("Cards that are shut out"),
}

Generations = Callable[[], Sequence[Generation]]


def closing_kind(state: Engine, generations: Generations, now_ms: Callable[[], int]) -> Kind:
    """Return the kind of request that closes a generation of keys."""

    def accept(content: Content) -> Content:
        asked = _closing_of(content)
        with read(state) as connection:
            try:
                require_closable(connection, generations(), asked)
            except Conflict as refused:
                raise ContentRefused(str(refused)) from None
        return {"use": asked.use, "generation": asked.generation, "cards_left": asked.cards_left}

    def describe(content: Content, language: Language) -> Facts:
        use = USE_WORDS[content["use"]]
        said = {**content, "use": translated(language, use)}
        return [(translated(language, label), str(said[name])) for name, label in _LABELS.items()]

    def carry_out(connection: Connection, request: Request) -> None:
        # Cards move on while somebody thinks about it: what was approved is that number and no other.
        asked = _closing_of(request.content, approval=request.number)
        close(connection, generations(), asked, now_ms())

    return Kind(
        name=CLOSE,
        title=marked("Close a generation of keys"),
        asks=CLOSE,
        approves=frozenset({Role.APPROVER}),
        accept=accept,
        describe=describe,
        carry_out=carry_out,
    )


def _closing_of(content: Content, approval: int | None = None) -> Closing:
    if content.keys() != _LABELS.keys():
        raise ContentRefused(f"content: {', '.join(_LABELS)} and nothing else")
    use, generation, left = content["use"], content["generation"], content["cards_left"]
    if use not in {*USES, CARD}:
        raise ContentRefused(f"use: allowed are {', '.join((*USES, CARD))}")
    numbers = isinstance(generation, int) and isinstance(left, int)
    if not numbers or isinstance(generation, bool) or not 1 <= generation <= LAST or left < 0:
        raise ContentRefused(f"generation: 1 to {LAST}; cards_left: 0 or more")
    return Closing(use, generation, left, approval)
