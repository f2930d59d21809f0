# SPDX-License-Identifier: EUPL-1.2
"""The place of the workstations at the centre: it names whose session it is, and no more."""

import pytest
from support.points import a_point

from cardservice.access.rules import Use
from cardservice.agents.messages import PlaceAnswer, Sentence
from cardservice.agents.places import PermittedTap, Place
from cardservice.workstations.place import WorkstationPlace
from cardservice.workstations.rules import login_from

POINT = a_point("pc-1", Use.WORKSTATION)


def tap(person: int = 7) -> PermittedTap:
    return PermittedTap(event="pc-1/1/1", point=POINT, at_ms=1_760_000_000_000, person=person)


async def test_the_answer_names_the_holders_login():
    """The agent gets it as a fact of the wire."""
    place: Place = WorkstationPlace({7: "berger"}.get)
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
    answer = await WorkstationPlace(lambda _: login).act(tap(), None)
    assert answer is not None
    assert (answer.done, answer.code, dict(answer.facts)) == (False, "no_login", {})
