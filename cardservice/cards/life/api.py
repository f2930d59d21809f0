# SPDX-License-Identifier: EUPL-1.2
"""The REST routes of the cards' life: give, replace, lend, take back, report lost, history, blank stock."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, StringConstraints

from cardservice.approvals.desk import ApprovalDesk
from cardservice.approvals.rules import MAX_REASON, USUAL_HOURS
from cardservice.approvals.service import Wish
from cardservice.cards.api import Card, CardReference, StateBody
from cardservice.cards.desk import giver_of
from cardservice.cards.life.approval import ACTIVATE
from cardservice.cards.life.desk import LifeDesk
from cardservice.cards.life.rules import PROFILES
from cardservice.cards.life.service import Gift
from cardservice.cards.life.stock import MAX_DELIVERED, MAX_DELIVERIES
from cardservice.cards.rules import HELP, ISSUE
from cardservice.cards.service import NewState
from cardservice.instants import MAX_INSTANT_MS
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_NUMBER
from cardservice.web.looks import KeepLook, Look
from cardservice.web.once import Asked
from cardservice.web.repeats import asked_by
from cardservice.web.requests import PROBLEMS, Body, IdempotencyKey

LEND = "cards.lend"
Number = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")]
Use = Annotated[str, StringConstraints(pattern=r"^(door|timeclock|printer|canteen)$")]
Instant = Annotated[int, Field(ge=0, lt=MAX_INSTANT_MS)]
ProfileName = Annotated[str, StringConstraints(pattern="^(" + "|".join(PROFILES) + ")$"), Field(examples=["trainee"])]
RowNumber = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
Code = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NumbersBody(Body):
    """The new card: its number of each use (none: it is to be produced), and the delivery it is of."""

    numbers: Annotated[dict[Use, Number], Field(max_length=4, default_factory=dict)]
    delivery: RowNumber | None = None

    def gift(self) -> Gift:
        """Return the card without a holder, who is known from another card."""
        numbers = {use: bytes.fromhex(number) for use, number in self.numbers.items()}
        return Gift(0, "employee", numbers, delivery=self.delivery)


class GiftBody(NumbersBody):
    """A card for somebody. Instants null: from now on, as long as the profile allows."""

    profile: ProfileName
    from_ms: Instant | None = None
    until_ms: Instant | None = None

    def for_person(self, number: int) -> Gift:
        """Return what is asked for."""
        numbers = {use: bytes.fromhex(text) for use, text in self.numbers.items()}
        return Gift(number, self.profile, numbers, self.from_ms, self.until_ms, self.delivery)


class DeliveryBody(Body):
    """Blank cards that came."""

    organisation: Code
    label: Annotated[Label, Field(examples=["Lieferung 2027-03"])]
    delivered: Annotated[int, Field(ge=1, le=MAX_DELIVERED)]


class VoidBody(Body):
    """Blank cards that are damaged or went back."""

    organisation: Code
    count: Annotated[int, Field(ge=1, le=MAX_DELIVERED)]


class Event(BaseModel):
    """One step of a card's life; `before` null: it was given. Names are erased when their time is over."""

    at_ms: int
    before: str | None
    after: str
    reason: str | None
    actor: str
    second_actor: str | None
    uses_ended: int
    certificates_changed: int


class History(BaseModel):
    """What became of a card, the newest first."""

    events: list[Event]


class Lost(BaseModel):
    """What ended at once, and the agents whose readers knew a card until then: each refuses it with the next tap."""

    cards: list[str]
    uses_ended: list[str]
    certificates_changed: int
    agents: list[str]


class Delivery(BaseModel):
    """One delivery: delivered = issued + void + stock. `adds_up`: the register has as many cards of it."""

    delivery: int
    organisation: str
    label: str
    delivered_ms: int
    delivered: int
    issued: int
    void: int
    stock: int
    adds_up: bool


class Stock(BaseModel):
    """The deliveries, the newest first."""

    deliveries: Annotated[list[Delivery], Field(max_length=MAX_DELIVERIES)]


class Delivered(BaseModel):
    """The delivery."""

    delivery: int


def life_router(desk: LifeDesk, gate: Gate, keep_look: KeepLook) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1", tags=["cards"], responses=PROBLEMS)
    _add_giving(router, desk, gate)
    _add_steps(router, desk, gate, keep_look)
    _add_stock(router, desk, gate)
    return router


def _add_giving(router: APIRouter, desk: LifeDesk, gate: Gate) -> None:
    @router.post(
        "/people/{person}/cards", status_code=201, summary="Give somebody a card; nobody gives one to themselves"
    )
    async def give(
        person: PersonNumber,
        body: GiftBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows(ISSUE))],
    ) -> Card:
        asked = asked_by(actor, key, "cards.give", {"person": person, **body.model_dump(mode="json")})
        return await _card(desk.give, asked, body.for_person(person), giver_of(actor, ISSUE))

    @router.post(
        "/cards/{card}/replacement", status_code=201, summary="Replace a card; the old one ends with the new one"
    )
    async def replace(
        card: CardReference,
        body: NumbersBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows(ISSUE))],
    ) -> Card:
        asked = asked_by(actor, key, "cards.replace", {"card": card, **body.model_dump(mode="json")})
        return await _card(desk.replace, asked, card, body.gift(), giver_of(actor, ISSUE))

    @router.post(
        "/cards/{card}/temporary", status_code=201, summary="A temporary card for a forgotten one, for this shift"
    )
    async def lend(
        card: CardReference,
        body: NumbersBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows(LEND))],
    ) -> Card:
        asked = asked_by(actor, key, LEND, {"card": card, **body.model_dump(mode="json")})
        return await _card(desk.lend, asked, card, body.gift(), giver_of(actor, LEND))

    @router.post("/cards/{card}/hand-back", summary="Take a temporary card back; the forgotten one counts again")
    async def hand_back(
        card: CardReference, key: IdempotencyKey, actor: Annotated[Actor, Depends(gate.allows(LEND))]
    ) -> Card:
        asked = asked_by(actor, key, "cards.hand_back", {"card": card})
        return await _card(desk.hand_back, asked, card, giver_of(actor, LEND))


class AskedFor(BaseModel):
    """The request, which waits for a second person."""

    approval: int


class ReasonBody(Body):
    """Why."""

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON, examples=["Sitzung am 1. September"])]


def activation_router(approvals: ApprovalDesk, gate: Gate) -> APIRouter:
    """Return the route of what takes two people."""
    router = APIRouter(prefix="/api/v1", tags=["cards"], responses=PROBLEMS)

    @router.post("/cards/{card}/activation", summary="Ask for a card to be made valid where that takes two people")
    async def activate(
        card: CardReference,
        body: ReasonBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows(ISSUE))],
    ) -> AskedFor:
        wish = Wish(ACTIVATE, {"card": card}, body.reason, USUAL_HOURS)
        return AskedFor(approval=await asyncio.to_thread(approvals.request, actor, key, wish))

    return router


def _add_steps(router: APIRouter, desk: LifeDesk, gate: Gate, keep_look: KeepLook) -> None:
    @router.post("/cards/{card}/step", summary="Move a card on: produced, ready, returned, erased, in stock, destroyed")
    async def step(
        card: CardReference,
        body: StateBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows(ISSUE))],
    ) -> Card:
        asked = asked_by(actor, key, "cards.step", {"card": card, **body.model_dump(mode="json")})
        new = NewState(body.state, body.reason, body.suspended_until_ms)
        return await _card(desk.step, asked, card, new, giver_of(actor, ISSUE))

    @router.post("/people/{person}/lost", summary="Report somebody's cards lost: refused everywhere at once, for good")
    async def lost(
        person: PersonNumber, key: IdempotencyKey, actor: Annotated[Actor, Depends(gate.allows(HELP))]
    ) -> Lost:
        asked = asked_by(actor, key, "cards.lost", {"person": person})
        return Lost.model_validate(await asyncio.to_thread(desk.report_lost, asked, person, giver_of(actor, HELP)))

    @router.get("/cards/{card}/history", summary="What became of a card, by whom and why")
    async def history(card: CardReference, actor: Annotated[Actor, Depends(gate.allows("cards.read"))]) -> History:
        life = await asyncio.to_thread(desk.register.one, card, actor.reaches)
        found = await asyncio.to_thread(desk.history, card, actor.reaches)
        if life.line.person is not None:
            await asyncio.to_thread(keep_look, Look("cards_read", actor, life.line.person))
        return History(events=[Event.model_validate(one._asdict()) for one in found])


def _add_stock(router: APIRouter, desk: LifeDesk, gate: Gate) -> None:
    @router.get("/card-stock", summary="Blank cards: delivered = issued + void + in stock")
    async def show(_: Annotated[Actor, Depends(gate.allows("cards.stock"))]) -> Stock:
        found = await asyncio.to_thread(desk.deliveries)
        return Stock(
            deliveries=[
                Delivery.model_validate({**asdict(one), "stock": one.stock, "adds_up": one.adds_up}) for one in found
            ]
        )

    @router.post("/card-stock", status_code=201, summary="Blank cards that came")
    async def deliver(
        body: DeliveryBody, key: IdempotencyKey, actor: Annotated[Actor, Depends(gate.allows("cards.deliver"))]
    ) -> Delivered:
        asked = asked_by(actor, key, "cards.deliver", body.model_dump(mode="json"))
        answer = await asyncio.to_thread(desk.deliver, asked, body.organisation, body.label, body.delivered)
        return Delivered.model_validate(answer)

    @router.post("/card-stock/{delivery}/void", summary="Blank cards that are damaged or went back")
    async def void(
        delivery: Annotated[int, Path(ge=1, le=MAX_NUMBER)],
        body: VoidBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows("cards.deliver"))],
    ) -> Delivered:
        asked = asked_by(actor, key, "cards.void", {"delivery": delivery, **body.model_dump(mode="json")})
        answer = await asyncio.to_thread(desk.void, asked, body.organisation, delivery, body.count)
        return Delivered.model_validate(answer)


async def _card(make: Callable[..., dict[str, Any]], asked: Asked, *what: Any) -> Card:
    return Card.model_validate(await asyncio.to_thread(make, asked, *what))
