# SPDX-License-Identifier: EUPL-1.2
"""Killed in the middle of erasing: nothing is half erased, and the next run finds the rest."""

import random
from pathlib import Path

import sqlalchemy as sa
from service.conftest import Place
from service.fake_clock import FakeClock
from service.keeping_world import ANNA, BERT, PLAIN, World, world
from sqlalchemy.engine import Connection
from support.lives import Lives

from cardservice.database import Databases, read
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry, journal_subject, journal_subject_key
from cardservice.retention.rules import AT_ONCE
from cardservice.timeclock.store import timeclock_unbooked

DEATHS = 4
LINES = 24 * AT_ONCE


def half_erased(databases: Databases) -> int:
    """Return how many lines have a personal part without the number of somebody, or the other way round."""
    entry, subject = journal_entry.c, journal_subject.c
    same = sa.and_(entry.stream == subject.stream, entry.epoch == subject.epoch, entry.sequence == subject.sequence)
    both = sa.select(sa.func.count()).select_from(journal_entry.join(journal_subject, same, full=True))
    with read(databases.record) as connection:
        return int(connection.execute(both.where(entry.sealed.is_(None) != subject.pseudonym.is_(None))).scalar_one())


def test_a_death_in_the_middle_leaves_nothing_half_erased(place: Place, databases: Databases, clock: FakeClock) -> None:
    """Four deaths by SIGKILL at a random transaction: chains verify each time, and the last run erases the rest."""
    rng = random.Random(20_260_316)
    with world(databases, clock) as city:
        fill(city)
    clock.pass_ms(70 * 86_400_000)
    left = LINES
    with Lives(Path(__file__).with_name("retention_eraser.py"), place.url) as eraser:
        for _ in range(DEATHS):
            life, told = eraser.begin(str(clock.now_ms())), 0
            deadline = rng.randrange(2, 6)
            for said in life:
                told += said == "batch"
                if told == deadline:
                    life.kill()
            assert half_erased(databases) == 0
            verify(databases.record)
            now_left = city.sealed("timeclock")
            assert now_left <= left
            left = now_left
        assert 0 < left < LINES
        assert list(eraser.begin(str(clock.now_ms())))[-1] == "done"
    assert (city.sealed("timeclock"), city.count(timeclock_unbooked)) == (0, 0)
    assert (city.count(journal_subject), city.count(journal_subject_key)) == (0, 0)
    assert sum(report.entries for report in verify(databases.record)) == LINES


def fill(city: World) -> None:
    """Write far more than one transaction erases, about two people."""

    def lines(connection: Connection) -> None:
        for number in range(LINES):
            entry = city._entry("timeclock", (ANNA, BERT)[number % 2], point=PLAIN)
            city.journal.append(connection, entry)

    city.record(lines)
