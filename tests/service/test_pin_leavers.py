# SPDX-License-Identifier: EUPL-1.2
"""What is kept of PINs goes when nobody needs it any more, on both databases."""

import pytest
import sqlalchemy as sa
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs
from support.waiting import wait_until

from cardservice.cards.pin import leavers
from cardservice.cards.pin.leavers import Leavers, forget_leavers
from cardservice.cards.pin.rules import LOCKED_MS, TRIES, Verdict
from cardservice.cards.pin.service import Cost, Pins
from cardservice.cards.pin.store import holder_pin, pin_tries
from cardservice.cards.rules import CardState
from cardservice.cards.service import NewCard, register
from cardservice.cards.store import card
from cardservice.database import Databases, read
from cardservice.errors import Conflict

PIN, OTHER = "2580", "1470"


class Desk:
    """Anna with two cards, Mehmet with one, Nora with none; all of them have a PIN."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.engine, self.clock = databases.state, clock
        self.copy = open_copy(databases.state, clock)
        tell(self.copy, *map(someone, ("anna", "mehmet", "nora")))
        self.people = row_numbers(databases.state)
        holders = [self.people[login] for login in ("anna", "anna", "mehmet")]
        register(databases.state, [NewCard(1, person, (b"key%d" % row,)) for row, person in enumerate(holders)])
        with read(databases.state) as connection:
            self.cards = list(connection.execute(sa.select(card.c.id).order_by(card.c.id)).scalars())
        self.pins = Pins(self.engine, lambda: b"p" * 32, clock, Cost(memory_kib=64, passes=1))
        for person in self.people.values():
            self.pins.set(person, PIN)

    def end(self, *numbers: int, state: CardState = CardState.REVOKED) -> None:
        """These cards come to a state, however that happened."""
        with self.engine.begin() as connection:
            ids = [self.cards[number] for number in numbers]
            connection.execute(sa.update(card).where(card.c.id.in_(ids)).values(state=state.value))

    def wrong(self, number: int, times: int = 1) -> None:
        for _ in range(times):
            self.pins.check(self.cards[number], self.people["anna" if number < 2 else "mehmet"], OTHER)

    def forget(self) -> tuple[int, int]:
        return forget_leavers(self.engine, self.clock.now_ms())

    def who_has_one(self) -> set[str]:
        with read(self.engine) as connection:
            rows = set(connection.execute(sa.select(holder_pin.c.person_id)).scalars())
        return {login for login, person in self.people.items() if person in rows}

    def counts(self) -> int:
        with read(self.engine) as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(pin_tries)).scalar_one())


@pytest.fixture
def desk(databases: Databases, clock: FakeClock) -> Desk:
    return Desk(databases, clock)


def test_whoever_is_still_here_keeps_it(desk: Desk) -> None:
    """Without a card yet, disabled for a while, with a card suspended, or with one of two cards revoked."""
    desk.wrong(0)
    tell(desk.copy, someone("nora", enabled=False))
    desk.end(0)
    desk.end(2, state=CardState.SUSPENDED)
    assert desk.forget() == (0, 1), "the wrong try was with the revoked card"
    assert desk.who_has_one() == {"anna", "mehmet", "nora"}


def test_whoever_leaves_takes_it_with_them(desk: Desk) -> None:
    """Verifier and wrong tries; who comes back needs a new one."""
    desk.wrong(2)
    tell(desk.copy, removed=("mehmet", "nora"))
    assert desk.forget() == (2, 1)
    assert desk.who_has_one() == {"anna"}
    assert desk.counts() == 0
    tell(desk.copy, someone("mehmet"))
    assert desk.pins.check(desk.cards[2], desk.people["mehmet"], PIN) is Verdict.WRONG


@pytest.mark.parametrize("state", [CardState.REVOKED, CardState.RETURNED, CardState.ERASED, CardState.DESTROYED])
def test_it_goes_with_the_last_card(desk: Desk, state: CardState) -> None:
    desk.end(0, 1, state=state)
    assert desk.forget() == (1, 0)
    assert desk.who_has_one() == {"mehmet", "nora"}


def test_a_lock_that_has_healed_is_forgotten_and_wrong_tries_before_one_are_not(desk: Desk) -> None:
    """To the millisecond; what counts towards the next lock stays, or waiting would be a way round it."""
    desk.wrong(0, TRIES)
    desk.wrong(1, TRIES - 1)
    desk.clock.pass_ms(LOCKED_MS - 1)
    assert desk.forget() == (0, 0)
    desk.clock.pass_ms(1)
    assert desk.forget() == (0, 1)
    desk.wrong(1)
    assert desk.pins.check(desk.cards[1], desk.people["anna"], PIN) is Verdict.LOCKED


def test_a_right_pin_an_unlocking_and_a_new_one_leave_no_count(desk: Desk) -> None:
    for forgetting in (
        lambda: desk.pins.check(desk.cards[0], desk.people["anna"], PIN),
        lambda: desk.pins.unlock(desk.pins.find("anna")),
        lambda: desk.pins.set(desk.people["anna"], "1928"),
    ):
        desk.wrong(0)
        assert desk.counts() == 1
        forgetting()
        assert desk.counts() == 0


def test_nobody_gets_one_that_would_be_forgotten_at_once(desk: Desk) -> None:
    tell(desk.copy, removed=("nora",))
    desk.end(2)
    for login in ("nora", "mehmet"):
        with pytest.raises(Conflict, match="nobody needs a PIN"):
            desk.pins.set(desk.people[login], "1928")
    assert desk.pins.check(desk.cards[0], desk.people["anna"], PIN) is Verdict.RIGHT


def test_the_thread_looks_at_its_start_and_whenever_it_is_woken(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends at once when it is told to."""
    monkeypatch.setattr(leavers, "_PAUSE_S", 0.0)
    desk.end(2)
    thread = Leavers(desk.engine, desk.clock)
    thread.start()
    wait_until(lambda: desk.who_has_one() == {"anna", "nora"})
    tell(desk.copy, removed=("nora",))
    thread.wake()
    wait_until(lambda: desk.who_has_one() == {"anna"})
    thread.stop()
    assert not thread._thread.is_alive()


def test_a_store_that_fails_is_said_without_names_and_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    troubles = [OperationalError("DELETE anna", {}, Exception("anna")), RuntimeError("anna")]

    def failing(*arguments: object) -> tuple[int, int]:
        if troubles:
            raise troubles.pop()
        return forget_leavers(*arguments)

    monkeypatch.setattr(leavers, "_PAUSE_S", 0.0)
    monkeypatch.setattr(leavers, "_AGAIN_S", 0.0)
    monkeypatch.setattr(leavers, "forget_leavers", failing)
    tell(desk.copy, removed=("anna",))
    with capture_logs() as logs:
        thread = Leavers(desk.engine, desk.clock)
        thread.start()
        wait_until(lambda: desk.who_has_one() == {"mehmet", "nora"})
        thread.stop()
    assert [one["event"] for one in logs] == ["pins.not_forgotten"] * 2 + ["pins.forgotten"]
    assert "anna" not in str(logs)
