# SPDX-License-Identifier: EUPL-1.2
"""Who calls the API: a token is one caller's, for its uses and its points alone."""

import pytest
from fastapi.security import HTTPAuthorizationCredentials

from cardservice.errors import SettingsError
from cardservice.web.callers import MAX_TOKEN, Caller, Callers, digest
from cardservice.web.problems import ApiProblem

TILL = Caller("till-1", digest("till-token"), frozenset({"canteen"}), frozenset({"kasse-1"}))
DESK = Caller("facility", digest("desk-token"), frozenset({"door", "payroll"}))
CALLERS = Callers([TILL, DESK])


def ask(use: str, token: str | None) -> Caller:
    bearer = None if token is None else HTTPAuthorizationCredentials(scheme="Bearer", credentials=token)
    return CALLERS.for_use(use)(bearer)


@pytest.mark.parametrize(
    ("use", "token", "caller"),
    [("canteen", "till-token", TILL), ("door", "desk-token", DESK), ("payroll", "desk-token", DESK)],
)
def test_each_token_is_its_callers(use, token, caller):
    assert ask(use, token) is caller


@pytest.mark.parametrize("token", [None, "", "nobodys", "till-token ", "Till-token", "x" * (MAX_TOKEN + 1), "ü"])
def test_any_other_token_is_nobodys(token):
    with pytest.raises(ApiProblem) as refused:
        ask("canteen", token)
    assert (refused.value.status, refused.value.code) == (401, "not_authenticated")


def test_a_token_opens_no_other_use():
    with pytest.raises(ApiProblem) as refused:
        ask("door", "till-token")
    assert (refused.value.status, refused.value.code) == (403, "foreign_use")


def test_a_caller_with_points_is_bound_to_them():
    """Without points it may use every point of its uses."""
    TILL.require_point("kasse-1")
    DESK.require_point("kasse-2")
    with pytest.raises(ApiProblem) as refused:
        TILL.require_point("kasse-2")
    assert (refused.value.status, refused.value.code) == (403, "foreign_point")


def test_two_callers_with_one_token_are_refused():
    """Else the second would go by the first's rights; the token itself is not in the message."""
    with pytest.raises(SettingsError, match="till-1 and other have the same token") as refused:
        Callers([TILL, DESK, Caller("other", digest("till-token"), frozenset({"payroll"}))])
    assert "till-token" not in str(refused.value)
