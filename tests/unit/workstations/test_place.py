# SPDX-License-Identifier: EUPL-1.2
"""The place of the workstations at the centre: it names whose session it is, and no more."""

import asyncio

import pytest
from support.points import a_point

from cardservice.access.rules import Use
from cardservice.agents.messages import PlaceAnswer, Sentence
from cardservice.agents.places import PermittedTap, Place
from cardservice.workstations import place as place_of_workstations
from cardservice.workstations.place import WorkstationPlace
from cardservice.workstations.rules import login_from

POINT = a_point("pc-1", Use.WORKSTATION)


def tap(person: int = 7) -> PermittedTap:
    return PermittedTap(event="pc-1/1/1", point=POINT, at_ms=1_760_000_000_000, person=person)


async def later(login: str | None) -> str | None:
    return login


async def test_the_answer_names_the_holders_login():
    """The agent gets it as a fact of the wire."""
    place: Place = WorkstationPlace({7: later("berger")}.__getitem__)
    answer = await place.act(tap(), None)
    assert answer is not None
    assert (place.use, place.books, answer.done, answer.code) == (Use.WORKSTATION, None, True, "unlock")
    wire = PlaceAnswer(
        done=answer.done,
        code=answer.code,
        text=Sentence(de=answer.text_de, en=answer.text_en),
        facts=dict(answer.facts),
    )
    assert login_from(wire.facts) == "berger"


@pytest.mark.parametrize("login", [None, "", "x" * 201])
async def test_without_a_login_nothing_is_unlocked(login):
    """The tap stays permitted; the holder reads why nothing happens, and no fact goes out."""
    answer = await WorkstationPlace(lambda _: later(login)).act(tap(), None)
    assert answer is not None
    assert (answer.done, answer.code, dict(answer.facts)) == (False, "no_login", {})


async def test_a_login_that_nobody_says_is_not_waited_for(monkeypatch):
    """Whoever stands before the PC is told that it did not work, by the desk, instead of nothing for ever."""
    monkeypatch.setattr(place_of_workstations, "LOGIN_LIMIT_S", 0.05)
    never = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await WorkstationPlace(lambda _: never).act(tap(), None)
    assert never.cancelled()
