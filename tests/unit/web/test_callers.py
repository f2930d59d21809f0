# SPDX-License-Identifier: EUPL-1.2
"""Who calls the API: a token is one caller's, for its uses and its points alone."""

import asyncio

import pytest
from starlette.requests import Request

from cardservice.errors import SettingsError
from cardservice.web.callers import MAX_TOKEN, Caller, Callers, digest
from cardservice.web.gate import Actor, Gate
from cardservice.web.problems import ApiProblem
from cardservice.web.reach import Reach

TILL = Caller("till-1", digest("till-token"), frozenset({"canteen"}), frozenset({"kasse-1"}))
DESK = Caller("facility", digest("desk-token"), frozenset({"door", "payroll"}))
CALLERS = Callers([TILL, DESK])
REQUEST = Request({"type": "http", "method": "POST", "path": "/", "headers": []})


def points_within(reaches: tuple[Reach, ...]) -> frozenset[str] | None:
    """Return the points that are named, as a city that has no others does."""
    return None if any(reach.all_points for reach in reaches) else frozenset({"kasse-1"})


GATE = Gate(CALLERS, points_within)


def ask(operation: str, token: str | None) -> Actor:
    return asyncio.run(GATE.actor(operation, REQUEST, token))


@pytest.mark.parametrize(
    ("operation", "token", "name"),
    [
        ("canteen.charge", "till-token", "till-1"),
        ("doors.open", "desk-token", "facility"),
        ("canteen.top_up", "desk-token", "facility"),
    ],
)
def test_each_token_is_its_callers(operation, token, name):
    assert ask(operation, token).name == name


@pytest.mark.parametrize("token", [None, "", "nobodys", "till-token ", "Till-token", "x" * (MAX_TOKEN + 1), "ü"])
def test_any_other_token_is_nobodys(token):
    with pytest.raises(ApiProblem) as refused:
        ask("canteen.charge", token)
    assert (refused.value.status, refused.value.code) == (401, "not_authenticated")


@pytest.mark.parametrize("operation", ["doors.open", "canteen.top_up", "my.time"])
def test_a_token_opens_no_other_use(operation):
    with pytest.raises(ApiProblem) as refused:
        ask(operation, "till-token")
    assert (refused.value.status, refused.value.code) == (403, "foreign_use")


def test_a_caller_with_points_is_bound_to_them():
    """Without points it may use every point of its uses."""
    ask("canteen.charge", "till-token").require_point("kasse-1")
    ask("doors.open", "desk-token").require_point("kasse-2")
    with pytest.raises(ApiProblem) as refused:
        ask("canteen.charge", "till-token").require_point("kasse-2")
    assert (refused.value.status, refused.value.code) == (403, "foreign_point")


def test_what_is_about_all_points_is_not_for_a_caller_with_some():
    gate = Gate(
        Callers([Caller("some", digest("some-token"), frozenset({"door"}), frozenset({"kasse-1"}))]), points_within
    )
    with pytest.raises(ApiProblem) as refused:
        asyncio.run(gate.actor("doors.lock_down", REQUEST, "some-token"))
    assert (refused.value.status, refused.value.code) == (403, "foreign_point")


def test_an_operation_nobody_wrote_down_has_no_route():
    """A route that the table does not name cannot even be built."""
    with pytest.raises(KeyError, match=r"doors\.burn"):
        GATE.allows("doors.burn")


def test_two_callers_with_one_token_are_refused():
    """Else the second would go by the first's rights; the token itself is not in the message."""
    with pytest.raises(SettingsError, match="till-1 and other have the same token") as refused:
        Callers([TILL, DESK, Caller("other", digest("till-token"), frozenset({"payroll"}))])
    assert "till-token" not in str(refused.value)
