# SPDX-License-Identifier: EUPL-1.2
"""A door that two people open together: in either order, within their time, and never one person alone."""

import dataclasses

from unit.agents.desk import (
    DOOR,
    ENTITLED,
    STRANGER,
    City,
    Exchange,
    desfire_card,
    piv_card,
    present,
    snapshot_with,
)

from cardservice.access.rules import Level, Reason, Tap, decide
from cardservice.access.snapshot import Snapshot
from cardservice.agents.pairs import Pairs
from cardservice.agents.taps import TapDesk
from cardservice.cards.rules import desfire_credential

# Open to both of the city's people in good standing; methods for both kinds of card.
SAFE = dataclasses.replace(
    DOOR, code="safe", people=2, second_within_ms=10_000, always=frozenset({7, 8}), methods=("desfire", "piv")
)
FIRST, SECOND = (Tap("safe", desfire_credential("door", number), Level.CARD) for number in (ENTITLED, STRANGER))


class HandClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ms(self) -> int:
        return 1_000_000 + self.ns // 1_000_000

    def monotonic_ns(self) -> int:
        return self.ns


def state(*, first_is_in: bool = True) -> Snapshot:
    """The city, in which the stranger may come here too."""
    snapshot = snapshot_with(SAFE)
    changes = {}
    for key, record in snapshot.items():
        if record.holder == 2:
            changes[key] = record._replace(subjects=(8,))
        elif record.holder == 1 and not first_is_in:
            changes[key] = record._replace(subjects=())
    return snapshot.with_cards(42, changes)


class Safe:
    """One point and what its desk remembers."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.pairs = Pairs(self.clock)

    def tap(self, tap: Tap, *, first_is_in: bool = True) -> Reason:
        snapshot = state(first_is_in=first_is_in)
        first = self.pairs.first_at(SAFE, snapshot, self.clock.now_ms(), 0)
        tap = tap._replace(first=first)
        decision = decide(snapshot, tap, self.clock.now_ms(), 0)
        record = snapshot.card(tap.credential)
        self.pairs.note(SAFE, tap, record.holder if record else 0, decision)
        return decision.reason


def test_two_people_open_and_the_next_begins_anew() -> None:
    safe = Safe()
    answers = [safe.tap(tap) for tap in (FIRST, SECOND, SECOND, FIRST, FIRST)]
    assert answers == [
        Reason.SECOND_PERSON_NEEDED,
        Reason.GRANTED,
        Reason.SECOND_PERSON_NEEDED,
        Reason.GRANTED,
        Reason.SECOND_PERSON_NEEDED,
    ]


def test_one_person_alone_never_opens_however_often_they_tap() -> None:
    safe = Safe()
    answers = [safe.tap(FIRST) for _ in range(5)]
    assert answers == [Reason.SECOND_PERSON_NEEDED] + [Reason.SAME_PERSON_TWICE] * 4


def test_the_first_person_waits_as_long_as_the_point_says_and_tapping_again_does_not_lengthen_it() -> None:
    safe = Safe()
    safe.tap(FIRST)
    safe.clock.ns = 9_999_999_999
    assert safe.tap(FIRST) is Reason.SAME_PERSON_TWICE
    assert Safe.tap(safe, SECOND) is Reason.GRANTED
    safe.tap(FIRST)
    safe.clock.ns += 10_000_000_000
    assert safe.tap(SECOND) is Reason.SECOND_PERSON_NEEDED


def test_whoever_lost_the_right_meanwhile_is_no_first_person() -> None:
    safe = Safe()
    safe.tap(FIRST)
    assert safe.tap(SECOND, first_is_in=False) is Reason.SECOND_PERSON_NEEDED


def test_whoever_has_no_right_is_no_second_person_and_ends_no_wait() -> None:
    safe = Safe()
    safe.tap(FIRST)
    nobody = Tap("safe", b"unknown", Level.CARD)
    assert safe.tap(nobody) is Reason.CARD_UNKNOWN
    assert safe.tap(SECOND._replace(level=Level.UID)) is Reason.LEVEL_TOO_LOW
    assert safe.tap(SECOND) is Reason.GRANTED


async def test_at_the_desk_two_cards_of_one_person_are_one_person() -> None:
    """The plastic card and the token of the same holder, over the whole way of a tap; the journal has every try."""
    city = City(point=dataclasses.replace(SAFE, code="door-1"))
    desk: TapDesk = city.desk()
    reasons = []
    for card in (desfire_card(), piv_card(), desfire_card(STRANGER)):
        answer = await desk.answer(present(), Exchange(card))
        reasons.append((answer.permit, answer.reason))
    assert reasons == [(False, "second_person_needed"), (False, "same_person_twice"), (False, "no_grant")]
    assert [entry.payload["reason"] for entry in city.journal.entries] == [reason for _, reason in reasons]


class BothMayCome(City):
    """The city in which the stranger has the group too."""

    @property
    def snapshot(self) -> Snapshot:
        snapshot = snapshot_with(self.point)
        strangers = {key: record._replace(subjects=(7,)) for key, record in snapshot.items() if record.holder == 2}
        return snapshot.with_cards(42, strangers)


async def test_at_the_desk_the_second_card_opens_and_the_journal_says_with_whom() -> None:
    """Who came first is personal: it stands in the sealed part of the second line."""
    city = BothMayCome(point=dataclasses.replace(SAFE, code="door-1", journal="full"))
    desk = city.desk()
    answers = [await desk.answer(present(), Exchange(desfire_card(number))) for number in (ENTITLED, STRANGER)]
    assert [answer.permit for answer in answers] == [False, True]
    assert answers[1].open_ms == 5_000
    first, second = city.journal.entries
    assert (first.person, second.person) == (1, 2)
    assert "first" not in (first.personal or {})
    assert (second.personal or {})["first"] == 1
    assert "1" not in {str(value) for value in second.payload.values()}
