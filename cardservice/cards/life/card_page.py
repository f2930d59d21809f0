# SPDX-License-Identifier: EUPL-1.2
"""The page of one card, as whatever changes it shows it again."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any, Final

from fastapi.responses import HTMLResponse

from cardservice.cards.life.api import LEND
from cardservice.cards.life.desk import LifeDesk
from cardservice.cards.life.rules import TEMPORARY
from cardservice.cards.pages import SAID
from cardservice.cards.register import CardLife
from cardservice.cards.rules import ENDED, FOR_GOOD, HELP, ISSUE, TRANSITIONS, CardState
from cardservice.errors import NotFound
from cardservice.web.gate import Actor, Gate
from cardservice.web.looks import KeepLook, Look
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, Pages

# What the encoder gives new keys (`encoding/rules.py`).
_WITH_KEYS: Final = frozenset({CardState.PRODUCED, CardState.READY_FOR_PICKUP, CardState.ACTIVE, CardState.SUSPENDED})
# What a temporary card may be when it is taken back.
_BACK: Final = frozenset({CardState.ACTIVE, CardState.REVOKED, CardState.EXPIRED})
_IN_USE: Final = frozenset({CardState.ACTIVE, CardState.SUSPENDED, CardState.REVOKED, CardState.EXPIRED})


@dataclass(frozen=True, slots=True)
class CardPage:
    """What shows a card: the desk, who may see it, the templates, and what writes down who looked."""

    desk: LifeDesk
    gate: Gate
    pages: Pages
    keep_look: KeepLook

    async def life(self, person: int, card: str, actor: Actor) -> CardLife:
        """Return a card of somebody within reach.

        Raises:
            NotFound: there is none, or it is another's.
        """
        life = await asyncio.to_thread(self.desk.register.one, card, actor.reaches)
        if life.line.person != person:
            raise NotFound(f"there is no card {card} of person {person}")
        return life

    async def shown(
        self, actor: Actor, language: Language, person: int, card: str, message: str | None = None
    ) -> HTMLResponse:
        """Show its state, the steps that are the actor's to make, and its history."""
        life = await self.life(person, card, actor)
        events = await asyncio.to_thread(self.desk.history, card, actor.reaches)
        await asyncio.to_thread(self.keep_look, Look("cards_read", actor, person))
        content: dict[str, Any] = {"person": person, "life": life, "events": events, "message": message}
        content |= {"agents": await asyncio.to_thread(self.desk.agents_of, life)}
        content |= {"said": SAID, "key": secrets.token_hex(16)}
        return self.pages.page("card_life.html", language, actor=actor, **content, **_may(life, actor))


def operation_of(life: CardLife, end: CardState) -> str | None:
    """Return the right by which a card becomes this now; None: it cannot."""
    step = TRANSITIONS.get((life.line.state, end))
    return None if step is None else step.operation


def may_lend_for(life: CardLife) -> bool:
    """Tell whether a temporary card may stand in for a card as it is now."""
    state, reason = life.line.state, life.line.reason
    forgotten = state is CardState.SUSPENDED and reason == "forgotten"
    return life.line.profile != TEMPORARY and (state is CardState.ACTIVE or forgotten)


def _has_keys(life: CardLife) -> bool:
    """Tell whether a card may have keys of ours that can become older ones."""
    return life.line.state in _WITH_KEYS and bool(set(life.known_as) - {"piv"})


def _may(life: CardLife, actor: Actor) -> dict[str, Any]:
    """Return the steps that somebody may make with a card now; `for_good` are those that are asked about first."""
    rights = {of for of in (HELP, ISSUE, LEND) if allowed(OPERATIONS[of], actor.roles)}
    ours = [end for end in life.next_states if operation_of(life, end) in rights]
    temporary = life.line.profile == TEMPORARY
    return {
        "steps": [end for end in ours if end not in FOR_GOOD and operation_of(life, end) == ISSUE],
        "for_good": [end for end in ours if end in FOR_GOOD],
        "may_reinstate": HELP in rights and life.line.state is CardState.SUSPENDED,
        "may_replace": ISSUE in rights and life.line.state in _IN_USE and not temporary,
        "may_lend": LEND in rights and may_lend_for(life),
        "may_print": allowed(OPERATIONS["cards.badge"], actor.roles) and life.line.state not in ENDED,
        "may_rekey": allowed(OPERATIONS["encoding.order"], actor.roles) and _has_keys(life),
        "may_hand_back": LEND in rights and temporary and life.line.state in _BACK,
    }
