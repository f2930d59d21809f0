# SPDX-License-Identifier: EUPL-1.2
"""What an agent has kept, seen from outside while it runs."""

from pathlib import Path

import pytest

from cardservice.agents.messages import EventId, TapEvent
from cardservice.demo.kept import KeptEvents
from readers.errors import OutboxFault
from readers.outbox import Outbox, read_waiting

NOW_MS = 1_760_000_000_000


def finished(outbox: Outbox, point: str) -> EventId:
    event = outbox.open_tap(point, NOW_MS)
    outbox.finish(TapEvent(event=event, point=point, at_ms=NOW_MS, outcome="shown"))
    return event


def test_only_what_waits_for_the_service_is_seen(tmp_path: Path) -> None:
    """Neither open taps, nor what the service has or refused; the newest is that of the point."""
    outbox = Outbox.open(tmp_path / "rathaus.outbox", "rathaus", at_ms=NOW_MS)
    kept = KeptEvents(tmp_path, "rathaus")
    assert (kept.waiting(), kept.newest("door")) == (0, None)
    first, second, other, had, refused = (finished(outbox, point) for point in ("door", "door", "till", "door", "door"))
    outbox.open_tap("door", NOW_MS)
    assert kept.waiting() == 5
    outbox.acknowledged([had])
    outbox.set_aside(refused, "unknown_point")
    assert [event.event for event in read_waiting(tmp_path / "rathaus.outbox")] == [first, second, other]
    assert kept.waiting() == 3
    newest = kept.newest("door")
    assert newest is not None
    assert newest.event == second
    outbox.close()


def test_an_outbox_that_is_not_there_looks_empty(tmp_path: Path) -> None:
    with pytest.raises(OutboxFault, match="there is no outbox"):
        read_waiting(tmp_path / "rathaus.outbox")
    assert KeptEvents(tmp_path, "rathaus").waiting() == 0


def test_what_is_no_report_of_ours_is_a_fault(tmp_path: Path) -> None:
    """A damaged report is said, not shown."""
    file = tmp_path / "rathaus.outbox"
    outbox = Outbox.open(file, "rathaus", at_ms=NOW_MS)
    finished(outbox, "door")
    outbox._connection.execute("UPDATE entries SET content = '{}'")
    with pytest.raises(OutboxFault, match="none of ours"):
        read_waiting(file)
    outbox.close()
