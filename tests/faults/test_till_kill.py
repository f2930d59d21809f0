# SPDX-License-Identifier: EUPL-1.2
"""kill -9 of the service between any two steps of a payment: the till learns what came of each, and no cent is lost."""

import asyncio
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from faults.load import LoadedCity, loaded_city, ready
from support.scripted_agent import ScriptedAgent
from support.service import CALLERS, ServiceProcess
from support.waiting import wait_until
from websockets.exceptions import WebSocketException

from cardservice.canteen.service import check
from cardservice.canteen.store import canteen_payment
from cardservice.database import read
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.ledger.store import ledger_account, ledger_entry
from integrations.till import Outcome, Till, TillError, UnknownOutcome

TERMINAL = "kantine.kasse-1"
AMOUNT_CENTS = 130
START_CENTS = 1_000_000
RETRY_S = 0.05
LONGEST_S = 0.4
# So often the guest looks up from the screen.
LOOKS_UP_S = 0.5
END_LIMIT_S = 60.0


def end(thread: threading.Thread) -> None:
    """Wait for a thread that was told to end; one that never began has ended."""
    if thread.is_alive():
        thread.join(END_LIMIT_S)


class Guest:
    """Holds a card to the terminal whenever its screen asks for one, over every loss of the connection."""

    def __init__(self, agent: ScriptedAgent, card) -> None:
        self._agent = agent
        self._card = card
        self._stopping = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="guest", daemon=True)

    def point_to(self, url: str) -> None:
        self._agent.url = url

    def stop(self) -> None:
        self._stopping.set()
        end(self.thread)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._agent.join()
                await self._serve()
            except (OSError, WebSocketException):
                await asyncio.sleep(RETRY_S)

    async def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._agent.prompted(LOOKS_UP_S)
            except TimeoutError:
                continue
            await self._agent.tap(self._card, TERMINAL)
        await self._agent.socket.close()


class Cashier:
    """Rings up one payment after the other; what is open when the service goes away is settled before the next."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "open.json"
        self._stopping = threading.Event()
        self._given_up = threading.Event()
        self.url = ""
        self.outcomes: list[Outcome] = []
        self.unknown = 0
        self.thread = threading.Thread(target=self._run, name="cashier", daemon=True)

    def stop(self) -> None:
        """Take no more money, and find out what came of the last payment."""
        self._stopping.set()
        end(self.thread)

    def give_up(self) -> None:
        """End whatever is still open: the service will not come back."""
        self._given_up.set()
        self.stop()

    def _run(self) -> None:
        while not self._given_up.is_set() and (not self._stopping.is_set() or self._file.exists()):
            with Till(self.url, CALLERS["till-1"][0], TERMINAL, self._file) as till:
                try:
                    outcome = till.settle_open() or till.pay(AMOUNT_CENTS, wait_s=5)
                except UnknownOutcome:
                    self.unknown += 1
                except TillError as error:
                    # The terminal is not back yet; nothing was booked, and the next payment has a key of its own.
                    if error.code != "terminal_away":
                        raise
                    self._stopping.wait(RETRY_S)
                else:
                    self.outcomes.append(outcome)


@pytest.fixture
def city(tmp_path_factory: pytest.TempPathFactory):
    with loaded_city(tmp_path_factory.mktemp("tills")) as made:
        yield made


def wallet_cents(city: LoadedCity) -> int:
    """What the entries say the only wallet holds."""
    with city.files.stores() as databases, read(databases.record) as connection:
        wallets = sa.select(ledger_account.c.id).where(ledger_account.c.kind == "wallet")
        total = sa.select(sa.func.sum(ledger_entry.c.amount_cents)).where(ledger_entry.c.account_id.in_(wallets))
        return int(connection.execute(total).scalar_one())


def test_a_killed_service_takes_each_payment_once_and_the_till_knows(city, scale, dice, report, tmp_path):
    """Paid as the till says, neither more nor less; nothing open stays behind; the ledger adds up after every kill."""
    cycles = scale.of(3, 100)
    guest = Guest(ScriptedAgent("", PLACES_AGENT, city.files.enrol(PLACES_AGENT)), city.files.cards()["anna"])
    cashier = Cashier(tmp_path)
    service = city.serve()
    try:
        ready(service)
        assert service.top_up("10017", START_CENTS).status_code == 200
        _point_to(service, guest, cashier)
        guest.thread.start()
        cashier.thread.start()
        for _ in range(cycles):
            settled = len(cashier.outcomes)
            wait_until(lambda settled=settled: len(cashier.outcomes) > settled)
            city.kill(service, dice, LONGEST_S)
            with city.files.stores() as databases:
                check(databases.record)
            service = city.serve()
            _point_to(service, guest, cashier)
        cashier.stop()
        guest.stop()
        assert not cashier.thread.is_alive()
        assert not guest.thread.is_alive()
        assert service.stop() == 0
    finally:
        service.stop(signal.SIGKILL)
        cashier.give_up()
        guest.stop()
    statuses = Counter(outcome.status for outcome in cashier.outcomes)
    payments = {row.id for row in city.files.rows(canteen_payment)}
    report("kill -9 of the service while a till is paid", cycles=cycles, unknown=cashier.unknown, **statuses)
    assert {outcome.payment for outcome in cashier.outcomes if outcome.status == "paid"} == payments
    assert len(payments) == statuses["paid"] >= cycles
    assert wallet_cents(city) == START_CENTS - AMOUNT_CENTS * statuses["paid"]


def _point_to(service: ServiceProcess, guest: Guest, cashier: Cashier) -> None:
    guest.point_to(service.agents_url)
    cashier.url = service.url
