# SPDX-License-Identifier: EUPL-1.2
"""The canteen's REST routes: what a till and payroll need.

A till names an amount and a terminal; the answer comes when somebody held a card there. Every write carries an
`Idempotency-Key`: sent again, it is answered again and books nothing again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from cardservice.access.rules import PointRecord, Use
from cardservice.canteen.rules import MAX_LINES, MAX_PAYMENT_CENTS, Line, PriceClass, Refund, Source, TopUp, digest_of
from cardservice.canteen.service import Canteen, Refunded, Refused
from cardservice.canteen.tills import CanteenPlace, Charge
from cardservice.clock import Clock
from cardservice.recorder import Recorder
from cardservice.web.gate import Actor, Gate
from cardservice.web.problems import ApiProblem
from cardservice.web.requests import CODE_PATTERN, PROBLEMS, Body, IdempotencyKey

PaymentName = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="The payment, as its answer named it.")]
PointName = Annotated[str, Path(pattern=CODE_PATTERN, description="The terminal's point.")]
Cents = Annotated[int, Field(ge=1, le=MAX_PAYMENT_CENTS, examples=[980])]


class LineBody(Body):
    """Part of an amount."""

    price_class: Annotated[PriceClass, Field(strict=False)]
    amount_cents: Cents


class ChargeBody(Body):
    """What is to be paid; with `lines` those add up to the amount, without any all of it is of one `price_class`."""

    amount_cents: Cents
    lines: list[LineBody] = Field(default_factory=list, max_length=MAX_LINES)
    price_class: Annotated[PriceClass, Field(strict=False)] = PriceClass.FOOD
    subsidised: bool = False
    timeout_s: Annotated[int, Field(ge=1, le=120)] = 30


class RefundBody(Body):
    """What is given back of a payment."""

    amount_cents: Cents
    lines: list[LineBody] = Field(default_factory=list, max_length=MAX_LINES)


class TopUpBody(Body):
    """Money that comes onto a person's wallet."""

    personnel_number: Annotated[str, Field(min_length=1, max_length=64)]
    amount_cents: Cents
    source: Annotated[Source, Field(strict=False)]


class VatPart(BaseModel):
    """What was paid at one rate of tax, in hundredths of a percent; the tax is contained in it."""

    rate_bp: int
    gross_cents: int
    vat_cents: int


class ChargeAnswer(BaseModel):
    """What came of it. Of the holder a till learns nothing, neither who it was nor what they have."""

    status: Literal["paid", "refused", "timed_out", "cancelled"]
    amount_cents: int
    payment: str | None = None
    reason: str | None = None
    own_share_cents: int | None = None
    subsidy_cents: int | None = None
    vat: list[VatPart] = Field(default_factory=list)


class RefundAnswer(BaseModel):
    """What was given back, and what is left of the payment."""

    status: Literal["refunded", "refused"]
    payment: str
    reason: str | None = None
    amount_cents: int = 0
    rest_cents: int | None = None


class TopUpAnswer(BaseModel):
    """The money is on the wallet."""

    status: Literal["booked"]
    amount_cents: int


@dataclass(frozen=True, slots=True)
class CanteenApi:
    """What the routes use; `person_of` finds the row number of a personnel number."""

    place: CanteenPlace
    canteen: Canteen
    recorder: Recorder
    clock: Clock
    point_of: Callable[[str], PointRecord | None]
    person_of: Callable[[str], Awaitable[int | None]]

    def terminal(self, caller: Actor, code: str) -> PointRecord:
        """Return the caller's terminal.

        Raises:
            ApiProblem: not this caller's, or no terminal of the canteen.
        """
        caller.require_point(code)
        point = self.point_of(code)
        if point is None or point.use is not Use.CANTEEN:
            raise ApiProblem(404, "not_found", f"there is no terminal {code} in the canteen")
        return point


def canteen_router(api: CanteenApi, gate: Gate) -> APIRouter:
    """Return the canteen's routes."""
    router = APIRouter(prefix="/api/v1/canteen", tags=["canteen"], responses=PROBLEMS)

    @router.post("/terminals/{terminal}/payments", summary="Wait for a card at the terminal and let it pay")
    async def charge(
        terminal: PointName,
        body: ChargeBody,
        key: IdempotencyKey,
        caller: Annotated[Actor, Depends(gate.allows("canteen.charge"))],
    ) -> ChargeAnswer:
        point = api.terminal(caller, terminal)
        outcome = await api.place.charge(point, _charge(caller, key, terminal, body))
        return ChargeAnswer.model_validate(outcome)

    @router.delete("/terminals/{terminal}/payments", status_code=202, summary="Stop waiting for a card")
    async def cancel(
        terminal: PointName, caller: Annotated[Actor, Depends(gate.allows("canteen.cancel"))]
    ) -> dict[str, str]:
        api.place.cancel(api.terminal(caller, terminal), caller.name)
        return {"status": "cancelling"}

    @router.post("/payments/{payment}/void", summary="Take back a whole payment")
    async def void(
        payment: PaymentName, key: IdempotencyKey, caller: Annotated[Actor, Depends(gate.allows("canteen.void"))]
    ) -> RefundAnswer:
        at_ms = api.clock.now_ms()

        def make(connection: Any) -> dict[str, Any]:
            return _refunded(payment, api.canteen.void(connection, payment, at_ms, caller.name))

        return RefundAnswer.model_validate(await _once(api, caller, key, ["void", payment], make))

    @router.post("/payments/{payment}/refunds", summary="Give back part of a payment")
    async def refund(
        payment: PaymentName,
        body: RefundBody,
        key: IdempotencyKey,
        caller: Annotated[Actor, Depends(gate.allows("canteen.refund"))],
    ) -> RefundAnswer:
        wanted = _valid(lambda: Refund(payment, body.amount_cents, api.clock.now_ms(), caller.name, _lines(body.lines)))

        def make(connection: Any) -> dict[str, Any]:
            return _refunded(payment, api.canteen.refund(connection, wanted))

        asked = ["refund", payment, body.model_dump(mode="json")]
        return RefundAnswer.model_validate(await _once(api, caller, key, asked, make))

    @router.post("/top-ups", summary="Put money onto a wallet (payroll, bank transfer, desk)")
    async def top_up(
        body: TopUpBody, key: IdempotencyKey, caller: Annotated[Actor, Depends(gate.allows("canteen.top_up"))]
    ) -> TopUpAnswer:
        person = await api.person_of(body.personnel_number)
        if person is None:
            raise ApiProblem(404, "not_found", "nobody here has this personnel number")
        wanted = TopUp(api.place.wallet_of(person), body.amount_cents, body.source, api.clock.now_ms())

        def make(connection: Any) -> dict[str, Any]:
            api.canteen.top_up(connection, wanted)
            return {"status": "booked", "amount_cents": wanted.amount_cents}

        asked = ["top_up", wanted.wallet, body.amount_cents, body.source.value]
        return TopUpAnswer.model_validate(await _once(api, caller, key, asked, make))

    return router


async def _once(
    api: CanteenApi, caller: Actor, key: str, asked: list[Any], make: Callable[[Any], dict[str, Any]]
) -> Any:
    """Book once for this caller and key; the answer is on disk."""
    return await api.recorder.submit_here(
        lambda connection: api.canteen.once(connection, caller.name, key, digest_of(asked), lambda: make(connection))
    )


def _charge(caller: Actor, key: str, terminal: str, body: ChargeBody) -> Charge:
    lines = _lines(body.lines)
    if lines and sum(line.amount_cents for line in lines) != body.amount_cents:
        raise ApiProblem(422, "invalid", "the lines do not add up to amount_cents")
    return Charge(
        caller=caller.name,
        key=key,
        terminal=terminal,
        amount_cents=body.amount_cents,
        lines=lines,
        price_class=body.price_class,
        subsidised=body.subsidised,
        patience_ms=body.timeout_s * 1_000,
    )


def _lines(lines: list[LineBody]) -> tuple[Line, ...]:
    return tuple(Line(line.price_class, line.amount_cents) for line in lines)


def _valid(make: Callable[[], Refund]) -> Refund:
    try:
        return make()
    except ValueError as error:
        raise ApiProblem(422, "invalid", str(error)) from error


def _refunded(payment: str, result: Refunded | Refused) -> dict[str, Any]:
    if isinstance(result, Refused):
        return {"status": "refused", "payment": payment, "reason": result.code.value}
    amount_cents = result.split.amount_cents
    return {"status": "refunded", "payment": payment, "amount_cents": amount_cents, "rest_cents": result.rest_cents}
