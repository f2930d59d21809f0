# SPDX-License-Identifier: EUPL-1.2
"""Batches of cards: looked at first, stored as a whole, gone on with after a crash, on both databases."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from service.card_desk import NOW_MS, CardDesk
from service.conftest import Place
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock
from support.waiting import wait_until

from cardservice.cards.bulk import service
from cardservice.cards.bulk.reaches import text_of
from cardservice.cards.bulk.service import ListUnfit
from cardservice.cards.bulk.store import card_batch
from cardservice.cards.bulk.worker import BatchWorker
from cardservice.cards.life.service import Giver
from cardservice.cards.service import By
from cardservice.cards.store import card
from cardservice.database import Databases, read, write
from cardservice.errors import NotFound
from cardservice.web.reach import Reach

TRAINEES = [f"trainee-{number:03}" for number in range(60)]
LIST = "\n".join(["person;profile;valid_from", *(f"{name};trainee;2027-09-01" for name in TRAINEES)]).encode()
# A process that has carried out ten lines and is in the middle of the eleventh.
_WORKER = """
import sys
from cardservice.cards.bulk import service
from cardservice.cards.life.service import Giver
from cardservice.cards.service import By
from cardservice.database import open_databases, write
from cardservice.web.reach import EVERYWHERE
import cardservice.people.outsiders.store
url, batch = sys.argv[1], int(sys.argv[2])
state, giver = open_databases(url).state, Giver(By("desk"), (EVERYWHERE,))
service.go_on(state, batch, giver, 1, 10)
with write(state) as connection:
    service.carry_out(connection, batch, 12, giver, 1)
    print("within", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def desk(databases: Databases, clock: FakeClock) -> CardDesk:
    tell(open_copy(databases.state, clock), *(someone(name) for name in TRAINEES))
    return CardDesk(databases)


def begin(desk: CardDesk, content: bytes = LIST) -> int:
    with write(desk.state) as connection:
        return service.begin(connection, content, desk.giver, NOW_MS)


def holders(desk: CardDesk) -> list[int]:
    with read(desk.state) as connection:
        return list(connection.execute(sa.select(card.c.person_id).order_by(card.c.person_id)).scalars())


def test_a_list_is_looked_at_without_making_anything(desk, databases):
    """Each name is looked up; who is unknown, asks for themselves or stands there twice is told by line."""
    own = CardDesk(databases, row_numbers(databases.state)["trainee-001"])
    content = b"person,profile\ntrainee-000,trainee\nnobody,trainee\ntrainee-001,trainee\ntrainee-002,king\n"
    with read(databases.state) as connection:
        found = service.look_at(connection, content, own.giver)
    assert [one.person for one, _ in found.lines] == ["trainee-000"]
    assert [(fault.line, fault.column) for fault in found.faults] == [(3, "person"), (4, "person"), (5, "profile")]
    with pytest.raises(ListUnfit, match="line 3, person: nobody"):
        begin(own, content)
    with pytest.raises(ListUnfit, match="names nobody"):
        begin(own, b"person,profile\n")
    assert holders(desk) == []


def test_a_batch_is_carried_out_in_parts_and_each_card_reported(desk):
    """As many lines at once as were asked for; somebody else does not see it."""
    batch = begin(desk)
    first = service.go_on(desk.state, batch, desk.giver, NOW_MS, 20)
    assert (first.lines, first.done, first.failed, first.waiting) == (60, 20, 0, 40)
    while service.go_on(desk.state, batch, desk.giver, NOW_MS).waiting:
        pass
    lines = service.lines_of(desk.state, batch, desk.giver)
    assert [line.person for line in lines] == holders(desk)
    assert all(line.card and line.fault is None for line in lines)
    with pytest.raises(NotFound):
        service.go_on(desk.state, batch, Giver(By("another"), desk.giver.reaches), NOW_MS)


def test_a_line_that_fails_says_why_and_stops_no_other(desk, databases, clock):
    """Somebody left between the look and the card."""
    batch = begin(desk)
    copy = open_copy(databases.state, clock)
    tell(copy, removed=("trainee-007",))
    for _ in range(2):
        found = service.go_on(desk.state, batch, desk.giver, NOW_MS, 60)
    assert (found.done, found.failed, found.waiting) == (59, 1, 0)
    (failed,) = [line for line in service.lines_of(desk.state, batch, desk.giver) if line.fault]
    assert "has left" in failed.fault


def test_two_that_go_on_at_the_same_moment_make_each_card_once(desk):
    """However they meet."""
    batch = begin(desk)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: service.go_on(desk.state, batch, desk.giver, NOW_MS, 60), range(2)))
    assert holders(desk) == sorted(row_numbers(desk.state).values())


def test_a_batch_that_was_killed_is_gone_on_with(desk, place: Place):
    """Killed in the middle of it, by the signal nobody hears: each person has one card in the end."""
    batch = begin(desk)
    command = [sys.executable, "-c", _WORKER, place.url, str(batch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"within\n"
        os.kill(worker.pid, signal.SIGKILL)
    assert service.progress(desk.state, batch, desk.giver).done == len(holders(desk)) == 10
    wait_until(lambda: service.go_on(desk.state, batch, desk.giver, NOW_MS).waiting == 0)
    assert holders(desk) == sorted(row_numbers(desk.state).values())


def test_the_worker_goes_on_by_itself_with_what_others_began(desk, databases, clock):
    """As far as whoever began it could, the oldest first; what was begun before it could does not go on."""
    first, second = begin(desk), begin(desk, b"person;profile\ntrainee-001;visitor\n")
    with write(databases.state) as connection:
        connection.execute(sa.update(card_batch).where(card_batch.c.id == second).values(reaches=None))
    assert [batch for batch, _ in service.open_batches(databases.state)] == [first]
    BatchWorker(databases.state, clock).look()
    assert service.progress(databases.state, first, None).done == 60
    assert service.progress(databases.state, first, None).ended_ms == clock.now_ms()
    assert service.progress(databases.state, second, None).waiting == 1
    assert service.open_batches(databases.state) == []


def test_whoever_lost_their_reach_since_makes_no_more_cards(desk, databases, clock):
    """A line about somebody who is not within it fails by itself, and the others are done."""
    batch = begin(desk)
    reaches = text_of((Reach(units=frozenset({"nowhere"})),))
    with write(databases.state) as connection:
        connection.execute(sa.update(card_batch).where(card_batch.c.id == batch).values(reaches=reaches))
    BatchWorker(databases.state, clock).look()
    found = service.progress(databases.state, batch, None)
    assert (found.done, found.failed, found.waiting) == (0, 60, 0)
    assert holders(desk) == []


def test_what_waits_is_cancelled_for_good(desk, databases, clock):
    """What was done stays; neither the worker nor whoever began it makes another card of it."""
    batch = begin(desk)
    service.go_on(desk.state, batch, desk.giver, NOW_MS, 20)
    with write(databases.state) as connection:
        assert service.cancel(connection, batch, desk.giver, NOW_MS) == 40
        assert service.cancel(connection, batch, desk.giver, NOW_MS) == 0
        with pytest.raises(NotFound):
            service.cancel(connection, batch, Giver(By("another"), desk.giver.reaches), NOW_MS)
    BatchWorker(databases.state, clock).look()
    found = service.go_on(desk.state, batch, desk.giver, NOW_MS)
    assert (found.done, found.failed, found.cancelled, found.waiting) == (20, 0, 40, 0)
    assert found.ended_ms == NOW_MS
    assert len(holders(desk)) == 20
    assert service.batches(databases.state, desk.giver) == [found]
    assert service.batches(databases.state, Giver(By("another"), desk.giver.reaches)) == []


def test_a_batch_in_trouble_stops_no_other(desk, databases, clock, monkeypatch):
    """The one that fails is tried again at the next look."""
    first, second = begin(desk), begin(desk, b"person;profile\ntrainee-001;visitor\n")
    whole = service.go_on

    def trouble(engine, batch, *rest):
        if batch == first:
            raise RuntimeError("whatever")
        return whole(engine, batch, *rest)

    monkeypatch.setattr(service, "go_on", trouble)
    worker = BatchWorker(databases.state, clock)
    worker.look()
    assert service.progress(databases.state, second, None).done == 1
    monkeypatch.undo()
    worker.look()
    assert service.progress(databases.state, first, None).done == 60
