# SPDX-License-Identifier: EUPL-1.2
"""Paying, taking back and filling up. Every method runs inside a unit of the recorder and takes its connection.

Accounts: `wallet` (one per person, never below its limit), `sales` and `vat` (one per rate of tax), `subsidy` (the
employer's part), `source` (where top-ups come from). A wallet is known by the holder's pseudonym in the canteen only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.canteen import rules, store
from cardservice.canteen.rules import (
    GERMANY,
    SALES,
    SOURCE,
    SUBSIDY,
    VAT,
    WALLET,
    Line,
    Payment,
    PriceClass,
    RatePart,
    Refund,
    Source,
    Split,
    Tariff,
    TopUp,
)
from cardservice.database import read
from cardservice.errors import BelowFloor, LedgerBroken
from cardservice.ledger.rules import CARRIED, AccountName, Posting, Transfer
from cardservice.ledger.service import Answer, Ledger, LedgerReport
from cardservice.ledger.service import check as check_ledger
from cardservice.ledger.store import RequestKey
from cardservice.randomness import random_bytes

# What callers need together with the use cases.
__all__ = [
    "Canteen",
    "Code",
    "Line",
    "Paid",
    "Payment",
    "PriceClass",
    "Refund",
    "Refunded",
    "Refused",
    "Source",
    "TopUp",
    "check",
]

# The kinds of accounts that are nobody's; they are opened when they are first needed.
_HOUSE: Final = frozenset({SALES, VAT, SOURCE, SUBSIDY.kind})
_INSTANT_MASK: Final = 2**48 - 1


class Code(StrEnum):
    """Why something was refused. Nothing here tells a till what somebody owns."""

    NO_FUNDS = "no_funds"
    TAP_USED = "tap_used"
    PAYMENT_UNKNOWN = "payment_unknown"
    NOTHING_LEFT = "nothing_left"
    PARTLY_REFUNDED = "partly_refunded"
    ABOVE_REST = "above_rest"
    LINES_NEEDED = "lines_needed"


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment was made; `payment` is what it is called from now on."""

    payment: str
    split: Split


@dataclass(frozen=True, slots=True)
class Refunded:
    """Something was given back; a void gives back everything."""

    payment: str
    split: Split
    rest_cents: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was booked."""

    code: Code


class Canteen:
    """The canteen's use cases, on one ledger."""

    def __init__(self, ledger: Ledger, tariff: Tariff = GERMANY) -> None:
        self._ledger = ledger
        self._tariff = tariff
        self._taps = ledger.remember(store.payments_by_tap)

    def expect_request(self, caller: str, key: str) -> None:
        """Say, from any thread, that a request is about to be submitted to the recorder.

        Not needed for anything but speed: what all requests of a batch need is then read together.

        Raises:
            ValueError: a caller or key that is empty, too long or not printable ASCII.
        """
        self._ledger.expect_request(RequestKey.of(caller, key))

    def expect_tap(self, wallet: str, event: str) -> None:
        """Say, from any thread, that a tap is about to pay from a wallet; as with a request, for speed alone."""
        self._ledger.expect_account(AccountName(WALLET, wallet))
        self._taps.expect((event,))

    def once(
        self, connection: Connection, caller: str, key: str, content_digest: bytes, make: Callable[[], Answer]
    ) -> Answer:
        """Return what this request was answered, however often it comes; `make` answers it the first time.

        `content_digest` is the SHA-256 of everything that was asked. The answer is what JSON can say.

        Raises:
            ValueError: a caller, key, digest or answer that cannot be kept.
            Conflict: the same key came before with other content.
        """
        return self._ledger.once(connection, RequestKey.of(caller, key), content_digest, make)

    def answered(self, connection: Connection, caller: str, key: str, content_digest: bytes) -> Answer | None:
        """Return what this request was answered before, None if it is new.

        Raises:
            ValueError: a caller or key that is empty, too long or not printable ASCII.
            Conflict: the same key came before with other content.
        """
        return self._ledger.answered(connection, RequestKey.of(caller, key), content_digest)

    def has_paid(self, connection: Connection, event: str) -> bool:
        """Tell whether this tap paid for something."""
        return self._taps.find(connection, (event,)) is not None

    def pay(self, connection: Connection, payment: Payment) -> Paid | Refused:
        """Book a payment: `no_funds` when the wallet would fall below its limit, `tap_used` when the tap paid before.

        Raises:
            ValueError: an instant for which the tariff has no rate of tax.
        """
        if payment.event is not None and self.has_paid(connection, payment.event):
            return Refused(Code.TAP_USED)
        split = rules.split(payment, self._tariff)
        if split.own_cents and self._ledger.account(connection, AccountName(WALLET, payment.wallet)) is None:
            return Refused(Code.NO_FUNDS)
        postings = _postings(payment.wallet, split)
        try:
            transfer = self._ledger.post(connection, Transfer("payment", postings, payment.at_ms), _HOUSE)
        except BelowFloor:
            return Refused(Code.NO_FUNDS)
        return Paid(self._keep(connection, transfer, payment), split)

    def void(self, connection: Connection, payment: str, at_ms: int, caller: str | None = None) -> Refunded | Refused:
        """Take back a whole payment of which nothing was given back yet; `caller` as in `Refund`."""
        row = self._find(connection, payment, caller)
        if row is None:
            return Refused(Code.PAYMENT_UNKNOWN)
        rest = self._rest(connection, row)
        if rest.amount_cents != row.amount_cents:
            return Refused(Code.PARTLY_REFUNDED if rest.amount_cents else Code.NOTHING_LEFT)
        self._take_back(connection, row, "void", rest, at_ms)
        return Refunded(payment, rest, 0)

    def refund(self, connection: Connection, refund: Refund) -> Refunded | Refused:
        """Give back part of a payment, never more than is left of it."""
        row = self._find(connection, refund.payment, refund.caller)
        if row is None:
            return Refused(Code.PAYMENT_UNKNOWN)
        rest = self._rest(connection, row)
        if refund.amount_cents > rest.amount_cents:
            return Refused(Code.ABOVE_REST if rest.amount_cents else Code.NOTHING_LEFT)
        left_cents = {part.rate_bp: part.gross_cents for part in rest.rates}
        if refund.lines:
            back_cents = rules.by_rate(refund.lines, self._tariff, row.at_ms)
        elif refund.amount_cents == rest.amount_cents:
            back_cents = left_cents
        elif len(left_cents) == 1:
            back_cents = dict.fromkeys(left_cents, refund.amount_cents)
        else:
            return Refused(Code.LINES_NEEDED)
        if any(cents > left_cents.get(rate_bp, 0) for rate_bp, cents in back_cents.items()):
            return Refused(Code.ABOVE_REST)
        back = rules.split_refund(rest, back_cents)
        self._take_back(connection, row, "refund", back, refund.at_ms)
        return Refunded(refund.payment, back, rest.amount_cents - back.amount_cents)

    def top_up(self, connection: Connection, top_up: TopUp) -> int:
        """Put money onto a wallet, which is opened if it is new; return the number of the transfer."""
        wallet, source = AccountName(WALLET, top_up.wallet), AccountName(SOURCE, top_up.source)
        self._ledger.open_account(connection, wallet, 0)
        postings = (Posting(source, -top_up.amount_cents), Posting(wallet, top_up.amount_cents))
        return self._ledger.post(connection, Transfer("top_up", postings, top_up.at_ms), _HOUSE)

    def set_limit(self, connection: Connection, wallet: str, limit_cents: int) -> None:
        """Let a wallet owe up to `limit_cents` (payroll deduction); 0 is what every wallet begins with.

        Raises:
            BelowFloor: it owes more already.
            ValueError: a limit below 0.
        """
        if limit_cents < 0:
            raise ValueError("a wallet's limit is 0 cents or more")
        name = AccountName(WALLET, wallet)
        self._ledger.open_account(connection, name, 0)
        self._ledger.set_floor(connection, name, -limit_cents)

    def balance_cents(self, connection: Connection, wallet: str) -> int:
        """Return what a wallet holds, for its owner's eyes; 0 for one nobody has used."""
        return self._ledger.balance_cents(connection, AccountName(WALLET, wallet))

    def _keep(self, connection: Connection, transfer: int, payment: Payment) -> str:
        """Write a payment; return what it is called."""
        # Begins with its instant: payments of the same minute stand on the same page of the index.
        name = f"{payment.at_ms & _INSTANT_MASK:012x}{random_bytes(10).hex()}"
        who = (payment.terminal, payment.caller, payment.amount_cents, payment.wallet)
        self._ledger.keep(connection, store.canteen_payment, (transfer, name, *who, payment.event, payment.at_ms))
        if payment.event is not None:
            self._taps.put((payment.event,), name)
        return name

    def _find(self, connection: Connection, payment: str, caller: str | None) -> sa.Row[Any] | None:
        """Return a payment, None if there is none, it is another caller's, or it is nobody's any more."""
        if not rules.is_opaque(payment):
            return None
        self._ledger.write_gathered(connection)
        row = store.find_payment(connection, payment)
        if row is None or row.wallet == CARRIED:
            return None
        return row if caller in {None, row.caller} else None

    def _rest(self, connection: Connection, row: sa.Row[Any]) -> Split:
        """Return what is left of a payment."""
        rest = self._ledger.rest_of(connection, row.transfer_id)
        own_cents, subsidy_cents = -rest.get(AccountName(WALLET, row.wallet), 0), -rest.get(SUBSIDY, 0)
        rates = []
        for name, net_cents in sorted(rest.items()):
            vat_cents = rest.get(AccountName(VAT, name.owner), 0)
            if name.kind == SALES and net_cents + vat_cents:
                rates.append(RatePart(int(name.owner), net_cents + vat_cents, vat_cents))
        return Split(own_cents, subsidy_cents, tuple(rates))

    def _take_back(self, connection: Connection, row: sa.Row[Any], kind: str, back: Split, at_ms: int) -> None:
        postings = _postings(row.wallet, rules.negative(back))
        self._ledger.post(connection, Transfer(kind, postings, at_ms, row.transfer_id), _HOUSE)


def _postings(wallet: str, parts: Split) -> tuple[Posting, ...]:
    """Return what each account gains or loses by a payment of these parts."""
    found = [Posting(AccountName(WALLET, wallet), -parts.own_cents), Posting(SUBSIDY, -parts.subsidy_cents)]
    for part in parts.rates:
        sales, vat = _accounts_of(part.rate_bp)
        found += (Posting(sales, part.gross_cents - part.vat_cents), Posting(vat, part.vat_cents))
    return tuple([posting for posting in found if posting.amount_cents])


@cache
def _accounts_of(rate_bp: int) -> tuple[AccountName, AccountName]:
    """Return the accounts of one rate of tax: what is sold, and the tax on it."""
    return AccountName(SALES, str(rate_bp)), AccountName(VAT, str(rate_bp))


def check(engine: Engine) -> LedgerReport:
    """Add the ledger up anew, and compare every payment with its transfer.

    Raises:
        LedgerBroken: names the first fault found.
        DatabaseUnavailable: locked or unreachable.
    """
    report = check_ledger(engine)
    with read(engine) as connection:
        for fault in (store.unmatched_payment(connection), store.wrong_amount(connection)):
            if fault is not None:
                raise LedgerBroken(f"canteen: {fault}")
    return report
