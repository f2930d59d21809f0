# SPDX-License-Identifier: EUPL-1.2
"""One's own wallet as a page: what it holds and its movements, read beside the recorder."""

import asyncio
import threading

import httpx2
import pytest
from fastapi import FastAPI
from support.gates import gate_for

from cardservice.canteen.pages import wallet_page
from cardservice.canteen.rules import MAX_TERMINAL_LENGTH, Payment, Refund, Source, TopUp
from cardservice.canteen.service import Canteen, Paid
from cardservice.canteen.wallet import Movement, view_wallet
from cardservice.database import open_databases, upgrade
from cardservice.ledger.service import Ledger
from cardservice.recorder import Recorder
from cardservice.web.pages import Pages

# 2026-03-16T09:00:00Z, ten o'clock in Germany.
MONDAY_MS = 1_773_651_600_000
ANNA, BERT = "a" * 32, "b" * 32
# As long as a point's code can be.
LONGEST = "kantine." + "x" * 56


@pytest.fixture
def databases(tmp_path):
    opened = open_databases(f"sqlite:///{tmp_path / 'stores'}")
    upgrade(opened)
    yield opened
    opened.close()


@pytest.fixture
def canteen():
    return Canteen(Ledger())


@pytest.fixture
def recorder(databases, canteen):
    """Anna has had 20 EUR, paid 9.80 at the terminal with the longest code, and got 0.80 back."""
    started = Recorder(databases.record, (canteen._ledger,))
    started.start()

    def fill(connection):
        canteen.top_up(connection, TopUp(ANNA, 2_000, Source.PAYROLL, MONDAY_MS))
        paid = canteen.pay(connection, Payment(LONGEST, "till", ANNA, 980, MONDAY_MS + 60_000))
        assert isinstance(paid, Paid)
        canteen.refund(connection, Refund(paid.payment, 80, MONDAY_MS + 120_000))

    started.submit(fill).result(10)
    yield started
    started.stop()


def test_every_point_can_be_paid_at(databases, recorder):
    """A code of 64 characters, which is as long as they get, is booked and shown."""
    assert len(LONGEST) == MAX_TERMINAL_LENGTH == 64
    assert {one.terminal for one in view_wallet(databases.record, ANNA, 9).movements} == {LONGEST, None}


def test_the_movements_come_newest_first_with_what_was_left(databases, recorder):
    """At most as many as asked for; nothing of a wallet nobody has used."""
    view = view_wallet(databases.record, ANNA, 10)
    expected = (
        Movement("refund", MONDAY_MS + 120_000, 80, 1_100, LONGEST),
        Movement("payment", MONDAY_MS + 60_000, -980, 1_020, LONGEST),
        Movement("top_up", MONDAY_MS, 2_000, 2_000, None),
    )
    assert (view.balance_cents, view.movements) == (1_100, expected)
    assert view_wallet(databases.record, ANNA, 2).movements == expected[:2]
    nothing = view_wallet(databases.record, BERT, 10)
    assert (nothing.balance_cents, nothing.movements) == (0, ())


async def test_whoever_looks_at_their_wallet_keeps_nobody_from_paying(databases, recorder):
    """The page comes while the recorder is busy writing, and shows what is on disk."""
    app, go_on = FastAPI(), threading.Event()
    wallets = {1: ANNA}
    app.include_router(
        wallet_page(
            lambda person, limit: view_wallet(databases.record, wallets[person], limit),
            gate_for(1),
            Pages("cardservice.canteen"),
        )
    )
    busy = recorder.submit(lambda _: go_on.wait(30))
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://page") as client:
            german = await asyncio.wait_for(client.get("/my/canteen"), 10)
            english = await asyncio.wait_for(client.get("/my/canteen", params={"lang": "en"}), 10)
        assert not busy.done()
    finally:
        go_on.set()
    assert "<h1>Mein Guthaben: 11,00\N{NO-BREAK SPACE}€</h1>" in german.text
    assert "16.03.2026 10:01" in german.text
    assert LONGEST in german.text
    assert "<h1>My credit: €11.00</h1>" in english.text
    assert "2026-03-16 10:01" in english.text
