# SPDX-License-Identifier: EUPL-1.2
"""Which losses of people are believed, and whom a hold keeps afterwards."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.people.holds.rules import HoldState, Loss, StandingHold, Told, Weighed, weigh
from cardservice.people.rules import RemovalGuard

GUARD = RemovalGuard(floor=2, share=0.0)
TOTAL = 10
LOST, DISABLED = Loss.LOST, Loss.DISABLED


def told(removed: str = "", disabled: str = "", named: str = "", *, complete: bool = False, total: int = TOTAL) -> Told:
    """A letter is a person."""
    return Told(set(removed), set(disabled), set(named) | set(disabled), complete, total)


def standing(lost: str = "", disabled: str = "", state: HoldState = HoldState.OPEN) -> StandingHold:
    return StandingHold(7, state, 1, dict.fromkeys(lost, LOST) | dict.fromkeys(disabled, DISABLED))


def judged(what: Told, hold: StandingHold | None = None, this_step: Iterable[str] = ()) -> Weighed:
    return weigh(what, hold, set(this_step), GUARD)


def outcome(found: Weighed) -> tuple[str, str, str, str, bool]:
    """Gone, disabled, held as lost, held as disabled, opened."""
    kept = [sorted(one for one, loss in found.held.items() if loss is kind) for kind in Loss]
    return (*("".join(sorted(one)) for one in (found.gone, found.disabled, *kept)), found.opened)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (told("ab"), ("ab", "", "", "", False)),
        (told(disabled="ab"), ("", "ab", "", "", False)),
        (told("a", "b"), ("a", "b", "", "", False)),
        (told("abc"), ("", "", "abc", "", True)),
        (told(disabled="abc"), ("", "", "", "abc", True)),
        (told("ab", "c"), ("", "", "ab", "c", True)),
        (told("ab", total=2), ("", "", "ab", "", True)),
        (told("a", "b", total=2), ("", "", "a", "b", True)),
        (told("a", total=1), ("a", "", "", "", False)),
    ],
)
def test_too_many_or_everybody_is_not_believed(what: Told, expected: tuple[str, str, str, str, bool]) -> None:
    """However they are lost, and however few they are if it is everybody; the last one may leave."""
    assert outcome(judged(what)) == expected


def test_a_step_goes_from_proof_to_proof() -> None:
    """Losses that come one by one are counted together; what was believed stays believed."""
    assert outcome(judged(told("c"), this_step="ab")) == ("", "", "c", "", True)
    assert outcome(judged(told(disabled="b"), this_step="ab")) == ("", "b", "", "", False)


@pytest.mark.parametrize("state", [HoldState.OPEN, HoldState.REJECTED])
def test_the_same_set_is_the_same_hold(state: HoldState) -> None:
    """Every ten minutes the directory says it again; nobody is asked again."""
    hold = standing("abc", "de", state)
    again = told("abc", "de", complete=True)
    assert outcome(judged(again, hold)) == ("", "", "abc", "de", False)


def test_who_is_named_again_leaves_the_hold() -> None:
    """Named is enough for who was lost, named as enabled for who was disabled; a full read that misses no more, too."""
    hold = standing("abc", "de")
    assert outcome(judged(told(named="a"), hold)) == ("", "", "bc", "de", False)
    assert outcome(judged(told(named="d"), hold)) == ("", "", "abc", "e", False)
    assert outcome(judged(told("bc", complete=True), hold)) == ("", "", "bc", "de", False)
    assert outcome(judged(told(named="abcde"), hold)) == ("", "", "", "", False)


def test_who_comes_back_disabled_is_disabled() -> None:
    assert outcome(judged(told(disabled="a"), standing("abc"))) == ("", "a", "bc", "", False)


def test_single_losses_count_while_a_hold_is_on() -> None:
    """Disables in any case, even in a full read; removals that are said singly, even of somebody who is held."""
    hold = standing("abc")
    assert outcome(judged(told(disabled="x"), hold)) == ("", "x", "abc", "", False)
    assert outcome(judged(told("abc", "x", complete=True), hold)) == ("", "x", "abc", "", False)
    assert outcome(judged(told("x"), hold)) == ("x", "", "abc", "", False)
    assert outcome(judged(told("a"), hold)) == ("a", "", "bc", "", False)


def test_a_full_read_that_misses_more_than_the_open_hold_is_not_believed_bit_by_bit() -> None:
    assert outcome(judged(told("abcx", complete=True), standing("abc"))) == ("", "", "abcx", "", True)


def test_after_a_rejection_a_few_more_are_believed_and_many_more_are_asked_with_the_others() -> None:
    hold = standing("abc", state=HoldState.REJECTED)
    assert outcome(judged(told("abcx", complete=True), hold)) == ("x", "", "abc", "", False)
    assert outcome(judged(told("abcxyz", complete=True), hold)) == ("", "", "abcxyz", "", True)


def test_a_disable_that_is_held_becomes_a_loss() -> None:
    hold = standing(disabled="abcd")
    assert outcome(judged(told("a"), hold)) == ("a", "", "", "bcd", False)
    assert outcome(judged(told("abc"), hold)) == ("", "", "abc", "d", True)


PEOPLE = "abcdefgh"
SOME = st.sets(st.sampled_from(PEOPLE))


@given(removed=SOME, disabled=SOME, named=SOME, lost=SOME, shut=SOME, complete=st.booleans(), rejected=st.booleans())
def test_nobody_is_lost_in_between(
    removed: set[str],
    disabled: set[str],
    named: set[str],
    lost: set[str],
    shut: set[str],
    *,
    complete: bool,
    rejected: bool,
) -> None:
    """Whoever is told of is believed or held; whoever was held is believed, held or back; never more than allowed."""
    removed -= named | disabled
    hold = standing("".join(lost), "".join(shut - lost), HoldState.REJECTED if rejected else HoldState.OPEN)
    found = judged(told("".join(removed), "".join(disabled), "".join(named), complete=complete), hold)
    assert len(set(found.gone) | set(found.disabled)) <= GUARD.floor
    assert not set(found.gone) & found.held.keys()
    assert not set(found.disabled) & found.held.keys()
    assert removed <= set(found.gone) | found.held.keys()
    assert disabled <= set(found.disabled) | found.held.keys()
    if found.held.keys() - hold.people.keys():
        assert found.opened
