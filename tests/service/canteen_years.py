# SPDX-License-Identifier: EUPL-1.2
"""Years of random meals, refunds and top-ups, and what the books still say of people."""

from random import Random

import sqlalchemy as sa
from service.keeping_world import World

from cardservice.canteen.rules import GERMANY, WALLET, Dated, Payment, Refund, Tariff
from cardservice.canteen.service import Canteen, Paid
from cardservice.canteen.store import canteen_payment
from cardservice.database import read
from cardservice.ledger.rules import CARRIED
from cardservice.ledger.store import ledger_account, ledger_entry, ledger_transfer

WALLETS = tuple(f"{number:032x}" for number in range(1, 6))
MOST_CENTS = 2_000
# The last that were paid may be given back, however long ago that was.
REMEMBERED = 20


def with_subsidy(city: World) -> None:
    """Have the employer pay so much of a meal that some cost their holder nothing."""
    city.canteen = Canteen(city.ledger, Tariff(GERMANY.vat_bp, (Dated(0, MOST_CENTS // 4),)))


def live(city: World, rng: Random, steps: int, paid: list[str]) -> None:
    """Let this many things happen now to wallets picked at random; `paid` are the payments that may be given back."""
    for _ in range(steps):
        _step(city, rng, paid)
        del paid[:-REMEMBERED]


def _step(city: World, rng: Random, paid: list[str]) -> None:
    wallet, now_ms = rng.choice(WALLETS), city.clock.now_ms()
    what = rng.random()
    if what < 0.3:
        city.top_up(wallet, rng.randrange(1, MOST_CENTS))
    elif what < 0.8 or not paid:
        cents = rng.randrange(1, MOST_CENTS)
        meal = Payment(
            terminal="till",
            caller="till",
            amount_cents=cents,
            wallet=wallet,
            at_ms=now_ms,
            event=f"agent/1/{rng.randrange(10**15)}",
            subsidised=rng.random() < 0.5,
        )
        answer = city.record(lambda connection: city.canteen.pay(connection, meal))
        paid += [answer.payment] if isinstance(answer, Paid) else []
    else:
        back = Refund(payment=rng.choice(paid), amount_cents=rng.randrange(1, MOST_CENTS), at_ms=now_ms)
        city.record(lambda connection: city.canteen.refund(connection, back))


def balances(city: World) -> dict[str, int]:
    """Return what each account holds, added up from the store."""
    total = sa.func.sum(ledger_entry.c.amount_cents)
    statement = sa.select(ledger_account.c.kind, ledger_account.c.owner, total)
    statement = statement.join(ledger_entry, ledger_entry.c.account_id == ledger_account.c.id)
    with read(city.databases.record) as connection:
        rows = connection.execute(statement.group_by(ledger_account.c.kind, ledger_account.c.owner))
        return {f"{kind} {owner}": int(cents) for kind, owner, cents in rows if cents}


def in_memory(city: World) -> list[int]:
    """Return what each wallet holds as tills are answered by."""
    return [city.record(lambda connection, one=one: city.canteen.balance_cents(connection, one)) for one in WALLETS]


def oldest_linked_ms(city: World) -> int | None:
    """Return the instant of the oldest entry or payment that is in somebody's wallet."""
    entries = (
        sa.select(sa.func.min(ledger_transfer.c.at_ms))
        .select_from(ledger_entry)
        .join(ledger_transfer, ledger_transfer.c.id == ledger_entry.c.transfer_id)
        .join(ledger_account, ledger_account.c.id == ledger_entry.c.account_id)
        .where(ledger_account.c.kind == WALLET, ledger_account.c.owner != CARRIED)
    )
    payments = sa.select(sa.func.min(canteen_payment.c.at_ms)).where(
        sa.or_(canteen_payment.c.wallet != CARRIED, canteen_payment.c.event.is_not(None))
    )
    with read(city.databases.record) as connection:
        found = [connection.execute(statement).scalar() for statement in (entries, payments)]
    return min((one for one in found if one is not None), default=None)
