# SPDX-License-Identifier: EUPL-1.2
"""What is watched: bounded, no more than the record keeps, and put together only for whoever looks."""

import asyncio
from typing import Any

import pytest

from cardservice.access.rules import REFUSED, Decision, Level, PointRecord, Reason, Use
from cardservice.agents.api import shows
from cardservice.agents.live import KEPT, MAX_WAITING, LiveFeed
from cardservice.agents.live_taps import KEPT as TAPS_KEPT
from cardservice.agents.live_taps import LiveTaps
from cardservice.web.gate import Actor

PERMITTED, DENIED = Decision(permit=True, reason=Reason.GRANTED), REFUSED[Reason.NO_GRANT]
EVERYWHERE = Actor("watcher", ())


def point(journal: str = "full", use: Use = Use.DOOR) -> PointRecord:
    """Return a point whose class keeps this much."""
    return PointRecord(
        code="door",
        use=use,
        always=frozenset(),
        timed=(),
        blocks=(),
        level=Level.CARD,
        timed_levels=(),
        freshness_ms=1_000,
        stale_permits=False,
        granted=PERMITTED,
        journal=journal,
        name="Door",
    )


def told(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "point": "door", **more}


@pytest.mark.parametrize(
    ("journal", "decision", "kept"),
    [
        ("full", PERMITTED, True),
        ("full", DENIED, True),
        ("refusals", PERMITTED, False),
        ("refusals", DENIED, True),
        ("counts", PERMITTED, False),
        ("counts", DENIED, False),
    ],
)
def test_taps_are_shown_as_far_as_the_record_keeps_them(journal: str, decision: Decision, *, kept: bool) -> None:
    """The same over the feed of systems, outside the demonstration."""
    taps, here = LiveTaps(), point(journal)
    taps.told(here, decision, Level.CARD, 5)
    assert len(taps.after(0)) == kept
    assert taps.newest == kept
    event = told("tap", permit=decision.permit)
    assert shows(event, EVERYWHERE, lambda _: here, everything=False) is kept
    assert shows(event, EVERYWHERE, lambda _: here, everything=True)


@pytest.mark.parametrize(
    ("kind", "journal", "use", "shown"),
    [
        ("output", "refusals", Use.DOOR, True),
        ("door", "counts", Use.DOOR, True),
        ("output", "refusals", Use.WORKSTATION, False),
        ("output", "full", Use.WORKSTATION, True),
        # What came of a tap tells that there was one.
        ("event", "refusals", Use.DOOR, False),
        ("event", "counts", Use.DOOR, False),
        ("event", "full", Use.DOOR, True),
    ],
)
def test_what_tells_of_a_permit_is_shown_where_permits_are_kept(
    kind: str, journal: str, use: Use, *, shown: bool
) -> None:
    here = point(journal, use)
    assert shows(told(kind), EVERYWHERE, lambda _: here, everything=False) is shown


def test_an_account_sees_its_points_and_of_agents_nothing() -> None:
    """Whatever is shown to others; how an agent is belongs to whoever may see all points."""
    here, mine = point(), Actor("mine", (), frozenset({"door"}))
    foreign = Actor("foreign", (), frozenset({"window"}))
    agent = {"kind": "agent", "agent": "rathaus"}
    for everything in (True, False):
        assert shows(told("tap", permit=True), mine, lambda _: here, everything=everything)
        assert not shows(told("tap", permit=True), foreign, lambda _: here, everything=everything)
        assert shows(agent, EVERYWHERE, lambda _: None, everything=everything)
        assert not shows(agent, mine, lambda _: None, everything=everything)


def test_of_many_taps_the_newest_stay() -> None:
    """So many and no more; whoever asks for what is gone gets what is left, in order."""
    taps = LiveTaps()
    for at_ms in range(TAPS_KEPT + 50):
        taps.told(point(), PERMITTED, Level.CARD, at_ms)
    left = taps.after(0)
    assert [len(left), left[0].number, left[-1].number] == [TAPS_KEPT, 51, TAPS_KEPT + 50]
    assert [tap.number for tap in taps.after(TAPS_KEPT + 48)] == [TAPS_KEPT + 49, TAPS_KEPT + 50]
    assert taps.after(TAPS_KEPT + 50) == taps.after(10**15) == []


async def test_whoever_waits_learns_of_the_next_tap() -> None:
    """All of them; a tap that is not shown wakes nobody."""
    taps = LiveTaps()
    waiting = [asyncio.ensure_future(taps.news()) for _ in range(3)]
    await asyncio.sleep(0)
    taps.told(point("counts"), PERMITTED, Level.CARD, 1)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    taps.told(point(), PERMITTED, Level.CARD, 1)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def test_an_event_is_put_together_once_for_all_who_look_and_for_nobody_else() -> None:
    made = []
    feed = LiveFeed()

    def event() -> dict[str, Any]:
        made.append(1)
        return {"kind": "tap"}

    feed.publish(event)
    assert made == []
    async with feed.watch() as one, feed.watch() as other:
        assert await one.next() is await other.next()
    assert made == [1]


async def test_who_does_not_keep_up_loses_the_oldest() -> None:
    """And whoever begins gets some of before; neither costs more than so much memory."""
    feed = LiveFeed()
    async with feed.watch() as slow:
        for number in range(MAX_WAITING + 20):
            feed.publish(lambda number=number: {"number": number})
        assert len(slow.waiting) == MAX_WAITING
        assert (await slow.next())["number"] == 20
        async with feed.watch() as late:
            assert len(late.waiting) == KEPT
    feed.publish(dict)
    assert len(slow.waiting) == MAX_WAITING - 1
