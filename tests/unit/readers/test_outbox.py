# SPDX-License-Identifier: EUPL-1.2
"""The outbox: ids never used twice, nothing forgotten before it is acknowledged, honest when full."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cardservice.agents.messages import EventId, EventRange, TapEvent
from readers import outbox_file
from readers.errors import OutboxFault
from readers.outbox import Depth, Outbox, read_aside

NOW_MS = 1_760_000_000_000
DAY_MS = 86_400_000


def finished(event: EventId, outcome: str = "shown") -> TapEvent:
    return TapEvent(event=event, point="door-1", at_ms=NOW_MS, outcome=outcome)


def opened(folder: Path, *, at_ms: int = NOW_MS, capacity: int = 100, agent: str = "agent-1") -> Outbox:
    return Outbox.open(folder / "outbox.sqlite", agent, at_ms=at_ms, capacity=capacity)


@pytest.fixture
def outbox(tmp_path):
    outbox = opened(tmp_path)
    yield outbox
    outbox.close()


def test_a_sequence_has_no_gaps_and_starts_at_one(outbox):
    assert [outbox.open_tap("door-1", NOW_MS).sequence for _ in range(3)] == [1, 2, 3]


def test_the_epoch_grows_with_every_start_even_if_the_clock_goes_back(tmp_path):
    """By the wall clock when that is ahead, by one when it is not."""
    epochs = []
    for at_ms in (NOW_MS, NOW_MS, NOW_MS - 86_400_000, NOW_MS + 60_000):
        outbox = opened(tmp_path, at_ms=at_ms)
        epochs.append(outbox.epoch - NOW_MS // 1_000)
        outbox.close()
    assert epochs == [0, 1, 2, 60]


def test_an_outbox_made_anew_does_not_repeat_old_ids(tmp_path):
    """A lost file, or an older copy put back, starts above the epochs of the past by the clock."""
    outbox = opened(tmp_path)
    outbox.close()
    (tmp_path / "outbox.sqlite").unlink()
    again = opened(tmp_path, at_ms=NOW_MS + 1_000)
    assert again.epoch > outbox.epoch
    again.close()


def test_only_finished_events_are_pending_and_only_until_acknowledged(outbox):
    """Open taps wait for their end; acknowledging an open or unknown one does nothing."""
    first, second = (outbox.open_tap("door-1", NOW_MS) for _ in range(2))
    assert outbox.pending(10) == []
    assert outbox.acknowledged([first]) == 0
    assert outbox.finish(finished(second)) is True
    assert outbox.finish(finished(first)) is True
    assert [event.event for event in outbox.pending(10)] == [first, second]
    assert [event.event for event in outbox.pending(1)] == [first]
    assert outbox.acknowledged([first, first]) == 1
    assert outbox.pending(10) == [finished(second)]
    assert outbox.depth == Depth(waiting=1, aside=0, lost=0)


def test_a_report_is_written_once(outbox):
    """A second, different end of the same tap changes nothing."""
    event = outbox.open_tap("door-1", NOW_MS)
    assert outbox.finish(finished(event, "shown")) is True
    assert outbox.finish(finished(event, "late")) is False
    assert outbox.pending(1)[0].outcome == "shown"


def test_what_the_centre_refuses_is_kept_but_not_sent_again(tmp_path, outbox):
    """An administrator finds it with the reason, while the agent runs; an acknowledgement cannot delete it."""
    event = outbox.open_tap("door-1", NOW_MS)
    outbox.finish(finished(event))
    assert outbox.set_aside(event, "foreign_point") is True
    assert outbox.set_aside(event, "foreign_point") is False
    assert outbox.pending(10) == []
    assert outbox.acknowledged([event]) == 0
    assert outbox.depth == Depth(waiting=0, aside=1, lost=0)
    asides, lost = read_aside(tmp_path / "outbox.sqlite")
    assert [(aside.event.event, aside.code) for aside in asides] == [(event, "foreign_point")]
    assert lost == []


def test_taps_left_open_are_abandoned_at_the_next_start(tmp_path):
    """Found with their own id, point and time, and pending."""
    outbox = opened(tmp_path)
    left, done = (outbox.open_tap("door-1", NOW_MS) for _ in range(2))
    outbox.finish(finished(done))
    outbox.close()
    again = opened(tmp_path)
    assert again.abandoned == 1
    assert [(event.event, event.outcome, event.at_ms) for event in again.pending(10)] == [
        (left, "abandoned", NOW_MS),
        (done, "shown", NOW_MS),
    ]
    again.close()


def test_a_full_outbox_gives_ids_but_says_which_reports_are_lost(tmp_path):
    """The tap works; the ranges of lost reports survive a restart; room is used again only with some to spare."""
    outbox = opened(tmp_path, capacity=10)
    events = [outbox.open_tap("door-1", NOW_MS + n) for n in range(14)]
    assert [event.sequence for event in events] == list(range(1, 15))
    assert outbox.depth == Depth(waiting=10, aside=0, lost=4)
    assert outbox.finish(finished(events[12])) is False
    for event in events[:2]:
        outbox.finish(finished(event))
    outbox.acknowledged([events[0]])
    assert outbox.finish(finished(outbox.open_tap("door-1", NOW_MS))) is False
    outbox.acknowledged([events[1]])
    assert outbox.finish(finished(outbox.open_tap("door-1", NOW_MS))) is True
    outbox.close()
    _, lost = read_aside(tmp_path / "outbox.sqlite")
    assert [(gap.epoch, gap.first, gap.last, gap.since_ms) for gap in lost] == [(outbox.epoch, 11, 15, NOW_MS + 10)]
    again = opened(tmp_path)
    assert again.depth.lost == 5
    again.close()


def test_it_is_private(tmp_path, outbox):
    """Every file beside it is readable by its owner alone, and one that is not is refused."""
    outbox.open_tap("door-1", NOW_MS)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "outbox.sqlite-wal" in modes
    outbox.close()
    (tmp_path / "outbox.sqlite").chmod(0o640)
    with pytest.raises(OutboxFault, match="0600, not 0640"):
        opened(tmp_path)


def test_it_belongs_to_one_process_and_one_agent(tmp_path, outbox):
    """A second agent on the same file would give the same ids again."""
    with pytest.raises(OutboxFault, match="in use"):
        opened(tmp_path)
    outbox.close()
    with pytest.raises(OutboxFault, match="belongs to agent 'agent-1'"):
        opened(tmp_path, agent="agent-2")


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "outbox.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutboxFault, match="cannot be opened"):
        opened(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_no_outbox_is_refused(tmp_path):
    """Rubbish, and the file of a newer agent, are neither used nor overwritten."""
    file = tmp_path / "outbox.sqlite"
    file.write_bytes(b"not a database" * 100)
    file.chmod(0o600)
    with pytest.raises(OutboxFault, match="cannot be used"):
        opened(tmp_path)
    file.unlink()
    opened(tmp_path).close()
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OutboxFault, match="newer agent"):
        opened(tmp_path)


def test_a_failed_write_uses_no_id(outbox):
    """The next tap gets the number the failed one would have had."""
    outbox.open_tap("door-1", NOW_MS)
    outbox._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(OutboxFault, match="cannot be written"):
        outbox.open_tap("door-1", NOW_MS)
    outbox._connection.execute("PRAGMA query_only = OFF")
    assert outbox.open_tap("door-1", NOW_MS).sequence == 2
    assert outbox.depth.waiting == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["open", "finish", "ack", "aside", "restart"]), max_size=30))
def test_any_history_keeps_every_unacknowledged_report(tmp_path_factory, steps):
    """Against a plain list as the model: nothing lost, nothing repeated, counts exact, whatever the order."""
    folder = tmp_path_factory.mktemp("outbox")
    outbox = opened(folder)
    ids, model = set(), {}
    for step in steps:
        waiting = sorted(key for key, state in model.items() if state == "finished")
        open_taps = sorted(key for key, state in model.items() if state == "open")
        if step == "open":
            event = outbox.open_tap("door-1", NOW_MS)
            assert (event.epoch, event.sequence) not in ids
            ids.add((event.epoch, event.sequence))
            model[event.epoch, event.sequence] = "open"
        elif step == "finish" and open_taps:
            outbox.finish(finished(EventId(agent="agent-1", epoch=open_taps[0][0], sequence=open_taps[0][1])))
            model[open_taps[0]] = "finished"
        elif step == "ack" and waiting:
            outbox.acknowledged([EventId(agent="agent-1", epoch=waiting[-1][0], sequence=waiting[-1][1])])
            del model[waiting[-1]]
        elif step == "aside" and waiting:
            outbox.set_aside(EventId(agent="agent-1", epoch=waiting[0][0], sequence=waiting[0][1]), "unseen_tap")
            model[waiting[0]] = "aside"
        elif step == "restart":
            outbox.close()
            outbox = opened(folder)
            model |= dict.fromkeys(open_taps, "finished")
    states = list(model.values())
    pending = [(event.event.epoch, event.event.sequence) for event in outbox.pending(100)]
    assert pending == sorted(key for key, state in model.items() if state == "finished")
    assert outbox.depth == Depth(len(states) - states.count("aside"), states.count("aside"), 0)
    outbox.close()


def handed_over(outbox: Outbox, count: int, *, at_ms: int = NOW_MS) -> list[EventId]:
    """Events that went all the way."""
    events = [outbox.open_tap("door-1", at_ms) for _ in range(count)]
    for event in events:
        outbox.finish(finished(event))
    outbox.acknowledged(events)
    return events


def accounted(outbox: Outbox) -> list[tuple[int, tuple, tuple]]:
    return [(one.through, one.lost, one.refused) for one in outbox.account()]


def test_the_account_ends_before_the_first_event_the_centre_may_not_have(outbox):
    """Everything up to there was acknowledged, was refused, or is lost; an open tap ends it."""
    assert outbox.account() == []
    handed_over(outbox, 3)
    refused = outbox.open_tap("door-1", NOW_MS)
    outbox.finish(finished(refused))
    outbox.set_aside(refused, "unseen_tap")
    handed_over(outbox, 2)
    assert accounted(outbox) == [(6, (), ((4, 4),))]
    outbox.open_tap("door-1", NOW_MS)
    handed_over(outbox, 2)
    assert accounted(outbox) == [(6, (), ((4, 4),))]


def test_lost_reports_are_accounted_as_lost(tmp_path):
    """What a full outbox could not keep is named, and nothing beyond it is hidden."""
    outbox = opened(tmp_path, capacity=2)
    events = [outbox.open_tap("door-1", NOW_MS) for _ in range(5)]
    for event in events[:2]:
        outbox.finish(finished(event))
    outbox.acknowledged(events[:2])
    assert accounted(outbox) == [(5, ((3, 5),), ())]
    outbox.close()


def test_older_epochs_are_accounted_too(tmp_path):
    """Newest first; an epoch without a tap has nothing to account for."""
    for count in (2, 0, 3):
        outbox = opened(tmp_path)
        handed_over(outbox, count)
        outbox.close()
    outbox = opened(tmp_path)
    assert [one.through for one in outbox.account()] == [3, 2]
    outbox.close()


def test_what_is_wanted_again_waits_again_with_its_content(outbox):
    """The same events with the same content, once, in order; those that never were acknowledged are not touched."""
    events = handed_over(outbox, 4)
    wanted = EventRange(epoch=outbox.epoch, first=2, last=3)
    assert outbox.again(wanted, NOW_MS) == 2
    assert outbox.again(wanted, NOW_MS) == 0
    assert list(outbox.pending(10)) == [finished(event) for event in events[1:3]]
    assert outbox.depth == Depth(waiting=2, aside=0, lost=0)
    assert accounted(outbox) == [(1, (), ())]
    assert outbox.acknowledged(events[1:3]) == 2
    assert accounted(outbox) == [(4, (), ())]


def test_what_is_not_kept_any_more_is_lost_and_said_so(tmp_path):
    """After the days of keeping an acknowledged event is gone; asked for, it counts as lost, once."""
    outbox = Outbox.open(tmp_path / "outbox.sqlite", "agent-1", at_ms=NOW_MS, keep_days=7)
    handed_over(outbox, 3)
    handed_over(outbox, 2, at_ms=NOW_MS + 7 * DAY_MS)
    first = outbox.epoch
    outbox.close()
    outbox = Outbox.open(tmp_path / "outbox.sqlite", "agent-1", at_ms=NOW_MS + 8 * DAY_MS, keep_days=7)
    for _ in range(2):
        assert outbox.again(EventRange(epoch=first, first=1, last=1_000_000), NOW_MS) in {2, 0}
    assert outbox.depth == Depth(waiting=2, aside=0, lost=3)
    outbox.acknowledged([EventId(agent="agent-1", epoch=first, sequence=sequence) for sequence in (4, 5)])
    assert accounted(outbox) == [(5, ((1, 3),), ())]
    outbox.close()


def test_never_more_are_kept_than_may_wait(tmp_path):
    """The oldest go first, whenever it is tidied up: every 500 taps."""
    outbox = opened(tmp_path, capacity=100)
    for _ in range(10):
        handed_over(outbox, 50)
    assert outbox.again(EventRange(epoch=outbox.epoch, first=1, last=500), NOW_MS) == 150
    assert outbox.depth.lost == 350
    outbox.close()


def test_an_outbox_of_the_first_layout_is_taken_over(tmp_path):
    """Nothing that waits is lost by the change of layout."""
    file = tmp_path / "outbox.sqlite"
    event = EventId(agent="agent-1", epoch=7, sequence=1)
    file.touch(mode=0o600)
    with closing(sqlite3.connect(file)) as old:
        old.executescript(outbox_file.LAYOUTS[0])
        content = finished(event).model_dump_json(exclude_none=True)
        old.execute("INSERT INTO entries VALUES (7, 1, 'door-1', ?, ?, NULL)", (NOW_MS, content))
        old.commit()
    outbox = opened(tmp_path)
    assert list(outbox.pending(10)) == [finished(event)]
    outbox.close()


def test_a_damaged_outbox_that_is_looked_at_is_let_go_of(tmp_path):
    """Whoever watches an agent's folder keeps no file open for each look."""
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"no database at all" * 100)
    # The error is kept, and with it whatever the call that failed still held.
    with pytest.raises(OutboxFault, match="not a database") as _kept:
        read_aside(path)
    assert path not in [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
