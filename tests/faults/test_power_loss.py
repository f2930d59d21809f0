# SPDX-License-Identifier: EUPL-1.2
"""The power goes at any moment: what was acknowledged is on the disk, and whatever is on it can be read.

The stores and the outbox run on a file layer that writes down every step (`file_layer`); `disk_image` makes of it what
a disk could hold at a cut, with writes lost, torn and out of order. The same with `synchronous=NORMAL` has to lose
something, and with OFF to tear something: a test that cannot tell them apart proves nothing.
"""

import random
from pathlib import Path

import pytest
from faults import disk_outbox, disk_record, disk_state
from faults.disk_desk import Desk, migrate
from faults.disk_driver import Driver, engine_on
from faults.disk_image import images, lay_out
from faults.disk_outbox import OutboxStory, examine_outbox
from faults.disk_record import RecordStory, examine_record, go_on_after
from faults.disk_state import StateStory, examine_state
from faults.disk_story import Finding, Story, examine_cuts, some_cuts

from cardservice.database import open_databases, require_head, require_writable, upgrade
from cardservice.journal.service import verify

SMALL_CUTS, FULL_CUTS = 50, 1_500


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def desk(tmp_path: Path, migrated: Path, dice: random.Random) -> Desk:
    return Desk(tmp_path, migrated, dice)


def all_is_well(finding: Finding) -> None:
    assert finding.unreadable == []
    assert finding.lost == 0
    assert finding.acknowledged > 0


def numbers(story: Story, finding: Finding) -> dict[str, int]:
    return {
        "power_cuts": finding.cuts,
        "steps": len(story.disk.steps),
        "commits": len(story.commits) - 1,
        "acknowledged_checked": finding.acknowledged,
        "lost_an_acknowledged_commit": finding.lost,
        "unreadable": len(finding.unreadable),
    }


async def tell_record(story: Story, dice: random.Random, starts: int) -> RecordStory:
    told = RecordStory(story, dice)
    for _ in range(starts):
        await told.live(10)
    return told


def tell_outbox(story: Story, dice: random.Random, starts: int) -> None:
    told = OutboxStory(story, dice)
    for _ in range(starts):
        told.live(40)


async def test_the_record_store_keeps_what_it_acknowledged(desk, dice, scale, report):
    """Journal entries, decisions and events whose future was resolved are there, chained, and no epoch comes again."""
    with desk.story(disk_record.FILE) as story:
        await tell_record(story, dice, scale.of(2, 8))
        cuts = some_cuts(story, scale.of(SMALL_CUTS, FULL_CUTS), dice)
        finding = examine_cuts(story, desk.image, cuts, dice, examine_record)
        report("power loss of the record store", **numbers(story, finding))
    all_is_well(finding)


async def test_after_the_cut_agents_send_again_and_nothing_is_stored_twice(desk, dice, scale, report):
    """The service starts on what is left, takes every event once more, and each is there exactly once."""
    with desk.story(disk_record.FILE) as story:
        told = await tell_record(story, dice, scale.of(2, 4))
        cuts = some_cuts(story, scale.of(6, 150), dice)
        events = 0
        for cut, image in images(story.disk, cuts, dice):
            lay_out(image, desk.image)
            again = told.sent_by(cut)
            events += len(again)
            await go_on_after(desk.image, again)
    report("events sent again after a power loss", power_cuts=len(cuts), events=events)
    assert events > 0


def test_the_state_store_keeps_what_was_changed(desk, dice, scale, report):
    """Rules, cards, people and agents: each transaction that had returned is there whole, and the city compiles."""
    with desk.story(disk_state.FILE) as story:
        StateStory(story, dice).live(scale.of(50, 400))
        cuts = some_cuts(story, scale.of(SMALL_CUTS, FULL_CUTS), dice)
        finding = examine_cuts(story, desk.image, cuts, dice, examine_state)
        report("power loss of the state store", **numbers(story, finding))
    all_is_well(finding)


def test_the_outbox_keeps_what_it_called_durable(desk, dice, scale, report):
    """From its making on: every tap, report, answer and lost range is there, and no id is given twice."""
    with desk.story(disk_outbox.FILE) as story:
        tell_outbox(story, dice, scale.of(4, 20))
        cuts = some_cuts(story, scale.of(SMALL_CUTS, FULL_CUTS), dice)
        finding = examine_cuts(story, desk.image, cuts, dice, examine_outbox)
        report("power loss of the outbox", **numbers(story, finding))
    all_is_well(finding)


def test_an_upgrade_cut_in_the_middle_is_done_again(desk, dice, scale, report):
    """Whatever of `db upgrade` reached the disk, the same command completes it, and the stores can be used."""
    with desk.disk() as disk:
        databases = open_databases(f"sqlite:///{disk.folder}")
        for engine in (databases.state, databases.record):
            engine_on(engine, Driver(disk))
        upgrade(databases)
        databases.close()
        cuts = [dice.randrange(len(disk.steps) + 1) for _ in range(scale.of(3, 100))]
        for _, image in images(disk, cuts, dice):
            lay_out(image, desk.image)
            left = open_databases(f"sqlite:///{desk.image}")
            upgrade(left)
            require_head(left)
            require_writable(left)
            assert verify(left.record) == []
            left.close()
    report("power loss during an upgrade", power_cuts=len(cuts))


async def test_without_a_flush_at_every_commit_acknowledged_commits_are_lost(desk, dice, scale, report):
    """The negative control: `synchronous=NORMAL` loses commits of each store, though it tears none."""
    for file in (disk_record.FILE, disk_state.FILE, disk_outbox.FILE):
        with desk.story(file, synchronous="NORMAL") as story:
            await tell(story, dice)
            finding = examine_cuts(story, desk.image, some_cuts(story, scale.of(20, 300), dice), dice)
            report(f"negative control: {file} with synchronous=NORMAL", **numbers(story, finding))
        assert finding.lost > 0
        assert finding.unreadable == []


async def test_without_any_flush_stores_are_torn(desk, dice, scale, report):
    """The other negative control: with `synchronous=OFF` the check finds stores that nobody can read or believe."""
    for file in (disk_record.FILE, disk_state.FILE, disk_outbox.FILE):
        with desk.story(file, synchronous="OFF") as story:
            await tell(story, dice)
            finding = examine_cuts(story, desk.image, some_cuts(story, scale.of(20, 300), dice), dice)
            report(f"negative control: {file} with synchronous=OFF", **numbers(story, finding))
        assert finding.unreadable != []


async def tell(story: Story, dice: random.Random) -> None:
    """A short story of any store."""
    if story.file == disk_record.FILE:
        await tell_record(story, dice, 2)
    elif story.file == disk_state.FILE:
        StateStory(story, dice).live(40)
    else:
        tell_outbox(story, dice, 3)
