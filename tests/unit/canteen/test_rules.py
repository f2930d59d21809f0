# SPDX-License-Identifier: EUPL-1.2
"""Prices, their tax and whose share they are; the figures in the tables were worked out by hand from the law."""

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.canteen.rules import (
    GERMANY,
    MAX_PAYMENT_CENTS,
    Dated,
    Line,
    Payment,
    PriceClass,
    RatePart,
    Refund,
    Source,
    Split,
    Tariff,
    TopUp,
    digest_of,
    euros,
    negative,
    rate_at,
    split,
    split_refund,
    vat_in,
)

# 2026-03-16T09:00:00Z
MONDAY_MS = 1_773_651_600_000
# 2026-01-01T00:00:00+01:00
YEAR_2026_MS = 1_767_222_000_000
WALLET = "0123456789abcdef" * 2
FOOD, DRINKS = PriceClass.FOOD, PriceClass.DRINKS
SUBSIDISED = Tariff(GERMANY.vat_bp, (Dated(0, 0), Dated(MONDAY_MS, 200)))


def payment(amount_cents: int, *lines: Line, **more: object) -> Payment:
    fields = {"terminal": "till-1", "caller": "till", "wallet": WALLET, "at_ms": MONDAY_MS} | more
    return Payment(amount_cents=amount_cents, lines=lines, **fields)


@pytest.mark.parametrize(
    ("gross_cents", "rate_bp", "vat_cents"),
    [
        (980, 700, 64),  # 980 x 7 / 107 = 64.11
        (980, 1_900, 156),  # 980 x 19 / 119 = 156.47
        (107, 700, 7),
        (119, 1_900, 19),
        (1_000, 700, 65),  # 65.42
        (1_000, 1_900, 160),  # 159.66
        (650, 700, 43),  # 42.52
        (250, 1_900, 40),  # 39.92
        (1, 700, 0),  # 0.07
        (1, 1_900, 0),  # 0.16
        (7, 700, 0),  # 0.46
        (8, 700, 1),  # 0.52
        (3, 1_900, 0),  # 0.48
        (4, 1_900, 1),  # 0.64
        (321, 5_000, 107),
        (3, 2_000, 1),  # 0.5: half a cent goes up
        (9, 2_000, 2),  # 1.5
        (980, 0, 0),
    ],
)
def test_the_tax_a_price_contains(gross_cents: int, rate_bp: int, vat_cents: int) -> None:
    """To the nearest cent, half a cent up (gross x rate / (100 + rate))."""
    assert vat_in(gross_cents, rate_bp) == vat_cents


@given(st.integers(0, MAX_PAYMENT_CENTS), st.sampled_from([0, 500, 700, 1_600, 1_900]))
def test_the_tax_is_what_decimal_arithmetic_says(gross_cents: int, rate_bp: int) -> None:
    """The same as schoolbook rounding, never more than the price, and never less for a higher price."""
    exact = Decimal(gross_cents) * rate_bp / (10_000 + rate_bp)
    assert vat_in(gross_cents, rate_bp) == int(exact.quantize(Decimal(1), ROUND_HALF_UP))
    assert 0 <= vat_in(gross_cents, rate_bp) <= vat_in(gross_cents + 1, rate_bp) <= gross_cents + 1


@pytest.mark.parametrize(
    ("price_class", "at_ms", "rate_bp"),
    [
        (FOOD, MONDAY_MS, 700),
        (DRINKS, MONDAY_MS, 1_900),
        (FOOD, YEAR_2026_MS, 700),
        (FOOD, YEAR_2026_MS - 1, 1_900),
        (DRINKS, YEAR_2026_MS - 1, 1_900),
    ],
)
def test_rates_hold_from_the_first_moment_of_a_german_year(price_class: PriceClass, at_ms: int, rate_bp: int) -> None:
    """Midnight in Germany, not in Greenwich: meals changed from 19 to 7 percent with 2026, drinks stayed."""
    assert rate_at(GERMANY, price_class, at_ms) == rate_bp


def test_before_the_first_rate_nothing_is_guessed() -> None:
    with pytest.raises(ValueError, match="no rate of tax for food"):
        rate_at(GERMANY, FOOD, 0)


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        (payment(980), Split(980, 0, (RatePart(700, 980, 64),))),
        (payment(980, price_class=DRINKS), Split(980, 0, (RatePart(1_900, 980, 156),))),
        (payment(980, subsidised=True), Split(780, 200, (RatePart(700, 980, 64),))),
        (payment(150, subsidised=True), Split(0, 150, (RatePart(700, 150, 10),))),
        (payment(980, subsidised=True, at_ms=MONDAY_MS - 1), Split(980, 0, (RatePart(700, 980, 64),))),
        # 6.50 of food: 42.52; 2.50 of drinks: 39.92
        (
            payment(900, Line(FOOD, 650), Line(DRINKS, 250), subsidised=True),
            Split(700, 200, (RatePart(700, 650, 43), RatePart(1_900, 250, 40))),
        ),
        # Three times 0.47 of tax: together 1.41, while each alone would be none.
        (payment(21, Line(FOOD, 7), Line(FOOD, 7), Line(FOOD, 7)), Split(21, 0, (RatePart(700, 21, 1),))),
    ],
)
def test_the_parts_of_a_payment(asked: Payment, parts: Split) -> None:
    """Own share, the employer's part, and the tax of what stands at one rate together."""
    assert split(asked, SUBSIDISED) == parts


LINES = st.lists(st.builds(Line, st.sampled_from(PriceClass), st.integers(1, 20_000)), min_size=1, max_size=12)


@given(LINES, st.integers(0, 5_000), st.booleans())
def test_the_parts_add_up_to_the_whole(lines: list[Line], subsidy_cents: int, subsidised: bool) -> None:
    whole = sum(line.amount_cents for line in lines)
    tariff = Tariff(GERMANY.vat_bp, (Dated(0, subsidy_cents),))
    parts = split(payment(whole, *lines, subsidised=subsidised), tariff)
    assert parts.own_cents + parts.subsidy_cents == whole == parts.amount_cents
    assert sum(part.gross_cents for part in parts.rates) == whole
    assert all(part.net_cents + part.vat_cents == part.gross_cents for part in parts.rates)
    assert parts.subsidy_cents == (min(subsidy_cents, whole) if subsidised else 0)


@given(LINES, st.integers(0, 5_000), st.data())
def test_refunds_in_any_steps_give_back_exactly_what_was_paid(
    lines: list[Line], subsidy_cents: int, data: st.DataObject
) -> None:
    """Never a part below 0, the tax of the rest is right after each step, and at the end nothing is left."""
    whole = sum(line.amount_cents for line in lines)
    tariff = Tariff(GERMANY.vat_bp, (Dated(0, subsidy_cents),))
    rest = split(payment(whole, *lines, subsidised=True), tariff)
    for last in (False, False, False, True):
        back_cents = {
            part.rate_bp: part.gross_cents if last else data.draw(st.integers(0, part.gross_cents))
            for part in rest.rates
        }
        back = split_refund(rest, back_cents)
        assert back.own_cents >= 0
        assert back.subsidy_cents == 0 or back.own_cents == rest.own_cents
        assert all(0 <= part.vat_cents <= part.gross_cents for part in back.rates)
        assert sum(part.gross_cents for part in back.rates) == back.amount_cents
        taken = {part.rate_bp: part for part in back.rates}
        left = tuple(
            RatePart(part.rate_bp, part.gross_cents - gone.gross_cents, part.vat_cents - gone.vat_cents)
            for part in rest.rates
            for gone in [taken.get(part.rate_bp, RatePart(part.rate_bp, 0, 0))]
        )
        assert all(part.vat_cents == vat_in(part.gross_cents, part.rate_bp) for part in left)
        rest = Split(rest.own_cents - back.own_cents, rest.subsidy_cents - back.subsidy_cents, left)
    assert rest.amount_cents == 0
    assert all(part[1:] == (0, 0) for part in rest.rates)


def test_the_parts_of_a_refund() -> None:
    """Of 9.80 at 7 %, 5.00 come back: 0.64 of tax become 0.31 (4.80 x 7 / 107 = 31.40), the own share comes first."""
    assert split_refund(Split(780, 200, (RatePart(700, 980, 64),)), {700: 500}) == Split(
        500, 0, (RatePart(700, 500, 33),)
    )
    assert split_refund(Split(280, 200, (RatePart(700, 480, 31),)), {700: 480}) == Split(
        280, 200, (RatePart(700, 480, 31),)
    )


def test_the_other_way_round() -> None:
    assert negative(Split(780, 200, (RatePart(700, 980, 64),))) == Split(-780, -200, (RatePart(700, -980, -64),))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"amount_cents": 0}, "1 to 1000000 cents"),
        ({"amount_cents": -980}, "1 to 1000000 cents"),
        ({"amount_cents": MAX_PAYMENT_CENTS + 1}, "1 to 1000000 cents"),
        ({"lines": (Line(FOOD, 979),)}, "do not add up"),
        ({"lines": (Line(FOOD, 981), Line(DRINKS, -1))}, "of nothing"),
        ({"lines": (Line(FOOD, 980), Line(DRINKS, 0))}, "of nothing"),
        ({"lines": (Line(FOOD, 1),) * 101, "amount_cents": 101}, "at most 100 lines"),
        ({"wallet": "abc"}, "pseudonym"),
        ({"wallet": "\x00" * 32}, "pseudonym"),
        ({"wallet": "G" * 32}, "pseudonym"),
        ({"terminal": ""}, "printable"),
        ({"terminal": "t" * 65}, "printable"),
        ({"caller": "a\x00b"}, "printable"),
        ({"event": "ä/1/1"}, "printable"),
        ({"event": "e" * 75}, "printable"),
    ],
)
def test_what_is_no_payment(wrong: dict[str, object], why: str) -> None:
    """What a till sends wrongly is refused before it can fail in a transaction that others share."""
    fields = {"terminal": "till-1", "caller": "till", "wallet": WALLET, "amount_cents": 980, "at_ms": MONDAY_MS}
    with pytest.raises(ValueError, match=why):
        Payment(**(fields | wrong))


def test_what_is_no_refund_and_no_top_up() -> None:
    with pytest.raises(ValueError, match="1 to 1000000 cents"):
        Refund("p", 0, MONDAY_MS)
    with pytest.raises(ValueError, match="do not add up"):
        Refund("p", 5, MONDAY_MS, lines=(Line(FOOD, 4),))
    with pytest.raises(ValueError, match="1 to 1000000 cents"):
        TopUp(WALLET, 0, Source.BANK, MONDAY_MS)
    with pytest.raises(ValueError, match="pseudonym"):
        TopUp("", 5, Source.BANK, MONDAY_MS)


def test_a_terminal_may_be_called_as_long_as_any_point():
    """64 characters; and the tap by an event of the longest agent, epoch and sequence."""
    event = f"{'a' * 40}/{2**53 - 1}/{2**53 - 1}"
    longest = payment(100, terminal="t" * 64, event=event)
    assert (longest.terminal, longest.event) == ("t" * 64, event)


@pytest.mark.parametrize(
    ("cents", "german", "english"),
    [
        (0, "0,00\N{NO-BREAK SPACE}€", "€0.00"),
        (980, "9,80\N{NO-BREAK SPACE}€", "€9.80"),
        (2_005, "20,05\N{NO-BREAK SPACE}€", "€20.05"),
        (-500, "-5,00\N{NO-BREAK SPACE}€", "-€5.00"),
        (-1, "-0,01\N{NO-BREAK SPACE}€", "-€0.01"),
    ],
)
def test_amounts_are_written_as_the_language_does(cents, german, english):
    assert (euros(cents, "de"), euros(cents, "en")) == (german, english)


def test_two_requests_are_the_same_by_what_they_say():
    """Whatever the order of the names in them; any other value, or its kind, makes another request."""
    body = {"amount_cents": 80, "lines": []}
    asked = ["refund", "f" * 32, body]
    assert digest_of(asked) == digest_of(["refund", "f" * 32, {"lines": [], "amount_cents": 80}])
    others = (["void", asked[1], body], [*asked[:2], body | {"amount_cents": 81}], [*asked[:2], body | {"lines": "[]"}])
    assert len({digest_of(one) for one in (asked, *others)}) == 4
