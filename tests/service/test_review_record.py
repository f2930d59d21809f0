# SPDX-License-Identifier: EUPL-1.2
"""What a review leaves in journal and store, also when it is killed, contradicted or begun twice; on both databases."""

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from service.conftest import Place
from service.fake_clock import FakeClock
from service.review_world import ADMIN, END, KEEP, World

from cardservice import changes
from cardservice.access.review import store
from cardservice.access.review.reminder import Reminder
from cardservice.access.review.rules import DAY_MS, ItemState, Wanted
from cardservice.access.review.service import NewReview, Reviews, Who
from cardservice.database import Databases, open_databases
from cardservice.errors import CardServiceError, Conflict, DatabaseUnavailable, NotFound
from cardservice.journal.rules import Place as JournalPlace
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry


@pytest.fixture
def world(databases: Databases, clock: FakeClock) -> World:
    return World(databases, clock)


def test_every_act_is_a_change_and_a_line_that_names_nobody(world: World) -> None:
    """Who and why are sealed; the chain verifies."""
    world.own("works", zone="cellar")
    world.begin(zone="house")
    world.say("office", replace(KEEP, reason="für Frau Krüger"), Who("portal", "boris"))
    world.say("works", END)
    world.reviews.extend("spring", world.deadline_ms + 1, Who("Ute Klein"), reason="Urlaub Krüger")
    world.reviews.abort("spring", Who("Ute Klein"), reason="Urlaub Krüger")
    lines = world.lines()
    assert [line["kind"] for line in lines] == [
        *("owner_set", "review_begun", "grant_kept", "grant_ended", "review_extended", "review_aborted"),
    ]
    begun = {"kind": "review_begun", "review": "spring", "zone": "house", "grants": 2}
    assert lines[1] == begun | {"deadline_ms": world.deadline_ms}
    assert not any(name in json.dumps(lines, ensure_ascii=False) for name in ("boris", "Krüger", "Klein", "portal"))
    with world.databases.record.connect() as connection:
        row = connection.execute(sa.select(journal_entry).where(journal_entry.c.sequence == 3)).one()
        sealed = world.journal.open_sealed(connection, JournalPlace(row.stream, row.epoch, row.sequence))
    assert sealed == {"by": "portal", "login": "boris", "reason": "für Frau Krüger"}
    verify(world.databases.record)


def test_without_its_line_nothing_is_changed(world: World) -> None:
    """A journal that cannot be written: no review begins, no right is prolonged."""
    world.begin("cellar", zone="cellar")

    def full(*_: object) -> None:
        raise DatabaseUnavailable("the disk is full")

    closed = Reviews(world.databases.state, world.clock, full, world.city.catch_up)
    before, item = world.ends(), world.items("cellar")["office"].item
    deeds: list[Callable[[], object]] = [
        lambda: closed.begin(NewReview("rest", "Rest", world.deadline_ms, group="works"), ADMIN),
        lambda: closed.answer("cellar", item, KEEP, ADMIN),
        lambda: closed.extend("cellar", world.deadline_ms + 1, ADMIN, reason="x"),
        lambda: closed.abort("cellar", ADMIN, reason="x"),
    ]
    for deed in deeds:
        with pytest.raises(DatabaseUnavailable):
            deed()
    assert world.ends() == before
    assert [one.code for one in world.reviews.list()] == ["cellar"]
    assert world.states("cellar") == {"office": "open"}


def killed_at(place: Place, statement: int, deed: Callable[[Databases], object]) -> bool:
    """Do it in a process that is killed before its n-th statement; True if it was, False if it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            databases, left = open_databases(place.url), [statement]

            def count(*_: object) -> None:
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)

            sa.event.listen(databases.state, "before_cursor_execute", count)
            sa.event.listen(databases.state, "commit", count)
            deed(databases)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}
    return status != 0


@pytest.mark.parametrize("act", ["begin", "extend", "abort", "keep"])
def test_killed_between_any_two_steps_there_is_no_half_review(world: World, place: Place, act: str) -> None:
    """Before every statement and before the commit: afterwards all is as it was; at last it is done whole."""
    office = 0
    if act != "begin":
        office = world.begin()["office"].item
    deeds: dict[str, Callable[[Reviews], object]] = {
        "begin": lambda reviews: reviews.begin(NewReview("spring", "Spring", world.deadline_ms), ADMIN),
        "extend": lambda reviews: reviews.extend("spring", world.deadline_ms + DAY_MS, ADMIN, reason="x"),
        "abort": lambda reviews: reviews.abort("spring", ADMIN, reason="x"),
        "keep": lambda reviews: reviews.answer("spring", office, KEEP, ADMIN),
    }

    def stored() -> object:
        with world.databases.state.connect() as connection:
            tables = (store.access_review, store.access_review_item, changes.changes)
            return [connection.execute(sa.select(table)).all() for table in tables], world.ends()

    before, steps = stored(), 1
    while killed_at(place, steps, lambda databases: deeds[act](world.desk(databases))):
        assert stored() == before, steps
        steps += 1
        assert steps < 60
    assert steps > 5
    assert stored() != before
    verify(world.databases.record)


def at_once(*deeds: Callable[[], object]) -> list[object]:
    """Do all of it at the same time; return what each gave or raised."""
    gate, outcomes = threading.Barrier(len(deeds)), [None] * len(deeds)

    def run(number: int) -> None:
        gate.wait(10)
        try:
            outcomes[number] = deeds[number]()
        except CardServiceError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(deeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def test_two_administrators_at_once(world: World) -> None:
    """Of two reviews that overlap one begins; of two different answers one counts; of two same ones both do."""
    other = world.desk(world.databases)
    deeds = [
        lambda: world.reviews.begin(NewReview("one", "One", world.deadline_ms), ADMIN),
        lambda: other.begin(NewReview("two", "Two", world.deadline_ms, zone="house"), ADMIN),
    ]
    outcomes = at_once(*deeds)
    assert sorted(isinstance(one, Conflict) for one in outcomes) == [False, True], outcomes
    ((begun,), winner) = [one.code for one in world.reviews.list()], world.reviews
    office, works = (world.items(begun)[name].item for name in ("office", "works"))
    outcomes = at_once(
        lambda: winner.answer(begun, office, KEEP, Who("one")), lambda: other.answer(begun, office, END, Who("two"))
    )
    assert sorted(isinstance(one, Conflict) for one in outcomes) == [False, True], outcomes
    outcomes = at_once(
        lambda: winner.answer(begun, works, KEEP, Who("one")), lambda: other.answer(begun, works, KEEP, Who("two"))
    )
    assert [one.state for one in outcomes] == [ItemState.KEPT] * 2
    assert len([line for line in world.lines() if line.get("item") == works]) == 1


def test_what_contradicts_is_refused_whole(world: World) -> None:
    """A deadline within a day would shut the city before anybody has read of it."""
    good = NewReview("spring", "Spring", world.deadline_ms)
    now_ms = world.clock.now_ms()
    wrong = [
        replace(good, code="Spring 1"),
        replace(good, name=" "),
        replace(good, deadline_ms=now_ms + DAY_MS - 1),
        replace(good, deadline_ms=2**53),
        replace(good, zone="town", group="works"),
        replace(good, group="keepers"),
    ]
    for one in wrong:
        with pytest.raises(Conflict):
            world.reviews.begin(one, ADMIN)
    for unknown in (replace(good, zone="nowhere"), replace(good, group="nobody")):
        with pytest.raises(NotFound):
            world.reviews.begin(unknown, ADMIN)
    assert (world.reviews.list(), world.lines(), set(world.ends().values())) == ((), [], {None})
    begun = world.reviews.begin(good, ADMIN)
    assert world.reviews.begin(good, ADMIN) == begun
    assert len(world.lines()) == 1
    with pytest.raises(Conflict, match="a review spring already"):
        world.reviews.begin(replace(good, name="Other"), ADMIN)
    for deed in (
        lambda: world.reviews.items(Wanted("none")),
        lambda: world.reviews.abort("none", ADMIN, reason="x"),
        lambda: world.reviews.answer("none", 1, KEEP, ADMIN),
        lambda: world.reviews.answer("spring", 10**6, KEEP, ADMIN),
    ):
        with pytest.raises(NotFound):
            deed()


def test_the_reminder_counts_what_is_unanswered(world: World) -> None:
    """Sentences from a week before the end to a week after it, and a gauge; told of by the reviews alone."""
    reminder = Reminder(world.databases.state, world.clock)
    world.begin()
    reminder.refresh()
    assert reminder.sentences() == []
    world.clock.pass_ms(27 * DAY_MS)
    assert reminder.sentences() == [
        "review spring: 3 of 3 grants are unanswered, 3 days left; they end on 2026-04-15T09:00:00+00:00"
    ]
    world.say("office", KEEP)
    world.set_end("works", None)
    reminder.refresh()
    (metric,) = reminder.collect()
    assert [(one.name, one.labels, one.value) for one in metric.samples] == [
        ("cardservice_review_unanswered", {"review": "spring"}, 2)
    ]
    assert "2 of 3 grants are unanswered, 3 days left" in reminder.sentences()[0]
    assert "1 of them were given a later end" in reminder.sentences()[0]
    world.clock.pass_ms(3 * DAY_MS)
    assert "2 of 3 grants were not answered and ended" in reminder.sentences()[0]
    world.clock.pass_ms(8 * DAY_MS)
    assert reminder.sentences() == []
