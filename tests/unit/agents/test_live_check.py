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
from cardservice.people.rules import NO_KNOWN_END_MS, DirectoryPerson, Sponsored

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
    return TapDesk(dataclasses.replace(city.desk()._services, people_now=now))


async def tap(now: Now | None, **changes: Any) -> tuple[DecisionMessage, City]:
    city = City(point=dataclasses.replace(LIVE_DOOR, **changes))
    return await desk_of(city, now).answer(present(), Exchange(desfire_card())), city


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ANNA, Reason.GRANTED),
        (dataclasses.replace(ANNA, locked_until_ms=NO_KNOWN_END_MS), Reason.GRANTED),
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


OUTSIDER = Sponsored("2", "outside=2", "Erika", enabled=True, valid_until_ms=NOW_MS + 1, sponsor=ANNA)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (OUTSIDER, Reason.GRANTED),
        (dataclasses.replace(OUTSIDER, valid_until_ms=NOW_MS), Reason.PERSON_EXPIRED),
        (dataclasses.replace(OUTSIDER, sponsor=None), Reason.NO_SPONSOR),
        (dataclasses.replace(OUTSIDER, sponsor=dataclasses.replace(ANNA, enabled=False)), Reason.NO_SPONSOR),
        (dataclasses.replace(OUTSIDER, sponsor=dataclasses.replace(ANNA, valid_until_ms=NOW_MS)), Reason.NO_SPONSOR),
        (
            dataclasses.replace(OUTSIDER, sponsor=dataclasses.replace(ANNA, locked_until_ms=NO_KNOWN_END_MS)),
            Reason.GRANTED,
        ),
    ],
)
async def test_of_an_outsider_the_directory_is_asked_who_answers_for_them(found: Sponsored, reason: Reason) -> None:
    """Their own time counts, and the sponsor as the directory shows them now; a sponsor's lock-out does not."""
    answer, _ = await tap(Now({1: found}), stops_locked_out=True)
    assert (answer.permit, answer.reason) == (reason is Reason.GRANTED, reason.value)


@pytest.mark.parametrize("now", [None, Now({})])
async def test_no_answer_is_no_permit(now: Now | None) -> None:
    answer, _ = await tap(now)
    assert (answer.permit, answer.reason) == (False, "directory_silent")


async def test_who_is_refused_anyway_and_points_that_want_the_copy_alone_ask_nobody() -> None:
    now = Now({})
    refused, _ = await tap(now, always=frozenset())
    permitted, _ = await tap(now, live_check=False)
    assert (refused.reason, permitted.reason, now.asked) == ("no_grant", "granted", [])


@pytest.mark.parametrize(
    ("locked_until_ms", "reason"),
    [(NO_KNOWN_END_MS, "person_locked_out"), (NOW_MS + 1, "person_locked_out"), (NOW_MS, "granted")],
)
async def test_a_lock_out_counts_where_the_point_says_so(locked_until_ms: int, reason: str) -> None:
    """Until its end, as the directory tells it now."""
    now = Now({1: dataclasses.replace(ANNA, locked_until_ms=locked_until_ms)})
    answer, _ = await tap(now, stops_locked_out=True)
    assert answer.reason == reason


class BothMayCome(City):
    """The stranger may come too."""

    @property
    def snapshot(self) -> Snapshot:
        snapshot = snapshot_with(self.point)
        strangers = {key: one._replace(subjects=(7,)) for key, one in snapshot.items() if one.holder == 2}
        return snapshot.with_cards(42, strangers)


class LiveSafe:
    """A door for two people that wants the directory asked."""

    def __init__(self, now: Now) -> None:
        self.city = BothMayCome(point=dataclasses.replace(LIVE_DOOR, people=2))
        self.desk = desk_of(self.city, now)

    async def tap(self, number: bytes = ENTITLED) -> str:
        return (await self.desk.answer(present(), Exchange(desfire_card(number)))).reason


async def test_of_two_people_both_are_asked_about_first_and_second() -> None:
    """The first one too before they are waited with: what refuses them is said to them, not to whoever comes next."""
    now = Now({1: ANNA, 2: ANNA})
    safe = LiveSafe(now)
    assert [await safe.tap(number) for number in (ENTITLED, STRANGER)] == ["second_person_needed", "granted"]
    assert now.asked == [1, 2, 1]
    refused = LiveSafe(Now({1: dataclasses.replace(ANNA, enabled=False), 2: ANNA}))
    assert [await refused.tap(number) for number in (ENTITLED, STRANGER)] == ["person_disabled", "second_person_needed"]


async def test_a_first_person_who_lost_the_right_counts_no_more_and_the_second_becomes_the_first() -> None:
    """The line about the second person says nothing of the first."""
    now = Now({1: ANNA, 2: ANNA})
    safe = LiveSafe(now)
    await safe.tap()
    now.people = {1: None, 2: ANNA}
    assert await safe.tap(STRANGER) == "second_person_needed"
    now.people = {1: ANNA, 2: ANNA}
    assert await safe.tap() == "granted"


async def test_a_second_person_whom_the_directory_refuses_does_not_end_the_first_ones_wait() -> None:
    now = Now({1: ANNA, 2: None})
    safe = LiveSafe(now)
    assert [await safe.tap(number) for number in (ENTITLED, STRANGER)] == ["second_person_needed", "person_left"]
    now.people = {1: ANNA, 2: ANNA}
    assert await safe.tap(STRANGER) == "granted"


async def test_a_directory_that_does_not_answer_about_the_first_person_permits_nobody() -> None:
    now = Now({1: ANNA, 2: ANNA})
    safe = LiveSafe(now)
    await safe.tap()
    now.people = {2: ANNA}
    assert await safe.tap(STRANGER) == "directory_silent"


async def test_one_first_person_lets_one_second_in_however_many_tap_at_once() -> None:
    """Two cards at two readers of one point, while the directory is asked: the first person counts for one of them."""
    safe = LiveSafe(Now({1: ANNA, 2: ANNA}))
    await safe.tap()
    reasons = await asyncio.gather(safe.tap(STRANGER), safe.tap(STRANGER))
    assert sorted(reasons) == ["granted", "second_person_needed"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"always": frozenset()}, "no_grant"),
        ({"lockdown": frozenset()}, "locked_down"),
        ({"agent": "another"}, "point_foreign"),
    ],
)
async def test_what_changes_while_the_directory_is_asked_counts(change: dict[str, Any], reason: str) -> None:
    city = City(point=LIVE_DOOR)

    class Changing(Now):
        async def person(self, row: int) -> DirectoryPerson | None:
            city.point = dataclasses.replace(city.point, **change)
            return await super().person(row)

    answer = await desk_of(city, Changing({1: ANNA})).answer(present(), Exchange(desfire_card()))
    assert (answer.permit, answer.reason) == (False, reason)


async def test_a_card_that_is_handed_on_meanwhile_opens_nothing_for_whom_nobody_asked_about() -> None:
    class HandedOn(City):
        handed_on = False

        @property
        def snapshot(self) -> Snapshot:
            before = super().snapshot
            changed = {key: one._replace(holder=one.holder + 50) for key, one in before.items()}
            return before.with_cards(42, changed) if self.handed_on else before

    city = HandedOn(point=LIVE_DOOR)

    class Handing(Now):
        async def person(self, row: int) -> DirectoryPerson | None:
            city.handed_on = True
            return await super().person(row)

    answer = await desk_of(city, Handing({1: ANNA})).answer(present(), Exchange(desfire_card()))
    assert (answer.permit, answer.reason) == (False, "directory_silent")


async def test_a_number_that_a_reader_read_by_itself_waits_for_the_directory_too() -> None:
    """It is answered once, after the directory's word."""
    point = dataclasses.replace(LIVE_DOOR, methods=("attested",), level=Level.READER_ATTESTED)
    city = City(point=point)
    desk = desk_of(city, Now({1: dataclasses.replace(ANNA, enabled=False)}))
    answers: list[DecisionMessage] = []
    desk.answer_read(CardRead(event=EVENT, point="door-1", number=ENTITLED.hex(), at_ms=NOW_MS), answers.append)
    await desk.close()
    assert [answer.reason for answer in answers] == ["person_disabled"]
