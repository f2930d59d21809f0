# SPDX-License-Identifier: EUPL-1.2
"""Reviews of grants on both databases: what nobody answers for ends at the deadline, to the millisecond, by itself."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from service.fake_clock import FakeClock
from service.review_world import ADMIN, END, KEEP, LOGINS, RENEW, World

from cardservice.access import store as access
from cardservice.access.review.rules import DAY_MS, ItemState, Verdict
from cardservice.access.review.service import Answer, Who
from cardservice.database import Databases, write
from cardservice.errors import Conflict


@pytest.fixture
def world(databases: Databases, clock: FakeClock) -> World:
    return World(databases, clock)


def test_what_nobody_answers_for_ends_at_the_deadline_to_the_millisecond(world: World) -> None:
    """The service that runs and one that was built before see the same, with nobody doing anything at that moment."""
    world.begin()
    world.say("works", KEEP)
    everybody, deadline_ms = dict.fromkeys(LOGINS, True), world.deadline_ms
    assert world.passing() == everybody
    assert world.passing(deadline_ms - 1) == everybody
    assert world.passing(deadline_ms) == {"anna": False, "boris": True, "carla": False}
    assert world.passing(deadline_ms + 300 * DAY_MS) == {"anna": False, "boris": True, "carla": False}
    world.clock.pass_ms(30 * DAY_MS - 1)
    assert world.states() == {"office": "open", "works": "kept", "carla": "open"}
    assert world.passing() == everybody
    world.clock.pass_ms(1)
    assert world.states() == {"office": "lapsed", "works": "kept", "carla": "lapsed"}
    assert world.passing() == {"anna": False, "boris": True, "carla": False}


def test_an_answer_keeps_ends_or_moves_a_grant(world: World) -> None:
    """Kept: the old end; kept until: that one; ended: now. A block is not in a review and stays."""
    blocks = {number: end for number, end in world.ends().items() if number == max(world.ends())}
    before_ms = world.clock.now_ms() + 90 * DAY_MS
    with write(world.databases.state) as connection:
        office = access.access_rule.c.point_id.is_not(None) & access.access_rule.c.group_id.is_not(None)
        connection.execute(sa.update(access.access_rule).where(office).values(valid_until_ms=before_ms))
    items = world.begin()
    assert {item.ends_ms for item in items.values()} == {world.deadline_ms}
    assert world.say("office", KEEP).ends_ms == before_ms
    until_ms = world.deadline_ms + 1
    assert world.say("carla", replace(KEEP, until_ms=until_ms)).ends_ms == until_ms
    world.clock.pass_ms(5)
    ended = world.say("works", replace(END, reason="nobody needs it"))
    assert (ended.state, ended.ends_ms, ended.answered_ms) == (ItemState.ENDED, *[world.clock.now_ms()] * 2)
    assert (ended.answered_by, ended.reason) == ("the desk", "nobody needs it")
    assert world.passing() == {"anna": True, "boris": False, "carla": True}
    assert world.passing(until_ms - 1)["carla"]
    assert not world.passing(until_ms)["carla"]
    assert world.passing(before_ms - 1)["anna"]
    assert not world.passing(before_ms)["anna"]
    assert blocks.items() <= world.ends().items()


def test_a_grant_that_ends_before_the_deadline_anyway_ends_then(world: World) -> None:
    """It is in the review, bounded by its own end; to prolong it takes a new end that somebody names."""
    early_ms = world.clock.now_ms() + DAY_MS
    with write(world.databases.state) as connection:
        connection.execute(sa.update(access.access_rule).values(valid_until_ms=early_ms))
    assert {(item.before_ms, item.bound_ms) for item in world.begin().values()} == {(early_ms, early_ms)}
    assert world.say("works", KEEP).ends_ms == early_ms
    assert world.say("carla", replace(KEEP, until_ms=early_ms + 9)).ends_ms == early_ms + 9
    world.reviews.extend("spring", world.deadline_ms + DAY_MS, ADMIN, reason="holidays")
    assert world.items()["office"].ends_ms == early_ms
    assert world.passing(early_ms) == {"anna": False, "boris": False, "carla": True}
    world.clock.pass_ms(DAY_MS)
    with pytest.raises(Conflict, match="renew it"):
        world.say("office", KEEP)
    with pytest.raises(Conflict, match="say until when"):
        world.say("office", RENEW)
    assert world.say("office", replace(RENEW, until_ms=early_ms + DAY_MS)).state is ItemState.RENEWED
    assert world.passing()["anna"]


def test_what_ended_before_is_not_reviewed(world: World) -> None:
    world.begin()
    world.clock.pass_ms(31 * DAY_MS)
    world.deadline_ms = world.clock.now_ms() + 30 * DAY_MS
    with pytest.raises(Conflict, match="no grant to review"):
        world.begin("autumn")


def test_an_answer_is_given_once(world: World) -> None:
    """The same again is fine, whoever says it and whenever; another is refused and changes nothing."""
    world.begin()
    first = world.say("works", KEEP)
    lines, ends = len(world.lines()), world.ends()
    for other in (END, replace(KEEP, until_ms=world.deadline_ms + 1), RENEW):
        with pytest.raises(Conflict, match=r"was answered on .*: keep"):
            world.say("works", other)
    world.clock.pass_ms(40 * DAY_MS)
    assert world.say("works", KEEP, Who("another")) == first
    assert (len(world.lines()), world.ends()) == (lines, ends)


def test_what_lapsed_is_renewed_by_an_act_with_a_reason(world: World) -> None:
    world.begin()
    with pytest.raises(Conflict, match="has not lapsed"):
        world.say("office", RENEW)
    world.clock.pass_ms(30 * DAY_MS)
    for late in (KEEP, END):
        with pytest.raises(Conflict, match="nobody answered in time"):
            world.say("office", late)
    with pytest.raises(Conflict, match="says why"):
        world.say("office", Answer(Verdict.RENEW))
    assert world.passing() == dict.fromkeys(LOGINS, False)
    assert world.say("office", RENEW).ends_ms is None
    assert world.passing() == {"anna": True, "boris": False, "carla": False}
    assert world.lines()[-1]["kind"] == "grant_renewed"


def test_renewing_does_not_bypass_another_review(world: World) -> None:
    """A lapsed grant that somebody prolonged is in the next review: only an answer there keeps it."""
    world.begin()
    world.clock.pass_ms(30 * DAY_MS)
    world.set_end("office", None)
    assert world.states()["office"] == "prolonged"
    world.deadline_ms += 30 * DAY_MS
    assert world.begin("autumn").keys() == {"office"}
    for prolonging in (RENEW, KEEP, replace(KEEP, until_ms=2**42)):
        with pytest.raises(Conflict, match="review autumn waits"):
            world.say("office", prolonging)
    assert world.passing(world.deadline_ms)["anna"] is False
    assert world.say("office", END).state is ItemState.ENDED
    assert world.passing()["anna"] is False


def test_extending_moves_every_unanswered_end(world: World) -> None:
    """Answers stand; the same deadline again changes nothing; an earlier one, or after the end, is refused."""
    world.begin()
    world.say("works", END)
    later_ms = world.deadline_ms + 7 * DAY_MS
    assert world.reviews.extend("spring", later_ms, ADMIN, reason="holidays").deadline_ms == later_ms
    lines = len(world.lines())
    world.reviews.extend("spring", later_ms, ADMIN, reason="holidays")
    assert len(world.lines()) == lines
    assert world.passing(later_ms - 1) == {"anna": True, "boris": False, "carla": True}
    assert world.passing(later_ms) == dict.fromkeys(LOGINS, False)
    for wrong in (world.deadline_ms, 2**53):
        with pytest.raises(Conflict, match="later deadline"):
            world.reviews.extend("spring", wrong, ADMIN, reason="holidays")
    assert world.say("office", KEEP).ends_ms is None
    world.clock.pass_ms(37 * DAY_MS)
    with pytest.raises(Conflict, match="over since"):
        world.reviews.extend("spring", later_ms + DAY_MS, ADMIN, reason="too late")
    with pytest.raises(Conflict, match="over since"):
        world.reviews.abort("spring", ADMIN, reason="too late")


def test_aborting_gives_every_unanswered_grant_its_old_end(world: World) -> None:
    """What an owner ended stays ended, what was kept until a day ends then; nothing more can be said."""
    before = world.ends()
    items = world.begin()
    world.say("works", END)
    until_ms = world.deadline_ms + DAY_MS
    world.say("carla", replace(KEEP, until_ms=until_ms))
    world.reviews.abort("spring", ADMIN, reason="wrong zone")
    ended = {items["works"].grant: world.clock.now_ms(), items["carla"].grant: until_ms}
    assert world.ends() == before | ended
    assert world.states() == {"office": "aborted", "works": "ended", "carla": "kept"}
    for answer in (KEEP, END, RENEW):
        with pytest.raises(Conflict, match="was aborted"):
            world.say("office", answer)
    with pytest.raises(Conflict, match="was aborted"):
        world.reviews.extend("spring", world.deadline_ms + 1, ADMIN, reason="no")
    lines = len(world.lines())
    assert world.reviews.abort("spring", ADMIN, reason="again").aborted_ms == world.clock.now_ms()
    assert len(world.lines()) == lines
    assert world.begin("second").keys() == {"office", "carla"}


def test_an_end_set_beside_the_review_stands(world: World) -> None:
    """Neither extending nor aborting nor keeping overrules what an administrator set meanwhile; the list shows it."""
    world.begin()
    sooner_ms, later_ms = world.deadline_ms - DAY_MS, world.deadline_ms + 99 * DAY_MS
    world.set_end("office", sooner_ms)
    world.set_end("works", later_ms)
    world.reviews.extend("spring", world.deadline_ms + DAY_MS, ADMIN, reason="holidays")
    assert world.states() == {"office": "open", "works": "prolonged", "carla": "open"}
    assert world.items(unanswered=True).keys() == {"office", "works", "carla"}
    assert world.say("office", KEEP).ends_ms == sooner_ms
    world.reviews.abort("spring", ADMIN, reason="wrong zone")
    assert sorted(end for end in world.ends().values() if end is not None) == [sooner_ms, later_ms]
