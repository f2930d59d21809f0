# SPDX-License-Identifier: EUPL-1.2
"""Making a card valid where its profile wants two people: one asks, another approves, and it is valid with that."""

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy.engine import Connection, Engine

from cardservice.approvals.kinds import ContentRefused, Facts, Kind
from cardservice.approvals.rules import Content, Request
from cardservice.cards import store
from cardservice.cards.life.persons import as_holder, is_same
from cardservice.cards.register import CardRegister
from cardservice.cards.rules import ISSUE, CardState
from cardservice.cards.service import By, NewState, OwnCard, change_state_in
from cardservice.database import read
from cardservice.errors import NotFound
from cardservice.web.i18n import Language, marked, translated
from cardservice.web.operations import Role
from cardservice.web.reach import Reach

ACTIVATE: Final = "cards.activate"
_MAX_REFERENCE: Final = 36


def activation_kind(state: Engine, register: CardRegister, now_ms: Callable[[], int]) -> Kind:
    """Return the kind of request that makes a card valid."""

    def accept(content: Content) -> Content:
        reference = _reference(content)
        with read(state) as connection:
            row = store.find_card(connection, reference)
        if row is None or row.state != CardState.READY_FOR_PICKUP:
            raise ContentRefused("card: one that is ready for pickup")
        return {"card": reference}

    def describe(content: Content, language: Language) -> Facts:
        return [(translated(language, marked("Card")), _reference(content))]

    def carry_out(connection: Connection, request: Request) -> None:
        reference = _reference(request.content)
        found = store.lock(connection, reference)
        holder = None if found is None else found.person_id
        second = request.answer.by if request.answer is not None else None
        if second is not None and is_same(connection, second.person, holder):
            raise OwnCard("nobody approves a card for themselves: a colleague does")
        by = By(request.asked_by.login, request.asked_by.person, None if second is None else second.login)
        by = as_holder(connection, by, holder)
        change_state_in(connection, reference, NewState(CardState.ACTIVE), now_ms(), by)

    def within(content: Content, reaches: Sequence[Reach]) -> bool:
        try:
            register.one(_reference(content), tuple(reaches))
        except NotFound:
            return False
        return True

    return Kind(
        name=ACTIVATE,
        title=marked("Make a card valid"),
        asks=ISSUE,
        approves=frozenset({Role.APPROVER}),
        accept=accept,
        describe=describe,
        carry_out=carry_out,
        within=within,
    )


def _reference(content: Content) -> str:
    reference = content.get("card")
    if content.keys() != {"card"} or not isinstance(reference, str) or not 1 <= len(reference) <= _MAX_REFERENCE:
        raise ContentRefused("content: card and nothing else")
    return reference
