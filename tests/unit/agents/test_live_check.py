# SPDX-License-Identifier: EUPL-1.2
"""Points that want the directory itself asked: its own answer forbids what the copy would permit, silence too."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from unit.agents.desk import (
    DOOR,
    ENTITLED,
    EVENT,
    NOW_MS,
    STRANGER,
    City,
    Exchange,
    desfire_card,
    present,
    snapshot_with,
)

from cardservice.access.rules import Level, Reason
from cardservice.access.snapshot import Snapshot
from cardservice.agents.messages import CardRead, DecisionMessage
from cardservice.agents.taps import TapDesk
from cardservice.errors import Overloaded
from cardservice.people.rules import DirectoryPerson

LIVE_DOOR = dataclasses.replace(DOOR, live_check=True)
ANNA = DirectoryPerson("1", "uid=anna", "Anna", enabled=True)


class Now:
    """A directory that shows these people; whoever is not listed makes it fail."""

    def __init__(self, people: Mapping[int, DirectoryPerson | None]) -> None:
        self.people = people
        self.asked: list[int] = []

    async def person(self, row: int) -> DirectoryPerson | None:
        self.asked.append(row)
        await asyncio.sleep(0)
        if row not in self.people:
            raise Overloaded("no answer")
        return self.people[row]


def desk_of(city: City, now: Now | None) -> TapDesk:
    desk = city.desk()
    desk._services = dataclasses.replace(desk._services, people_now=now)
    return desk


async def tap(now: Now | None, **changes: Any) -> tuple[DecisionMessage, City]:
    city = City(point=dataclasses.replace(LIVE_DOOR, **changes))
    return await desk_of(city, now).answer(present(), Exchange(desfire_card())), city


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ANNA, Reason.GRANTED),
        (dataclasses.replace(ANNA, locked_out=True), Reason.GRANTED),
        (dataclasses.replace(ANNA, enabled=False), Reason.PERSON_DISABLED),
        (dataclasses.replace(ANNA, valid_until_ms=NOW_MS), Reason.PERSON_EXPIRED),
        (dataclasses.replace(ANNA, valid_until_ms=NOW_MS + 1), Reason.GRANTED),
        (dataclasses.replace(ANNA, valid_from_ms=NOW_MS + 1), Reason.PERSON_NOT_YET_VALID),
        (dataclasses.replace(ANNA, valid_from_ms=NOW_MS), Reason.GRANTED),
        (None, Reason.PERSON_LEFT),
    ],
)
async def test_the_directorys_own_answer_counts(found: DirectoryPerson | None, reason: Reason) -> None:
    """The journal has what was answered in the end."""
    answer, city = await tap(Now({1: found}))
    assert (answer.permit, answer.reason) == (reason is Reason.GRANTED, reason.value)
    assert answer.open_ms == (5_000 if answer.permit else 0)
    assert "directory" in answer.stages_us
    (entry,) = city.journal.entries
    assert (entry.payload["permit"], entry.payload["reason"]) == (answer.permit, answer.reason)


@pytest.mark.parametrize("now", [None, Now({})])
async def test_no_answer_is_no_permit(now: Now | None) -> None:
    answer, _ = await tap(now)
    assert (answer.permit, answer.reason) == (False, "directory_silent")


async def test_who_is_refused_anyway_and_points_that_want_the_copy_alone_ask_nobody() -> None:
    now = Now({})
    refused, _ = await tap(now, always=frozenset())
    permitted, _ = await tap(now, live_check=False)
    assert (refused.reason, permitted.reason, now.asked) == ("no_grant", "granted", [])


async def test_of_two_people_both_are_asked_about() -> None:
    """Whoever was disabled since they tapped first does not let a second person in."""

    class BothMayCome(City):
        @property
        def snapshot(self) -> Snapshot:
            snapshot = snapshot_with(self.point)
            changes = {key: one._replace(subjects=(7,)) for key, one in snapshot.items() if one.holder == 2}
            return snapshot.with_cards(42, changes)

    for first_is_in in (True, False):
        city = BothMayCome(point=dataclasses.replace(LIVE_DOOR, people=2))
        now = Now({1: dataclasses.replace(ANNA, enabled=first_is_in), 2: ANNA})
        desk = desk_of(city, now)
        answers = [await desk.answer(present(), Exchange(desfire_card(*number))) for number in ((), (STRANGER,))]
        assert answers[1].reason == ("granted" if first_is_in else "person_disabled")
        assert set(now.asked) == {1, 2}


async def test_a_number_that_a_reader_read_by_itself_waits_for_the_directory_too() -> None:
    """It is answered once, after the directory's word."""
    point = dataclasses.replace(LIVE_DOOR, methods=("attested",), level=Level.READER_ATTESTED)
    city = City(point=point)
    desk = desk_of(city, Now({1: dataclasses.replace(ANNA, enabled=False)}))
    answers: list[DecisionMessage] = []
    desk.answer_read(CardRead(event=EVENT, point="door-1", number=ENTITLED.hex(), at_ms=NOW_MS), answers.append)
    await desk.close()
    assert [answer.reason for answer in answers] == ["person_disabled"]
