# SPDX-License-Identifier: EUPL-1.2
"""A forgotten card that comes back by both cards and the PIN: which belong together, what follows; both databases."""

import pytest
from service.card_desk import DAY_MS, NOW_MS, CardDesk
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice.cards.life.both_cards import BothCards
from cardservice.cards.rules import CardState
from cardservice.database import Databases

ACTIVE, SUSPENDED, REVOKED = CardState.ACTIVE, CardState.SUSPENDED, CardState.REVOKED


class Pair:
    """A forgotten card of Anna's and the temporary one that was lent for it."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        tell(open_copy(databases.state, clock), someone("anna"), someone("bert"), someone("carl"))
        self.people = row_numbers(databases.state)
        self.desk = CardDesk(databases, self.people["bert"])
        self.main = self.desk.give(self.people["anna"])
        self.temporary = self.desk.lend(self.main)
        self.published = 0
        self.clock = clock
        clock.wall_ms = NOW_MS
        self.both = BothCards(databases.state, clock, self._publish)

    def _publish(self) -> None:
        self.published += 1

    def states(self) -> tuple[tuple[str, str | None], ...]:
        return self.desk.now(self.temporary), self.desk.now(self.main)

    def belong_together(self) -> bool:
        return self.both.belong_together(*self._numbers())

    def hand_back(self) -> bool:
        return self.both.hand_back(*self._numbers())

    def _numbers(self) -> tuple[int, int]:
        return self.desk.row(self.temporary).id, self.desk.row(self.main).id


@pytest.fixture
def pair(databases: Databases, clock: FakeClock) -> Pair:
    return Pair(databases, clock)


def test_the_temporary_card_ends_and_the_forgotten_one_counts(pair):
    """Once; what happened is in both cards' histories, and the next tap sees it."""
    assert pair.belong_together()
    assert pair.hand_back()
    assert pair.states() == (("revoked", "replaced"), ("active", None))
    assert {pair.desk.events(one)[-1].actor for one in (pair.temporary, pair.main)} == {"both cards and the PIN"}
    assert pair.published == 1
    assert not pair.belong_together()
    assert not pair.hand_back()
    assert (pair.states(), pair.published) == ((("revoked", "replaced"), ("active", None)), 1)


def test_the_next_morning_a_card_whose_shift_is_over_still_brings_the_other_one_back(pair):
    """It ended by itself, or somebody noted its end at the desk."""
    pair.clock.wall_ms = NOW_MS + 2 * DAY_MS
    pair.desk.step(pair.temporary, CardState.EXPIRED)
    assert pair.hand_back()
    assert pair.states() == (("expired", None), ("active", None))


def test_only_this_pair_belongs_together(pair):
    """Not the other way round, not somebody else's, not another card of the same person."""
    temporary, main = pair._numbers()
    foreign = pair.desk.row(pair.desk.give(pair.people["carl"])).id
    other = pair.desk.row(pair.desk.give(pair.people["anna"])).id
    for one, another in ((main, temporary), (foreign, main), (other, main), (temporary, other), (temporary, 4711)):
        assert not pair.both.belong_together(one, another)
        assert not pair.both.hand_back(one, another)
    assert pair.states() == (("active", None), ("suspended", "forgotten"))


@pytest.mark.parametrize(
    ("which", "state", "reason"),
    [
        ("temporary", SUSPENDED, "missing"),
        ("temporary", REVOKED, "stolen"),
        ("main", REVOKED, "lost"),
    ],
)
def test_a_card_that_somebody_stopped_meanwhile_brings_nothing_back(pair, which, state, reason):
    """A temporary card that is missed, or one's own that is lost: the desk decides."""
    pair.desk.step(getattr(pair, which), state, reason)
    before = pair.states()
    assert not pair.hand_back()
    assert (pair.states(), pair.published) == (before, 0)


def test_a_forgotten_card_whose_own_time_is_over_leaves_both_as_they_are(pair):
    """Neither step is made alone."""
    pair.clock.wall_ms = NOW_MS + 2_000 * DAY_MS
    assert not pair.hand_back()
    assert pair.states() == (("active", None), ("suspended", "forgotten"))
