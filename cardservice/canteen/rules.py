# SPDX-License-Identifier: EUPL-1.2
"""Payments and the parts they fall into: own share and subsidy, value added tax by rate. Pure.

Prices are gross: the tax is contained in them (§ 10 (1) UStG). It is taken out of what a payment has at one rate
together, not line by line, and rounded to the nearest cent, half a cent up; net is what is left, so that the parts
always add up to the whole. A refund gives back the tax by which the tax of the rest becomes smaller (§ 17 UStG), and
first the holder's own share.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from cardservice.access.options.rules import LANGUAGE, Option, Options, require
from cardservice.ledger.rules import MAX_CALLER_LENGTH, AccountName
from cardservice.pseudonyms import PSEUDONYM_LENGTH

WALLET: Final = "wallet"
SALES: Final = "sales"
VAT: Final = "vat"
SOURCE: Final = "source"
SUBSIDY: Final = AccountName("subsidy", "employer")
MAX_PAYMENT_CENTS: Final = 1_000_000
MAX_LINES: Final = 100
# As long as a point's code and an event's name ("agent/epoch/sequence") can be.
MAX_TERMINAL_LENGTH: Final = 64
MAX_EVENT_LENGTH: Final = 74
OPAQUE_LENGTH: Final = PSEUDONYM_LENGTH
_WHOLE_BP: Final = 10_000
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


class PriceClass(StrEnum):
    """What kind of thing is sold; each has its rate of tax."""

    FOOD = "food"
    DRINKS = "drinks"


class Line(NamedTuple):
    """Part of a payment or of a refund."""

    price_class: PriceClass
    amount_cents: int


class Dated(NamedTuple):
    """A value that holds from an instant on, until the next one does."""

    from_ms: int
    value: int


def _since(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp()) * 1_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """Rates of tax in hundredths of a percent, and the employer's part of a payment in cents; each in order of time."""

    vat_bp: Mapping[PriceClass, tuple[Dated, ...]]
    subsidy_cents: tuple[Dated, ...] = ()


GERMANY: Final = Tariff(
    {
        # § 12 (2) no. 15 UStG: meals in restaurants and canteens, not drinks, at the lower rate from 2026 on.
        PriceClass.FOOD: (
            Dated(_since("2024-01-01T00:00:00+01:00"), 1_900),
            Dated(_since("2026-01-01T00:00:00+01:00"), 700),
        ),
        PriceClass.DRINKS: (Dated(_since("2021-01-01T00:00:00+01:00"), 1_900),),
    }
)


@dataclass(frozen=True, slots=True)
class Payment:
    """What a till asks for.

    `terminal` is the code of the point, `caller` who asks, `wallet` the holder's pseudonym in the canteen. With `lines`
    those add up to the amount, without any the whole amount is of one `price_class`. `event` names the tap that paid
    ("agent/epoch/sequence"). `subsidised`: the employer's part is due.

    Raises:
        ValueError: an amount or a sum that cannot be, a name that is too long or not printable ASCII.
    """

    terminal: str
    caller: str
    wallet: str
    amount_cents: int
    at_ms: int
    lines: tuple[Line, ...] = ()
    price_class: PriceClass = PriceClass.FOOD
    event: str | None = None
    subsidised: bool = False

    def __post_init__(self) -> None:
        _require_amounts(self.amount_cents, self.lines)
        _require_wallet(self.wallet)
        for text, most in (
            (self.terminal, MAX_TERMINAL_LENGTH),
            (self.caller, MAX_CALLER_LENGTH),
            (self.event or "-", MAX_EVENT_LENGTH),
        ):
            if not (1 <= len(text) <= most and text.isascii() and text.isprintable()):
                raise ValueError(f"a terminal, caller or event has 1 to {most} printable ASCII characters")

    @property
    def parts(self) -> tuple[Line, ...]:
        """The lines, or the whole amount as one."""
        return self.lines or (Line(self.price_class, self.amount_cents),)


@dataclass(frozen=True, slots=True)
class Refund:
    """What a till or the desk gives back of a payment; `caller` is the one who may have made it, None for the desk.

    `lines` say what was given back; they are needed where a payment has more than one rate of tax and a rest remains.

    Raises:
        ValueError: an amount or a sum that cannot be.
    """

    payment: str
    amount_cents: int
    at_ms: int
    caller: str | None = None
    lines: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        _require_amounts(self.amount_cents, self.lines)


class Source(StrEnum):
    """Where money on a wallet comes from."""

    PAYROLL = "payroll"
    BANK = "bank"
    DESK = "desk"


@dataclass(frozen=True, slots=True)
class TopUp:
    """Money that comes onto a wallet.

    Raises:
        ValueError: an amount or a wallet that cannot be.
    """

    wallet: str
    amount_cents: int
    source: Source
    at_ms: int

    def __post_init__(self) -> None:
        _require_amounts(self.amount_cents, ())
        _require_wallet(self.wallet)


class RatePart(NamedTuple):
    """What is paid at one rate of tax, the tax contained in it."""

    rate_bp: int
    gross_cents: int
    vat_cents: int

    @property
    def net_cents(self) -> int:
        """What is left without the tax."""
        return self.gross_cents - self.vat_cents


class Split(NamedTuple):
    """An amount in parts: own share and subsidy make the whole, and so do the parts of all rates."""

    own_cents: int
    subsidy_cents: int
    rates: tuple[RatePart, ...]

    @property
    def amount_cents(self) -> int:
        """The whole."""
        return self.own_cents + self.subsidy_cents


def is_opaque(text: str) -> bool:
    """Tell whether `text` can be the name of a wallet or a payment: 32 hexadecimal digits."""
    return len(text) == OPAQUE_LENGTH and _HEXADECIMAL.issuperset(text)


def negative(parts: Split) -> Split:
    """Return the same parts the other way round."""
    rates = tuple(RatePart(part.rate_bp, -part.gross_cents, -part.vat_cents) for part in parts.rates)
    return Split(-parts.own_cents, -parts.subsidy_cents, rates)


def vat_in(gross_cents: int, rate_bp: int) -> int:
    """Return the tax contained in a gross amount, to the nearest cent, half a cent up."""
    whole = _WHOLE_BP + rate_bp
    return (2 * gross_cents * rate_bp + whole) // (2 * whole)


def value_at(values: tuple[Dated, ...], at_ms: int) -> int | None:
    """Return the value that holds at an instant, None before the first."""
    held = None
    for dated in values:
        if dated.from_ms > at_ms:
            break
        held = dated.value
    return held


def rate_at(tariff: Tariff, price_class: PriceClass, at_ms: int) -> int:
    """Return a class's rate of tax at an instant, in hundredths of a percent.

    Raises:
        ValueError: an instant for which the tariff has none.
    """
    rate_bp = value_at(tariff.vat_bp[price_class], at_ms)
    if rate_bp is None:
        raise ValueError(f"there is no rate of tax for {price_class} at that time")
    return rate_bp


def by_rate(lines: tuple[Line, ...], tariff: Tariff, at_ms: int) -> dict[int, int]:
    """Return what the lines have at each rate of tax, in cents."""
    gross_cents: dict[int, int] = {}
    for price_class, amount_cents in lines:
        rate_bp = rate_at(tariff, price_class, at_ms)
        gross_cents[rate_bp] = gross_cents.get(rate_bp, 0) + amount_cents
    return gross_cents


def split(payment: Payment, tariff: Tariff) -> Split:
    """Return the parts of a payment; the employer's part is at most the whole."""
    gross_cents = by_rate(payment.parts, tariff, payment.at_ms)
    rates = tuple(RatePart(rate_bp, gross, vat_in(gross, rate_bp)) for rate_bp, gross in sorted(gross_cents.items()))
    due_cents = value_at(tariff.subsidy_cents, payment.at_ms) or 0
    subsidy_cents = min(due_cents, payment.amount_cents) if payment.subsidised else 0
    return Split(payment.amount_cents - subsidy_cents, subsidy_cents, rates)


def split_refund(rest: Split, gross_cents: Mapping[int, int]) -> Split:
    """Return the parts of a refund of these gross amounts by rate, none above what is left of the payment."""
    amount_cents = sum(gross_cents.values())
    own_cents = min(amount_cents, rest.own_cents)
    rates = tuple(
        RatePart(part.rate_bp, back, part.vat_cents - vat_in(part.gross_cents - back, part.rate_bp))
        for part in rest.rates
        if (back := gross_cents.get(part.rate_bp, 0))
    )
    return Split(own_cents, amount_cents - own_cents, rates)


def digest_of(asked: Sequence[object]) -> bytes:
    """Return the SHA-256 of what was asked, which is of texts, numbers, lists and objects of them.

    Two requests of the same key are the same if this is.
    """
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).digest()


def euros(cents: int, language: Literal["de", "en"]) -> str:
    """Return an amount as the language writes it: "-5,00 €" (its space breaks no line), "-€5.00"."""
    sign, whole, rest = ("-" if cents < 0 else ""), abs(cents) // 100, abs(cents) % 100
    return f"{sign}€{whole}.{rest:02}" if language == "en" else f"{sign}{whole},{rest:02}\N{NO-BREAK SPACE}€"


def _require_amounts(amount_cents: int, lines: tuple[Line, ...]) -> None:
    if not 1 <= amount_cents <= MAX_PAYMENT_CENTS:
        raise ValueError(f"an amount is of 1 to {MAX_PAYMENT_CENTS} cents")
    if len(lines) > MAX_LINES:
        raise ValueError(f"at most {MAX_LINES} lines are taken")
    amounts = [line.amount_cents for line in lines]
    if amounts and (min(amounts) < 1 or sum(amounts) != amount_cents):
        raise ValueError("the lines do not add up to the amount, or one of them is of nothing")


def _require_wallet(wallet: str) -> None:
    if not is_opaque(wallet):
        raise ValueError(f"a wallet is known by a pseudonym of {OPAQUE_LENGTH} hexadecimal digits")


# Of a terminal's point: the language of its screen.
OPTIONS: Final[Mapping[str, Option]] = MappingProxyType({"language": LANGUAGE})


def check_options(options: Options) -> None:
    """Refuse options a terminal of the canteen does not have.

    Raises:
        ValueError: names the option and what is allowed.
    """
    require(options, OPTIONS)
